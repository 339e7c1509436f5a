"""One edited scene against its truth: the metrics, each with its ceiling and its floor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowedit import masks
from flowedit.metrics.motion import motion_error
from flowedit.metrics.overlap import centred_box, iou
from flowedit.metrics.perceptual import lpips
from flowedit.metrics.pixels import background_psnr, mse, psnr
from flowedit.pocket import Choice, Edit, Vocabulary, choices, without

METRICS = ("object_accuracy", "background_psnr", "truth_psnr", "truth_lpips", "mask_iou", "motion_error")
BOX = 0.75
"""The centred box that a found mask must beat has this share of each side: the best of .25, .5, .75 and 1."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A true edit, what each of its objects could have become as the autoencoder shows it, and its ceiling."""

    edit: Edit
    choices: tuple[Choice, ...]
    through: np.ndarray
    source_through: np.ndarray
    latent_mask: np.ndarray


def truth(edit: Edit, vocabulary: Vocabulary, through: Callable[[np.ndarray], np.ndarray], group: int) -> Truth:
    """The truth of an edit; `through` takes frames (F, H, W, 3) through the autoencoder and back.

    `group` frames share a latent frame; the true latent mask is where source and target object cover half a site.
    """
    seen = tuple(
        Choice(choice.right, {name: through(frames) for name, frames in choice.frames.items()}, choice.where)
        for choice in choices(edit, vocabulary)
    )
    height, width = (side // 8 for side in edit.mask.shape[1:])
    covered = masks.to_latent(torch.from_numpy(edit.mask), group, (height, width))[0, 0]
    target, source = through(edit.target.frames), through(edit.source.frames)
    return Truth(edit, seen, target, source, covered.numpy() >= 0.5)


def nearest(frames: np.ndarray, choice: Choice) -> str:
    """The name whose rendering has the least squared error to the frames where the edited object is."""
    return min(choice.frames, key=lambda name: mse(frames, choice.frames[name], choice.where))


def score(frames: np.ndarray, found: Tensor | None, true: Truth) -> dict[str, float]:
    """Every metric of one edit that it has, by name; `_ceiling` is the truth through the autoencoder, `_floor` no edit.

    frames uint8 (F, H, W, 3) as decoded; found: the soft latent mask (1, 1, f, h, w), or None. `object_accuracy`: 1
    if each edited object (a ground likewise) is nearest to the truth among all choices, else 0. `background_psnr`:
    pixels that must not change, against the source, in dB. `truth_psnr` (dB), `truth_lpips` (lpips-bundled): against
    the true target. `mask_iou`: the latent mask at 0.5 against half-covered sites; its floor is a centred box.
    `motion_error`: distance of the edited objects' centroids, in shares of a side.
    """
    source, target = true.edit.source.frames, true.edit.target.frames
    values = {}
    for suffix, shown in (("", frames), ("_ceiling", true.through), ("_floor", source)):
        right = all(nearest(shown, choice) == choice.right for choice in true.choices)
        values[f"object_accuracy{suffix}"] = float(right)
        values[f"truth_psnr{suffix}"] = psnr(shown, target)
        values[f"truth_lpips{suffix}"] = lpips(shown, target)
    if (true.edit.mask == 0).any():
        values["background_psnr"] = background_psnr(frames, source, true.edit.mask)
        values["background_psnr_ceiling"] = background_psnr(true.through, source, true.edit.mask)
    if found is not None:
        values["mask_iou"] = iou((found >= 0.5)[0, 0].cpu().numpy(), true.latent_mask)
        values["mask_iou_floor"] = iou(centred_box(true.latent_mask.shape, BOX), true.latent_mask)
    background = without(true.edit)
    if background is not None:
        for suffix, shown in (("", frames), ("_ceiling", true.through), ("_floor", source)):
            values[f"motion_error{suffix}"] = motion_error(shown, target, background)
    return values
