"""What a network makes up, held to the frames that it was given, and kept from frame to frame."""

from __future__ import annotations

import cv2
import numpy as np

from flowedit.media.pixels import Size
from flowedit.metrics.temporal import flow, visible
from flowedit.tensors import torch

KEPT = 0.8
"""The share of the detail that comes from the frame before, where nothing speaks against it."""

ALIKE = 20.0
"""Levels of 255 by which two frames may differ at a place and still be alike there."""

BAND, REACH = 64, 16
"""Rows of a larger frame that are worked on at a time, which bounds the memory, and what a blur sees around them."""


def cubic(frame: np.ndarray, size: Size) -> np.ndarray:
    """A frame (h, w, 3) at another size by OpenCV's cubic, float32 (H, W, 3)."""
    return cv2.resize(frame.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)


def held(larger: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """y + up(x - down(y)): a larger frame y whose mean over each pixel of the frame x comes nearer to that pixel.

    down is the mean over areas, as working frames are made of a clip's, up is cubic. larger: float32 (H, W, 3), frame:
    uint8 (h, w, 3). One step of iterative back-projection (Irani & Peleg 1991, equation 3).
    """
    small = frame.shape[:2]
    averaged = cv2.resize(larger, small[::-1], interpolation=cv2.INTER_AREA)
    made = cubic(frame - averaged, (larger.shape[0], larger.shape[1]))
    made += larger
    return made


class Steady:
    """Detail that goes along with the picture: D_i <- D_i + k V (warp(D_(i-1)) - D_i), D = larger - cubic.

    k = 0.8; V is 0 where the flow between the two frames is not the same both ways (`visible`), elsewhere
    exp(-e / 20^2) with e the squared difference of the two cubics along it. The flow is DIS, between the small frames.
    D_(i-1) is what was given back, rounded to levels, so that what follows depends on frames alone.
    """

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def remember(self, frame: np.ndarray, given: np.ndarray) -> None:
        """Go on from this frame, uint8 (h, w, 3), and what was given back for it, uint8 (H, W, 3)."""
        self._before = frame, given

    def __call__(self, frame: np.ndarray, larger: np.ndarray) -> np.ndarray:
        """The next frame uint8 (h, w, 3) and its larger one, float32 (H, W, 3), to uint8 (H, W, 3)."""
        if self._before is not None and self._before[1].shape == larger.shape and min(frame.shape[:2]) > 1:
            given = _kept(frame, larger, *self._before)
        else:
            given = np.clip(np.rint(larger), 0, 255).astype(np.uint8)
        self.remember(frame, given)
        return given


def _kept(frame: np.ndarray, larger: np.ndarray, before: np.ndarray, given: np.ndarray) -> np.ndarray:
    size = larger.shape[0], larger.shape[1]
    device = torch.device("cpu")
    back = flow(frame[None], before[None], "dis", device)[0]
    forth = flow(before[None], frame[None], "dis", device)[0]
    seen = visible(back, forth).astype(np.float32)
    scale = np.array([size[1] / frame.shape[1], size[0] / frame.shape[0]], np.float32)
    field = cv2.resize(back, size[::-1], interpolation=cv2.INTER_LINEAR) * scale
    trust = cv2.resize(KEPT * seen, size[::-1], interpolation=cv2.INTER_LINEAR)
    plain, earlier = cubic(frame, size), cubic(before, size)
    detail = given - earlier
    made = np.empty(larger.shape, np.uint8)
    for top in range(0, size[0], BAND):
        own = slice(top, min(top + BAND, size[0]))
        wide = slice(max(0, top - REACH), min(own.stop + REACH, size[0]))
        inner = slice(own.start - wide.start, own.stop - wide.start)
        rows, columns = np.indices((wide.stop - wide.start, size[1]), np.float32)
        places = columns + field[wide, :, 0], rows + wide.start + field[wide, :, 1]
        apart = cv2.GaussianBlur(plain[wide] - _at(earlier, places, cv2.INTER_LINEAR), (0, 0), 2)[inner]
        followed = _at(detail, (places[0][inner], places[1][inner]), cv2.INTER_CUBIC)
        share = trust[own] * np.exp(-np.square(apart).mean(-1) / ALIKE**2)
        found = larger[own] + share[..., None] * (followed - (larger[own] - plain[own]))
        made[own] = np.clip(np.rint(found), 0, 255)
    return made


def _at(values: np.ndarray, places: tuple[np.ndarray, np.ndarray], kernel: int) -> np.ndarray:
    return cv2.remap(values, *places, kernel, borderMode=cv2.BORDER_REPLICATE)
