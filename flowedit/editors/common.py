"""What the editors share: a step's mask, keeping what lies outside it, and counting steps over several passes."""

from collections.abc import Sequence
from dataclasses import replace

from flowedit.flow.guidance import TINY as TINY
from flowedit.flow.host import on_host as on_host
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE, Callback, Mask, Step


def mask_at(mask: Mask, step: int, preserve: bool = False) -> Tensor | None:
    """The mask (1, 1, F, H, W) of a step, asked for after that step's velocities; None without one.

    With `preserve`, sites below INSIDE count as 0.
    """
    m = mask(step) if callable(mask) else mask
    return m * (m >= INSIDE) if preserve and m is not None else m


def blend(z: Tensor, outside: Tensor, mask: Tensor | None, grid: Sequence[float], step: int) -> Tensor:
    """outside + M^w (z - outside), w = (t - t_next) / t0: all (B, C, F, H, W) but M (1, 1, F, H, W).

    The shares w of all steps add up to 1, so that a constant soft mask acts as M on the whole way, whatever the
    number of steps; where M is 0 or 1 this is plain blending (Avrahami et al. 2022). z itself without a mask.
    """
    if mask is None:
        return z
    share = (grid[step] - grid[step + 1]) / grid[0]
    return torch.lerp(outside, z, mask.to(z.dtype) ** share)


def stretched(x: Tensor) -> Tensor:
    """(x - min x) / (max x - min x), each over its whole row: (B, C, F, H, W) to [0, 1]; 0 where all are equal."""
    low, high = x.amin((1, 2, 3, 4), keepdim=True), x.amax((1, 2, 3, 4), keepdim=True)
    return (x - low) / (high - low).clamp_min(TINY)


def counted(callback: Callback, offset: int, total: int) -> Callback:
    """The callback of a pass whose step 0 is step `offset` of `total`."""
    if callback is None:
        return None

    def shifted(step: Step) -> Tensor | None:
        return callback(replace(step, index=step.index + offset, total=total))

    return shifted
