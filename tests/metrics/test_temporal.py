"""Metrics of motion on clips whose flow is known."""

import cv2
import numpy as np
import pytest
import torch

from flowedit.metrics import temporal
from flowedit.metrics.ssim import ssim

CPU = torch.device("cpu")
SHIFT = (3, -2)


def texture(size, seed=0):
    noise = np.random.default_rng(seed).normal(size=(*size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def moving(frames=3, size=(64, 64), shift=SHIFT, seed=0):
    """A window over a texture that moves by `shift` (dx, dy) pixels a frame."""
    margin = 4 * max(map(abs, shift), default=0) + 1
    wide, (height, width) = texture((size[0] + 2 * margin, size[1] + 2 * margin), seed), size
    corners = [(margin - i * shift[1], margin - i * shift[0]) for i in range(frames)]
    return np.stack([wide[y : y + height, x : x + width] for y, x in corners])


def both(clip):
    return temporal.flow(clip[:-1], clip[1:], "dis", CPU), temporal.flow(clip[1:], clip[:-1], "dis", CPU)


def constant(shift, pairs=2, size=(64, 64)):
    return np.broadcast_to(np.float32(shift), (pairs, *size, 2))


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_the_flow_of_a_shift_is_the_shift(size):
    forward, backward = both(moving(size=size))
    assert forward.shape == (2, *size, 2)
    assert np.abs(forward[:, 8:-8, 8:-8] - SHIFT).mean() < 0.05
    assert np.abs(backward[:, 8:-8, 8:-8] + SHIFT).mean() < 0.05


@pytest.mark.parametrize("size", [(1, 1), (8, 64), (12, 64), (17, 9)])
def test_small_frames_have_a_flow(size):
    clip = moving(2, size, (1, 0))
    found = temporal.flow(clip[:1], clip[1:], "dis", CPU)
    assert found.shape == (1, *size, 2)
    assert np.isfinite(found).all()


def test_warping_takes_from_where_the_flow_points():
    frame = np.arange(12.0).reshape(3, 4, 1) * 10
    there = np.zeros((3, 4, 2))
    there[0, 0] = (1, 2)
    there[1, 1] = (0.25, 0)
    there[1, 2] = (0, -0.5)
    there[2, 3] = (5, 5)  # outside: the edge
    wanted = frame.copy()
    wanted[0, 0], wanted[1, 1], wanted[1, 2], wanted[2, 3] = 90, 52.5, 40, 110
    assert temporal.warp(frame, there) == pytest.approx(wanted)


def test_what_leaves_the_frame_or_disagrees_is_not_visible():
    there, back = constant((2, 0), 1)[0], constant((-2, 0), 1)[0].copy()
    wanted = np.ones((64, 64), bool)
    wanted[:, -2:] = False
    assert (temporal.visible(there, back) == wanted).all()
    back[10, 20] = (-2, 0.7)  # 0.49 < 0.01 (4 + 4.49) + 0.5
    assert temporal.visible(there, back)[10, 18]
    back[10, 20] = (-2, 0.8)  # 0.64 > 0.01 (4 + 4.64) + 0.5
    wanted[10, 18] = False
    assert (temporal.visible(there, back) == wanted).all()


def test_warp_error_by_hand():
    clip = np.zeros((2, 64, 64, 3), np.uint8)
    clip[1] = 51
    rows = temporal.warp_error(clip, constant((2, 0), 1), constant((-2, 0), 1))
    assert rows == pytest.approx(np.array([[0.04 * 64 * 62, 64 * 62]]))
    assert not temporal.warp_error(clip, constant((2, 0), 1), constant((20, 0), 1)).any()  # all is occluded


def test_an_edit_that_moves_as_its_source_has_no_warp_error():
    source, edit = moving(), moving(seed=1)
    forward, backward = both(source)
    error, seen = temporal.warp_error(edit, forward, backward).sum(0)
    assert seen > 0.8 * 2 * 64 * 64
    assert error / seen < 2e-4
    exact = temporal.warp_error(edit, constant(SHIFT), -constant(SHIFT))
    assert exact[:, 0] == pytest.approx(0, abs=1e-20)
    assert exact[:, 1] == pytest.approx(61 * 62)
    still = np.stack([edit[0]] * 3)
    error, seen = temporal.warp_error(still, forward, backward).sum(0)
    assert error / seen > 1e-2


def test_warp_ssim_falls_when_the_edit_stands_still():
    source, edit = moving(size=(96, 96)), moving(size=(96, 96), seed=1)
    forward, _ = both(source)
    assert temporal.warp_ssim(edit, forward).min() > 0.9
    still = np.stack([edit[0]] * 3)
    assert temporal.warp_ssim(still, forward).max() < 0.5
    assert temporal.warp_ssim(edit, 0 * forward) == pytest.approx(ssim(edit[:-1], edit[1:]))


def test_flow_cosine_by_hand():
    source, edit = np.zeros((1, 1, 6, 2)), np.zeros((1, 1, 6, 2))
    source[0, 0] = [(3, 4), (1, 0), (0, 2), (0.5, 0), (0.4, 0.2), (1, 1)]
    edit[0, 0] = [(4, 3), (-7, 0), (5, 0), (0, 0), (9, 9), (1e-7, 0)]
    assert temporal.flow_cosine(source, edit) == pytest.approx(np.array([[24 / 25 - 1, 5]]))


def test_flow_cosine_of_real_motion():
    source, other = moving(), moving(seed=1)
    forward, _ = both(source)
    for edit, wanted in ((source, 1), (other, 1), (other[::-1], -1), (np.stack([other[0]] * 3), 0)):
        total, moved = temporal.flow_cosine(forward, both(edit)[0]).sum(0)
        assert moved > 0.95 * 2 * 64 * 64
        assert total / moved == pytest.approx(wanted, abs=0 if wanted == 0 else 0.03)
    assert not temporal.flow_cosine(both(np.stack([other[0]] * 3))[0], forward).any()


def test_raft_is_asked_on_request(monkeypatch):
    raft = pytest.importorskip("flowedit.pretrained.raft")
    monkeypatch.setattr(raft, "load", lambda device: lambda a, b: np.full((*a.shape[:3], 2), len(b), np.float32))
    clip = moving()
    assert (temporal.flow(clip[:-1], clip[1:], "raft", CPU) == 2).all()
