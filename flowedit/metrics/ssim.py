"""Structural similarity: of whole frames, of the background alone, and as FiVE-Bench has it."""

import cv2
import numpy as np
import torch

from flowedit.messages import InputError
from flowedit.metrics.catalogue import MASK, METRICS, Metric, ratio
from flowedit.metrics.part import Part
from flowedit.metrics.pixels import WHITE, blacken

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
CHUNK = 16
"""Frames a call of torchmetrics."""


def ssim_map(frame: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """SSIM of each pixel's 11x11 window and channel, float64 (H, W, 3), in -1 ... 1; 1 for equal frames.

    (2 m_a m_b + c1)(2 s_ab + c2) / ((m_a^2 + m_b^2 + c1)(s_a + s_b + c2)) with means m and variances s under a Gaussian
    (sigma 1.5), c1 = 0.01^2, c2 = 0.03^2, on values in [0, 1], frames mirrored at their borders (Wang et al. 2004).
    frame, reference: (H, W, 3) in 0 ... 255. That is torchmetrics' map, by separable filters, which are ten times as
    fast on a CPU. Raises ValueError for other shapes and for sides below 11 pixels.
    """
    if frame.shape != reference.shape or min(frame.shape[:2]) < WINDOW:
        raise InputError(f"SSIM needs frames of one shape, from 11x11 up, not {frame.shape} and {reference.shape}")
    a, b = (x.astype(np.float64) / WHITE for x in (frame, reference))
    mean_a, mean_b = _blur(a), _blur(b)
    products = mean_a * mean_b
    squares_a, squares_b = mean_a * mean_a, mean_b * mean_b
    both = np.maximum(_blur(a * a) - squares_a, 0) + np.maximum(_blur(b * b) - squares_b, 0)
    shared = _blur(a * b) - products
    found = (2 * products + C1) * (2 * shared + C2) / ((squares_a + squares_b + C1) * (both + C2))
    return np.asarray(found, np.float64)


def ssim(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """SSIM of each frame, float64 (F,): the mean of its map, borders and all; higher is better, 1 for equal frames.

    Equals torchmetrics' structural_similarity_index_measure(data_range=1); the clip's value is the mean over frames.
    frames, reference: (F, H, W, 3) in 0 ... 255. Raises ValueError as `ssim_map`.
    """
    return ssim_maps(frames, reference).mean((1, 2))


def ssim_maps(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The mean over channels of `ssim_map` of each frame, float64 (F, H, W); arguments and errors as in `ssim`."""
    return np.stack([ssim_map(a, b).mean(-1) for a, b in zip(frames, reference, strict=True)])


def background_ssim(edit: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(sum of the SSIM map, pixels) of each frame's clear background, float64 (F, 2); the clip's value is their ratio.

    A pixel is clear if its whole 11x11 window lies inside the frame and where mask, boolean (F, H, W), is False: so
    neither the edit nor a mirrored border is seen. Higher is better, 1 for equal backgrounds. Raises ValueError as
    `ssim_map`.
    """
    return _background(ssim_maps(edit, source), mask)


def _background(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    window = np.ones((WINDOW, WINDOW), np.uint8)
    rows = np.empty((len(maps), 2))
    for row, values, inside in zip(rows, maps, mask, strict=True):
        outside = (~inside).astype(np.uint8)
        clear = cv2.erode(outside, window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        row[:] = values[clear].sum(), np.count_nonzero(clear)
    return rows


def background_ssim_five(edit: np.ndarray, source: np.ndarray, mask: np.ndarray, device: torch.device) -> np.ndarray:
    """SSIM of each frame as FiVE-Bench has it, float64 (F,): torchmetrics' on [0, 1] x (1 - mask), over whole frames.

    Masked pixels count as perfect; higher is better, 1 for equal backgrounds; the clip's value is the mean over
    frames. edit, source: uint8 (F, H, W, 3); mask: boolean (F, H, W). FiVE (Li et al. 2025).
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # a second of import

    found = []
    for start in range(0, len(edit), CHUNK):
        some = slice(start, start + CHUNK)
        a, b = (blacken(clip[some], mask[some], device) for clip in (edit, source))
        values = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
        found.append(torch.as_tensor(values).cpu().double().numpy().reshape(-1))
    return np.concatenate(found)


def _blur(values: np.ndarray) -> np.ndarray:
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA, cv2.CV_64F)
    return cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)


def _maps(part: Part) -> np.ndarray:
    return ssim_maps(part.edit, part.source)


def _ssim(part: Part) -> np.ndarray:
    return part.once(_maps).mean((1, 2))


def _background_ssim(part: Part) -> np.ndarray:
    return _background(part.once(_maps), part.require("mask"))


def _background_ssim_five(part: Part) -> np.ndarray:
    return background_ssim_five(part.edit, part.source, part.require("mask"), part.tools.device)


METRICS.add(
    "background_ssim",
    Metric(
        "background SSIM",
        "source",
        "higher",
        decimals=3,
        part=_background_ssim,
        join=ratio(1, "no 11x11 window lies wholly in the background"),
        needs=MASK,
        default=True,
    ),
)
METRICS.add(
    "background_ssim_five",
    Metric("background SSIM (FiVE)", "source", "higher", decimals=3, part=_background_ssim_five, needs=MASK, five=True),
)
METRICS.add("ssim", Metric("SSIM", "source", "higher", decimals=3, part=_ssim, default=True))
