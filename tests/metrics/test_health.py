"""Frames that show nothing are told from pictures."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import flowedit
from flowedit.media.footage import open_footage
from flowedit.metrics.health import Health

EXAMPLES = Path(__file__).parents[2] / "examples"
RNG = np.random.default_rng(0)
FOX = {"source": "a fox moves right over green grass", "target": "a panda moves right over green grass"}


def sign(frames):
    """Counted in chunks, as they come from a decoder."""
    health = Health()
    for start in range(0, len(frames), 4):
        health.add(frames[start : start + 4])
    return health.sign()


def frames_of(path):
    footage = open_footage(path)
    return np.concatenate(list(footage.read(range(footage.count))))


@pytest.mark.parametrize("name", ["fox.mp4", "two.mp4", "cup.mp4"])
def test_clips_are_pictures(name):
    frames = frames_of(EXAMPLES / name)[:9]
    assert sign(frames) is None
    assert sign(frames // 8) is None  # a dark one
    assert sign(frames // 8 + 200) is None  # one without contrast


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (np.zeros((9, 64, 64, 3), np.uint8), "black"),
        (RNG.integers(0, 3, (9, 64, 64, 3), np.uint8), "black"),
        (np.full((9, 64, 64, 3), 127, np.uint8), "of one colour"),
        (RNG.integers(0, 256, (9, 64, 64, 3), np.uint8), "noise"),
        (np.kron(RNG.integers(0, 256, (9, 8, 8, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8)), "noise"),
        (np.zeros((1, 16, 16, 3), np.uint8), None),  # too little to tell
    ],
)
def test_what_shows_nothing_is_named(frames, found):
    assert sign(frames) == found


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket", **{"runtime.device": "cpu"})


def test_an_edit_that_came_to_noise_says_what_to_try(editor, monkeypatch):
    fox, real = frames_of(EXAMPLES / "fox.mp4"), editor.backbone.decode

    def notices(**options):
        asked = {**FOX, "steps": 2, "strength": 1, **options}
        return " ".join(editor.edit_frames(fox, fps=Fraction(8), **asked).run["notices"])

    assert "made is" not in notices()
    noise = torch.Generator().manual_seed(0)
    monkeypatch.setattr(editor.backbone, "decode", lambda z: real(torch.randn(z.shape, generator=noise)))
    assert "what pocket made is noise: drop size= and strength=" in notices()
    monkeypatch.setattr(editor.backbone, "decode", lambda z: (part * 0 for part in real(z)))
    assert "what pocket made is black: set runtime.dtype=float32" in notices()
    assert "made is" not in notices(strength=0)
