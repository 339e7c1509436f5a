"""Every command that the documents and the help show is run, and its result is right where the truth is known."""

import re
import shlex
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from conftest import write_clip
from test_documents import DOCUMENTS, FENCE, ROOT, commands
from verdicts import shown, source_of, spec_of

from flowedit.cli import main
from flowedit.config import compose
from flowedit.pipeline import run

pytestmark = pytest.mark.slow

HOLLOW = (
    "...", "CLIP", "DATASET", "FiVE-Bench/", "--engine ray", "my_flowedit", "nudge", "--help",
    "attention=sage", "cuda:1", "--log ", "--lora ", ".gguf",
)  # fmt: skip
"""What marks a line that is a form to fill in, or needs what a test has not: it is read, and not run."""

STAND_INS = ("clip.mp4", "dog_mask.mp4", "long.mp4")

SEVERAL = re.compile(r"--(seed|strength) \S+,")
"""Several seeds or strengths: a sweep, which leaves a folder for each."""

SMALL = ("steps=4", "--size", "48x32", "--frames", "5")
"""What makes a command for a full-size model short."""


def lines() -> list[str]:
    """Every distinct command line that is shown, whole, without its comment."""
    texts = [line for path in DOCUMENTS for line in filled_in(commands(path.read_text(encoding="utf-8")))]
    texts += [line.strip("# ") for path in (ROOT / "examples").glob("*.yaml") for line in path.read_text().splitlines()]
    for path in (ROOT / "flowedit" / "cli").glob("*.py"):
        texts += [
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("  flowedit ")
        ]
    split = [" ".join(map(shlex.quote, shlex.split(text, comments=True))) for text in texts if "flowedit " in text]
    whole = [text for text in split if re.match(rf"flowedit ({'|'.join(main.COMMANDS)})( |$)", text)]
    return sorted({text for text in whole if len(text.split()) > 2 or text == "flowedit list"})


def filled_in(found: list[str]) -> list[str]:
    """Lines with the shell's variables, V="...", that stand before them put in."""
    values: dict[str, str] = {}
    made = []
    for line in found:
        if given := re.fullmatch(r'([A-Z])="(.*)"', line.strip()):
            values[given[1]] = _put_in(given[2], values)
        made.append(_put_in(line, values))
    return made


