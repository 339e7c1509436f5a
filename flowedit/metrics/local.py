"""Scores of the place that is edited alone: the square around the mask, seen by CLIP and DINO.

FlowAnchor (Chen et al. 2026, arXiv 2604.22586) reports a local CLIP-T, a local DINO and a masked PSNR. Its code is not
public and we had no formulas of it, so these are ours: compare them among your own edits, and not with its table. Its
masked PSNR is read as that of what must not change: `background_psnr`, or `background_psnr_five` as FiVE-Bench has it.
"""

import numpy as np

from flowedit.metrics.catalogue import MASK, METRICS, TARGET, Metric, ratio
from flowedit.metrics.part import Part
from flowedit.metrics.semantic import CLIP, clip_t

EMPTY = "the mask is empty in every frame"

Place = tuple[slice, slice]
"""Rows and columns of a frame."""


def square(mask: np.ndarray) -> Place | None:
    """The smallest square around where mask, boolean (H, W), is True, cut to lie in the frame; None if empty."""
    ys, xs = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(ys):
        return None
    side = max(int(ys[-1] - ys[0]), int(xs[-1] - xs[0])) + 1
    starts = []
    for found, size in ((ys, mask.shape[0]), (xs, mask.shape[1])):
        middle = (int(found[0]) + int(found[-1]) + 1 - side) // 2
        starts.append(max(0, min(middle, size - side)))
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def crops(frames: np.ndarray, mask: np.ndarray) -> list[np.ndarray | None]:
    """Each frame of uint8 (n, H, W, 3) inside the `square` of its mask, as (1, h, w, 3); None where that is empty."""
    places = [square(own) for own in mask]
    return [None if place is None else frame[None, *place] for frame, place in zip(frames, places, strict=True)]


def local_dino(source: np.ndarray, edit: np.ndarray) -> np.ndarray:
    """Cosine of the class tokens of source and edit, each (n, d), by rows; in -1 ... 1, 1 for equal pictures."""
    lengths = np.linalg.norm(source, axis=-1) * np.linalg.norm(edit, axis=-1)
    return np.einsum("nd,nd->n", source, edit) / np.maximum(lengths, 1e-12)


def _clip_rows(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    model = clip.load(part.tools.device)
    text = model.text(part.require("target"))
    shown = crops(part.edit, part.require("mask"))
    return np.array([(0.0, 0) if crop is None else (float(clip_t(model.images(crop), text)[0]), 1) for crop in shown])


def _dino_rows(part: Part) -> np.ndarray:
    from flowedit.pretrained import dino

    model, mask = dino.load(part.tools.device), part.require("mask")
    rows = []
    for before, after in zip(crops(part.source, mask), crops(part.edit, mask), strict=True):
        if before is None or after is None:
            rows.append((0.0, 0))
        else:
            rows.append((float(local_dino(model.tokens(before), model.tokens(after))[0]), 1))
    return np.array(rows)


METRICS.add(
    "local_dino",
    Metric(
        "local DINO",
        "source",
        "higher",
        decimals=4,
        part=_dino_rows,
        join=ratio(1.0, EMPTY),
        needs=MASK,
        download="facebook/dino-vitb8, 0.3 GB",
        about="Likeness of source and edit in the square around the mask, by DINO's class token.",
    ),
)
METRICS.add(
    "local_clip_t",
    Metric(
        "local CLIP-T",
        "prompt",
        "higher",
        part=_clip_rows,
        join=ratio(1.0, EMPTY),
        needs=TARGET | MASK,
        download=CLIP,
        about="CLIPScore of the square around the mask with the target prompt; nothing in it is painted black.",
    ),
)
