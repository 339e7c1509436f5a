"""Noise is a pure function of seed, step and draw."""

import torch

from flowedit.flow.noise import gaussian


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
