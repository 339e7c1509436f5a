"""Metrics against closed forms, hand-computed values and published examples."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowedit.evaluation.bench.score import centred_box, iou
from flowedit.evaluation.results.intervals import difference, interval, share, share_difference
from flowedit.metrics import perceptual
from flowedit.metrics.motion import MISS, NOISE, centroids, motion_error
from flowedit.metrics.perceptual import lpips_bundled
from flowedit.metrics.pixels import background_psnr, mse, psnr

SHAPE = (2, 40, 48, 3)
PICTURES = Path(__file__).parents[1] / "data" / "lpips"


def flat(value):
    return np.full(SHAPE, value, np.uint8)


def test_psnr_of_a_constant_error_is_its_closed_form():
    assert mse(flat(10), flat(15)) == 25
    assert psnr(flat(15), flat(10)) == pytest.approx(20 * math.log10(255 / 5), abs=1e-12)
    assert psnr(flat(0), flat(255)) == 0
    assert psnr(flat(7), flat(7)) == math.inf


def test_a_mask_counts_what_is_inside_and_nothing_else():
    edit = flat(100)
    edit[0, 3, 4] = (110, 100, 100)
    one = np.zeros(SHAPE[:3])
    one[0, 3, 4] = 1
    assert mse(edit, flat(100), one) == pytest.approx(100 / 3)
    assert mse(edit, flat(100), 1 - one) == 0
    assert mse(edit, flat(100), 0.25 * one) == pytest.approx(100 / 3)  # weights, not shares of the frame
    assert mse(edit, flat(100)) == pytest.approx(100 / 3 / one.size)


def test_the_background_is_where_the_mask_is_zero():
    edit, mask = flat(50), np.zeros(SHAPE[:3])
    edit[:, :, :24] = 200
    mask[:, :, :24] = 0.01
    assert background_psnr(edit, flat(50), mask) == math.inf
    edit[:, :, 24:] = 60
    assert background_psnr(edit, flat(50), mask) == pytest.approx(20 * math.log10(25.5))
    assert background_psnr(edit, flat(50), np.zeros_like(mask)) == psnr(edit, flat(50))
    with pytest.raises(ValueError, match="no pixel"):
        background_psnr(edit, flat(50), np.ones_like(mask))


def test_frames_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(flat(0), flat(0)[:1])
    with pytest.raises(ValueError, match="frames of one shape, from 32x32 up"):
        lpips_bundled(flat(0), flat(0)[:1])
    with pytest.raises(ValueError, match="32x32"):
        lpips_bundled(np.zeros((1, 16, 64, 3), np.uint8), np.zeros((1, 16, 64, 3), np.uint8))


def test_lpips_orders_the_published_examples_as_people_do():
    reference, blurred, warped = (
        cv2.imread(str(PICTURES / f"ex_{name}.png"))[None, ..., ::-1] for name in ("ref", "p0", "p1")
    )
    assert lpips_bundled(reference, reference) == 0
    assert lpips_bundled(blurred, reference) == pytest.approx(0.396, abs=2e-3)
    assert lpips_bundled(warped, reference) == pytest.approx(0.202, abs=2e-3)


def test_lpips_is_the_mean_over_frames_whatever_their_number(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 255, (5, 32, 32, 3), np.uint8) for _ in range(2))
    alone = [lpips_bundled(a[i : i + 1], b[i : i + 1]) for i in range(5)]
    monkeypatch.setattr("flowedit.metrics.perceptual.CHUNK", 2)
    assert lpips_bundled(a, b) == pytest.approx(np.mean(alone), rel=1e-5)


def test_iou_by_hand():
    a, b = np.zeros((1, 2, 3), bool), np.zeros((1, 2, 3), bool)
    assert iou(a, b) == 1
    a[0, 0] = True
    assert iou(a, b) == 0
    b[0, :, 0] = True
    assert iou(a, b) == 1 / 4
    with pytest.raises(ValueError, match="compared"):
        iou(a, b[:, :1])


def test_a_centred_box_has_its_share_of_each_side():
    box = centred_box((2, 8, 8), 0.5)
    assert box.sum() == 2 * 16
    assert box[:, 2:6, 2:6].all()
    assert centred_box((1, 4, 6), 1.0).all()


def test_centroids_of_a_square_are_its_middle():
    background, frames = flat(20), flat(20)
    frames[0, 4:8, 8:12] = 200
    frames[1] = 20 + int(NOISE)  # below the noise: nothing is there
    found = centroids(frames, background)
    assert found[0] == pytest.approx([6 / 40, 10 / 48])
    assert np.isnan(found[1]).all()
    frames[0, 30:, 40:] = 200
    where = np.zeros(SHAPE[:3], bool)
    where[:, :20, :20] = True
    assert centroids(frames, background, where)[0] == pytest.approx([6 / 40, 10 / 48])


def test_motion_error_is_the_mean_distance_of_the_tracks():
    background, frames, moved = flat(20), flat(20), flat(20)
    frames[:, 4:8, 8:12] = 200
    moved[0, 4:8, 8:12] = moved[1, 4:8, 20:24] = 120
    assert motion_error(frames, frames, background) == 0
    assert motion_error(moved, frames, background) == pytest.approx(0.5 * 12 / 48)


def test_an_object_that_is_gone_is_no_small_motion_error():
    background, frames, gone = flat(20), flat(20), flat(20)
    frames[:, 18:22, 22:26] = 200  # in the middle of the frame
    assert motion_error(background, frames, background) == MISS
    gone[0] = frames[0]
    assert motion_error(gone, frames, background) == MISS / 2
    with pytest.raises(ValueError, match="no object to follow"):
        motion_error(frames, background, background)


def test_intervals_have_their_textbook_values():
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = interval(values)
    assert (found.mean, found.n) == (3, 5)
    assert found.high - 3 == pytest.approx(2.776 * math.sqrt(2.5 / 5), abs=1e-3)
    assert math.isnan(interval([0.5]).low)
    with pytest.raises(ValueError, match="no value"):
        interval([])


def test_shares_have_wilson_intervals_that_do_not_vanish():
    found = share([1.0] * 10)
    assert found.high == 1
    assert found.low == pytest.approx(1 / (1 + 1.96**2 / 10), abs=1e-4)
    half = share([0.0, 1.0] * 5)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    with pytest.raises(ValueError, match="zeros and ones"):
        share([0.5])


def test_paired_shares_count_the_scenes_that_differ():
    first, second = [1.0] * 6 + [0.0] * 14, [1.0] * 5 + [0.0] * 6 + [1.0] * 9
    found = share_difference(first, second)  # b = 1, c = 9, n = 20
    assert found.mean == 0.4
    middle, half = 8 / 22, 1.96 * math.sqrt(10 + 1 - 64 / 22) / 22
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-3)
    same = share_difference([1.0] * 10, [1.0] * 10)
    assert same.mean == 0
    assert same.low == -same.high < 0
    whole = share_difference([0.0] * 40, [1.0] * 40)
    assert (whole.mean, whole.high) == (1, 1)  # and no more, as a difference of shares
    assert 0.8 < whole.low < 1


def test_paired_differences_are_second_minus_first():
    found = difference([1.0, 5.0, 9.0], [2.0, 6.5, 9.5])
    assert found.mean == 1
    assert found.high - found.mean == pytest.approx(4.303 * 0.5 / math.sqrt(3), abs=1e-3)


@pytest.mark.parametrize(("size", "calls"), [((480, 832), 5), ((64, 64), 1), ((720, 1280), 5), ((240, 320), 1)])
def test_large_frames_go_through_the_network_one_by_one(size, calls):
    chunks = perceptual._chunks(np.broadcast_to(np.uint8(0), (5, *size, 3)))
    assert len(chunks) == calls
    assert [index for chunk in chunks for index in range(5)[chunk]] == list(range(5))
