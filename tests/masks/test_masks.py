"""Masks: each stage against a closed form, brute force or OpenCV."""

import math
import subprocess
import sys
import typing

import cv2
import numpy as np
import pytest
import torch
from masking import mask_options

from flowedit.masks import attention_mask, grids, shapes
from flowedit.masks.maps import THRESHOLDS, otsu, pool, smooth_time, strength, threshold
from flowedit.masks.options import Threshold

MAPS = torch.rand((2, 1, 3, 12, 17), generator=torch.Generator().manual_seed(0))


def test_pool_is_the_mean_of_the_window_that_lies_inside():
    pooled = pool(MAPS, 5)
    for y, x in [(0, 0), (11, 16), (6, 8), (1, 15)]:
        window = MAPS[1, 0, 2, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        assert pooled[1, 0, 2, y, x] == pytest.approx(window.mean().item(), abs=1e-6)
    assert pool(MAPS, 1) is MAPS


def test_smooth_time_keeps_constants_and_is_a_gaussian():
    constant = torch.full((1, 1, 5, 2, 2), 0.7)
    assert torch.allclose(smooth_time(constant, 1.5), constant)
    impulse = torch.zeros(1, 1, 21, 1, 1)
    impulse[0, 0, 10] = 1
    row = smooth_time(impulse, 1.5)[0, 0, :, 0, 0]
    assert row[12] / row[10] == pytest.approx(math.exp(-0.5 * (2 / 1.5) ** 2), rel=1e-4)
    assert smooth_time(MAPS, 0) is MAPS
    assert smooth_time(MAPS[:, :, :1], 2).shape == MAPS[:, :, :1].shape


def test_threshold_mean_is_of_the_whole_unpooled_map():
    binary = threshold(MAPS, "mean", size=3)
    for row in range(2):
        assert torch.equal(binary[row], (pool(MAPS, 3)[row] > MAPS[row].mean()).float())


def test_threshold_mean_leaves_a_frame_without_the_object_empty():
    maps = torch.zeros(1, 1, 2, 6, 6)
    maps[:, :, 0, 2:4, 2:4] = 1
    maps[:, :, 1] = torch.linspace(0, 0.01, 36).view(6, 6)
    assert threshold(maps, "mean")[0, 0].sum((1, 2)).tolist() == [4, 0]


def test_means_over_the_clip_count_its_own_frames():
    own, rest = slice(1, 3), MAPS[:, :, 1:3]
    assert torch.equal(threshold(MAPS, "mean", own=own)[:, :, own], threshold(rest, "mean"))
    assert torch.equal(strength(MAPS, own=own)[:, :, own], strength(rest))
    bright = MAPS.clone()
    bright[:, :, 0] += 9
    for how in ({}, {"own": own}):
        same = torch.equal(attention([lambda: bright], **how)(0)[:, :, own], attention([lambda: rest])(0))
        assert same == bool(how)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_threshold_quantile_keeps_its_share(q):
    share = threshold(MAPS, "quantile", q).flatten(3).mean(3)
    assert (share - (1 - q)).abs().max() < 0.01


def test_otsu_is_opencv_s():
    rng = np.random.default_rng(0)
    image = np.clip(
        np.where(rng.random((40, 40)) < 0.3, rng.normal(180, 20, (40, 40)), rng.normal(60, 15, (40, 40))), 0, 255
    )
    image = image.astype(np.uint8)
    level, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)
    ours = otsu(torch.from_numpy(image).float().flatten())
    assert (image > ours.item()).sum() == (image > level).sum()
    binary = threshold(torch.from_numpy(image).float()[None, None, None], "otsu")
    assert binary.sum() == (image > level).sum()


@pytest.mark.parametrize("how", list(THRESHOLDS))
def test_a_level_multiplies_the_threshold(how):
    for level in (0.5, 1.0, 1.7):
        least = level * THRESHOLDS[how](MAPS, pool(MAPS, 3).flatten(3), 0.7, slice(None))
        found = threshold(MAPS, how, 0.7, 3, level=level)
        assert torch.equal(found, (pool(MAPS, 3) > least[..., None, None]).float())
    wide, plain, tight = (threshold(MAPS, how, 0.7, level=level).sum() for level in (0.9, 1.0, 1.1))
    assert wide > plain > tight > 0


