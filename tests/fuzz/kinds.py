"""What a case mutates: a function a kind, from `rng`, the good inputs and the case's folder to a command."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import mutate
import yaml
from inputs import PROMPTS

Kind = Callable[[Random, Path, Path], list[str]]

KINDS: dict[str, tuple[int, Kind]] = {}
"""By name, how often it is drawn and what makes it."""

FAST = ["--steps", "1", "--strength", "1", "--size", "32x32", "--quiet"]


def kind(weight: int) -> Callable[[Kind], Kind]:
    def add(make: Kind) -> Kind:
        KINDS[make.__name__] = weight, make
        return make

    return add


def case(rng: Random, base: Path, folder: Path, names: Sequence[str] | None = None) -> tuple[str, list[str]]:
    """The kind, one of `names`, and the command of one case; its files lie in the folder."""
    known = list(names or KINDS)
    name = rng.choices(known, [KINDS[each][0] for each in known])[0]
    return name, KINDS[name][1](rng, base, folder)


def _prompts() -> list[str]:
    return [text for key, value in PROMPTS.items() for text in (f"--{key.replace('_', '-')}", value)]


def edit(base: Path, *argv: str, prompts: bool = True, backbone: str | None = None) -> list[str]:
    """The command of an edit of one step by a backbone with random weights."""
    given = _prompts() if prompts else []
    return ["edit", *argv, *given, *FAST, "--backbone", backbone or str(base / "tiny"), "--out", "o"]


def clip(base: Path, folder: Path, name: str = "c.mp4") -> str:
    """A clip is copied into the case's folder; its name."""
    shutil.copy(base / name, folder / name)
    return name


ROW = {
    "clip": "c.mp4",
    **PROMPTS,
    "user_mask": "mask.png",
    "seed": 3,
    "steps": 1,
    "strength": 1.0,
    "fit": "crop",
    "cuts": [2],
}


@kind(5)
def edit_file(rng: Random, base: Path, folder: Path) -> list[str]:
    """An edit's YAML file."""
    clip(base, folder)
    shutil.copy(base / "mask.png", folder / "mask.png")
    row = {key: value for key, value in ROW.items() if rng.random() < 0.8 or key == "clip"}
    (folder / "e.yaml").write_bytes(mutate.yaml_bytes(rng, row))
    return edit(base, "e.yaml", prompts=False)


FLAGS = (
    "source", "target", "source-words", "target-words", "negative-prompt", "mode", "backbone", "task", "mask",
    "averaging",
    "steps", "strength", "source-guidance-scale", "target-guidance-scale", "object-guidance-scales", "draws", "seed",
    "user-mask", "composite", "size", "frames", "start", "fps", "cuts", "frame-by-frame", "fit", "window",
    "window-overlap",
    "caption", "nonsense",
)  # fmt: skip

KEYS = (
    "mode.name", "mode.preset", "mode.solver", "mode.grid", "mode.times", "mode.shift", "mode.target_only_steps",
    "mode.x",
    "mask.threshold", "mask.blocks", "mask.quantile", "mask.pool", "mask.grow", "mask.decay", "mask.smooth_frames",
    "mask.user", "mask.objects", "runtime.device", "runtime.dtype", "runtime.rows", "runtime.threads",
    "runtime.tiling",
    "backbone.path", "backbone.name", "backbone.packaged", "averaging.name", "task", "clip", "size",
    "cuts", "hydra.run.dir", "hydra/launcher", "+a", "~steps", "a.b.c", "steps@x", "defaults", "_target_",
    "mode._target_",
)  # fmt: skip
"""But for those that say where something is written: a case writes nothing outside its folder (`places` has them)."""

GOOD = (
    "1",
    "2",
    "0.5",
    "true",
    "auto",
    "null",
    "inversion",
    "random_noise",
    "none",
    "differential",
    "[0.5]",
    "1,0.5,0",
    "heun",
)


def _spelt(rng: Random) -> str:
    value = rng.choice(GOOD) if rng.random() < 0.4 else mutate.text(rng)
    return value.replace("\0", "\\0")


@kind(6)
def flags(rng: Random, base: Path, folder: Path) -> list[str]:
    """Flags and overrides of an edit."""
    argv = edit(base, clip(base, folder))
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.5:
            flag = rng.choice(FLAGS)
            argv += rng.choice(([f"--{flag}", _spelt(rng)], [f"--{flag}={_spelt(rng)}"], [f"--{flag}"]))
        else:
            argv.append(f"{rng.choice(KEYS)}={_spelt(rng)}")
    rng.random() < 0.1 and rng.shuffle(argv)
    return argv


