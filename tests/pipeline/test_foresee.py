"""flowedit.check and flowedit.describe: what an edit refuses is refused before it, and told is what it will do."""

from pathlib import Path

import pytest

import flowedit
from flowedit.backbones import families

FOX = Path(__file__).resolve().parents[2] / "examples" / "fox.mp4"
SOURCE = "a fox moves right over green grass"
GOOD = {"source": SOURCE, "instruction": "replace the fox with a panda"}


@pytest.fixture
def closed(monkeypatch):
    """No model is opened: it is what `families.load` does after this."""
    monkeypatch.setattr(families.imports, "defer", lambda: pytest.fail("a model was opened"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"instruction": "replace the fox with a lion"},
        {"instruction": "replace the car with a panda"},
        {"instruction": None},
        {"source": None, "instruction": None, "target": "a panda"},
        {"target": "a car moves right"},
        {"source_words": "car"},
        {"steps": 0},
        {"strength": 0.01},
        {"mode.target_only_steps": 99},
        {"mode.grid": "given"},
        {"mode.grid": "given", "mode.times": [0.5, 0.7, 0.0]},
        {"mode": "random_noise", "mask": "difference"},
        {"mode": "nonsense"},
        {"averaging": "differential", "draws": 1},
        {"start": 1000},
        {"box": "1,2,3"},
        {"cuts": [50]},
        {"user_mask": "no/such.png"},
        {"backbone": "cogvideox-2b", "runtime.device": "cuda:99"},
        {"backbone": FOX.parent},
        {"runtime.dtype": "float8"},
        {"out": FOX},
    ],
    ids=str,
)
def test_what_an_edit_refuses_is_refused_before_it_in_the_same_line(closed, wrong):
    said = []
    for function in (flowedit.check, flowedit.edit):
        with pytest.raises(flowedit.Error) as refused:
            function(FOX, **{**GOOD, **wrong})
        said.append((type(refused.value), str(refused.value)))
    assert said[0] == said[1]
    assert "\n" not in said[0][1]


@pytest.mark.parametrize("clip", [FOX.parent / "none.mp4", FOX.parent / "fox.yaml", 3])
def test_a_clip_that_is_none_is_refused(closed, clip):
    with pytest.raises(flowedit.Error):
        flowedit.check(clip, **GOOD)


def test_what_an_edit_will_do_is_what_it_does(monkeypatch):
    options = GOOD | {"steps": 2, "start": 2, "frames": 3, "size": "64x64", "cuts": "none"}
    with monkeypatch.context() as patch:
        patch.setattr(families, "load", lambda *_, **__: pytest.fail("a model was opened"))
        told = flowedit.check(FOX, **options)
    made = flowedit.edit_frames(_frames(told.indices), fps=told.fps, **(GOOD | {"steps": 2, "size": "64x64"}))
    settings = made.run["settings"]
    assert (told.source, told.target) == (settings["source"], settings["target"])
    assert (told.source_words, told.target_words) == (settings["source_words"], settings["target_words"])
    assert (told.indices, told.frames, told.shots, told.size) == ((2, 3, 4), 3, 1, (64, 64))
    assert told.network_evaluations == made.run["network_evaluations"]
    assert told.checkpoint is not None
    assert set(told.notices) <= set(made.notices)


def _frames(indices):
    import cv2
    import numpy as np

    film = cv2.VideoCapture(str(FOX))
    frames = [film.read()[1][..., ::-1] for _ in range(max(indices) + 1)]
    return np.ascontiguousarray([frames[i] for i in indices])


def test_a_model_that_is_not_here_is_told_and_its_cost_where_it_is_known(closed, monkeypatch):
    monkeypatch.setattr(families, "downloaded", lambda *_: None)
    asked = GOOD | {"backbone": "cogvideox-2b", "runtime.device": "cpu"}
    told = flowedit.check(FOX, **asked)
    assert (told.backbone, told.checkpoint, told.shots) == ("cogvideox-2b", None, None)
    assert told.network_evaluations > told.steps
    unknown = {"backbone.repository": "no/release", "backbone.name": "mine"}
    told = flowedit.check(FOX, **(asked | unknown), guidance_interval=(0.2, 0.6))
    assert told.network_evaluations is None


def test_a_model_that_would_not_run_here_is_refused_before_its_download(monkeypatch):
    import torch

    monkeypatch.setattr(families, "downloaded", lambda *_: None)
    monkeypatch.setattr("flowedit.machine.find_device", lambda device: torch.device("cpu"))
    with pytest.raises(flowedit.InputError, match="no GPU can be used"):
        flowedit.check(FOX, **GOOD, backbone="cogvideox-2b")


@pytest.fixture
def seeing(monkeypatch):
    asked = []

    def load(device, place, longest):
        asked.append(place)
        return lambda frames, question: "The video shows a fox that moves right over green grass. It is small."

    monkeypatch.setattr("flowedit.pretrained.vlm.load_anew", load)
    return asked


def test_a_caption_is_not_made_for_a_check_and_is_used_once_it_is_there(closed, seeing, tmp_path):
    asked = {
        "instruction": "replace the fox with a panda", "caption": "a/model", "runtime": {"cache": str(tmp_path)},
        "frames": 3,
    }  # fmt: skip
    told = flowedit.check(FOX, **asked)
    assert (told.source, told.target, told.source_words, seeing) == (None, None, "", [])
    said = flowedit.describe(FOX, caption="a/model", frames=3, runtime={"cache": str(tmp_path)})
    assert (said, seeing) == ("A fox that moves right over green grass.", ["a/model"])
    assert flowedit.describe(FOX, caption="a/model", frames=3, runtime={"cache": str(tmp_path)}) == said
    assert seeing == ["a/model"], "what it said is kept"


def test_a_kept_caption_is_the_source_of_a_check(closed, seeing, tmp_path):
    from flowedit.pipeline.api import settings_of
    from flowedit.pipeline.prompts import instruction
    from flowedit.types import QUIET

    asked = {
        "instruction": "replace the fox with a panda", "caption": "a/model", "runtime": {"cache": str(tmp_path)},
        "frames": 1,
    }  # fmt: skip
    made = instruction.complete(settings_of({**asked, "clip": str(FOX)}), QUIET)
    told = flowedit.check(FOX, **asked)
    assert (told.source, told.target) == (made.source, made.target)
    assert told.target == "A panda that moves right over green grass."


def test_a_description_needs_a_model():
    with pytest.raises(flowedit.InputError, match="no model is named"):
        flowedit.describe(FOX)
