"""Whether an object still moves as it did: the track of its centroid."""

import numpy as np

NOISE = 32.0
"""Differences from the background below this many of 255 levels are texture and codec, not an object."""


def centroids(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where each frame differs from the background: c = sum w p / sum w, w = max(0, |a - b| - NOISE).

    frames, background: uint8 (F, H, W, 3); |a - b| is the largest over the channels. The result float (F, 2) is
    (y, x) as shares of the frame's height and width, the middle (0.5, 0.5) where nothing differs.
    """
    weight = np.abs(frames.astype(np.float64) - background).max(-1)
    weight = np.maximum(weight - NOISE, 0)
    total = weight.sum((1, 2))
    places = []
    for axis, side in ((1, frames.shape[1]), (2, frames.shape[2])):
        along = weight.sum(3 - axis) @ ((np.arange(side) + 0.5) / side)
        places.append(np.where(total > 0, along / np.where(total > 0, total, 1), 0.5))
    return np.stack(places, -1)


def motion_error(frames: np.ndarray, reference: np.ndarray, background: np.ndarray) -> float:
    """Mean over frames of the distance of two centroids, in shares of a side; 0 to 1.42, lower is better.

    `background` is both clips' scene without the object, all uint8 (F, H, W, 3).
    """
    apart = centroids(frames, background) - centroids(reference, background)
    return float(np.linalg.norm(apart, axis=-1).mean())