def test_the_level_of_the_options_is_that_of_the_masks():
    wide, plain = (
        attention_mask.AttentionMask([lambda: MAPS[:1]], mask_options(decay=math.inf, pool=0.0, level=level), 12)(0)
        for level in (0.9, 1.0)
    )
    assert torch.equal(plain, threshold(MAPS[:1], "mean"))
    assert torch.equal(wide, threshold(MAPS[:1], "mean", level=0.9))


def test_an_unknown_threshold_is_refused():
    with pytest.raises(ValueError, match="otsu"):
        threshold(MAPS, "median")


def test_the_options_list_the_thresholds_that_there_are():
    assert typing.get_args(Threshold) == tuple(THRESHOLDS)


def test_options_of_masks_and_tasks_load_no_torch():
    code = "import sys, flowedit.masks.options, flowedit.language.tasks; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_sizes_are_in_shorter_sides_of_the_latent():
    maps = torch.rand((1, 1, 2, 12, 17), generator=torch.Generator().manual_seed(2))
    in_sites = attention([lambda: maps], pool=3.0, grow=1.5, decay=0.25)(0)
    assert torch.equal(attention([lambda: maps], size=12, pool=0.25, grow=0.125, decay=3.0)(0), in_sites)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_distance_is_exact(share):
    binary = (torch.rand((2, 1, 2, 23, 31), generator=torch.Generator().manual_seed(1)) < share).float()
    ours = shapes.distance(binary)
    for row in range(2):
        for frame in range(2):
            ones = binary[row, 0, frame].nonzero().float()
            sites = torch.cartesian_prod(torch.arange(23.0), torch.arange(31.0))
            assert torch.allclose(ours[row, 0, frame].flatten(), torch.cdist(sites, ones).amin(1), atol=1e-5)


