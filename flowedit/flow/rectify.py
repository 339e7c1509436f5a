"""A variance-preserving diffusion model seen as a rectified flow, exactly, both ways.

With a = sqrt(alpha_bar), b = sqrt(1 - alpha_bar): t = b / (a + b), z = x_t / (a + b), so z = (1 - t) x + t eps.
A deterministic DDIM step (Song et al. 2021, eq. 12, sigma = 0) is exactly one Euler step in (z, t).
"""

import math

import numpy as np

from flowedit.messages import InputError
from flowedit.tensors import Tensor, torch


def interpolate(x: Tensor, eps: Tensor, t: float) -> Tensor:
    """z_t = (1 - t) x + t eps, any shape, t in [0, 1] (Liu et al. 2023, rectified flow, eq. 1)."""
    return (1.0 - t) * x + t * eps


def scales(t: float) -> tuple[float, float]:
    """(a, b) with a^2 + b^2 = 1 at time t: n = sqrt(t^2 + (1 - t)^2), a = (1 - t) / n, b = t / n."""
    if not 0.0 <= t <= 1.0:
        raise InputError(f"time {t} is outside [0, 1]")
    n = math.hypot(t, 1.0 - t)
    return (1.0 - t) / n, t / n


def knots(alphas_cumprod: Tensor) -> Tensor:
    """t = b / (a + b) of every training timestep, (T,) in any precision to (T,) float64, descending.

    Exact at zero terminal SNR: alpha_bar = 0 gives t = 1.
    """
    alpha_bar = alphas_cumprod.to(torch.float64).flip(0)
    a, b = alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()
    return b / (a + b)


def to_rectified(x_t: Tensor, t: float) -> Tensor:
    """z = x_t / (a + b): from the diffusion's state to the flow's."""
    a, b = scales(t)
    return x_t / (a + b)


def from_rectified(z: Tensor, t: float) -> Tensor:
    """x_t = (a + b) z: from the flow's state to the diffusion's."""
    a, b = scales(t)
    return (a + b) * z


def velocity_from_v(v: Tensor, x_t: Tensor, t: float) -> Tensor:
    """u = (a + b) v + (b - a) x_t, v the v-prediction at x_t (Salimans & Ho 2022); u = v + x_t at t = 1."""
    a, b = scales(t)
    return (a + b) * v + (b - a) * x_t


def v_from_velocity(u: Tensor, x_t: Tensor, t: float) -> Tensor:
    """v = (u - (b - a) x_t) / (a + b), the inverse of `velocity_from_v`."""
    a, b = scales(t)
    return (u - (b - a) * x_t) / (a + b)


def velocity_from_epsilon(eps: Tensor, z: Tensor, t: float) -> Tensor:
    """u = (eps - z) / (1 - t), eps the noise prediction; raises ValueError at t = 1, where eps holds no x."""
    if t >= 1.0:
        raise InputError("a noise prediction gives no velocity at t = 1; start the grid below 1")
    return (eps - z) / (1.0 - t)


def epsilon_from_velocity(u: Tensor, z: Tensor, t: float) -> Tensor:
    """eps = z + (1 - t) u, the inverse of `velocity_from_epsilon`."""
    return z + (1.0 - t) * u


def timestep(t: float, knots: Tensor) -> float:
    """The training timestep of time t, in [0, T - 1]: linear between knots (T,) descending, clamped outside them."""
    ascending = knots.flip(0).numpy()
    return float(np.interp(t, ascending, np.arange(len(ascending), dtype=np.float64)))
