"""Classifier-free guidance, two other rules of it, and a scale that differs from site to site."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from flowedit.messages import InputError
from flowedit.tensors import Tensor, torch
from flowedit.types import Guidance, Scale, Velocity


def classifier_free(negative: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u = u_neg + g (u_cond - u_neg), any shape (Ho & Salimans 2022, eq. 6, with g = 1 + w)."""
    return negative + scale * (conditional - negative)


def scales(scale: Scale) -> tuple[float, ...]:
    """One guidance scale or several as a tuple."""
    return (float(scale),) if isinstance(scale, (int, float)) else tuple(scale)


def check_known(name: str, guidance: Guidance, scale: Scale) -> None:
    """Raise InputError for a scale other than 1 of a model that knows no guidance."""
    if guidance == "none" and (other := [g for g in scales(scale) if g != 1.0]):
        raise InputError(
            f"{name} was distilled to run without guidance, and a scale is {other[0]:g}: set "
            "--source-guidance-scale 1 --target-guidance-scale 1"
        )


TOLD = 10.0
"""The largest scale that a network which is told its scale is commonly run at: FLUX.1 dev 3.5, HunyuanVideo 6 to 7."""

BOTH = (0.0, 1.0)
"""The scales whose guided velocities are u_neg and u_cond: both of them by one pass of the network."""

TINY = 1e-12


def zero_star(both: Velocity, scale: Scale) -> Velocity:
    """u = s u_neg + g (u_cond - s u_neg), s = <u_cond, u_neg> / |u_neg|^2 of each row, in the flow's own velocity.

    `both` gives (2 B, C, F, H, W), as a velocity of scales BOTH does; the result (K B, C, F, H, W) for K scales. Where
    both are alike s = 1; at g = 1 it is u_cond. s scales a velocity u = eps - x, for which the rule was found: of a
    model that predicts v at x_t, s v_neg would be another one, as u is not proportional to v. Source: CFG-Zero* (Fan et
    al. 2025, arXiv 2503.18886), without its zeros for the first steps, which an edit needs.
    """

    def velocity(z: Tensor, t: float) -> Tensor:
        negative, conditional = both(z, t).chunk(2)
        dims = tuple(range(1, z.ndim))
        size = negative.square().sum(dims, keepdim=True)
        s = (conditional * negative).sum(dims, keepdim=True) / size.clamp_min(TINY)
        return torch.cat([classifier_free(s * negative, conditional, g) for g in scales(scale)])

    return velocity


def rectified(plain: Velocity, both: Velocity, scale: Scale, below: Callable[[float], float]) -> Velocity:
    """u = u_cond(z, t) + (g - 1) [u_cond(z', t') - u_neg(z', t')], z' = z + (t' - t) u_cond(z, t), t' = below(t).

    `plain` is u_cond, `both` as in `zero_star`: three rows of the network, in two calls, where classifier-free guidance
    takes two in one. Gives (K B, C, F, H, W) for K scales. At g = 1 it is u_cond; of velocities that are constant it is
    classifier-free guidance. Source: Rectified-CFG++ (Saini et al. 2025, arXiv 2510.07631) as in its code, whose weight
    is g - 1 here, even over time.
    """

    def velocity(z: Tensor, t: float) -> Tensor:
        conditional, t_next = plain(z, t), below(t)
        negative, ahead = both(z + (t_next - t) * conditional, t_next).chunk(2)
        return torch.cat([conditional + (g - 1.0) * (ahead - negative) for g in scales(scale)])

    return velocity


def below(grid: Sequence[float], least: float) -> Callable[[float], float]:
    """The next time of a falling grid below t, but not below `least`, the smallest that a model was trained at."""
    rising = sorted(grid)
    return lambda t: min(t, max(rising[max(0, bisect_left(rising, t) - 1)], least))


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


WHOLE = (0.0, 1.0)
"""The interval that holds every time."""


def holds(interval: Sequence[float], t: float) -> bool:
    """Whether a <= t <= b, of the interval (a, b)."""
    return interval[0] <= t <= interval[1]


def within(interval: Sequence[float], guided: Velocity, plain: Velocity) -> Velocity:
    """guided(z, t) at the times t that the interval holds, plain(z, t) at all others.

    Source: guidance on an interval of noise levels (Kynkaanniemi et al. 2024, arXiv 2404.07724).
    """
    return lambda z, t: guided(z, t) if holds(interval, t) else plain(z, t)
