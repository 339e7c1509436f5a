"""The frames of a shot, made larger one after the other by one upscaler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowedit.media.pixels import Size, resize
from flowedit.upscaling.asked import asked
from flowedit.upscaling.steady import Steady, held

if TYPE_CHECKING:
    import torch


class Opened:
    """An upscaler on its device, for one shot or many."""

    def __init__(self, text: str, device: torch.device) -> None:
        upscaler = asked(text)
        self.enlarge, self.invents = upscaler.open(device), upscaler.invents


class Larger:
    """The frames of one shot in their order; what a network makes up is held to the frames, and steadied."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self._steady = opened, Steady()

    def __call__(self, frames: np.ndarray, size: Size, wanted: np.ndarray | None = None) -> np.ndarray:
        """Frames uint8 (f, h, w, 3) at a size of which a side is larger, uint8 (f, H, W, 3).

        `wanted`, boolean (f, h, w), says which pixels will be seen; the rest may be plain, and None wants all.
        """
        result = np.empty((len(frames), *size, 3), np.uint8)
        for place, frame in enumerate(frames):
            result[place] = self._one(frame, size, None if wanted is None else wanted[place])
        return result

    def remember(self, frame: np.ndarray, given: np.ndarray) -> None:
        """Go on after this frame, for which that was given back."""
        self._steady.remember(frame, given)

    def _one(self, frame: np.ndarray, size: Size, wanted: np.ndarray | None) -> np.ndarray:
        if wanted is not None and not wanted.any():
            given = resize(frame[None], size)[0]
            self.remember(frame, given)
            return given
        larger = self._opened.enlarge(frame, size, wanted)
        if not self._opened.invents:
            return np.clip(np.rint(larger), 0, 255).astype(np.uint8)
        return self._steady(frame, held(larger, frame))
