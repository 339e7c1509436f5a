"""The scores of one edit of a scene against its exact truth, and what they are measured against."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from flowedit.evaluation.results.summary import CEILING, FLOOR
from flowedit.masks import grids
from flowedit.media import pixels
from flowedit.messages import InputError
from flowedit.metrics.motion import motion_error
from flowedit.metrics.perceptual import lpips_bundled
from flowedit.metrics.pixels import background_psnr, mse, psnr
from flowedit.pocket import Choice, Edit, Vocabulary, choices


def iou(found: np.ndarray, true: np.ndarray) -> float:
    """IoU = |A and B| / |A or B| of two boolean masks of one shape; 0 to 1, higher is better, 1 if both are empty.

    Raises ValueError for different shapes.
    """
    if found.shape != true.shape:
        raise InputError(f"a mask of shape {found.shape} cannot be compared with {true.shape}")
    either = np.count_nonzero(found | true)
    return float(np.count_nonzero(found & true) / either) if either else 1.0


def centred_box(shape: tuple[int, int, int], share: float) -> np.ndarray:
    """A mask (F, H, W) whose box in the middle of each frame has `share` of each side: the floor of any mask."""
    box = np.zeros(shape, bool)
    top, left = (round(side * (1 - share) / 2) for side in shape[1:])
    box[:, top : shape[1] - top, left : shape[2] - left] = True
    return box


BOX = {"replace_both": 0.75, "ground": 1.0}
"""The share of each side of the centred box that a mask must beat: the best of 1/4, 1/2, 3/4 and 1 on seeds 0 to 59."""

USUAL_BOX = 0.5

REACH = 1 / 8
"""How far from its places, in shares of a side, an object is looked for when its motion is followed."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A true edit and, as the autoencoder shows them, its source, its target and what each object could have become.

    source, target: uint8 (F, H, W, 3); latent_mask: boolean (f, h, w), where source or target object covers half a
    site.
    """

    edit: Edit
    choices: tuple[Choice, ...]
    source: np.ndarray
    target: np.ndarray
    latent_mask: np.ndarray
    frames_per_latent: int


def truth(
    edit: Edit,
    vocabulary: Vocabulary,
    through: Callable[[np.ndarray], np.ndarray],
    frames_per_latent: int,
    latent_size: tuple[int, int],
) -> Truth:
    """The truth of an edit; `through` takes frames uint8 (F, H, W, 3) through the autoencoder and back."""
    seen = tuple(
        Choice(choice.right, {name: through(frames) for name, frames in choice.frames.items()}, choice.where)
        for choice in choices(edit, vocabulary)
    )
    covered = grids.to_latent(torch.from_numpy(edit.mask), frames_per_latent, latent_size)[0, 0]
    target = seen[0].frames[seen[0].right]
    return Truth(edit, seen, through(edit.source.frames), target, covered.numpy() >= 0.5, frames_per_latent)


def nearest(frames: np.ndarray, choice: Choice) -> str:
    """The name whose rendering has the least squared error to the frames where the edited object is."""
    return min(choice.frames, key=lambda name: mse(frames, choice.frames[name], choice.where))


def score(frames: np.ndarray, found: Tensor | None, true: Truth) -> dict[str, float]:
    """Every metric that one edit has, by name.

    frames: uint8 (F, H, W, 3) as decoded; found: the soft latent mask (1, 1, f, h, w), 1 at the sites that were
    found, or None.
    `object_accuracy`: 1 if each edited object (a ground likewise) is nearest to the truth among all choices, else 0.
    `background_psnr`: pixels that must not change, against the source, in dB. `truth_psnr` (dB) and `truth_lpips`
    (lpips-bundled): against the true target. `mask_iou`: found sites against those that source or target object half
    covers. `motion_error`: see the metric; the mean over the edited objects that are there in the end.
    `right_object`: see there; for edits of one of two objects. The same `_composited` are of what a user gets: the
    edit blended into the source's own pixels through the soft mask.
    """
    values = _against_truth(frames, true)
    if (true.edit.mask == 0).any():
        values["background_psnr"] = background_psnr(frames, true.edit.source.frames, true.edit.mask)
    if found is not None:
        values["mask_iou"] = iou((found == 1)[0, 0].cpu().numpy(), true.latent_mask)
        values |= _composited(frames, found, true)
    return values


def right_object(frames: np.ndarray, true: Truth) -> bool | None:
    """Whether the place of the object that was to change changed most; None unless one of several objects was to.

    The change of a place is the mean squared error to the source, as the autoencoder shows it, over the pixels that
    the object covers in the source. Chance is one in the number of objects.
    """
    covers = true.edit.source.masks
    if len(true.edit.edited) != 1 or len(covers) < 2:
        return None
    changed = [mse(frames, true.source, cover) for cover in covers]
    return bool(changed[true.edit.edited[0]] > max(c for k, c in enumerate(changed) if k != true.edit.edited[0]))


def _composited(frames: np.ndarray, found: Tensor, true: Truth) -> dict[str, float]:
    source, target, covered = true.edit.source.frames, true.edit.target.frames, true.edit.mask
    soft = grids.to_pixels(found, range(len(frames)), true.frames_per_latent, frames.shape[1:3])
    whole = pixels.composite(frames, source, grids.cut(soft, grids.FLOOR).float().cpu().numpy())
    values = {"truth_psnr_composited": psnr(whole, target), "truth_lpips_composited": lpips_bundled(whole, target)}
    values |= {f"{name}_composited": value for name, value in _of_shadow(whole, true).items()}
    if (covered == 0).any():
        values["background_psnr_composited"] = background_psnr(whole, source, covered)
    return values


def references(true: Truth) -> dict[str, dict[str, float]]:
    """The scores of the unedited source and of a centred box as a mask (floor), and of the true target (ceiling).

    Both went through the autoencoder, as edits are scored decoded; the ceiling of the accuracy is 1 by construction.
    """
    box = {"mask_iou": iou(centred_box(true.latent_mask.shape, _box(true.edit.kind)), true.latent_mask)}
    return {FLOOR: _against_truth(true.source, true) | box, CEILING: score(true.target, None, true)}


def _against_truth(frames: np.ndarray, true: Truth) -> dict[str, float]:
    target = true.edit.target.frames
    values = {
        "object_accuracy": float(all(nearest(frames, choice) == choice.right for choice in true.choices)),
        "truth_psnr": psnr(frames, target),
        "truth_lpips": lpips_bundled(frames, target),
    }
    values |= _of_shadow(frames, true)
    if (moved := right_object(frames, true)) is not None:
        values["right_object"] = float(moved)
    if errors := [motion_error(frames, target, back, where) for back, where in _tracks(true.edit)]:
        values["motion_error"] = float(np.mean(errors))
    return values


def _of_shadow(frames: np.ndarray, true: Truth) -> dict[str, float]:
    """How the ground looks on which the edited objects cast a shadow, before or after; {} where none did.

    With w the share of the shadow at a pixel, s, g and e the source, the true target and the edit: `shadow_psnr` is
    the PSNR of e to g by the weights w, and `shadow_left` is sum w (e - g)(s - g) / sum w (s - g)^2: 1 for the source,
    0 for the truth.
    """
    source, target = true.edit.source, true.edit.target
    cast = [side.shadows[i] for side in (source, target) for i in true.edit.edited if i < len(side.shadows)]
    if not cast or not np.any(cast):
        return {}
    where = np.max(cast, 0)
    full = source.frames.astype(np.float64) - target.frames
    left = (frames.astype(np.float64) - target.frames) * full
    share = (where[..., None] * left).sum() / (where[..., None] * np.square(full)).sum()
    return {"shadow_psnr": psnr(frames, target.frames, where), "shadow_left": float(share)}


def _box(kind: str) -> float:
    return BOX.get(kind, USUAL_BOX)


def _tracks(edit: Edit) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each edited object of the target: the scene without it, and where to look for it, boolean (F, H, W)."""
    return [(back, _reach(edit.target.masks[index])) for index, back in edit.without.items()]


def _reach(mask: np.ndarray) -> np.ndarray:
    size = 2 * round(REACH * min(mask.shape[1:])) + 1
    kernel = np.ones((size, size), np.uint8)
    return np.stack([cv2.dilate((frame > 0).astype(np.uint8), kernel) for frame in mask]) > 0
