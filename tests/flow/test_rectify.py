"""The bridge between a variance-preserving diffusion and a rectified flow, against diffusers' own schedule."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler

from flowedit.flow import rectify


def cogvideox(shift):
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
        snr_shift_scale=shift,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
    )


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_knots_descend_from_exactly_one_at_zero_terminal_snr(shift):
    knots = rectify.knots(cogvideox(shift).alphas_cumprod)
    assert knots.dtype == torch.float64
    assert knots[0] == 1.0
    assert (knots.diff() < 0).all()
    # what was measured on the released checkpoints: the smallest trained time
    assert knots[-1].item() == pytest.approx({1.0: 0.028, 3.0: 0.048}[shift], abs=1e-3)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("step", [0, 1, 499, 998, 999])
def test_velocity_is_noise_minus_data_to_double_precision(shift, step):
    alpha = cogvideox(shift).alphas_cumprod.double()[step]
    x, eps = torch.randn(2, 4, 3, dtype=torch.float64)
    a, b = alpha.sqrt(), (1 - alpha).sqrt()
    x_t, v = a * x + b * eps, a * eps - b * x
    t = rectify.knots(cogvideox(shift).alphas_cumprod)[999 - step].item()
    assert torch.allclose(rectify.to_rectified(x_t, t), rectify.interpolate(x, eps, t), atol=1e-14, rtol=0)
    u = rectify.velocity_from_v(v, x_t, t)
    assert torch.allclose(u, eps - x, atol=1e-13, rtol=0)
    assert torch.allclose(rectify.v_from_velocity(u, x_t, t), v, atol=1e-13, rtol=0)
    assert torch.allclose(rectify.from_rectified(rectify.to_rectified(x_t, t), t), x_t, atol=1e-14, rtol=0)


def test_at_pure_noise_the_velocity_is_v_plus_the_state():
    v, x_t = torch.randn(2, 5, dtype=torch.float64)
    assert torch.equal(rectify.velocity_from_v(v, x_t, 1.0), v + x_t)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.95])
def test_noise_prediction_converts_both_ways(t):
    x, eps = torch.randn(2, 7, dtype=torch.float64)
    z = rectify.interpolate(x, eps, t)
    assert torch.allclose(rectify.velocity_from_epsilon(eps, z, t), eps - x, atol=1e-12)
    assert torch.allclose(rectify.epsilon_from_velocity(eps - x, z, t), eps, atol=1e-12)


def test_noise_prediction_refuses_pure_noise():
    with pytest.raises(ValueError, match="t = 1"):
        rectify.velocity_from_epsilon(torch.ones(1), torch.ones(1), 1.0)


@pytest.mark.parametrize("t", [-0.1, 1.1])
def test_a_time_outside_the_unit_interval_is_refused(t):
    with pytest.raises(ValueError, match="outside"):
        rectify.scales(t)


def test_timestep_is_exact_at_knots_linear_between_and_clamped_below():
    knots = rectify.knots(cogvideox(3.0).alphas_cumprod)
    assert all(rectify.timestep(knots[i].item(), knots) == 999 - i for i in range(1000))
    middle = 0.5 * (knots[10] + knots[11]).item()
    assert rectify.timestep(middle, knots) == pytest.approx(988.5, abs=1e-9)
    assert rectify.timestep(0.0, knots) == 0.0


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_an_euler_step_is_a_deterministic_ddim_step(shift):
    scheduler = cogvideox(shift)
    scheduler.set_timesteps(10)
    knots = rectify.knots(scheduler.alphas_cumprod)
    x_t, v = torch.randn(2, 1, 3, 4, 5, 6, dtype=torch.float64)
    for step, after in zip(scheduler.timesteps, [*scheduler.timesteps[1:], None], strict=True):
        t = knots[999 - int(step)].item()
        t_next = 0.0 if after is None else knots[999 - int(after)].item()
        ours = rectify.to_rectified(x_t, t) + (t_next - t) * rectify.velocity_from_v(v, x_t, t)
        theirs = scheduler.step(v, step, x_t, eta=0.0, return_dict=False)[0]
        assert torch.allclose(rectify.from_rectified(ours, t_next), theirs, atol=1e-6)
