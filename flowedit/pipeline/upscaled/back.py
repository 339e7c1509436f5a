"""Working frames on their way back to the source's size, by an upscaler and in the source's colours."""

from functools import partial

import cv2
import numpy as np
import torch

from flowedit.media import fit
from flowedit.media.fit import Fit
from flowedit.pipeline.plan import Plan
from flowedit.upscaling.edges import Edge
from flowedit.upscaling.larger import Larger, Opened


def opened(plan: Plan, device: torch.device) -> Opened | None:
    """The upscaler that the settings ask for, on this device; None without one, or where it has nothing to do."""
    asked = plan.settings.upscale
    used = asked is not None and plan.settings.strength and any(shot.fit.enlarges for shot in plan.shots)
    return Opened(asked, device) if asked is not None and used else None


class WayBack:
    """The frames of one shot in their order, from the working size to the source's."""

    def __init__(self, lies: Fit, upscaler: Opened | None) -> None:
        self._fit = lies
        self._larger = Larger(upscaler) if upscaler is not None and lies.enlarges else None
        self._edge = Edge()

    def __call__(self, frames: np.ndarray, original: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Working frames uint8 (f, h, w, 3) at the source's size, as `fit.to_source`; cubic without an upscaler.

        `mask`, float32 (f, H, W), is what they are blended by: what lies outside stays plain, and the colours are
        matched at its edge. None: all of the frames will be seen.
        """
        if self._larger is None:
            return fit.to_source(frames, original, self._fit)
        wanted = None if mask is None else _wanted(fit.on_the_way_back(mask, self._fit), self._fit)
        larger = fit.to_source(frames, original, self._fit, partial(self._larger, wanted=wanted))
        return larger if mask is None else self._edge(larger, original, mask)


def _wanted(mask: np.ndarray, lies: Fit) -> np.ndarray:
    """The pixels, boolean (f, h, w) at the size that is made larger, of which a mask (f, H, W) shows anything."""
    size = lies.back[0]
    seen = (cv2.resize((each > 0).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) for each in mask)
    return np.stack([each > 0 for each in seen])
