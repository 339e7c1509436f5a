"""Scores of the edited place: the square around the mask, what is seen of it, and that nothing else counts."""

import numpy as np
import pytest
import torch

from flowedit.metrics.local import crops, local_dino, square
from flowedit.metrics.part import Stretch, Tools
from flowedit.metrics.scoring import Scorer


def box(top, left, height, width, size=(20, 30)):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "rows", "columns"),
    [
        (box(5, 7, 4, 4), (5, 9), (7, 11)),
        (box(5, 7, 2, 6), (3, 9), (7, 13)),  # as tall as wide, around its middle
        (box(0, 0, 6, 2), (0, 6), (0, 6)),  # moved into the frame
        (box(18, 20, 2, 8), (12, 20), (20, 28)),
        (box(0, 0, 20, 30), (0, 20), (0, 30)),  # no square fits: the frame
    ],
)
def test_the_square_around_a_mask_lies_in_the_frame(mask, rows, columns):
    found = square(mask)
    assert [(s.start, min(s.stop, size)) for s, size in zip(found, mask.shape, strict=True)] == [rows, columns]


def test_crops_are_of_each_frame_s_own_mask():
    frames = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), np.uint8)
    first, none, last = crops(frames, np.stack([box(5, 7, 4, 4), np.zeros((20, 30), bool), box(0, 0, 1, 1)]))
    np.testing.assert_array_equal(first, frames[:1, 5:9, 7:11])
    assert none is None
    assert last.shape == (1, 1, 1, 3)


def test_local_dino_is_a_cosine():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 4, 6))
    slow = [x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for x, y in zip(a, b, strict=True)]
    assert local_dino(a, b) == pytest.approx(slow, abs=1e-12)
    assert local_dino(a, 3 * a) == pytest.approx(np.ones(4))


class Network:
    """Stands for CLIP and DINO: a picture's mean colour is what it sees."""

    def images(self, frames):
        seen = frames.reshape(len(frames), -1, 3).mean(1)
        return seen / np.linalg.norm(seen, axis=-1, keepdims=True)

    tokens = images

    def text(self, prompt):
        assert prompt == "a panda"
        return np.array([1.0, 0.0, 0.0])


def scored(monkeypatch, edit, mask):
    from flowedit.pretrained import clip, dino

    for room in (clip, dino):
        monkeypatch.setattr(room, "load", lambda device: Network())
    source = np.full((3, 20, 30, 3), 90, np.uint8)
    scorer = Scorer(("local_clip_t", "local_dino"), Tools(target="a panda", total=3, device=torch.device("cpu")))
    scorer.add(Stretch(source, edit, mask))
    return scorer.scores()


def test_only_what_is_in_the_square_counts_and_frames_without_a_mask_do_not(monkeypatch):
    mask = np.stack([box(5, 7, 4, 4), box(5, 7, 4, 4), np.zeros((20, 30), bool)])
    edit = np.random.default_rng(2).integers(0, 255, (3, 20, 30, 3), np.uint8)
    edit[0, 5:9, 7:11], edit[1, 5:9, 7:11] = (200, 0, 0), (60, 80, 0)
    values = scored(monkeypatch, edit, mask).values
    assert values["local_clip_t"] == pytest.approx(100 * (1 + 0.6) / 2)
    assert values["local_dino"] == pytest.approx((1 + 1.4) / 2 / np.sqrt(3))


def test_a_mask_that_is_empty_everywhere_is_a_reason(monkeypatch):
    edit = np.zeros((3, 20, 30, 3), np.uint8)
    failures = scored(monkeypatch, edit, np.zeros((3, 20, 30), bool)).failures
    assert set(failures.values()) == {"the mask is empty in every frame"}
