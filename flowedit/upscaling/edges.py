"""The colours of an edit, matched to those of the clip around its mask."""

import cv2
import numpy as np

SMALL = 96
"""The shorter side that an offset is worked out at: it has no detail."""

RING, SPREAD = 1 / 24, 1 / 12
"""How wide the ring around a mask is, and how far a pixel of it reaches inwards, in shorter sides of the frame."""

CONTENT = 16.0
"""Levels of 255 beyond which a difference is another thing in the picture, not another colour of the same."""

FAINT = 1e-3
"""The weight of the ring's mean, which holds where no pixel of the ring is near."""

PACE = 0.3
"""The share of a frame's own offset in the one that is applied; the rest is the frame's before."""


def offset(edit: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What is to be added to an edit so that it meets its source at the mask's edge, float32 (h, w, 3), few pixels.

    O = (G * (w d) + f m) / (G * w + f), within -16 ... 16: d = source - edit, w = exp(-|d|^2 / (2 16^2)) in the ring,
    which is outside the mask and within 1/24 of the shorter side of it, and 0 elsewhere; G a Gaussian of 1/12 of the
    shorter side, m = sum(w d) / sum(w) and f = 0.001. So an edit that is c away all around gets c everywhere. 0 without
    a ring. edit, source: uint8 (H, W, 3); mask: float32 (H, W) in [0, 1].
    """
    height, width = mask.shape
    scale = min(1.0, SMALL / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    outside = (mask == 0).astype(np.float32)
    difference = outside[..., None] * (source.astype(np.float32) - edit)
    known, sums = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (outside, difference))
    short = min(size)
    around = cv2.dilate((known < 1).astype(np.uint8), _disc(max(1, round(RING * short))))
    weights = known * around
    d = sums / np.maximum(known, 1e-6)[..., None]
    weights = weights * np.exp(-np.square(d).mean(-1) / (2 * CONTENT**2))
    total = float(weights.sum())
    if not (mask > 0).any() or total < 1e-6:
        return np.zeros((*size[::-1], 3), np.float32)
    mean = (weights[..., None] * d).sum((0, 1)) / total
    near, spread = FAINT + _spread(weights, SPREAD * short), _spread(weights[..., None] * d, SPREAD * short)
    found = (spread + FAINT * mean) / near[..., None]
    return np.clip(found, -CONTENT, CONTENT).astype(np.float32)


class Edge:
    """The offsets of frames one after the other: O_i <- O_(i-1) + 0.3 (O_i - O_(i-1)), so that they do not flicker."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def __call__(self, edit: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Frames of an edit in the colours around its mask, uint8 (f, H, W, 3), as edit and source; mask (f, H, W)."""
        result = np.empty_like(edit)
        for out, new, old, where in zip(result, edit, source, mask, strict=True):
            found = offset(new, old, where)
            self._before = found if self._before is None else self._before + PACE * (found - self._before)
            added = cv2.resize(self._before, new.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            out[:] = np.clip(np.rint(new + added), 0, 255)
        return result


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _spread(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
