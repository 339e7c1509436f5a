"""What the editors share: asking for a step's mask, and counting steps over several passes."""

from dataclasses import replace

from torch import Tensor

from flowedit.types import Callback, Mask, Step


def mask_at(mask: Mask, step: int) -> Tensor | None:
    """The mask (1, 1, F, H, W) of a step, asked for after that step's velocities; None without one."""
    return mask(step) if callable(mask) else mask


def blend(z: Tensor, outside: Tensor, mask: Tensor | None) -> Tensor:
    """M z + (1 - M) outside, all (B, C, F, H, W) but M (1, 1, F, H, W); z itself without a mask."""
    return z if mask is None else mask * z + (1.0 - mask) * outside


def counted(callback: Callback, offset: int, total: int) -> Callback:
    """The callback of a pass whose step 0 is step `offset` of `total`."""
    if callback is None:
        return None

    def shifted(step: Step) -> None:
        callback(replace(step, index=step.index + offset, total=total))

    return shifted
