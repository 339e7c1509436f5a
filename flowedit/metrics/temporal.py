"""Metrics along time: optical flow and what it warps, flicker."""

from itertools import pairwise
from typing import Any, Literal, cast

import cv2
import numpy as np
import torch
from torch.nn.functional import grid_sample

from flowedit.metrics.catalogue import METRICS, PAIRS, Metric, ratio
from flowedit.metrics.part import Part
from flowedit.metrics.pixels import WHITE
from flowedit.metrics.ssim import ssim_map

LEAST = 32
"""Sides that DIS is given at least; on smaller frames some versions of OpenCV leave their memory."""

MOVES = 0.5
"""Pixels a frame from which a pixel of the source is said to move."""

STILL = 1e-6
"""Pixels a frame up to which a flow has no direction."""


def flow(first: np.ndarray, second: np.ndarray, kind: Literal["dis", "raft"], device: torch.device) -> np.ndarray:
    """Where each pixel of each first frame is in the second, float32 (n, H, W, 2) as (dx, dy) in pixels.

    first, second: uint8 (n, H, W, 3). dis: OpenCV's DIS with its medium preset (Kroeger et al. 2016), on grey frames,
    on the CPU; raft: torchvision's RAFT (Teed & Deng 2020) on the device, a download.
    """
    if kind == "raft":
        from flowedit.pretrained import raft

        return raft.load(device)(first, second)
    return np.stack([_dis(a, b) for a, b in zip(first, second, strict=True)])


def warp(frame: np.ndarray, field: np.ndarray) -> np.ndarray:
    """frame(x + field(x)), bilinear, edges repeated outside; (H, W, C) by (H, W, 2) to float64 (H, W, C)."""
    height, width = frame.shape[:2]
    spans = np.array([width - 1, height - 1])
    grid = torch.from_numpy(2 * _target(field) / spans - 1)[None]
    values = torch.from_numpy(frame.astype(np.float64)).permute(2, 0, 1)[None]
    found = grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found[0].permute(1, 2, 0).numpy()


def visible(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Which pixels stay in the frame and are not occluded in the next, boolean (H, W), from (H, W, 2) flows f, b.

    |f(x) + b(x + f)|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram et al. 2010, equation 5).
    """
    back = warp(backward, forward)
    energy = np.square(forward).sum(-1, dtype=np.float64) + np.square(back).sum(-1)
    agrees = np.square(forward + back).sum(-1) < 0.01 * energy + 0.5
    target, (height, width) = _target(forward), forward.shape[:2]
    inside = ((target >= 0) & (target <= (width - 1, height - 1))).all(-1)
    return np.asarray(agrees & inside)


def warp_error(edit: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(sum of (e_i - warp(e_{i+1}))^2 over visible pixels, their number) of each pair, float64 (F - 1, 2).

    The clip's value is 10^3 times their ratio, on values in [0, 1] and averaged over the channels; 0 for an edit that
    moves exactly as the source, lower is better. edit: uint8 (F, H, W, 3); forward, backward: flows of the source
    (F - 1, H, W, 2), i to i + 1 and i + 1 to i. Lai et al. 2018, with the flow of the source.
    """
    rows = np.empty((len(forward), 2))
    for row, a, b, there, back in zip(rows, edit[:-1], edit[1:], forward, backward, strict=True):
        error = np.square((a - warp(b, there)) / WHITE).mean(-1)
        seen = visible(there, back)
        row[:] = error[seen].sum(), np.count_nonzero(seen)
    return rows