@kind(2)
def commands(rng: Random, base: Path, folder: Path) -> list[str]:
    """Other commands, and none."""
    first = rng.choice(
        ("generate", "compare", "evaluate", "bench", "list", "edit", "", "nonsense", "--version", "--help")
    )
    argv = [first, *(_spelt(rng) for _ in range(rng.choice((0, 1, 1, 2))))]
    flags = ("--prompt", "--modes", "--metrics", "--kinds", "--scenes", "--also", "--engine", "--workers",
    "--edits", "--do",
             "--first-seed", "--evaluations", "--score-mask", "--protocol", "--steps", "--size")  # fmt: skip
    for _ in range(rng.choice((0, 1, 2))):
        argv += [rng.choice(flags), _spelt(rng)]
    if first == "generate":
        argv += [
            "--backbone",
            str(base / "tiny"),
            "--size",
            "32x32",
            "--steps",
            "1",
            "--frames",
            "9",
            "--quiet",
            "--out",
            "o",
        ]
    if first in ("compare", "evaluate"):
        argv += ["--dry-run", "--quiet"]
    if first == "bench":
        argv += ["--backbone", str(folder / "nowhere"), "--quiet"]
    return argv


SCORE = ["--metrics", "background_psnr", "--quiet", "--out", "o"]


@kind(5)
def edit_list(rng: Random, base: Path, folder: Path) -> list[str]:
    """A YAML list of edits: looked at, or the edits of another scored."""
    clip(base, folder)
    shutil.copy(base / "mask.png", folder / "mask.png")
    rows = [
        {**ROW, "edit": f"e{i}", "kind": "k", "score_mask": "mask.png", "truth": "c.mp4"}
        for i in range(rng.choice((1, 2, 3)))
    ]
    (folder / "l.yaml").write_bytes(mutate.yaml_bytes(rng, rows))
    for i in range(3):
        (folder / "ed" / "c").mkdir(parents=True, exist_ok=True)
        shutil.copy(base / "c.mp4", folder / "ed" / "c" / f"e{i}.mp4")
    argv = ["evaluate", "l.yaml", "--backbone", str(base / "tiny")]
    return [*argv, "--dry-run", *SCORE] if rng.random() < 0.6 else [*argv, "--do", "score", "--edits", "x=ed", *SCORE]


@kind(3)
def five_list(rng: Random, base: Path, folder: Path) -> list[str]:
    """A folder in FiVE-Bench's layout."""
    row = {
        "video_name": "v", "editing_type_id": 1, "source_prompt": "a [fox] runs", "target_prompt": "a [panda] runs",
        "save_dir": "1_a panda", "source_yes_no_question": "q", "target_yes_no_question": "q",
        "multiple_choice_question": "q",
    }  # fmt: skip
    for place in ("videos", "edit_prompt", "ed/v"):
        (folder / place).mkdir(parents=True)
    shutil.copytree(base / "frames", folder / "bmasks" / "v")
    shutil.copytree(base / "frames", folder / "images" / "v")
    shutil.copy(base / "c.mp4", folder / "videos" / "v.mp4")
    shutil.copy(base / "c.mp4", folder / "ed" / "v" / "edit1.mp4")
    (folder / "edit_prompt" / "edit1_FiVE.json").write_bytes(
        mutate.json_bytes(rng, [row, {**row, "target_prompt": "a cat"}])
    )
    argv = ["evaluate", ".", "--backbone", str(base / "tiny"), "--protocol", "five"]
    return [*argv, "--dry-run", *SCORE] if rng.random() < 0.7 else [*argv, "--do", "score", "--edits", "x=ed", *SCORE]


@kind(1)
def finished_jobs(rng: Random, base: Path, folder: Path) -> list[str]:
    """A folder of results that somebody else wrote, and an evaluation that goes on from it."""
    clip(base, folder)
    (folder / "l.yaml").write_text(yaml.safe_dump([{"clip": "c.mp4", **PROMPTS}]))
    place = folder / "o" / rng.choice((".jobs", ".jobs/a", "run.yaml", "table.csv", ".lock", "rows.jsonl"))
    if rng.random() < 0.5:
        place.parent.mkdir(parents=True)
        place.write_bytes(mutate.json_bytes(rng, {"id": "a"}))
    else:
        place.mkdir(parents=True)
    os.chmod(folder / "o", rng.choice((0o755, 0o555)))
    return ["evaluate", "l.yaml", "--do", "score", "--edits", "x=o", *SCORE]


WORDS = re.findall(
    r"\S+",
    "replace remove add make turn put change the a an fox panda with and to into in on of red blue night style "
    "background it video please instead , . ; & ' as from place more bit please keep swap for two dogs is looking like",
)


def sentence(rng: Random) -> str:
    """Words of instructions in any order, or a pattern many times."""
    how = rng.randrange(6)
    if how == 0:
        return " ".join(rng.choice(WORDS) for _ in range(rng.choice((2, 5, 12, 40, 400))))
    if how == 1:
        part = " ".join(rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3))))
        return f"{rng.choice(('', 'replace the fox with '))}{part} " + f"{part} " * rng.choice((5, 30, 300, 3000))
    if how == 2:
        return rng.choice(("replace the fox with a panda ", "add a car ", "remove it and ")) * rng.choice((3, 20, 200))
    if how == 3:
        return (
            "replace "
            + rng.choice(("the fox, ", "and ", "a ", "with ", "; ", "red-")) * rng.choice((10, 1000))
            + "with a panda"
        )
    if how == 4:
        return mutate.jumbled(rng, b"replace the fox with a panda").decode(errors="replace").replace("\0", "\\0")
    return "replace the fox with " + mutate.text(rng).replace("\0", "\\0")


