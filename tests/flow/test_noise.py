"""Noise is a pure function of seed, step and draw, and what pairs and follows it keeps its law."""

import math

import pytest
import torch

from flowedit.flow.noise import antithetic, correlated, gaussian


def test_equal_arguments_give_equal_bytes_in_any_order():
    a, b = gaussian(3, (2, 5)), gaussian(3, (2, 5))
    first = a(0, 0)
    b(7, 1)
    assert torch.equal(b(0, 0), first)


def test_seed_step_and_draw_each_change_it():
    samples = [gaussian(seed, (50,))(step, draw) for seed in (0, 1) for step in (0, 1) for draw in (0, 1)]
    correlations = torch.corrcoef(torch.stack(samples)) - torch.eye(8)
    assert correlations.abs().max() < 0.6


def test_it_is_standard_normal():
    sample = gaussian(0, (100_000,))(0, 0)
    assert sample.dtype == torch.float32
    assert abs(sample.mean()) < 0.02
    assert abs(sample.std() - 1) < 0.02


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    gaussian(0, (3,))(0, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("draws", [1, 2, 4])
def test_antithetic_noise_cancels_in_pairs_and_no_two_pairs_are_the_same(draws):
    noise = antithetic(gaussian(0, (50,)), draws)
    every = torch.stack([noise(step, draw) for step in range(4) for draw in range(draws)])
    assert torch.equal(every[0::2], -every[1::2])
    assert len({tuple(pair.tolist()) for pair in every[0::2]}) == 2 * draws
    assert torch.equal(every[0], gaussian(0, (50,))(0, 0))


def test_antithetic_noise_pairs_the_steps_that_take_one_draw():
    noise = antithetic(gaussian(0, (50,)), 2, several=3)
    for step in range(3):
        assert torch.equal(noise(step, 0), -noise(step, 1))
    single = [noise(step, 0) for step in range(3, 7)]
    assert torch.equal(single[0], -single[1])
    assert torch.equal(single[2], -single[3])
    pairs = [noise(step, 0) for step in (0, 1, 2, 3, 5)]
    assert len({tuple(pair.tolist()) for pair in pairs}) == 5
    alone, one = antithetic(gaussian(0, (50,)), 2, several=0), antithetic(gaussian(0, (50,)))
    assert all(torch.equal(alone(step, 0), one(step, 0)) for step in range(4))


def test_correlated_noise_is_normal_and_keeps_the_share_that_its_time_says():
    grid, fresh = [1.0, 0.8, 0.4, 0.2, 0.1, 0.0], gaussian(0, (200_000,))
    noise = correlated(fresh, grid)
    e = [noise(step, 0) for step in range(5)]
    assert torch.equal(e[0], fresh(0, 0))
    for i, kept in ((1, 0.2 / 0.75), (2, 0.6 / 0.75), (3, 1.0), (4, 1.0)):
        assert abs(e[i].std() - 1) < 0.01
        assert abs((e[i] * e[i - 1]).mean() - math.sqrt(kept)) < 0.01
    assert torch.equal(e[4], e[2])  # from t = 0.25 down nothing is new


def test_correlated_noise_is_a_function_of_step_and_draw_whatever_the_order():
    grid = [1.0, 0.8, 0.6, 0.4, 0.0]
    one, other = correlated(gaussian(0, (9,)), grid), correlated(gaussian(0, (9,)), grid)
    forward = {(i, d): one(i, d) for i in range(4) for d in range(2)}
    for at in ((3, 1), (1, 0), (3, 0), (0, 1), (2, 1), (2, 1)):
        assert torch.equal(other(*at), forward[at])
