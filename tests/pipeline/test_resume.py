"""A killed edit goes on: the same bytes as an undisturbed one, whatever the mode and wherever it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from fields import ToyBackbone

import flowedit
from flowedit.config import compose
from flowedit.editors.spec import EditorSpec, ModeOptions
from flowedit.flow.solvers import heard
from flowedit.pipeline import generation, resume, run
from flowedit.pipeline.plan import brief
from flowedit.pipeline.steer import steer
from flowedit.types import Step

FAST = {
    "source": "a red square and a dot move",
    "target": "a blue panda and a cat move",
    "steps": 3,
    "strength": 1.0,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 2.0,
    "size": "48x32",
    "frames": 9,
    "cuts": "none",
    "window": "whole",
}
WORDS = {"source_words": "square", "target_words": "panda"}
FILES = ("edit.mp4", "compare.mp4", "mask.mp4", "mask_plain.mp4", "row_0.mp4", "row_1.mp4")


class Killed(BaseException):
    """What ends a run at once, as the machine's going down does."""


class Ear:
    def __init__(self):
        self.notices = []

    def phase(self, name, total): ...
    def advance(self, count=1): ...

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Every step is kept, not one in five seconds."""
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "SHARE", 0.0)


def killer(at, shot=1):
    def callback(step):
        if (step.index, step.shot) == (at, shot):
            raise Killed

    return callback


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def left(folder):
    """The hidden things beside a result and in it."""
    return sorted(path.name for place in (folder.parent, folder) for path in place.glob(".*"))


REGION = {"mode.region": True, "mode.region_refresh": 3, "mask.threshold": "quantile", "mask.pool": 0.0}
KINDS = {
    "draws": ({**WORDS, "draws": 2, "averaging": "differential", "averaging.baseline_size": 1}, [1]),
    "pieces": (
        {
            **WORDS,
            "mode.decoupling": 0.3,
            "mode.direction_aware": True,
            "mode.fixed_noise_steps": 1,
            "mode.target_only_steps": 1,
            "mask.preserve": True,
            "mask.smooth_steps": 0.5,
        },
        [1, 2],
    ),
    "inversion": ({**WORDS, "mode": "inversion", "mode.reconstruction": True}, [1, 2, 4, 7]),
    "heun": ({**WORDS, "mode": "inversion", "mode.solver": "heun"}, [1, 3]),
    "fireflow": ({**WORDS, "mode": "inversion", "mode.solver": "fireflow"}, [0, 2, 4]),
    "splitflow": ({"mode": "splitflow", "target_parts": ["a blue panda", "a cat"], "mode.split_steps": 2}, [0, 1]),
    "flowdc": ({"mode": "flowdc", "target_parts": ["a blue panda"], "mode.side_by_side_steps": 2}, [0, 1]),
    "dynaedit": ({"mode": "dynaedit", "mode.select_steps": 1}, [0, 1]),
    "sam_flow": ({**WORDS, "mode": "sam_flow", "draws": 1, "mask.threshold": "quantile"}, [0, 1]),
    "flowopt": ({"mode": "flowopt", "mode.iterations": 1}, [1, 2, 5, 7]),
    "noise": ({**WORDS, "mode": "random_noise", "mode.solver": "midpoint"}, [1]),
    "windows": ({**WORDS, "mode": "inversion", "frames": 12, "window": 5, "steps": 2}, [0, 2]),
    "objects": (
        {
            "source_words": "square, dot",
            "target_words": "panda, cat",
            "object_guidance_scales": [2.0, 3.0],
            "mask.threshold": "otsu",
        },
        [1],
    ),
    "region": ({**WORDS, **REGION}, [0, 1]),
    "region of a window": ({**WORDS, **REGION, "frames": 12, "window": 5}, [1]),
    "attention": ({**WORDS, "attention": "structure", "attention.word_weight": 2.0}, [1]),
    "no mask": ({}, [0]),
    "difference": ({"mask": "difference", "mask.threshold": "quantile"}, [0, 1]),
    "difference told": (
        {"mode": "inversion", "mask": "difference", "mask.threshold": "quantile", "mode.solver": "uni_inv"},
        [1, 2, 3, 4],
    ),
    "both, in a region": ({**WORDS, **REGION, "mask": "both"}, [1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_that_was_killed_between_steps_goes_on_to_the_same_bytes(editor, clip_file, tmp_path, kind):
    options, places = KINDS[kind]
    whole = editor.edit(clip_file, out=tmp_path / "whole", **options)
    for at in places:
        out = tmp_path / f"killed-{at}"
        with pytest.raises(Killed):
            editor.edit(clip_file, out=out, callback=killer(at), **options)
        assert not out.exists()
        assert len(left(out)) == 1
        ear, before, seen = Ear(), editor.backbone.evaluations, []
        done = editor.edit(
            clip_file, out=out, monitor=ear, callback=lambda step, seen=seen: seen.append(step.index), **options
        )
        assert any("goes on where it stopped" in text for text in ear.notices)
        passes = {"inversion": 3, "heun": 2, "fireflow": 2, "windows": 2, "flowopt": 3, "difference told": 2}.get(
            kind, 1
        )
        assert seen == list(range(at + 1, passes * options.get("steps", 3)))
        assert bytes_of(done.folder) == bytes_of(whole.folder)
        assert torch.equal(done.latents, whole.latents)
        for name in ("network_evaluations", "token_evaluations"):
            assert done.run[name] == whole.run[name]
        assert editor.backbone.evaluations - before < whole.run["network_evaluations"]
        assert left(out) == []


@pytest.mark.parametrize("at", range(5))
def test_what_an_editor_remembers_comes_back_with_its_step(tmp_path, at):
    """Momentum: each step goes along the mean of its velocity and the one before, which is no function of the state."""

    def momentum(inputs, options):
        z, target, memory = inputs.x_src, inputs.velocities["target"], inputs.memory
        for i, (t, t_next) in enumerate(pairwise(inputs.grid)):
            u = target(z, t)
            z = z + (t_next - t) * (u + memory.get("last", u)) / 2
            memory["last"] = u
            z = heard(inputs.callback, Step(i, len(inputs.grid) - 1, t, z, lambda: None, t_next))
        return z

    options = EditorSpec("momentum", ModeOptions, momentum, sides=("target",), recalls=lambda options, steps: ())
    settings = compose.compose({"source": "a fox", "target": "a panda", "mode": "random_noise", "mask": "none"})
    made = replace(brief(settings), editor=options)
    x, grid = torch.randn((1, 3, 2, 4, 4), generator=torch.Generator().manual_seed(0)), (1.0, 0.9, 0.6, 0.4, 0.1, 0.0)

    def run_in(folder, callback=None):
        backbone, journal = ToyBackbone(), resume.Journal(folder)
        session = run.Session(backbone.device, callback=callback)
        return steer(made, backbone, x, grid, ((0, 2),), slice(None), session, journal=journal)

    whole = run_in(None)
    with pytest.raises(Killed):
        run_in(tmp_path, killer(at))
    seen = []
    done = run_in(tmp_path, lambda step: seen.append(step.index))
    assert seen == list(range(at + 1, 5))
    assert torch.equal(done.z, whole.z)
    assert done.evaluations == whole.evaluations == 2 * 5


def test_shots_that_are_done_are_not_edited_again(editor, clip_file, tmp_path):
    options = {**WORDS, "frames": 12, "cuts": [6]}
    whole = editor.edit(clip_file, out=tmp_path / "whole", **options)
    out = tmp_path / "o"
    for at, shot in ((0, 1), (1, 2)):  # killed twice
        with pytest.raises(Killed):
            editor.edit(clip_file, out=out, callback=killer(at, shot), **options)
    seen = []
    done = editor.edit(clip_file, out=out, callback=lambda step: seen.append((step.shot, step.index)), **options)
    assert seen == [(2, 2)]
    assert bytes_of(done.folder) == bytes_of(whole.folder)
    assert left(out) == []


@pytest.mark.parametrize("place", ["encode", "decode"])
def test_an_edit_that_was_killed_beside_its_steps_goes_on(editor, clip_file, tmp_path, monkeypatch, place):
    options, out, backbone = {**WORDS, "frames": 12, "cuts": [6]}, tmp_path / "o", editor.backbone
    whole = editor.edit(clip_file, out=tmp_path / "whole", **options)
    calls, inner = [], getattr(backbone, place)

    def killed(*args):
        calls.append(place)
        if len(calls) == 2:
            raise Killed
        return inner(*args)

    monkeypatch.setattr(backbone, place, killed)
    with pytest.raises(Killed):
        editor.edit(clip_file, out=out, **options)
    before = backbone.evaluations
    done = editor.edit(clip_file, out=out, **options)
    # One shot was encoded already; or both were edited already.
    assert len(calls) == (3 if place == "encode" else 4)
    assert (backbone.evaluations == before) == (place == "decode")
    assert bytes_of(done.folder) == bytes_of(whole.folder)
    assert left(out) == []


def test_memory_that_runs_out_while_decoding_costs_no_edit_and_the_message_says_so(
    editor, clip_file, tmp_path, monkeypatch
):
    whole = editor.edit(clip_file, out=tmp_path / "whole", **WORDS)
    backbone, inner, out = editor.backbone, editor.backbone.decode, tmp_path / "o"

    def short(z):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.50 GiB")
        yield

    monkeypatch.setattr(backbone, "decode", lambda z: short(z))
    with pytest.raises(flowedit.OutOfMemoryError, match=r"'decode and write'.* is kept in .*the same command goes on"):
        editor.edit(clip_file, out=out, **WORDS)
    monkeypatch.setattr(backbone, "decode", inner)
    monkeypatch.setattr(backbone, "encode", lambda *args: pytest.fail("encoded again"))
    before = backbone.evaluations
    done = editor.edit(clip_file, out=out, **WORDS)
    assert backbone.evaluations == before
    assert bytes_of(done.folder) == bytes_of(whole.folder)
    assert left(out) == []


def test_an_edit_that_ran_out_of_memory_goes_on_under_another_preset(backbone_2b, clip_file, tmp_path):
    def loaded(preset):
        return flowedit.load(backbone_2b, **{"runtime.device": "cpu", "runtime": preset}, **FAST, **WORDS)

    whole = loaded("gpu_24gb").edit(clip_file, out=tmp_path / "whole")
    short, calls = loaded("gpu_8gb"), []
    network, inner = short.backbone.components.transformer, short.backbone.components.transformer.forward

    def forward(*args, **kwargs):
        calls.append(args)
        if len(calls) == 6:  # of three rows a step
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(*args, **kwargs)

    network.forward = forward
    with pytest.raises(flowedit.OutOfMemoryError, match=r"'edit'.*\(runtime=\), the same command goes on"):
        short.edit(clip_file, out=tmp_path / "o")
    other = loaded("gpu_24gb")
    other.backbone.encode = lambda *args: pytest.fail("encoded again")
    done = other.edit(clip_file, out=tmp_path / "o")
    assert other.backbone.evaluations == 2 * 3  # the first step is not taken again
    assert any("was not finished" in text for text in done.notices)
    change = (whole.latents - whole.source_latents).norm()
    assert (done.latents - whole.latents).norm() < 1e-3 * change
    assert left(tmp_path / "o") == []


def test_memory_that_runs_out_before_anything_is_kept_promises_nothing(editor, clip_file, tmp_path, monkeypatch):
    def short(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(editor.backbone, "encode", short)
    with pytest.raises(flowedit.OutOfMemoryError) as caught:
        editor.edit(clip_file, out=tmp_path / "o", **WORDS)
    assert "kept" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["step", "decode"])
def test_a_clip_from_text_goes_on_too(editor, backbone_2b, tmp_path, monkeypatch, place):
    backbone, places = editor.backbone, {"out": str(tmp_path / "o")}
    made = {"backbone": str(backbone_2b), "target": "a fox", "size": "48x32", "frames": 5, "steps": 3}
    asked = flowedit.pipeline.api.generation(made | places)
    whole = generation.generate_clip(
        flowedit.pipeline.api.generation(made | {"out": str(tmp_path / "whole")}), backbone
    )

    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        if place == "decode":
            patch.setattr(generation, "write_clip", short)
        error = Killed if place == "step" else flowedit.OutOfMemoryError
        with pytest.raises(error, match=None if place == "step" else "the same command goes on"):
            generation.generate_clip(
                asked, backbone, run.Session(backbone.device, callback=killer(1) if place == "step" else None)
            )
    assert not (tmp_path / "o").exists()
    seen = []
    done = generation.generate_clip(
        asked, backbone, run.Session(backbone.device, callback=lambda step: seen.append(step.index))
    )
    assert seen == ([2] if place == "step" else [])
    assert done.video.read_bytes() == whole.video.read_bytes()
    assert done.run["network_evaluations"] == whole.run["network_evaluations"]
    assert sorted(os.listdir(tmp_path)) == ["o", "whole"]


OTHERS = {
    "seed": {"seed": 1},
    "steps": {"steps": 4},
    "a word": {"target_words": "blue"},
    "mask.decay": {"mask.decay": 3.0},
    "composite": {"composite": False},
    "frames": {"frames": 5},
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_settings_take_no_foreign_state_and_say_which_differ(editor, clip_file, tmp_path, other):
    out, changed = tmp_path / "o", {**WORDS, **OTHERS[other]}
    with pytest.raises(Killed):
        editor.edit(clip_file, out=out, callback=killer(1), **WORDS)
    ear, seen = Ear(), []
    editor.edit(clip_file, out=out, monitor=ear, callback=lambda step: seen.append(step.index), **changed)
    assert seen[0] == 0
    (name,) = OTHERS[other]
    assert any(f"differs in {name}: its state is not used" in text for text in ear.notices), ear.notices
    assert left(out) == []  # the result is another edit's now


def test_another_clip_or_mask_of_the_same_name_takes_no_foreign_state(editor, clip_file, tmp_path):
    clip, mask, out = tmp_path / "clip.mp4", tmp_path / "m.png", tmp_path / "o"
    shutil.copy(clip_file, clip)

    def paint(value):
        cv2.imwrite(str(mask), np.full((64, 96), value, np.uint8))

    def first_step():
        seen = []
        with pytest.raises(Killed):
            editor.edit(clip, out=out, user_mask=mask, callback=lambda step: seen.append(step.index) or killer(1)(step))
        return seen[0]

    paint(255)
    assert first_step() == 0
    paint(200)
    assert first_step() == 0
    with clip.open("ab") as file:
        file.write(b"\0\0\0\x08free")  # a box that says nothing: the same pictures in other bytes
    assert first_step() == 0
    paint(255)
    shutil.copy(clip_file, clip)
    seen = []
    editor.edit(clip, out=out, user_mask=mask, callback=lambda step: seen.append(step.index))
    assert seen[0] == 2
    assert left(out) == []


def kept_files(out):
    (folder,) = [path for place in (out.parent, out) for path in place.glob(".*.unfinished")]
    return {path.name: path for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("what", "damage"), [("step", "cut"), ("step", "flipped"), ("step-00000", "empty"), ("encoded", "other")]
)
def test_a_damaged_state_is_set_aside_with_a_notice(editor, clip_file, tmp_path, what, damage):
    options, out = {**WORDS, "mode": "inversion"}, tmp_path / "o"
    whole = editor.edit(clip_file, out=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        editor.edit(clip_file, out=out, callback=killer(4), **options)
    file = kept_files(out)[f"shot-001-{what}.safetensors"]
    data = file.read_bytes()
    spoilt = {
        "cut": data[: len(data) // 2],
        "flipped": data[:-7] + bytes([data[-7] ^ 64]) + data[-6:],
        "empty": b"",
        "other": b"not a state",
    }
    file.write_bytes(spoilt[damage])
    ear = Ear()
    done = editor.edit(clip_file, out=out, monitor=ear, **options)
    assert any("is damaged and set aside" in text for text in ear.notices)
    assert bytes_of(done.folder) == bytes_of(whole.folder)
    assert left(out) == []


def test_a_state_that_cannot_be_written_costs_no_edit(editor, clip_file, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "save_file", full)
    ear = Ear()
    editor.edit(clip_file, out=tmp_path / "o", monitor=ear, **WORDS)
    assert sum("cannot be kept" in text for text in ear.notices) == 1
    assert left(tmp_path / "o") == []


def test_what_would_fail_again_or_was_cancelled_leaves_nothing(editor, clip_file, tmp_path):
    def wrong(step):
        raise flowedit.InputError("not this")

    with pytest.raises(flowedit.InputError):
        editor.edit(clip_file, out=tmp_path / "o", callback=wrong, **WORDS)
    assert list(tmp_path.iterdir()) == []


def test_an_edit_that_its_callback_stopped_is_done(editor, clip_file, tmp_path):
    editor.edit(clip_file, out=tmp_path / "o", callback=lambda step: step.index == 1, **WORDS)
    assert left(tmp_path / "o") == []


def test_it_goes_on_in_a_folder_that_is_there_and_without_out(editor, clip_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o").mkdir()
    for out in (tmp_path / "o", None):
        with pytest.raises(Killed):
            editor.edit(clip_file, out=out, callback=killer(1), **WORDS)
        seen = []
        done = editor.edit(clip_file, out=out, callback=lambda step, seen=seen: seen.append(step.index), **WORDS)
        assert seen == [2]
        assert left(done.folder) == []


def test_a_run_beside_another_of_the_same_edit_keeps_nothing_and_takes_nothing(
    editor, backbone_2b, clip_file, tmp_path
):
    out, inner, second = tmp_path / "o", [], flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)

    def beside(step):
        if step.index == 1 and not inner:
            inner.append(second.edit(clip_file, out=out, **WORDS).video.read_bytes())

    outer = editor.edit(clip_file, out=out, callback=beside, **WORDS)
    assert outer.video.read_bytes() == inner[0]
    assert left(out) == []


def test_jobs_of_a_comparison_keep_nothing(editor, clip_file, tmp_path):
    settings = flowedit.pipeline.api.settings_of({**editor._options, "clip": clip_file, **WORDS})
    session = run.Session(editor.backbone.device, callback=killer(1))
    with pytest.raises(Killed):
        run.edit_clip(settings, editor.backbone, session, out=tmp_path / "o", keep=False)
    assert list(tmp_path.iterdir()) == []


def test_a_state_is_kept_at_most_every_few_seconds(tmp_path, monkeypatch):
    """And the more it costs, the less often: a save that took 2 s comes at most every 100."""
    clock = [0.0]
    monkeypatch.setattr(resume.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(resume, "SECONDS", 5.0)
    monkeypatch.setattr(resume, "SHARE", 50.0)
    journal, saved = resume.Journal(tmp_path), []

    def save(name, tensors, **facts):
        saved.append(clock[0])
        clock[0] += 2.0

    monkeypatch.setattr(journal, "save", save)
    steps = resume.Steps(journal, 1, ())
    for index in range(300):
        clock[0] += 1.0
        steps.took(Step(index, 300, 0.5, torch.zeros(1), lambda: None))
    assert saved[0] == 5.0
    assert np.diff(saved).min() >= 100


def test_a_callback_may_give_the_state_that_an_editor_goes_on_with():
    step = Step(0, 1, 1.0, torch.zeros(2), lambda: None)
    assert heard(None, step) is step.z
    assert heard(lambda step: None, step) is step.z
    assert heard(lambda step: torch.ones(2), step).tolist() == [1, 1]


SCRIPT = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
import flowedit
from flowedit.cli import main
from flowedit.pipeline import generation, resume, run

place, kill, argv = sys.argv[1], getattr(signal, sys.argv[2]), json.loads(sys.argv[3])
resume.SECONDS = resume.SHARE = 0.0

def die(*args, **named):
    os.kill(os.getpid(), kill)
    if place == "step":
        return None

if place == "encode":
    run.encode = die
elif place == "decode":
    run.write_edit = die
else:
    took = resume.Steps.took
    def killed(self, step):
        took(self, step)
        if step.index == 1:
            die()
    resume.Steps.took = killed
sys.exit(main.main(argv))
"""


