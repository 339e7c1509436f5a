"""Time grids."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler

from flowedit.flow import rectify, schedule

KNOTS = rectify.knots(
    CogVideoXDDIMScheduler(
        rescale_betas_zero_snr=True, beta_schedule="scaled_linear", snr_shift_scale=3.0
    ).alphas_cumprod
)


@pytest.mark.parametrize("steps", [1, 3, 7, 10, 28, 30, 50, 999, 1000])
def test_the_model_grid_is_diffusers_trailing_spacing(steps):
    trailing = np.round(np.arange(1000, 0, -1000 / steps)).astype(int) - 1
    expected = [KNOTS[999 - step].item() for step in trailing] + [0.0]
    assert schedule.model(KNOTS, steps) == expected


@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
def test_shifted_follows_its_formula_above_the_smallest_knot(shift):
    grid = schedule.shifted(KNOTS, 10, shift)
    s = [1 - i / 10 for i in range(10)]
    assert grid[:-1] == pytest.approx([shift * x / (1 + (shift - 1) * x) for x in s], abs=1e-12)
    assert grid[-1] == 0.0


def test_uniform_is_equally_spaced():
    assert schedule.uniform(KNOTS, 4) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("make", [schedule.uniform, lambda k, n: schedule.shifted(k, n, 0.2)])
def test_no_time_falls_where_nothing_was_trained(make):
    grid = make(KNOTS, 100)
    assert len(grid) == 101
    assert grid[0] == 1.0
    assert min(grid[:-1]) == pytest.approx(KNOTS[-1].item(), abs=1e-12)
    assert all(a > b for a, b in pairwise(grid))


@pytest.mark.parametrize("times", [[0.5], [], [0.5, 0.5, 0], [0.2, 0.5, 0], [1.2, 0.5, 0], [0.9, 0.5]])
def test_a_given_grid_must_fall_to_zero(times):
    with pytest.raises(ValueError, match="fall strictly"):
        schedule.given(times)


def test_a_given_grid_is_kept():
    assert schedule.given((1.0, 0.5, 0.0)) == [1.0, 0.5, 0.0]


def test_strength_is_the_share_of_the_grid_that_is_run():
    grid = schedule.model(KNOTS, 50)
    for strength, steps in [(0, 0), (0.8, 40), (1.0, 50), (0.58, 29), (0.019999, 0), (0.29, 14)]:
        if steps or strength == 0:
            assert schedule.start(grid, strength) == grid[50 - steps :]
    assert schedule.start(grid, 0.0) == [0.0]


@pytest.mark.parametrize("strength", [-0.1, 1.1, 0.01])
def test_a_strength_that_runs_nothing_or_too_much_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        schedule.start(schedule.model(KNOTS, 50), strength)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_out_of_range_are_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        schedule.model(KNOTS, steps)


def test_a_shift_of_zero_is_refused():
    with pytest.raises(ValueError, match="shift"):
        schedule.shifted(torch.tensor([1.0, 0.1]), 4, 0.0)


@pytest.mark.parametrize(("steps", "top"), [(40, 0.923), (1, 0.5), (10, 1.0), (700, 0.923), (999, 0.5)])
def test_the_model_grid_begins_at_the_knot_nearest_to_a_time(steps, top):
    grid = schedule.model_below(KNOTS, steps, top)
    assert len(grid) == steps + 1
    assert set(grid[:-1]) <= set(KNOTS.tolist())
    assert all(a > b for a, b in pairwise(grid))
    if steps < 700:
        assert grid[0] == min(KNOTS.tolist(), key=lambda knot: abs(knot - top))
    if top == 1.0:
        assert grid == schedule.model(KNOTS, steps)


def test_a_share_of_a_shifted_grid_is_its_end():
    whole = schedule.shifted(KNOTS, 50, 12.0)
    assert schedule.shifted(KNOTS, 40, 12.0, share=0.8) == pytest.approx(whole[10:], abs=1e-12)
    assert schedule.shifted_time(0.8, 12.0) == pytest.approx(12 * 0.8 / (1 + 11 * 0.8))


def test_a_shift_that_grows_with_the_tokens_is_that_of_the_scheduler_s_file():
    """e^mu, mu on the line from base_shift to max_shift; the file's own shift where it is not dynamic."""
    file = {"base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096, "shift": 3.0}
    shift, growth = schedule.shift_of(file | {"use_dynamic_shifting": True})
    for tokens, mu in ((1024, 0.95), (4096, 2.05), (2560, 1.5)):
        assert shift * math.exp(growth * tokens) == pytest.approx(math.exp(mu))
    assert schedule.shift_of(file) == (3.0, 0.0)
    assert schedule.shift_of({}) == (1.0, 0.0)