def warp_ssim(edit: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """SSIM of e_i and warp(e_{i+1}) by the flow of the source, of each pair, float64 (F - 1,); higher is better, to 1.

    Over whole frames: what comes into view counts against it, for every edit of one source alike. edit: uint8
    (F, H, W, 3), sides of at least 11 pixels; forward: (F - 1, H, W, 2); the clip's value is the mean over pairs.
    RAVE (Kara et al. 2024); FlowDirector (Li et al. 2025). Raises ValueError as `ssim_map`.
    """
    pairs = zip(edit[:-1], edit[1:], forward, strict=True)
    return np.array([ssim_map(a.astype(np.float64), warp(b, there)).mean() for a, b, there in pairs])


def flow_cosine(source: np.ndarray, edit: np.ndarray) -> np.ndarray:
    """(sum of cos(f, g) over the pixels that move, their number) of each pair, float64 (n, 2).

    The clip's value is their ratio, -1 ... 1, higher is better. f, g: flows of source and edit (n, H, W, 2). A pixel
    moves if |f| >= 0.5; where it moves and |g| <= 1e-6, the cosine is 0. EditBoard's FF-beta is about 1 minus this.
    """
    rows = np.empty((len(source), 2))
    for row, f, g in zip(rows, source.astype(np.float64), edit.astype(np.float64), strict=True):
        long, wide = np.hypot(*np.moveaxis(f, -1, 0)), np.hypot(*np.moveaxis(g, -1, 0))
        moves, defined = long >= MOVES, (long >= MOVES) & (wide > STILL)
        row[:] = ((f * g).sum(-1)[defined] / (long * wide)[defined]).sum(), np.count_nonzero(moves)
    return rows


def _dis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height, width = first.shape[:2]
    more = (0, max(LEAST - height, 0), 0, max(LEAST - width, 0))
    grey = [
        cv2.copyMakeBorder(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), *more, cv2.BORDER_REPLICATE) for x in (first, second)
    ]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # a new one: it keeps sizes of the last call
    try:
        return finder.calc(grey[0], grey[1], cast(Any, None))[:height, :width]
    except cv2.error as error:
        raise RuntimeError(f"no optical flow between frames of {width}x{height}: {error}") from error


def _target(field: np.ndarray) -> np.ndarray:
    """Where each pixel goes, float64 (H, W, 2) as (x, y)."""
    rows, columns = np.indices(field.shape[:2], np.float64)
    return np.stack([columns, rows], -1) + field


def temporal_flicker(edit: np.ndarray) -> np.ndarray:
    """(255 - mean |e_i - e_{i+1}|) / 255 of each pair of neighbours, float64 (F - 1,), in 0 ... 1; higher is steadier.

    1 is a still picture: motion counts as flicker, so compare edits of one source. edit: uint8 (F, H, W, 3); the
    clip's value is the mean over pairs. VBench's temporal flickering (Huang et al. 2024).
    """
    return np.array([1 - np.abs(b.astype(np.int16) - a).mean() / 255 for a, b in pairwise(edit)])


def _flow_along(clip: np.ndarray, part: Part, back: bool = False) -> np.ndarray:
    if len(clip) == 1:
        return np.zeros((0, *clip.shape[1:3], 2), np.float32)
    first, second = (clip[1:], clip[:-1]) if back else (clip[:-1], clip[1:])
    return flow(first, second, part.tools.flow, part.tools.device)


def _forward(part: Part) -> np.ndarray:
    return _flow_along(part.frames.source, part)


def _backward(part: Part) -> np.ndarray:
    return _flow_along(part.frames.source, part, back=True)


def _warp_error(part: Part) -> np.ndarray:
    return warp_error(part.frames.edit, part.once_a_source(_forward), part.once_a_source(_backward))


def warp_ssim_rows(part: Part) -> np.ndarray:
    """`warp_ssim` of a part, one value a pair of neighbours."""
    return warp_ssim(part.frames.edit, part.once_a_source(_forward))


def _flow_cosine(part: Part) -> np.ndarray:
    return flow_cosine(part.once_a_source(_forward), _flow_along(part.frames.edit, part))


def _temporal_flicker(part: Part) -> np.ndarray:
    return temporal_flicker(part.frames.edit)


OCCLUDED = "every pixel of the source is occluded in the next frame"
STANDS = f"no pixel of the source moves by {MOVES} pixels"

METRICS.add(
    "warp_error",
    Metric("warp error ×10³", "time", "lower", part=_warp_error, join=ratio(1e3, OCCLUDED), needs=PAIRS, default=True),
)
METRICS.add(
    "warp_ssim", Metric("warp SSIM", "time", "higher", decimals=3, part=warp_ssim_rows, needs=PAIRS, default=True)
)
METRICS.add(
    "flow_cosine",
    Metric(
        "flow cosine", "time", "higher", decimals=3, part=_flow_cosine, join=ratio(1, STANDS), needs=PAIRS, default=True
    ),
)
METRICS.add(
    "temporal_flicker",
    Metric("temporal flicker", "time", "higher", decimals=4, part=_temporal_flicker, needs=PAIRS, default=True),
)