@kind(6)
def instruction(rng: Random, base: Path, folder: Path) -> list[str]:
    """An instruction, and the caption that it is applied to."""
    caption = rng.choice(
        ("a fox runs", "a fox and a dog run over the grass", sentence(rng), mutate.text(rng).replace("\0", "\\0"))
    )
    given = [] if rng.random() < 0.3 else ["--source", caption]
    return edit(base, clip(base, folder), "--instruction", sentence(rng), *given, prompts=False)


@kind(2)
def prompts(rng: Random, base: Path, folder: Path) -> list[str]:
    """Prompts and words."""
    given = {
        key: mutate.text(rng) if rng.random() < 0.4 else sentence(rng) if rng.random() < 0.3 else PROMPTS[key]
        for key in PROMPTS
    }
    own = [text.replace("\0", "\\0") for key, value in given.items() for text in (f"--{key.replace('_', '-')}", value)]
    return edit(base, clip(base, folder), *own, prompts=False)


NAMES = (
    b"\xff\xfe.mp4", b"a\nb.mp4", b"-c.mp4", b"--help.mp4", b"a" * 251 + b".mp4", "é\u0301🦊.mp4".encode(), b" .mp4",
    b"a b'\"$(x).mp4",
    b"a:b.mp4", b"c.mp4\n", b"\x1b[31m.mp4", b"a=b.mp4", b"clip=c.mp4", b"%d.mp4", b"*.mp4", b"c.MP4", b".mp4",
    b"...mp4", b"c", b"c.yaml",
    b"x\xff/c.mp4", b"d\ne/c.mp4", b"fd:3.mp4", b"concat:a|b.mp4", b"pipe:0", b"\xe2\x80\xae4pm.mp4",
)  # fmt: skip


@kind(3)
def names(rng: Random, base: Path, folder: Path) -> list[str]:
    """Names of the clip, its mask, its edit's file and the folder of results."""
    name = rng.choice(NAMES)
    path = os.path.join(os.fsencode(folder), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(base / "c.mp4", path)
    how = rng.randrange(5)
    own = os.fsdecode(name)
    if how == 0:
        mask = os.fsencode(folder) + b"/" + name[:200].replace(b"/", b"") + b".png"
        shutil.copy(base / "mask.png", mask)
        return edit(base, clip(base, folder), "--user-mask=" + os.fsdecode(os.path.basename(mask)))
    if how == 1:
        (folder / "e.yaml").write_bytes(b'clip: "' + name + b'"\nsource: a fox\ntarget: a panda\n')
        return edit(base, "e.yaml", prompts=False)
    if how == 2:
        argv = edit(base, clip(base, folder))
        return [*argv[:-2], "--out=" + os.fsdecode(os.path.basename(name)[:200]) + "-o"]
    if how == 3:
        place = os.fsdecode(b"b-" + name[:90].replace(b"/", b""))
        shutil.copytree(base / "tiny", folder / place)
        return edit(base, clip(base, folder), backbone=place)
    argv = edit(base)
    return [*argv, "--", own] if own.startswith("-") else ["edit", own, *argv[1:]]


@kind(2)
def places(rng: Random, base: Path, folder: Path) -> list[str]:
    """Where the results go, and what lies there."""
    argv = edit(base, clip(base, folder))[:-2]
    out = folder / "o"
    how = rng.randrange(9)
    if how == 8:
        return [
            *argv,
            "--out",
            "o",
            f"runtime.cache={rng.choice(('c.mp4', 'c.mp4/x', 'x' * 300, 'o', '/proc/x', 'null'))}",
        ]
    if how == 0:
        out.write_text("a file")
    elif how == 1:
        out.mkdir()
        (out / rng.choice(("edit.mp4", "run.yaml", "other"))).write_text("mine")
    elif how == 2:
        (out / "edit.mp4").mkdir(parents=True)
        (out / "run.yaml").write_text("mine")
    elif how == 3:
        out.symlink_to(rng.choice(("o", "/nowhere/at/all", "/dev/null", "/proc", "/sys", ".")))
    elif how == 4:
        return [
            *argv,
            "--out",
            rng.choice(
                (
                    "c.mp4",
                    "c.mp4/x",
                    "o" * 300,
                    "\x1b[31m",
                    "${clip}",
                    "a=b",
                    "o/" * 2500 + "o",
                    "/proc/x",
                    "/dev/full",
                    "",
                    ".",
                )
            ),
        ]
    elif how == 5:
        os.mkfifo(out)
    elif how == 6:
        (out / "run.yaml").mkdir(parents=True)
    return [*argv, "--out", "o"]
