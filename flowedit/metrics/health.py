"""Whether frames show a picture at all: black, of one colour, or noise."""

import cv2
import numpy as np

BLOCK = 8
"""Pixels a side of the blocks whose means are compared: a latent site of most models."""

BLACK, FLAT = 4.0, 1.0
"""Levels of 255: below the first a clip is black; where blocks spread by less than the second, of one colour."""

ALIKE = 0.35
"""Correlation of neighbouring blocks below which frames are noise: on pocket decoded noise had 0.02 to 0.21; clips,
real and drawn, 0.64 to 0.99."""


class Health:
    """Sums over the frames of a clip, a few at a time.

    With the mean level b of each block and its mean m over the frame, the correlation of neighbours is
    sum (b_i - m)(b_j - m) over pairs, by sum (b_i - m)^2 over as many blocks.
    """

    def __init__(self) -> None:
        self._level = self._spread = self._pairs = 0.0
        self._blocks = self._neighbours = 0

    def add(self, frames: np.ndarray) -> None:
        """Frames uint8 (F, H, W, 3)."""
        for frame in frames:
            height, width = frame.shape[:2]
            size = max(1, width // BLOCK), max(1, height // BLOCK)
            blocks = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float64).mean(-1)
            own = blocks - blocks.mean()
            across, down = own[:, 1:] * own[:, :-1], own[1:] * own[:-1]
            self._level += blocks.sum()
            self._spread += np.square(own).sum()
            self._pairs += across.sum() + down.sum()
            self._blocks += blocks.size
            self._neighbours += across.size + down.size

    def sign(self) -> str | None:
        """`black`, `of one colour` or `noise`; None for what may be a picture, and for too few blocks to tell."""
        if self._neighbours < 100:
            return None
        variance = self._spread / self._blocks
        if variance < FLAT**2:
            return "black" if self._level / self._blocks < BLACK else "of one colour"
        return "noise" if self._pairs / self._neighbours < ALIKE * variance else None