def _put_in(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return text


LINES = lines()
RUN = [line for line in LINES if not any(mark in line for mark in HOLLOW)]


def test_the_lines_are_found():
    assert len(LINES) > 50
    assert len(RUN) > 35
    assert "flowedit edit --example fox" in RUN
    assert any(line.startswith("flowedit bench") for line in RUN)


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read(line):
    words = shlex.split(line)[1:]
    if "--help" not in words:
        assert main._parse([word for word in words if word != "..."]).run is not None


class Planned(Exception):
    """A bench got as far as its scenes."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, backbone_2b):
    """`run.load_backbone`, each model once; every full-size one is a small random network."""
    real, small = run.load_backbone, compose.compose({"backbone": str(backbone_2b), "runtime.device": "cpu"}).backbone

    @cache
    def load(backbone, runtime):
        chosen = backbone if backbone.packaged is not None else small
        return real(replace(compose.compose({}), backbone=chosen, runtime=replace(runtime, device="cpu")))

    return lambda settings, _=None: load(settings.backbone, settings.runtime)


@pytest.fixture
def place(tmp_path, monkeypatch, loaded, backbone_2b):
    """A folder as a reader has it: the examples, and clips under the names that the documents use."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "DIR").symlink_to(backbone_2b)
    for name in STAND_INS:
        write_clip(tmp_path / name)
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", loaded)
    monkeypatch.setattr("flowedit.evaluation.engine.pools.cores", lambda: 1)
    return tmp_path


def shortened(words: list[str]) -> list[str]:
    """The words of a line with what makes it take seconds, and leaves what it claims."""
    command, line = words[0], " ".join(words)
    stands_in = "--backbone" in words or any(name in line for name in STAND_INS)
    if command in ("edit", "generate", "inspect") and stands_in:
        return [*words, *SMALL]
    if command == "edit" and SEVERAL.search(line):
        return [*words, "steps=2"]
    if command == "compare":
        if "--example" in words:  # another line compares all
            words = ["inversion_free,inversion" if word == "all" else word for word in words]
        words = ["16" if word == "48" else word for word in words]  # network evaluations, of all methods
        return [*words, "steps=4", "--frames", "5", "--metrics", "psnr"]
    if command == "evaluate" and "--dry-run" not in words:
        return [*words, "steps=2", "--metrics", "psnr", "--workers", "1", "--scenes", "1", "--kinds", "replace"]
    return words


@pytest.mark.parametrize("line", RUN)
def test_a_line_runs_and_is_right(line, place, command, monkeypatch):
    words = shlex.split(line)[1:]
    if words[0] == "bench":
        return _reaches_its_scenes(words, command, monkeypatch)
    if words[0] in ("app", "serve"):
        return _answers(words, command, monkeypatch)
    if "--caption" in words:
        monkeypatch.setattr("flowedit.pipeline.prompts.instruction._caption", lambda *_: "a dog runs in a field")
    code, out, err = command(*shortened(words))
    assert code == 0, err
    if SEVERAL.search(line):  # several edits: their table is printed, and each has its folder
        return _leaves_each(place)
    if words[0] == "edit":
        _is_right(place / out.strip())
    return None


def _leaves_each(place):
    left = sorted(place.glob("outputs/fox/*/*/edit.mp4"))
    assert len(left) > 1
    for path in left:
        assert path.parent.name.startswith("seed-")


def _reaches_its_scenes(words, command, monkeypatch):
    """A bench of many scenes takes minutes: its methods are made and checked, and the scenes are left out."""

    def stop(chosen, *_):
        assert chosen
        raise Planned("as far as the scenes")

    monkeypatch.setattr("flowedit.evaluation.bench.run.scene_jobs", stop)
    code, _, err = command(*words)
    assert (code, "Planned: as far as the scenes" in err) == (1, True), err


def _answers(words, command, monkeypatch):
    """A studio runs until somebody ends it: here as soon as it has answered."""
    uvicorn, httpx = pytest.importorskip("uvicorn"), pytest.importorskip("httpx")
    answers, started = [], uvicorn.Server.startup

    async def startup(self, sockets):
        await started(self, sockets)
        port = sockets[0].getsockname()[1]

        def ask():
            try:
                answers.append(httpx.get(f"http://127.0.0.1:{port}/api/limits", timeout=60).json()["local"])
            finally:
                self.should_exit = True

        threading.Thread(target=ask, daemon=True).start()

    monkeypatch.setattr("uvicorn.Server.startup", startup)
    code, out, err = command(*words, "--port", "0")
    assert (code, answers) == (0, [True]), err
    assert "http://127.0.0.1:" in out


def _is_right(video: Path) -> None:
    """An edit of an example on pocket shows the scene that its target describes."""
    told = yaml.safe_load((video.parent / "run.yaml").read_text(encoding="utf-8"))
    settings, clip = told["settings"], Path(told["clip"]["file"]).stem
    rows = settings["mode"]["name"] == "flowopt"  # whose last result is the one nearest to the clip
    if told["backbone"]["name"] != "pocket" or clip not in ("fox", "two", "koala") or rows:
        return
    source = source_of(clip)
    target = spec_of(settings["target"], source)
    assert target.caption == settings["target"]
    found, ahead = shown(video, source, target)
    if ahead < 1.1:  # sizes that look alike: the objects count
        found = found.replace("tiny ", "").replace("huge ", "")
    assert found == target.caption, f"it shows {found!r}, {ahead:.2f} times nearer than the next"


def test_the_verdict_knows_an_edit_that_failed(place, command):
    """The source itself is no edit, and an edit of too little strength is none either."""
    _, out, _ = command("edit", "--example", "fox", "--strength", "0")
    with pytest.raises(AssertionError, match="it shows 'a fox moves right"):
        _is_right(place / out.strip())


BLOCKS = [
    (path.relative_to(ROOT).as_posix(), block)
    for path in DOCUMENTS
    for kind, block in FENCE.findall(path.read_text(encoding="utf-8"))
    if kind == "python" and block.startswith("import flowedit")
]


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_a_block_of_python_runs(name, block, place, monkeypatch):
    short = {"steps": 2}

    def composed(flags=None, overrides=()):
        return real({**(flags or {}), **short}, overrides)

    real = compose.compose
    monkeypatch.setattr("flowedit.pipeline.api.compose", composed)
    monkeypatch.setattr("flowedit.evaluation.methods.compose", composed)
    exec(compile(block, name, "exec"), {})
    assert list((place / "outputs").rglob("run.yaml"))


def test_there_are_blocks_of_python():
    assert {name for name, _ in BLOCKS} == {"README.md", "flowedit/pipeline/README.md"}
    assert torch.get_num_threads() == 1
