"""What is kept of the steps (`--save`, `--log`) in a comparison and an evaluation: each method's folder has it."""

import importlib.util
import shutil

import pytest
from safetensors.torch import load_file

import flowedit
from flowedit.config import compose
from flowedit.evaluation import places
from flowedit.evaluation.cycle import back
from flowedit.messages import FileTakenError, InputError
from flowedit.pipeline.logs import asked, loggers

PROMPTS = ["--source", "a fox moves right over green grass", "--target", "a panda moves right over green grass"]


class Note:
    """A logger that leaves its name, as if its package were there."""

    def __init__(self, folder, name, run):
        folder.mkdir()
        (folder / "note").write_text(name, encoding="utf-8")

    def numbers(self, values, step):
        """Nothing."""

    picture = numbers

    def end(self, summary):
        """Nothing."""


FEW = ["--size", "32x32", "--frames", "5", "--metrics", "psnr", "runtime.device=cpu", "strength=1", "quality=best"]


def test_each_method_of_a_comparison_leaves_its_steps_and_takes_them_back(command, clip_file, tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "LOGGERS", {"tensorboard": "json"})
    monkeypatch.setattr(asked, "WAYS_IN", {})
    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", Note)
    words = ["compare", clip_file, *PROMPTS, *FEW, "--steps", "2", "--modes", "random_noise,inversion"]
    words += ["--evaluations", "own", "--out", tmp_path / "o"]
    code, _, err = command(*words, "--save", "steps,sheet", "--log", "tensorboard")
    assert code == 0, err
    for mode, count in (("random_noise", 2), ("inversion", 4)):
        place = tmp_path / "o" / "edits" / mode
        steps = sorted((place / "edit_steps").glob("*.safetensors"))
        assert len(steps) == count
        assert "u_target" in load_file(steps[-1])
        assert (place / "edit_steps" / "shot-001.png").is_file()
        assert (place / "edit_logs" / "note").read_text(encoding="utf-8") == f"clip {mode}"
    again, _, err = command(*words)
    assert again == 0, err
    for mode in ("random_noise", "inversion"):
        assert (tmp_path / "o" / "edits" / mode / "edit.mp4").is_file()
        assert not list((tmp_path / "o" / "edits" / mode).glob("edit_[sl]*"))


def test_from_python_an_evaluation_saves_them_in_a_folder_for_each_edit(clip_file, tmp_path):
    shutil.copyfile(clip_file, tmp_path / "clip.mp4")
    text = "- clip: clip.mp4\n  source: a fox moves right\n  target: a panda moves right\n"
    (tmp_path / "list.yaml").write_text(text, encoding="utf-8")
    made = flowedit.evaluate(
        tmp_path / "list.yaml", modes=["random_noise"], do="edit", save=["steps"], size="32x32", frames=5, steps=2,
        strength=1.0, quality="best", runtime={"device": "cpu"}, out=tmp_path / "o", engine="local",
    )  # fmt: skip
    (found,) = (made.folder / "edits" / "random_noise").glob("*/*/edit_steps")
    assert len(list(found.glob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--save", "stps", "save 'stps' is not one of steps, maps, sheet; did you mean 'steps'"),
        ("--log", "wandb", "log=wandb needs wandb, which is not installed"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line_before_a_model_loads(
    command, clip_file, tmp_path, monkeypatch, flag, value, says
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = command("compare", clip_file, *PROMPTS, "--out", tmp_path / "o", flag, value)
    assert code == 1
    assert says in err.splitlines()[-1]


def test_a_bench_writes_no_edit_and_keeps_no_steps(command):
    code, _, err = command("bench", "--scenes", "1", "--kinds", "replace", "save=steps")
    assert code == 1
    assert err.splitlines()[-1:] == ["flowedit: save: a bench reads and writes no clip"]


def test_an_edit_back_keeps_none(clip_file):
    settings = compose.compose({"clip": str(clip_file), "source": "a", "target": "b", "save": "steps", "log": "wandb"})
    swapped = back(settings, clip_file)
    assert (swapped.save, swapped.log) == (None, None)


def test_a_folder_is_placed_whole_and_left_alone_while_it_is_the_same(tmp_path):
    job, place = tmp_path / "job", tmp_path / "place"
    (job / "edit_steps" / "deep").mkdir(parents=True)
    for name in ("run.yaml", "result.json", "edit_steps/a", "edit_steps/deep/b"):
        (job / name).write_text(name, encoding="utf-8")
    places.publish({job: place})
    first = (place / "edit_steps").stat().st_ino
    places.publish({job: place})
    assert (place / "edit_steps").stat().st_ino == first
    (job / "edit_steps" / "deep" / "b").unlink()
    places.publish({job: place})
    assert [each.name for each in sorted((place / "edit_steps").rglob("*"))] == ["a", "deep"]
    assert (place / "edit_steps" / "a").read_text(encoding="utf-8") == "edit_steps/a"
    (taken := tmp_path / "taken" / "edit_steps").mkdir(parents=True)
    with pytest.raises(FileTakenError, match="edit_steps, which no edit left"):
        places.publish({job: taken.parent})
    assert issubclass(FileTakenError, flowedit.Error)
    assert issubclass(InputError, flowedit.Error)