@pytest.mark.parametrize(
    ("place", "kill"),
    [
        ("step", "SIGKILL"),
        ("step", "SIGINT"),
        *(pytest.param(place, "SIGKILL", marks=pytest.mark.full) for place in ("encode", "decode")),
    ],
)
def test_the_same_command_goes_on_after_a_kill(command, clip_file, backbone_2b, tmp_path, place, kill):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in {**FAST, **WORDS}.items()]
    out = tmp_path / "o"
    argv = ["edit", str(clip_file), *flags, "--backbone", str(backbone_2b), "--out", str(out), "--quiet"]
    argv += ["runtime.device=cpu", "runtime.threads=1"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, place, kill, json.dumps(argv)], capture_output=True, text=True, cwd=tmp_path
    )
    if kill == "SIGKILL":
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        assert done.returncode == 1
        assert "the same command goes on" in done.stderr
    assert not out.exists()
    code, _, err = command(*argv)
    assert code == 0, err
    assert ("goes on where it stopped" in err) == (place != "encode")
    assert left(out) == []
    again = [str(tmp_path / "whole") if each == str(out) else each for each in argv]
    assert command(*again)[0] == 0
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["o", "whole"]


def test_where_nothing_is_kept_no_step_waits_or_holds_its_state(monkeypatch):
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    steps = resume.Steps(resume.Journal(), 0, range(3))
    steps.took(Step(0, 3, 1.0, torch.zeros(1), lambda: pytest.fail("waited for the device"), 0.5))
    assert not steps._unsaved
