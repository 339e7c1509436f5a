"""VeloEdit: exact where its rule is, else held to the rule in NumPy; how its options move an edit."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from fields import Gaussian
from straight import GRID, MASK, NOISE, SHAPE, TARGET, X, close, eps, on_torch

from flowedit.editors.through_noise.random_noise import random_noise
from flowedit.editors.through_noise.veloedit import veloedit

MOVES = {
    "mode.similarity": (0.5, "veloedit", {}),
    "mode.source_share": (0.5, "veloedit", {}),
    "mode.led_share": (0.5, "veloedit", {}),
}
WHOLE = (1.0, 0.97, 0.9, 0.7, 0.2, 0.0)
target = on_torch(TARGET)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
@pytest.mark.parametrize(("similarity", "share", "led"), [(0.8, 0.0, 5), (0.6, 0.3, 5), (0.6, 0.3, 2)])
def test_veloedit_is_its_rule(similarity, share, led, mask):
    x, e = X.numpy(), eps(0)
    z, near, far = (1 - GRID[0]) * x + GRID[0] * e, 0, 0
    for i, (t, t_next) in enumerate(pairwise(GRID)):
        w = TARGET(z, t)
        if i < led:
            v = (z - x) / t
            kept = np.abs(v) / (np.abs(v) + np.abs(w - v)) >= similarity
            near, far = near + kept.sum(), far + (~kept).sum()
            w = np.where(kept, v, share * v + (1 - share) * w)
        z = z + (t_next - t) * w
        if mask is not None:
            beside = (1 - t_next) * x + t_next * e
            z = beside + mask.numpy() ** ((t - t_next) / GRID[0]) * (z - beside)
    ours = veloedit(X, target, GRID, NOISE, similarity=similarity, source_share=share, led_steps=led, mask=mask)
    assert close(ours, z, 1e-11)
    assert near > 10 < far


@pytest.mark.parametrize("grid", [GRID, WHOLE])
def test_led_in_all_steps_by_the_source_alone_it_is_the_source(grid):
    for sure in ({"similarity": 0.0}, {"source_share": 1.0}):
        assert (veloedit(X, target, grid, NOISE, led_steps=5, **sure) - X).abs().max() < 1e-12
    assert (veloedit(X, target, grid, NOISE, led_steps=5) - X).abs().max() > 0.1


def test_of_a_target_that_is_the_source_alone_it_is_the_source_whatever_is_near():
    """The velocity of a point mass at X is (z - X) / t: v itself."""
    alone = Gaussian(X, 0.0)
    for similarity in (0.5, 1.0):
        assert (veloedit(X, alone, GRID, NOISE, similarity=similarity, led_steps=3) - X).abs().max() < 1e-12


def test_led_in_no_step_it_is_random_noise():
    assert torch.equal(veloedit(X, target, GRID, NOISE, led_steps=0), random_noise(X, target, GRID, NOISE))


def test_on_gaussians_where_nothing_is_near_a_share_is_a_flow_between_both():
    """With w = a v + (1 - a) u, z - X obeys one number a step: it is linear in z - X and in m - X."""
    mean = X + torch.randn(SHAPE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    field, a = Gaussian(mean, 0.6), 0.4
    one = GRID[0] * (NOISE(0, 0) - X)
    for t, t_next in pairwise(GRID):
        h = t_next - t
        # u = k (z - (1 - t) m) - m, with z = X + d and m = X + dm: (k t - 1) X + k d - (k (1 - t) + 1) dm
        free = (field.k(t) * t - 1) * X + field.k(t) * one - (field.k(t) * (1 - t) + 1) * (mean - X)
        one = one + h * (a * one / t + (1 - a) * free)
    found = veloedit(X, field, GRID, NOISE, similarity=1.0, source_share=a, led_steps=5)
    assert (found - (X + one)).abs().max() < 1e-12


def test_preserve_keeps_the_source_below_one_half():
    below = (MASK < 0.5).expand_as(X)
    z = veloedit(X, target, GRID, NOISE, mask=MASK, preserve=True)
    assert (z - X)[below].abs().max() < 1e-12
    assert (z - X)[~below].abs().max() > 0.1


def test_no_steps_return_the_source():
    assert torch.equal(veloedit(X, target, (0.9,), NOISE), X)
