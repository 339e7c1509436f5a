"""An edit of 8 bits put back into a picture of more: tone kept where it changed, the picture's own bits elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from av.video.reformatter import Interpolation

from flowedit.media.colours import Colour
from flowedit.media.formats.yuv import ACROSS, DOWN, ONE, to_yuv
from flowedit.media.planes.picture import EXACT, Planar, to_frame
from flowedit.media.planes.tone import Tone, tone_of

LIKE = 16
"""Levels of 8 bits from which on a pixel counts as new: below, a share of what 8 bits did not hold comes back."""

SHARED = {"420": (2, 2), "422": (1, 2)}
"""Rows and columns of pixels that share a sample of chroma."""

MARGIN = 16
"""Pixels around what changes that are looked at too, for the filters of chroma."""


@dataclass(frozen=True, eq=False)
class Depth:
    """How pictures of one file are shown to a model, and its edits put back."""

    colour: Colour

    @cached_property
    def _tone(self) -> Tone:
        return tone_of(self.colour)

    def shown(self, picture: Planar, kernel: Interpolation = Interpolation.BICUBIC, **size: int) -> np.ndarray:
        """The picture as a model sees it, uint8 (H, W, 3): in BT.709, white where nothing can be seen.

        It is as large as it is stored, or of a `width` and `height`, to which the kernel brings it.
        """
        if picture.chroma == "rgb" and not size:  # FFmpeg would shift the bits, and lose a level at the top
            scale = 65535 / (2**picture.bits - 1)
            signal = np.rint(cv2.merge(picture.planes).astype(np.float32) * np.float32(scale)).astype(np.uint16)
        else:
            unnamed = replace(self.colour, primaries=2, transfer=2)  # FFmpeg would convert what it knows by name
            frame = to_frame(replace(picture, alpha=None), unnamed)
            signal = frame.reformat(format="rgb48le", interpolation=kernel | EXACT, **size).to_ndarray()
        seen = self._tone.forward(signal)
        if picture.alpha is None or size or picture.alpha.all():
            return seen
        return np.where((picture.alpha > 0)[..., None], seen, np.uint8(255))

    def blended(self, original: Planar, seen: np.ndarray, edit: np.ndarray, mask: np.ndarray) -> Planar:
        """The original with the edit inside the mask, float32 (H, W); `edit` and `seen`, its `shown`, uint8 (H, W, 3).

        P + m (G(edit) + w (P - G(seen)) - P) for each plane P, where G goes from what is seen to planes, and w =
        max(0, 1 - |edit - seen| / LIKE) says how far a pixel is as it was. So what is not edited, and what an edit left
        as it was, keeps every bit. A sample of chroma is in the mask where all its pixels are. Alpha stays.
        """
        changed = (mask > 0) & (edit != seen).any(-1)
        if not changed.any():
            return original
        box = _around(changed.any(1)), _around(changed.any(0))
        new, old = (planes_of(self._tone.back(each[box]), original, self.colour.matrix) for each in (edit, seen))
        far = np.abs(edit[box].astype(np.int16) - seen[box]).max(-1)
        like = 1 - np.minimum(far, LIKE).astype(np.float32) / LIKE
        result = []
        for number, (plane, after, before) in enumerate(zip(original.planes, new, old, strict=True)):
            down, across = SHARED.get(original.chroma, (1, 1)) if number else (1, 1)
            m, w = (_least(each, down, across) for each in (mask[box], like))
            top, left = box[0].start // down, box[1].start // across
            whole = plane.copy()
            part = whole[top : top + after.shape[0], left : left + after.shape[1]]
            own = part.astype(np.float32)
            mixed = own + m * (after + w * (own - before) - own)
            part[:] = np.clip(np.rint(mixed), 0, 2**original.bits - 1)
            result.append(whole)
        return replace(original, planes=tuple(result))


def planes_of(rgb: np.ndarray, like: Planar, matrix: int) -> list[np.ndarray]:
    """R'G'B' float32 (H, W, 3) in [0, 1] as planes of another picture's kind, float32 and not rounded."""
    most = 2.0**like.bits - 1
    if like.chroma == "rgb":
        return [each * np.float32(most) for each in cv2.split(rgb)]
    scale = to_yuv(matrix).copy()
    if like.full:  # from 219 and 224 levels of 255 to all
        scale[0] *= 255 / 219
        scale[1:, :3] *= 255 / 224
        scale[:, :3] *= most
        scale[:, 3] = (0, 2.0 ** (like.bits - 1), 2.0 ** (like.bits - 1))
    else:
        scale[:, :3] *= 255 * 2.0 ** (like.bits - 8)
        scale[:, 3] *= 2.0 ** (like.bits - 8)
    luma, *chroma = cv2.split(cv2.transform(rgb, scale))
    if like.chroma == "420":
        chroma = [cv2.sepFilter2D(each, -1, ONE, DOWN, None, (0, 4), 0, cv2.BORDER_REFLECT)[::2] for each in chroma]
    if like.chroma in ("420", "422"):
        chroma = [
            cv2.sepFilter2D(each, -1, ACROSS, ONE, None, (4, 0), 0, cv2.BORDER_REPLICATE)[:, ::2] for each in chroma
        ]
    return [luma, *chroma]


def _around(places: np.ndarray) -> slice:
    """From the first to the last place that is true with a margin, in whole pairs."""
    found, length = np.flatnonzero(places), len(places)
    return slice(max(0, int(found[0]) - MARGIN) // 2 * 2, min(length, (int(found[-1]) + MARGIN) // 2 * 2 + 2))


def _least(values: np.ndarray, down: int, across: int) -> np.ndarray:
    """The least of each block of `down` by `across` values; what is over at an end is a block of its own."""
    height, width = values.shape
    edge = np.pad(values, [(0, -height % down), (0, -width % across)], mode="edge")
    return edge.reshape(-(-height // down), down, -(-width // across), across).min((1, 3))