def test_distance_agrees_with_opencv():
    binary = np.zeros((40, 60), np.uint8)
    binary[10:20, 15:30] = 1
    theirs = cv2.distanceTransform(1 - binary, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ours = shapes.distance(torch.from_numpy(binary).float()[None, None, None])[0, 0, 0]
    assert np.abs(ours.numpy() - theirs).max() < 1e-3


def test_soften_is_one_inside_exponential_outside_and_nothing_in_an_empty_frame():
    binary = torch.zeros(1, 1, 2, 9, 9)
    binary[0, 0, 0, 4, 4] = 1
    soft = shapes.soften(binary, 0.25)
    assert soft[0, 0, 0, 4, 4] == 1
    assert soft[0, 0, 0, 4, 6] == pytest.approx(math.exp(-0.5))
    assert soft[0, 0, 0, 1, 0] == pytest.approx(math.exp(-0.25 * 5))
    assert (soft[0, 0, 1] == 0).all()  # an empty mask stays empty; nothing is invented
    assert torch.equal(shapes.soften(binary, math.inf), binary)


def test_union_joins_masks_and_their_rows():
    a, b = torch.zeros(2, 1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    a[0, ..., 0, 0], a[1, ..., 0, 1], b[0, ..., 1, 0] = 1, 1, 0.5
    assert shapes.union([a, b])[0, 0, 0].tolist() == [[1, 1], [0.5, 0]]


def test_pixels_and_latents_agree_on_which_frames_share_a_latent():
    mask = torch.zeros(9, 16, 24)
    mask[0] = 1
    mask[6, :8] = 1
    latent = grids.to_latent(mask, 4, (2, 3))
    assert latent.shape == (1, 1, 3, 2, 3)
    assert latent[0, 0, :, 0, 0].tolist() == [1, 0, 1]
    assert latent[0, 0, :, 1, 0].tolist() == [1, 0, 0]
    back = grids.to_pixels(latent, range(9), 4, (16, 24))
    assert [int(frame.amax()) for frame in back] == [1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(grids.to_pixels(latent, range(4, 6), 4, (16, 24)), back[4:6])


def attention(sides, size=1, own=slice(None), user=None, **changes):
    return attention_mask.AttentionMask(sides, mask_options(**changes), size, own=own, user=user)


def square(y, x):
    maps = torch.zeros(1, 1, 1, 8, 8)
    maps[..., y : y + 2, x : x + 2] = 1
    return maps


def test_attention_mask_is_the_union_of_both_sides():
    mask = attention([lambda: square(0, 0), lambda: square(5, 5)])(0)
    assert mask[0, 0, 0, 0, 0] == mask[0, 0, 0, 6, 6] == 1
    assert mask[0, 0, 0, 3, 3] < 1


def test_a_side_that_is_not_evaluated_again_keeps_its_maps():
    fresh = iter([square(0, 0), None])
    mask = attention([lambda: next(fresh), lambda: square(5, 5)])
    assert torch.equal(mask(0), mask(1))


def test_smoothing_over_steps_remembers_and_its_absence_does_not():
    def run(share):
        sides = iter([square(0, 0), square(5, 5)])
        mask = attention([lambda: next(sides)], smooth_steps=share, decay=math.inf)
        mask(0)
        return mask(1)[0, 0, 0]

    assert run(0.0)[0, 0] == 0
    assert run(0.6)[0, 0] == 1


def test_draws_are_averaged_before_or_joined_after_the_threshold():
    rows = torch.cat([square(0, 0), 0.01 * square(5, 5)])
    assert attention([lambda: rows], decay=math.inf, over_draws="mean")(0)[0, 0, 0, 5, 5] == 0
    assert attention([lambda: rows], decay=math.inf, over_draws="union")(0)[0, 0, 0, 5, 5] == 1


@pytest.mark.parametrize(
    ("held", "kept"),
    [
        ((1, 2, 4), True),
        ((1, 2), False),
        ((1, 2, 3), True),
        ((4,), False),
        ((1, 4), True),
        ((3,), False),
        ((2, 3), True),
    ],
)
def test_the_vote_keeps_what_half_of_the_steps_held_where_step_n_has_n_votes(held, kept):
    sides = iter([square(0, 0) if step in held else square(5, 5) for step in (1, 2, 3, 4)])
    mask = attention([lambda: next(sides)], decay=math.inf)
    assert mask.vote() is None
    for step in range(4):
        mask(step)
    assert mask.vote()[0, 0, 0, 0, 0] == kept


def test_a_user_mask_joins():
    user = 0.5 * square(3, 3)
    mask = attention([lambda: square(0, 0)], decay=math.inf, user=user)
    assert torch.equal(mask(0), torch.maximum(square(0, 0), user))
    assert torch.equal(mask.vote(), torch.maximum(square(0, 0), user))


def test_growing_takes_every_site_within_reach_and_nothing_in_an_empty_frame():
    binary = torch.zeros(1, 1, 2, 7, 7)
    binary[0, 0, 0, 3, 3] = 1
    assert torch.equal(shapes.grow(binary, 0.0), binary)
    assert shapes.grow(binary, 0.9).sum() == 1
    assert shapes.grow(binary, 1.0)[0, 0, 0].sum() == 5  # a cross
    assert shapes.grow(binary, 1.5)[0, 0, 0].sum() == 9
    assert shapes.grow(binary, 2.0)[0, 0, 1].sum() == 0


def test_a_grown_mask_is_soft_from_where_it_grew_to():
    maps = torch.zeros(1, 1, 1, 9, 9)
    maps[..., 4, 4] = 1
    mask = attention([lambda: maps], grow=1.0)
    soft = mask(0)[0, 0, 0, 4]
    assert soft[3:6].tolist() == [1, 1, 1]
    assert soft[6] == pytest.approx(math.exp(-0.5))
    assert torch.equal(mask.vote()[0, 0, 0, 4], soft)


@pytest.mark.parametrize("decay", [0.25, 1.0, 2.0, float("inf")])
def test_a_plain_mask_read_again_has_the_same_sites(decay):
    """The ring around an object is above a half at small decays, and a notch is so once it is interpolated."""
    generator = torch.Generator().manual_seed(0)
    hard = (torch.rand(1, 1, 3, 12, 20, generator=generator) > 0.7).float()
    hard[:, :, 1] = 0
    hard[0, 0, 1, 3:7, 4:9], hard[0, 0, 1, 5, 8], hard[0, 0, 1, 10, 2] = 1, 0, 1
    soft = shapes.soften(hard, decay)
    plain = grids.to_plain(soft, range(9), 4, (96, 160))
    again = grids.to_latent(plain, 4, (12, 20))
    torch.testing.assert_close((again >= 0.5).float(), hard)
    below = again[hard == 0] - soft[hard == 0]
    assert below.max() < grids.EDGE
    assert plain.amin() >= 0
    assert plain.amax() <= 1
    shown = grids.cut(grids.to_pixels(soft, range(9), 4, (96, 160)), grids.FLOOR)
    assert (plain <= shown + 1e-6).all()
