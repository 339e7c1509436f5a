"""One picture as its file stores it: planes of its own bits and chroma, and alpha; from a decoded frame, and to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from flowedit.media.colours import Colour
from flowedit.media.formats.forms import pixel_format

EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""Without both FFmpeg darkens every frame by up to two levels where chroma has fewer samples than luma."""

Chroma = Literal["420", "422", "444", "rgb"]
"""How many samples of chroma there are; "rgb" has none."""

BITS = (8, 9, 10, 12, 14, 16)
"""Of a component, as FFmpeg has formats for."""


@dataclass(frozen=True, eq=False)
class Planar:
    """A picture as it is stored, not turned: Y, Cb, Cr or R, G, B, each uint8 or uint16 (h, w) of `bits` bits.

    `alpha` is a plane of full range, (H, W), of as many bits, or None. `full`: Y, Cb and Cr use all levels.
    """

    planes: tuple[np.ndarray, ...]
    alpha: np.ndarray | None
    bits: int
    chroma: Chroma
    full: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        height, width = self.planes[0].shape
        return height, width

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Planar:
        """The picture with every plane changed alike."""
        alpha = None if self.alpha is None else change(self.alpha)
        return replace(self, planes=tuple(map(change, self.planes)), alpha=alpha)


def chroma_of(fmt: Any) -> Chroma:
    """The chroma of a decoded frame's format; other ratios come out as 4:4:4, grey too."""
    if fmt.is_rgb or fmt.has_palette:
        return "rgb"
    if len(fmt.components) < 3:
        return "444"
    across, down = fmt.chroma_width(64) == 32, fmt.chroma_height(64) == 32
    if fmt.chroma_width(64) < 32 or fmt.chroma_height(64) < 32:
        return "444"
    return "420" if across and down else "422" if across else "444"


def bits_of(fmt: Any) -> int:
    """Bits of the largest component of a decoded frame's format, as BITS has them."""
    most = max(component.bits for component in fmt.components)
    return next((bits for bits in BITS if bits >= most), BITS[-1])


def is_grey(fmt: Any) -> bool:
    """Whether a decoded frame's format has luma alone, or with alpha."""
    return len(fmt.components) < 3 and not (fmt.is_rgb or fmt.has_palette)


def is_limited(frame: Any) -> bool:
    """Whether a decoded frame says that its range is limited; grey that says nothing has all levels, as in FFmpeg."""
    return int(frame.color_range) == int(ColorRange.MPEG)


def of_frame(frame: Any) -> Planar:
    """A decoded frame's planes; what is not stored as planes is put so by FFmpeg, which loses no bit."""
    fmt = frame.format
    chroma, bits, alpha = chroma_of(fmt), bits_of(fmt), any(component.is_alpha for component in fmt.components)
    grey = is_grey(fmt)
    name = pixel_format(chroma, bits, alpha or fmt.has_palette)
    full = chroma == "rgb" or int(frame.color_range) == int(ColorRange.JPEG) or fmt.name.startswith("yuvj")
    full = full or (grey and not is_limited(frame))
    if fmt.name.replace("yuvj", "yuv") != name:
        # one range for both, so that levels stay as they are; FFmpeg takes all grey for full
        both = ColorRange.JPEG if full or grey else ColorRange.MPEG
        frame = frame.reformat(
            format=name, interpolation=Interpolation.BICUBIC | EXACT, src_color_range=both, dst_color_range=both
        )
    planes = [samples(plane, bits).copy() for plane in frame.planes]
    colours = [planes[place] for place in ((2, 0, 1) if chroma == "rgb" else (0, 1, 2))]
    return Planar(tuple(colours), planes[3] if len(planes) > 3 else None, bits, chroma, full)


def to_frame(picture: Planar, colour: Colour) -> Any:
    """A frame of these planes for an encoder, with its colours named; pts is still to be set."""
    height, width = picture.size
    name = pixel_format(picture.chroma, picture.bits, picture.alpha is not None)
    frame: Any = av.VideoFrame(width, height, name)
    rgb = picture.chroma == "rgb"
    order = [picture.planes[place] for place in ((1, 2, 0) if rgb else (0, 1, 2))]
    order += [] if picture.alpha is None else [picture.alpha]
    for plane, values in zip(frame.planes, order, strict=True):
        kind = np.uint8 if picture.bits == 8 else np.uint16
        lines = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // np.dtype(kind).itemsize)
        lines[:, : plane.width] = values
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    frame.colorspace = 0 if rgb else colour.matrix
    frame.color_range = ColorRange.JPEG if picture.full else ColorRange.MPEG
    return frame


def samples(plane: Any, bits: int) -> np.ndarray:
    """A view of a frame's plane of so many bits, uint8 or uint16 (h, w), whatever its lines are padded to."""
    kind = np.uint8 if bits == 8 else np.uint16
    lines = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // np.dtype(kind).itemsize)
    return lines[:, : plane.width]
