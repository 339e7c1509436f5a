"""What is kept of the steps: their tensors, contact sheets, loggers; with kills, shots and without files."""

import importlib.util
import json
import math
import platform
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import flowedit
from flowedit.pipeline import resume
from flowedit.pipeline.logs import loggers
from flowedit.pipeline.logs.asked import check
from flowedit.pipeline.logs.watcher import ROWS, shown

FAST = {
    "source": "a red square and a dot move",
    "target": "a blue panda and a cat move",
    "source_words": "square",
    "target_words": "panda",
    "steps": 4,
    "strength": 1.0,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 2.0,
    "size": "48x32",
    "frames": 9,
    "cuts": "none",
    "window": "whole",
}


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


class Memory:
    """A logger that remembers what it is told."""

    made: ClassVar[list] = []

    def __init__(self, folder, name, run):
        self.name, self.run, self.rows, self.pictures, self.summary = name, run, [], {}, None
        folder.mkdir()
        (folder / "log").write_text(name)
        Memory.made.append(self)

    def numbers(self, values, step):
        self.rows.append((step, dict(values)))

    def picture(self, name, picture):
        self.pictures[name] = picture

    def end(self, summary):
        self.summary = dict(summary)


@pytest.fixture
def _memory(monkeypatch):
    """`log=tensorboard` is a logger of ours, as if its package were there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("flowedit.pipeline.logs.asked.WAYS_IN", {"tensorboard": "json"})
    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", Memory)
    Memory.made.clear()


def files(folder):
    return sorted(path.name for path in (folder / "edit_steps").iterdir())


def test_each_step_leaves_what_a_callback_hears(editor, clip_file, tmp_path):
    heard = []
    done = editor.edit(clip_file, save=["steps", "maps"], out=tmp_path / "o", callback=lambda step: heard.append(step))
    assert files(done.folder) == [f"shot-001-step-{k:04}.safetensors" for k in range(4)]
    for step in heard:
        path = done.folder / "edit_steps" / f"shot-001-step-{step.index:04}.safetensors"
        kept = load_file(path)
        assert torch.equal(kept["z"], step.z)
        assert torch.equal(kept["mask"], step.mask)
        assert torch.equal(kept["u_source"], step.velocities["source"])
        assert torch.equal(kept["u_target"], step.velocities["target"])
        assert torch.equal(kept["maps_source"], step.maps["source"])
        assert kept["maps_target"].shape == (1, 1, *step.mask.shape[2:])
        with safe_open(path, "pt") as file:
            assert json.loads(file.metadata()["step"])["t"] == pytest.approx(step.t)
    assert torch.equal(heard[-1].z, done.latents)


def test_saving_changes_no_bit_of_the_edit(editor, clip_file, tmp_path):
    plain = editor.edit(clip_file, out=tmp_path / "plain")
    saved = editor.edit(clip_file, save="steps,maps,sheet", out=tmp_path / "saved")
    assert torch.equal(plain.latents, saved.latents)
    assert (plain.folder / "edit.mp4").read_bytes() == (saved.folder / "edit.mp4").read_bytes()
    assert not (plain.folder / "edit_steps").exists()


def test_maps_and_steps_can_be_had_alone(editor, clip_file, tmp_path):
    maps = editor.edit(clip_file, save="maps", mask="both", out=tmp_path / "maps").folder
    kept = load_file(maps / "edit_steps" / "shot-001-step-0000.safetensors")
    assert set(kept) == {"maps_source", "maps_target", "maps_difference"}
    steps = editor.edit(clip_file, save="steps", mask="none", out=tmp_path / "steps").folder
    assert set(load_file(steps / "edit_steps" / "shot-001-step-0000.safetensors")) == {"z", "u_source", "u_target"}


def test_the_contact_sheet_has_the_source_some_steps_and_the_edit(editor, clip_file, tmp_path):
    done = editor.edit(clip_file, save="sheet", out=tmp_path / "o")
    assert files(done.folder) == ["shot-001.png"]
    sheet = cv2.imread(str(done.folder / "edit_steps" / "shot-001.png"))
    assert sheet.shape[0] >= (2 + 4) * 128  # 48x32 four times as large
    assert sheet.shape[1] == 5 * 192
    rows = np.array_split(sheet.astype(float), 6)
    assert np.abs(rows[0] - rows[-1][: len(rows[0])]).mean() > 1


def test_a_sheet_shows_the_first_step_the_last_and_some_between():
    assert shown(4) == {0, 1, 2, 3}
    assert len(shown(50)) == ROWS
    assert {0, 49} <= shown(50)
    assert shown(1) == {0}


class Killed(BaseException):
    """What ends a run at once."""


def killer(at):
    def callback(step):
        if step.index == at:
            raise Killed

    return callback


@pytest.mark.usefixtures("_memory")
def test_a_killed_edit_keeps_the_steps_that_it_saved(editor, clip_file, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "SHARE", 0.0)
    options = {"save": "steps,sheet", "log": "tensorboard"}
    whole = editor.edit(clip_file, out=tmp_path / "whole", **options)
    out = tmp_path / "killed"
    with pytest.raises(Killed):
        editor.edit(clip_file, out=out, callback=killer(2), **options)
    assert not out.exists()
    done = editor.edit(clip_file, out=out, **options)
    assert files(done.folder) == files(whole.folder)
    for name in files(whole.folder):
        assert (done.folder / "edit_steps" / name).read_bytes() == (whole.folder / "edit_steps" / name).read_bytes()
    first, second = Memory.made
    assert first.rows == second.rows
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.usefixtures("_memory")
def test_a_logger_hears_every_step_the_sheet_and_the_costs(editor, clip_file, tmp_path):
    done = editor.edit(clip_file, log=["tensorboard"], save="sheet", out=tmp_path / "o")
    (logger,) = Memory.made
    assert [step for step, _ in logger.rows] == [0, 1, 2, 3]
    for _, row in logger.rows:
        assert set(row) == {f"shot 1/{name}" for name in ("t", "change", "velocity_difference", "mask")}
        assert all(math.isfinite(value) for value in row.values())
    changes = [row["shot 1/change"] for _, row in logger.rows]
    last = (done.latents - done.source_latents).square().mean().sqrt()
    assert changes[-1] == pytest.approx(float(last), rel=1e-5)
    assert set(logger.pictures) == {"shot-001.png"}
    assert logger.summary["network_evaluations"] == done.run["network_evaluations"]
    assert logger.name == "clip inversion_free"
    assert (done.folder / "edit_logs" / "log").exists()
    again = editor.edit(clip_file, out=tmp_path / "o")  # an earlier run's folders go
    assert not (again.folder / "edit_logs").exists()
    assert not (again.folder / "edit_steps").exists()


@pytest.mark.usefixtures("_memory")
def test_a_logger_that_fails_leaves_no_half_of_a_result(editor, clip_file, tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "end", lambda self, summary: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        editor.edit(clip_file, log="tensorboard", out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_shots_have_files_and_sheets_of_their_own(editor, clip_file, tmp_path):
    done = editor.edit(clip_file, save="steps,sheet", frames=12, cuts=[6], steps=2, out=tmp_path / "o")
    steps = [f"shot-{shot:03}-step-{k:04}.safetensors" for shot in (1, 2) for k in range(2)]
    assert files(done.folder) == sorted([*steps, "shot-001.png", "shot-002.png"])


@pytest.mark.parametrize("mode", ["inversion", "random_noise"])
def test_other_modes_save_their_steps_too(editor, clip_file, tmp_path, mode):
    done = editor.edit(clip_file, save="steps,sheet", mode=mode, steps=2, out=tmp_path / "o")
    assert len(files(done.folder)) == {"inversion": 5, "random_noise": 3}[mode]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"save": "step"}, "save 'step' is not one of steps, maps, sheet; did you mean 'steps'"),
        ({"log": "tensorbord"}, "log 'tensorbord' is not one of tensorboard, wandb, wandb_online"),
        ({"log": "wandb"}, r'log=wandb needs wandb, which is not installed: pip install "flowedit\[wandb\]"'),
        ({"log": "tensorboard"}, r'needs tensorboard, which is not installed: pip install "flowedit\[tensorboard\]"'),
    ],
)
def test_what_cannot_be_kept_is_refused_before_a_model_loads(monkeypatch, clip_file, options, said):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(flowedit.Error, match=said):
        flowedit.edit(clip_file, source="a", target="b", backbone="cogvideox-2b", **options)


def test_a_package_that_is_broken_is_told_before_the_edit(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("flowedit.pipeline.logs.asked.WAYS_IN", {"wandb": "no_such_package"})
    from flowedit.config.compose import compose

    with pytest.raises(flowedit.Error, match="wandb cannot be imported"):
        check(compose({"log": "wandb"}))


def test_frames_in_memory_have_no_folder_to_save_in(editor):
    with pytest.raises(flowedit.Error, match=r"save: frames in memory have no file"):
        editor.edit_frames(np.zeros((5, 64, 96, 3), np.uint8), save="steps")


def test_tensorboard_itself_reads_what_is_written(editor, clip_file, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = editor.edit(clip_file, log="tensorboard", save="sheet", out=tmp_path / "o")
    events = EventAccumulator(str(done.folder / "edit_logs" / "tensorboard")).Reload()
    assert len(events.Scalars("shot 1/change")) == 4
    assert events.Tags()["images"] == ["shot-001.png"]


def test_what_may_be_sent_says_nothing_of_where_files_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "mask.png").touch()
    folder = str(tmp_path / "secret" / "weights")
    settings = {
        "clip": str(tmp_path / "secret" / "fox.mp4"), "user_mask": "films/mask.png", "out": "../there",
        "box": "1,2,3,4", "source": "/imagine a fox", "caption": "owner/model", "steps": 5, "save": None,
        "backbone": {"path": folder, "repository": "zai-org/CogVideoX-2b"}, "runtime": {"cache": "~/kept"},
    }  # fmt: skip
    notices = [f"{folder} holds no text encoder", f"{settings['clip']} has no sound"]
    cut, told = loggers.unplaced({"settings": settings, "notices": notices})
    assert cut == settings | {
        "clip": "fox.mp4", "user_mask": "mask.png", "out": "there", "runtime": {"cache": "kept"},
        "backbone": {"path": "weights", "repository": "zai-org/CogVideoX-2b"},
    }  # fmt: skip
    assert told == ["weights holds no text encoder", "fox.mp4 has no sound"]
    assert settings["backbone"]["path"] == folder


@pytest.mark.slow
def test_weights_and_biases_stays_offline(editor, clip_file, tmp_path):
    pytest.importorskip("wandb")
    done = editor.edit(clip_file, log="wandb", out=tmp_path / "o")
    (run,) = (done.folder / "edit_logs" / "wandb").iterdir()
    assert run.name.startswith("offline-run-")
    (log,) = run.glob("*.wandb")
    assert log.stat().st_size
    kept = log.read_bytes()  # what `wandb sync` sends
    assert b"inversion_free" in kept  # the settings are there, and
    for private in (str(tmp_path), str(clip_file.parent), platform.node()):
        assert private.encode() not in kept
