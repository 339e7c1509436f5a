"""Whether an object still moves as it did: the track of its centroid."""

import numpy as np

from flowedit.messages import InputError

NOISE = 32.0
"""Differences from the background below this many of 255 levels are texture and codec, not an object."""

MISS = 0.5
"""The error of a frame where no object is to be seen: half a side, more than an object of the scene can stray."""


def centroids(frames: np.ndarray, background: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Where each frame differs from the background: c = sum w p / sum w, w = max(0, |a - b| - NOISE).

    frames, background: uint8 (F, H, W, 3); |a - b| is the largest over the channels; where: boolean (F, H, W), the
    pixels that are looked at. The result float (F, 2) is (y, x) in shares of height and width, NaN where nothing
    differs.
    """
    weight = np.maximum(np.abs(frames.astype(np.float64) - background).max(-1) - NOISE, 0)
    if where is not None:
        weight = weight * where
    total = weight.sum((1, 2))
    places = []
    for axis, side in ((1, frames.shape[1]), (2, frames.shape[2])):
        along = weight.sum(3 - axis) @ ((np.arange(side) + 0.5) / side)
        places.append(np.divide(along, total, out=np.full_like(along, np.nan), where=total > 0))
    return np.stack(places, -1)


def motion_error(
    frames: np.ndarray, reference: np.ndarray, background: np.ndarray, where: np.ndarray | None = None
) -> float:
    """Mean over frames of the distance between an object's centroids, in shares of a side, at most MISS; 0 is best.

    frames, reference, background: uint8 (F, H, W, 3), the last the scene without the object; where as in `centroids`.
    A frame without the object counts MISS; one whose reference has none is left out. Raises ValueError if all are.
    """
    there = centroids(reference, background, where)
    apart = np.linalg.norm(centroids(frames, background, where) - there, axis=-1)
    seen = ~np.isnan(there).any(-1)
    if not seen.any():
        raise InputError("no object to follow: the reference equals the background")
    return float(np.minimum(np.where(np.isnan(apart), MISS, apart), MISS)[seen].mean())
