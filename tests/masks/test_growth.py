"""How far a mask grows to each side: against brute force and OpenCV, on grids of every size, with what is refused."""

import math

import cv2
import numpy as np
import pytest
import torch
from masking import mask_options

from flowedit.masks import shapes
from flowedit.masks.attention_mask import AttentionMask
from flowedit.masks.growth import Growth, growth
from flowedit.messages import InputError

SIDED = Growth(up=0.0, down=4.0, left=1.5, right=3.0)


@pytest.mark.parametrize("size", [(8, 8), (12, 17), (60, 45), (1, 9)])
def test_growing_by_side_takes_the_quarter_ellipses_around_each_site_and_nothing_else(size):
    frames = (torch.rand((2, 1, 3, *size), generator=torch.Generator().manual_seed(1)) < 0.04).float()
    frames[:, :, 1] = 0
    y, x = (torch.arange(n) for n in size)
    dy, dx = (y[:, None] - y)[:, None, :, None], (x[:, None] - x)[None, :, None, :]  # to (H, W) from (H, W)
    down, across = torch.where(dy > 0, dy / 4.0, dy * 1e9), torch.where(dx > 0, dx / 3.0, dx / 1.5)
    reached = (down**2 + across**2 <= 1 + 1e-4).float()
    brute = torch.einsum("hwab,nab->nhw", reached, frames.flatten(0, 2)).clamp_max(1).view(frames.shape)
    assert torch.equal(shapes.grow(frames, SIDED), brute)


def test_growing_down_alone_is_opencv_s_dilation_by_a_line():
    binary = torch.zeros(1, 1, 1, 12, 9)
    binary[..., 2:4, 3:6] = 1
    line = cv2.dilate(binary[0, 0, 0].numpy(), np.ones((4, 1), np.uint8), anchor=(0, 3))
    assert np.array_equal(shapes.grow(binary, Growth(0.0, 3.0, 0.0, 0.0))[0, 0, 0].numpy(), line)


def test_growing_alike_to_all_sides_is_growing_by_that_number():
    binary = (torch.rand((1, 1, 2, 9, 14), generator=torch.Generator().manual_seed(2)) < 0.05).float()
    for reach in (0.0, 1.0, 2.5):
        assert torch.equal(shapes.grow(binary, Growth(*[reach] * 4)), shapes.grow(binary, reach))
    near = shapes.grow(binary, Growth(2.5, 2.5, 2.5, 2.5 + 1e-6))  # by the other way
    assert torch.equal(near, shapes.grow(binary, 2.5))


def test_a_growth_is_read_as_it_is_written():
    assert growth(0.1) == growth("0.1") == Growth(0.1, 0.1, 0.1, 0.1)
    assert growth("down:0.5") == Growth(0.0, 0.5, 0.0, 0.0)
    assert growth("down:0.5 0.1 left:0") == Growth(0.1, 0.5, 0.0, 0.1)
    assert growth("down:0.5").times(8) == Growth(0.0, 4.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("dwn:0.5", "did you mean 'down'"),
        ("down:2", "from 0 to 1"),
        ("down:", "no number"),
        ("0.1,down:1", "no side"),
        ("0.1 0.5", "more than one number for all sides"),
        ("0.1 down:1 0.1", "more than one number for all sides"),
        ("down:0.5 down:0.1", "more than one number for down"),
        ("", "is empty"),
        ("  ", "is empty"),
    ],
)
def test_a_growth_that_is_not_one_is_refused_in_one_line(written, said):
    with pytest.raises(InputError, match=said) as refused:
        growth(written)
    assert "\n" not in str(refused.value)


def test_a_side_reaches_as_far_on_every_grid_and_its_edge_stays_soft():
    for side in (8, 12, 60):
        maps = torch.zeros(1, 1, 1, side, side)
        maps[..., : side // 4, side // 4 : side // 2] = 1
        options = mask_options(pool=0.0, grow="down:0.5", decay=8.0)
        mask = AttentionMask([lambda maps=maps: maps], options, side)(0)[0, 0, 0]
        column = mask[:, side // 4]
        assert (column == 1).sum() == 3 * side // 4
        assert column[3 * side // 4] == pytest.approx(math.exp(-8 / side))
        assert (mask[0] == 1).sum() == side // 4  # not wider


def test_each_of_several_objects_grows_to_its_side_and_a_user_s_mask_stays_as_it_is():
    maps, user = torch.zeros(1, 2, 1, 6, 6), torch.zeros(1, 1, 1, 6, 6)
    maps[:, 0, :, 0, 0] = maps[:, 1, :, 2, 0] = 1
    user[..., 0, 5] = 1
    options = mask_options(pool=0.0, grow="down:0.7", decay=math.inf)
    grown = AttentionMask([lambda: maps], options, 6, kept=(False, True), user=user)(0)[0, 0, 0]
    assert grown[:, 0].tolist() == [1, 1, 0, 1, 1, 0]  # the kept object takes its own site, and what it alone reaches
    assert grown[:, 5].tolist() == [1, 0, 0, 0, 0, 0]
