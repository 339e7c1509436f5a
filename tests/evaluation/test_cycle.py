"""An edit edited back: its settings, and its score against the source; only where it is asked for, only of ours."""

import math

import cv2
import numpy as np
import pytest
from fox_edits import FEW, FOX, PROMPTS

from flowedit.config import compose
from flowedit.evaluation.cycle import back
from flowedit.evaluation.results import rows
from flowedit.media.footage import open_footage
from flowedit.metrics.catalogue import default_names, five_names


def test_the_prompts_and_words_are_swapped_and_the_edit_is_read_whole(tmp_path):
    flags = {"source": "a fox", "target": "a panda", "source_words": "fox", "target_words": "panda", "clip": "a.mp4"}
    settings = compose.compose({**flags, "start": "2", "frames": "5", "seed": "3"})
    made = back(settings, tmp_path / "edit.mp4")
    assert (made.source, made.target, made.source_words, made.target_words) == ("a panda", "a fox", "panda", "fox")
    assert (made.clip, made.start, made.frames) == (str(tmp_path / "edit.mp4"), 0, None)
    assert (made.seed, made.mode, made.steps) == (3, settings.mode, settings.steps)
    gone = compose.compose({"source": "a fox", "target": "grass", "source_words": "fox", "task": "remove"})
    assert back(gone, tmp_path / "e.mp4").task == "add"
    with pytest.raises(ValueError, match="not edited back inside a user mask or box"):
        back(compose.compose({**flags, "user_mask": "m.png", "frames": "5"}), tmp_path / "e.mp4")


def test_cycle_psnr_is_asked_for_and_scores_the_edit_edited_back(tmp_path, command):
    assert "cycle_psnr" not in (*default_names(), *five_names())
    args = ["compare", FOX, *PROMPTS, "--modes", "random_noise", "--frames", "5", *FEW, "--out", tmp_path / "out"]
    code, _, err = command(*args, "--metrics", "psnr,cycle_psnr")
    assert code == 0, err
    made = {(row.method, row.metric): row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert ("unedited", "cycle_psnr") not in made
    source = np.concatenate(list(open_footage(FOX).read(range(5)))).astype(float)
    found = {}
    for file in (tmp_path / "out" / ".jobs").rglob("edit.mp4"):
        shown = np.concatenate(list(open_footage(file).read(range(5))))
        shown = np.stack([cv2.resize(frame, source.shape[2:0:-1]) for frame in shown])
        found[file] = 10 * math.log10(255**2 / np.square(shown - source).mean())
    assert len(found) == 2, "the edit, and the edit edited back"
    assert any(abs(made["random_noise", "psnr"] - value) < 0.01 for value in found.values())
    assert any(abs(made["random_noise", "cycle_psnr"] - value) < 0.01 for value in found.values())
    assert made["random_noise", "psnr"] != made["random_noise", "cycle_psnr"]
