"""Classifier-free guidance, and a scale that differs from site to site."""

from collections.abc import Callable, Container

from flowedit.tensors import Tensor
from flowedit.types import Scale, Velocity


def classifier_free(negative: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u = u_neg + g (u_cond - u_neg), any shape (Ho & Salimans 2022, eq. 6, with g = 1 + w)."""
    return negative + scale * (conditional - negative)


def scales(scale: Scale) -> tuple[float, ...]:
    """One guidance scale or several as a tuple."""
    return (float(scale),) if isinstance(scale, (int, float)) else tuple(scale)


def regional(velocity: Velocity, weights: Callable[[], Tensor]) -> Velocity:
    """u = sum_k W_k u_k: a guidance scale that differs from site to site, g = sum_k W_k g_k.

    Guided velocities are affine in their scale, so K of them, (K B, C, F, H, W) from `velocity`, take one pass of the
    network. `weights()` gives W (K, 1, F, H, W), of sum 1 over k, and is called after each evaluation. Gives
    (B, C, F, H, W).
    """

    def mixed(z: Tensor, t: float) -> Tensor:
        rows = velocity(z, t)
        each = rows.unflatten(0, (-1, len(z)))
        return (weights().to(rows.dtype)[:, None] * each).sum(0)

    return mixed


def at_times(guided: Velocity, plain: Velocity, times: Container[float]) -> Velocity:
    """guided(z, t) at these times, plain(z, t) at all others (guidance on an interval, Kynkaanniemi et al. 2024)."""
    return lambda z, t: guided(z, t) if t in times else plain(z, t)
