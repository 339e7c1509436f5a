"""What an upscaler is, and the registry of those that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flowedit.declare import Registry
from flowedit.media.pixels import Size

if TYPE_CHECKING:
    import torch

Enlarge = Callable[[np.ndarray, Size, "np.ndarray | None"], np.ndarray]
"""A frame, uint8 (h, w, 3), at another size, float32 (H, W, 3) in 0 ... 255; where `wanted`, boolean (h, w), is false,
it may be anything between a cubic and the real thing, and None wants all."""


@dataclass(frozen=True)
class Upscaler:
    """A way to make frames larger: `open` brings it to a device.

    `invents`: it makes up detail that the frames have not, as a network does: this is held to the frames, and steadied.
    `packages`: what it needs of the extra [upscale], by the names that are imported.
    """

    about: str
    open: Callable[[torch.device], Enlarge]
    invents: bool = True
    packages: tuple[str, ...] = ()


UPSCALERS: Registry[Upscaler] = Registry("flowedit.upscalers", "upscaler", "flowedit.upscaling", Upscaler)
