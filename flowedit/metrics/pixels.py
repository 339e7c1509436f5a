"""Errors of pixels: mean squared error and peak signal-to-noise ratio, over a whole clip or inside a mask."""

import numpy as np


def mse(frames: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """MSE = sum w (a - b)^2 / (3 sum w), in squares of 255 levels; 0 for equal frames, lower is better.

    frames, reference: uint8 or float (F, H, W, 3) in 0 ... 255; where: weights w (F, H, W) >= 0, None for all pixels.
    Only pixels inside `where` are averaged, so that what is masked out counts neither way. Raises ValueError for
    frames of different shapes, and for weights that are all 0.
    """
    if frames.shape != reference.shape:
        raise ValueError(f"frames of shape {frames.shape} cannot be compared with {reference.shape}")
    error = np.square(frames.astype(np.float64) - reference).mean(-1)
    weights = np.ones_like(error) if where is None else np.broadcast_to(where, error.shape)
    total = weights.sum(dtype=np.float64)
    if not total > 0:
        raise ValueError("no pixel to compare: the mask is empty")
    return float((error * weights).sum() / total)


def psnr(frames: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """PSNR = 10 log10(255^2 / MSE) in decibels, of the whole clip at once; higher is better, inf for equal frames.

    Arguments and errors as in `mse`.
    """
    error = mse(frames, reference, where)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def background_psnr(edit: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """PSNR of the pixels where mask (F, H, W) is 0, averaged over those alone; in decibels, higher is better.

    What may change never counts. Published evaluators paint the mask black and average over the whole frame, which
    counts it as perfect and flatters a large mask. Raises ValueError for a mask without background.
    """
    return psnr(edit, source, np.asarray(mask) == 0)
