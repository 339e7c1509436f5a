"""How a source's frames lie on the working frames that a model needs, and the way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from flowedit.media.pixels import Size, resize
from flowedit.media.pixels import expect as _expect
from flowedit.messages import InputError


@dataclass(frozen=True)
class Fit:
    """How source frames lie on working frames, both (height, width).

    `window` is (top, left, height, width): for "crop" the part of the source, in its pixels, that the working
    frame shows; for "pad" the part of the working frame, in its pixels, where the whole source lies.
    """

    source: Size
    working: Size
    how: str
    window: tuple[int, int, int, int]

    @property
    def back(self) -> tuple[Size, Size]:
        """The (height, width) that the way back begins with and ends in, which `to_source` resizes."""
        inner = self.window[2], self.window[3]
        return (self.working, inner) if self.how == "crop" else (inner, self.source)

    @property
    def enlarges(self) -> bool:
        """Whether the way back makes a side larger."""
        before, after = self.back
        return after[0] > before[0] or after[1] > before[1]


def working_size(source: Size, area: int, multiple: int, max_side: int | None = None) -> Size:
    """The (height, width), both multiples of `multiple`, nearest to `area` pixels at the source's aspect.

    It minimises log(area error)² + 4·log(aspect error)²: a wrong aspect costs pixels, a wrong area does not.
    Raises ValueError for sides, area or multiple below 1 and for a `max_side` below one multiple.
    """
    if min(*source, area, multiple) < 1:
        raise InputError(
            f"no working size for source {source}, area {area}, multiple {multiple}: give numbers of 1 or more"
        )
    longest = math.inf if max_side is None else max_side // multiple
    if longest < 1:
        raise InputError(f"max_side {max_side} is below the multiple {multiple}: give at least {multiple}")
    aspect = source[1] / source[0]

    def cost(size: Size) -> tuple[float, float]:
        # the area of the two breaks ties, so that the answer is one
        area_error = math.log(size[0] * size[1] * multiple**2 / area)
        aspect_error = math.log(size[1] / size[0] / aspect)
        return area_error**2 + 4 * aspect_error**2, size[0] * size[1]

    rows_at_most = min(math.ceil(max(2 * math.sqrt(area / aspect) / multiple, 1 / aspect)) + 1, longest)
    sizes = []
    for rows in range(1, int(rows_at_most) + 1):
        # with these rows, the cost is convex in log(columns) and least here
        ideal = (area / (rows * multiple**2) * (rows * aspect) ** 4) ** 0.2
        sizes += [(rows, int(min(max(columns, 1), longest))) for columns in (math.floor(ideal), math.ceil(ideal))]
    rows, columns = min(sizes, key=cost)
    return rows * multiple, columns * multiple


def lay(source: Size, working: Size, how: str = "crop", pixel_aspect: Fraction = Fraction(1)) -> Fit:
    """Lay source frames on working frames, centred: "crop" fills the frame, "pad" keeps the whole source.

    A source whose pixels are `pixel_aspect` times as wide as high lies as players show it; working frames have square
    pixels. Raises ValueError for another `how`, and for sides below 1 or an aspect of 0 or less.
    """
    if how not in ("crop", "pad"):
        raise InputError(f"fit {how!r} is unknown: choose 'crop' or 'pad'")
    if min(*source, *working) < 1 or pixel_aspect <= 0:
        raise InputError(f"cannot fit {source} to {working}: sides must be 1 or more, a pixel's aspect above 0")
    shown = Fraction(source[0]), source[1] * pixel_aspect
    square = Fraction(working[0]), Fraction(working[1])
    # the frame that the window lies in, and the width of its pixels
    outer, inner, limits, pixel = (
        (shown, square, source, pixel_aspect) if how == "crop" else (square, shown, working, Fraction(1))
    )
    scale = min(outer[0] / inner[0], outer[1] / inner[1])
    sides = inner[0] * scale, inner[1] * scale / pixel
    height, width = (min(max(round(side), 1), limit) for side, limit in zip(sides, limits, strict=True))
    top, left = (limits[0] - height) // 2, (limits[1] - width) // 2
    return Fit(source, working, how, (top, left, height, width))


def to_working(frames: np.ndarray, fit: Fit) -> np.ndarray:
    """Source frames, uint8 (F, H, W, 3), at the working size; padding repeats the edge pixels."""
    _expect(frames, fit.source, 4, "frames")
    if fit.how == "crop":
        return resize(_inside(frames, fit), fit.working)
    return _pad(resize(frames, fit.window[2:]), fit)


def to_source(
    frames: np.ndarray, original: np.ndarray, fit: Fit, resize: Callable[[np.ndarray, Size], np.ndarray] = resize
) -> np.ndarray:
    """Working frames, uint8 (F, h, w, 3), at the source's size; what a crop left out comes from `original`."""
    _expect(frames, fit.working, 4, "frames")
    _expect(original, fit.source, 4, "original", frames=len(frames))
    if fit.how == "pad":
        return resize(_inside(frames, fit), fit.source)
    whole = original.copy()
    _inside(whole, fit)[:] = resize(frames, fit.window[2:])
    return whole


def mask_to_working(mask: np.ndarray, fit: Fit) -> np.ndarray:
    """A source mask, float32 (F, H, W) in [0, 1], at the working size; padding repeats the edge."""
    _expect(mask, fit.source, 3, "mask")
    if fit.how == "crop":
        return resize(_inside(mask, fit), fit.working)
    return _pad(resize(mask, fit.window[2:]), fit)


def mask_to_source(mask: np.ndarray, fit: Fit) -> np.ndarray:
    """A working mask, float32 (F, h, w) in [0, 1], at the source's size; 0 in what a crop left out."""
    _expect(mask, fit.working, 3, "mask")
    if fit.how == "pad":
        return resize(_inside(mask, fit), fit.source)
    whole = np.zeros((len(mask), *fit.source), np.float32)
    _inside(whole, fit)[:] = resize(mask, fit.window[2:])
    return whole


def on_the_way_back(array: np.ndarray, fit: Fit) -> np.ndarray:
    """The part of an array of source frames (F, H, W[, 3]) that `to_source` fills by resizing."""
    return _inside(array, fit) if fit.how == "crop" else array


def _inside(array: np.ndarray, fit: Fit) -> np.ndarray:
    top, left, height, width = fit.window
    return array[:, top : top + height, left : left + width]


def _pad(array: np.ndarray, fit: Fit) -> np.ndarray:
    top, left, height, width = fit.window
    margins = [(0, 0), (top, fit.working[0] - top - height), (left, fit.working[1] - left - width)]
    return np.pad(array, margins + [(0, 0)] * (array.ndim - 3), mode="edge")
