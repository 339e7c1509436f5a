"""Errors of pixels: mean squared error and peak signal-to-noise ratio, over a whole clip or inside a mask."""

import numpy as np
import torch
from torch import Tensor

from flowedit.messages import InputError
from flowedit.metrics.catalogue import MASK, METRICS, TRUTH, Metric
from flowedit.metrics.part import Part, Tools

WHITE = 255.0


def squares(frames: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """(sum w (a - b)^2 / 3, sum w) of each frame, float64 (F, 2): rows whose sums make the error of a whole clip.

    Arguments as in `mse`; raises ValueError for frames of different shapes.
    """
    if frames.shape != reference.shape:
        raise InputError(f"frames of shape {frames.shape} cannot be compared with {reference.shape}")
    weights = np.broadcast_to(1.0 if where is None else where, frames.shape[:3])
    rows = np.empty((len(frames), 2))
    for row, a, b, w in zip(rows, frames, reference, weights, strict=True):
        row[:] = (np.square(a.astype(np.float64) - b).mean(-1) * w).sum(), w.sum(dtype=np.float64)
    return rows


def pooled_error(rows: np.ndarray) -> float:
    """MSE in squares of 255 levels from the rows of `squares`; raises ValueError if no pixel has a weight."""
    error, weight = rows.sum(0)
    if not weight > 0:
        raise InputError("no pixel to compare: the mask is empty")
    return float(error / weight)


def decibels(error: float) -> float:
    """PSNR = 10 log10(255^2 / MSE), of an MSE in squares of 255 levels; inf for 0."""
    return float("inf") if error == 0 else float(10 * np.log10(WHITE**2 / error))


def mse(frames: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """MSE = sum w (a - b)^2 / (3 sum w), in squares of 255 levels; 0 for equal frames, lower is better.

    frames, reference: uint8 or float (F, H, W, 3) in 0 ... 255; where: weights w (F, H, W) >= 0, None for all pixels.
    Only pixels inside `where` are averaged, so that what is masked out counts neither way. The metric `mse` is this
    over 255^2, that of values in [0, 1]. Raises ValueError for frames of different shapes, and for weights that
    are all 0.
    """
    return pooled_error(squares(frames, reference, where))


def psnr(frames: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """PSNR = 10 log10(255^2 / MSE) in decibels, of the whole clip at once; higher is better, inf for equal frames.

    Arguments and errors as in `mse`.
    """
    return decibels(mse(frames, reference, where))


def background_psnr(edit: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """PSNR of the pixels where mask (F, H, W) is 0, averaged over those alone; in decibels, higher is better.

    What may change never counts. Published evaluators paint the mask black and average over the whole frame, which
    counts it as perfect and flatters a large mask. Raises ValueError for a mask without background.
    """
    return psnr(edit, source, np.asarray(mask) == 0)


def background_psnr_five(edit: np.ndarray, source: np.ndarray, mask: np.ndarray, device: torch.device) -> np.ndarray:
    """PSNR of each frame as FiVE-Bench has it, float64 (F,): torchmetrics' on [0, 1] x (1 - mask), over whole frames.

    Masked pixels count as perfect; in decibels, higher is better, inf for equal backgrounds; the clip's value is the
    mean over frames. edit, source: uint8 (F, H, W, 3); mask: boolean (F, H, W). FiVE (Li et al. 2025).
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio  # a second of import

    pairs = zip(blacken(edit, mask, device), blacken(source, mask, device), strict=True)
    return np.array([float(peak_signal_noise_ratio(a[None], b[None], data_range=1.0)) for a, b in pairs])


def background_mse_five(edit: np.ndarray, source: np.ndarray, mask: np.ndarray, device: torch.device) -> np.ndarray:
    """MSE of each frame as FiVE-Bench has it, float64 (F,), in squares of [0, 1]; 0 for equal, lower is better.

    Arguments, masking and source as in `background_psnr_five`.
    """
    from torchmetrics.functional import mean_squared_error  # a second of import

    pairs = zip(blacken(edit, mask, device), blacken(source, mask, device), strict=True)
    return np.array([float(mean_squared_error(a[None], b[None])) for a, b in pairs])


def blacken(frames: np.ndarray, mask: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (F, H, W, 3) as float32 (F, 3, H, W) in [0, 1], 0 where mask (F, H, W) is True."""
    values = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / WHITE
    keep = torch.from_numpy(np.ascontiguousarray(~mask)).to(device)
    return (values * keep[:, None]).contiguous()


def _errors(part: Part) -> np.ndarray:
    return squares(part.edit, part.source)


def _background_errors(part: Part) -> np.ndarray:
    return squares(part.edit, part.source, ~part.require("mask"))


def _truth_errors(part: Part) -> np.ndarray:
    return squares(part.edit, part.require("truth"))


def _psnr_five(part: Part) -> np.ndarray:
    return background_psnr_five(part.edit, part.source, part.require("mask"), part.tools.device)


def _mse_five(part: Part) -> np.ndarray:
    return background_mse_five(part.edit, part.source, part.require("mask"), part.tools.device)


def _mse(rows: np.ndarray, _tools: Tools) -> float:
    return pooled_error(rows) / WHITE**2


def _psnr(rows: np.ndarray, _tools: Tools) -> float:
    return decibels(pooled_error(rows))


BACKGROUND = "PSNR over the pixels that must not change, and over no other."
BLACKED_OUT = (
    "PSNR over whole frames with the mask blacked out in both, as FiVE-Bench has it: masked "
    "pixels count as perfect, which flatters large masks."
)

METRICS.add(
    "truth_psnr", Metric("truth PSNR", "truth", "higher", part=_truth_errors, join=_psnr, needs=TRUTH, default=True)
)
METRICS.add(
    "background_psnr",
    Metric(
        "background PSNR",
        "source",
        "higher",
        part=_background_errors,
        join=_psnr,
        needs=MASK,
        default=True,
        about=BACKGROUND,
    ),
)
METRICS.add(
    "background_mse",
    Metric("background MSE", "source", "lower", decimals=5, part=_background_errors, join=_mse, needs=MASK),
)
METRICS.add(
    "background_psnr_five",
    Metric(
        "background PSNR (FiVE)",
        "source",
        "higher",
        part=_psnr_five,
        needs=MASK,
        default=True,
        five=True,
        about=BLACKED_OUT,
    ),
)
METRICS.add(
    "background_mse_five",
    Metric("background MSE (FiVE)", "source", "lower", decimals=5, part=_mse_five, needs=MASK, five=True),
)
METRICS.add(
    "cycle_psnr",
    Metric(
        "cycle PSNR",
        "source",
        "higher",
        part=_errors,
        join=_psnr,
        back=True,
        about="PSNR against the source of the edit edited back, with the prompts swapped.",
    ),
)
METRICS.add("psnr", Metric("PSNR", "source", "higher", part=_errors, join=_psnr, default=True))
METRICS.add("mse", Metric("MSE", "source", "lower", decimals=5, part=_errors, join=_mse))
