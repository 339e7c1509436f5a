"""Lanczos: a windowed sinc, the sharpest of the formulas that make up nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from flowedit.media.pixels import Size
from flowedit.upscaling.catalogue import UPSCALERS, Enlarge, Upscaler

if TYPE_CHECKING:
    import torch


def lanczos(frame: np.ndarray, size: Size, wanted: np.ndarray | None = None) -> np.ndarray:
    """sinc(x) sinc(x / 4), |x| < 4, along both axes (OpenCV's INTER_LANCZOS4), float32 (H, W, 3) within 0 ... 255."""
    larger = cv2.resize(frame.astype(np.float32), size[::-1], interpolation=cv2.INTER_LANCZOS4)
    return np.clip(larger, 0, 255, out=larger)


def _open(device: torch.device) -> Enlarge:
    return lanczos


UPSCALERS.add("lanczos", Upscaler("a windowed sinc: no model, nothing made up", _open, invents=False))
