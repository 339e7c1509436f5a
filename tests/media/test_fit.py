"""Geometry between source and working frames: closed forms, exactness of compositing, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedit.media.fit import Fit, lay, mask_to_source, mask_to_working, to_source, to_working, working_size
from flowedit.media.pictures import grid, overlay
from flowedit.media.pixels import composite

SIDES = st.integers(2, 400)
SIZES = st.tuples(SIDES, SIDES)


def frames(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def ramp(size):
    """One frame whose red is the row and whose green is the column, from 0 to 250."""
    rows, columns = np.meshgrid(*(np.linspace(0, 250, n) for n in size), indexing="ij")
    return np.stack([rows, columns, np.zeros_like(rows)], -1).round().astype(np.uint8)[None]


@pytest.mark.parametrize(
    ("source", "area", "multiple", "expected"),
    [
        ((480, 720), 480 * 720, 16, (480, 720)),
        ((1080, 1920), 768 * 1360, 16, (768, 1360)),
        ((1000, 1000), 64 * 64, 16, (64, 64)),
        ((720, 480), 480 * 720, 16, (720, 480)),
        ((3, 5), 1, 16, (16, 16)),
    ],
)
def test_working_size(source, area, multiple, expected):
    assert working_size(source, area, multiple) == expected


@given(
    st.tuples(st.integers(16, 4000), st.integers(16, 4000)),
    st.integers(4_000, 400_000),
    st.sampled_from([8, 16, 32]),
    st.sampled_from([None, 256, 500]),
)
@settings(max_examples=80, deadline=None)
def test_working_size_is_the_best_of_all(source, area, multiple, longest):
    size = working_size(source, area, multiple, longest)
    sides = np.arange(multiple, 1 + (longest or 2 * max(4096, *size)), multiple)
    height, width = np.meshgrid(sides, sides, indexing="ij")
    cost = np.log(height * width / area) ** 2 + 4 * np.log(width / height * source[0] / source[1]) ** 2
    assert size[0] in sides
    assert size[1] in sides
    assert cost[size[0] // multiple - 1, size[1] // multiple - 1] <= cost.min() + 1e-9


@given(SIZES, SIZES, st.sampled_from(["crop", "pad"]))
@settings(max_examples=80, deadline=None)
def test_fit_lies_inside_and_keeps_the_aspect(source, working, how):
    result = lay(source, working, how)
    top, left, height, width = result.window
    outer, inner = (source, working) if how == "crop" else (working, source)
    assert top >= 0
    assert left >= 0
    assert top + height <= outer[0]
    assert left + width <= outer[1]
    assert abs(outer[0] - height - 2 * top) <= 1
    assert abs(outer[1] - width - 2 * left) <= 1
    assert height == outer[0] or width == outer[1]
    scale = min(outer[0] / inner[0], outer[1] / inner[1])
    assert abs(height - inner[0] * scale) <= 0.5 or height == 1
    assert abs(width - inner[1] * scale) <= 0.5 or width == 1


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_equal_sizes_change_nothing(how):
    original, same = frames(2, (30, 40)), lay((30, 40), (30, 40), how)
    np.testing.assert_array_equal(to_working(original, same), original)
    np.testing.assert_array_equal(to_source(frames(2, (30, 40), 1), original, same), frames(2, (30, 40), 1))
    mask = np.random.default_rng(0).random((2, 30, 40), np.float32)
    np.testing.assert_array_equal(mask_to_source(mask_to_working(mask, same), same), mask)


def test_crop_without_scaling():
    original, edit = frames(2, (40, 60)), frames(2, (40, 50), 1)
    lying = lay((40, 60), (40, 50))
    assert lying.window == (0, 5, 40, 50)
    np.testing.assert_array_equal(to_working(original, lying), original[:, :, 5:55])
    back = to_source(edit, original, lying)
    np.testing.assert_array_equal(back[:, :, 5:55], edit)
    np.testing.assert_array_equal(back[:, :, :5], original[:, :, :5])
    np.testing.assert_array_equal(back[:, :, 55:], original[:, :, 55:])
    np.testing.assert_array_equal(original, frames(2, (40, 60)))
    mask = mask_to_source(np.ones((2, 40, 50), np.float32), lying)
    assert mask[:, :, 5:55].min() == 1
    assert mask.sum() == 2 * 40 * 50


def test_pad_without_scaling():
    original = frames(2, (40, 60))
    lying = lay((40, 60), (48, 60), "pad")
    assert lying.window == (4, 0, 40, 60)
    working = to_working(original, lying)
    np.testing.assert_array_equal(working[:, 4:44], original)
    np.testing.assert_array_equal(working[:, :4], np.repeat(original[:, :1], 4, axis=1))
    np.testing.assert_array_equal(working[:, 44:], np.repeat(original[:, -1:], 4, axis=1))
    np.testing.assert_array_equal(to_source(working, original, lying), original)


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize(("source", "working"), [((90, 161), (48, 80)), ((45, 81), (96, 160)), ((161, 90), (48, 80))])
def test_there_and_back_keeps_places(how, source, working):
    original = ramp(source)
    lying = lay(source, working, how)
    back = to_source(to_working(original, lying), original, lying)
    assert back.shape == original.shape
    assert np.abs(back.astype(int) - original).max() <= 6
    mask = (original[..., 0] / np.float32(250)).astype(np.float32)
    there = mask_to_working(mask, lying)
    assert there.shape == (1, *working)
    top, left, height, width = lying.window
    region = np.s_[:, top : top + height, left : left + width] if how == "crop" else np.s_[:]
    assert np.abs(mask_to_source(there, lying) - mask)[region].max() <= 0.03
    assert 0 <= there.min() <= there.max() <= 1


def test_composite_is_exact():
    edit, original = frames(2, (16, 20)), frames(2, (16, 20), 1)
    mask = np.random.default_rng(2).random((2, 16, 20), np.float32)
    mask[:, :5], mask[:, 5:10] = 0, 1
    result = composite(edit, original, mask)
    np.testing.assert_array_equal(result[:, :5], original[:, :5])
    np.testing.assert_array_equal(result[:, 5:10], edit[:, 5:10])
    exact = original + mask[..., None].astype(float) * (edit.astype(float) - original)
    assert np.abs(result - exact).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("size", [(40, 60), (41, 61), (241, 33)])
def test_side_by_side(size):
    left, right = frames(2, size), frames(2, size, 1)
    result = grid([left, right], ("source", "a long label that does not fit"))
    strip = max(size[0] // 12, 20)
    assert result.shape[1] % 2 == result.shape[2] % 2 == 0
    assert result.shape[1] - strip - size[0] in (0, 1)
    assert result.shape[2] - 2 * size[1] in (0, 1)
    np.testing.assert_array_equal(result[:, strip : strip + size[0], : size[1]], left)
    np.testing.assert_array_equal(result[:, strip : strip + size[0], size[1] : 2 * size[1]], right)
    assert result[0, :strip, : size[1]].max() > 100
    assert result[0, :strip, size[1] :].max() > 100


def test_side_by_side_brings_the_right_one_to_the_left_ones_height():
    assert grid([frames(1, (40, 60)), frames(1, (20, 20))], ("a", "b")).shape == (1, 60, 100, 3)


def test_overlay_tints_inside_and_leaves_outside():
    grey = np.full((2, 60, 80, 3), 100, np.uint8)
    mask = np.zeros((2, 60, 80), np.float32)
    mask[:, 20:40, 30:50] = 1
    result = overlay(grey, mask, (255, 0, 0))
    np.testing.assert_array_equal(result[:, :18], 100)
    assert (result[:, 30, 40] == (162, 60, 60)).all()
    assert (result[:, 20, 40] == (255, 0, 0)).all()
    assert grey.min() == grey.max() == 100


def test_what_is_refused():
    lying = lay((30, 40), (16, 16))
    mask = np.zeros((1, 30, 40), np.float32)
    with pytest.raises(ValueError, match="choose 'crop' or 'pad'"):
        lay((30, 40), (16, 16), "stretch")
    with pytest.raises(ValueError, match="sides must be 1 or more"):
        lay((0, 40), (16, 16))
    with pytest.raises(ValueError, match="frames has shape"):
        to_working(frames(1, (31, 40)), lying)
    with pytest.raises(ValueError, match="original has shape"):
        to_source(frames(1, (16, 16)), frames(2, (30, 40)), lying)
    with pytest.raises(ValueError, match="mask has shape"):
        composite(frames(1, (31, 40)), frames(1, (31, 40)), mask)
    with pytest.raises(ValueError, match=r"mask has shape .* float64"):
        mask_to_working(mask.astype(float), lying)
    with pytest.raises(ValueError, match="max_side 8 is below the multiple 16"):
        working_size((30, 40), 1000, 16, 8)
    with pytest.raises(ValueError, match="no working size"):
        working_size((30, 40), 0, 16)
    assert lying == Fit((30, 40), (16, 16), "crop", (0, 5, 30, 30))
