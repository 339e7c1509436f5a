"""What a user paints on frames of a clip, followed through its shots: brush, eraser, boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from flowedit.masks.tracking import ShotFlow, Track, carried
from flowedit.messages import InputError

FINE = 4
"""Strokes are drawn at so many times the size that they are followed at: their edge lies between pixels."""

MOST_STROKES, MOST_POINTS = 500, 20_000

LEAST = 0.002
"""The least radius of a brush, in widths of the frame."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """A line of a round brush on one frame: `points` in shares of the frame's width and height, `radius` of its width.

    `erase`: it takes away what lies under it.
    """

    frame: int
    points: tuple[Point, ...]
    radius: float
    erase: bool = False


@dataclass(frozen=True)
class Area:
    """A box that is filled on one frame, all in shares of the frame's width and height."""

    frame: int
    x: float
    y: float
    width: float
    height: float


def strokes_of(given: Sequence[Any], frames: int) -> tuple[Stroke, ...]:
    """Strokes from plain values, `{frame, points: [[x, y], ...], radius, erase}`, of a clip of so many frames.

    Raises InputError for anything else, a frame that is not there, and more than a hand paints.
    """
    if len(given) > MOST_STROKES:
        raise InputError(f"{len(given)} strokes are more than {MOST_STROKES}: give a mask file")
    made = tuple(each if isinstance(each, Stroke) else _stroke(each) for each in given)
    if sum(len(each.points) for each in made) > MOST_POINTS:
        raise InputError(f"the strokes have more than {MOST_POINTS} points: give a mask file")
    for each in made:
        _check_frame("stroke", each.frame, frames)
        if not each.points or not LEAST <= each.radius <= 1:
            raise InputError(f"a stroke needs a point, and a radius from {LEAST} to 1 of the frame's width")
    return made


def areas_of(given: Sequence[Any], frames: int) -> tuple[Area, ...]:
    """Boxes from plain values, `{frame, x, y, width, height}`; raises InputError as `strokes_of` does."""
    if len(given) > MOST_STROKES:
        raise InputError(f"{len(given)} boxes are more than {MOST_STROKES}: give a mask file")
    made = tuple(each if isinstance(each, Area) else _area(each) for each in given)
    for each in made:
        _check_frame("box", each.frame, frames)
        inside = min(each.x + each.width, each.y + each.height) > 0 and max(each.x, each.y) < 1
        if min(each.width, each.height) <= 0 or not inside:
            raise InputError("a box needs a width and a height above 0, and a part of it in the frame")
    return made


def _stroke(given: Any) -> Stroke:
    if not isinstance(given, Mapping) or set(given) - {"frame", "points", "radius", "erase"}:
        raise InputError("a stroke is {frame, points: [[x, y], ...], radius, erase}")
    points, erase = given.get("points"), given.get("erase", False)
    if not isinstance(points, (list, tuple)) or not isinstance(erase, bool):
        raise InputError("a stroke has a list of points, and erase is true or false")
    pairs = [each if isinstance(each, (list, tuple)) and len(each) == 2 else (None, None) for each in points]
    return Stroke(
        _whole(given.get("frame")),
        tuple((_share(x), _share(y)) for x, y in pairs),
        _share(given.get("radius")),
        erase,
    )


def _area(given: Any) -> Area:
    if not isinstance(given, Mapping) or set(given) - {"frame", "x", "y", "width", "height"}:
        raise InputError("a box is {frame, x, y, width, height}")
    return Area(_whole(given.get("frame")), *(_share(given.get(key)) for key in ("x", "y", "width", "height")))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"frame {repr(value)[:40]} is not a whole number from 0 up")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -8 <= value <= 8:
        raise InputError(f"{repr(value)[:40]} is not a place or a length in shares of the frame, such as 0.25")
    return float(value)


def _check_frame(kind: str, frame: int, frames: int) -> None:
    if frame >= frames:
        raise InputError(f"a {kind} on frame {frame}: the clip has {frames}, so give 0 to {frames - 1}")


@dataclass(frozen=True, eq=False)
class Paint:
    """Something painted, followed through its shot; `erase`: what it covers is taken away."""

    track: Track
    erase: bool


Piece = Area | tuple[Stroke, ...]
"""What is followed as one: a box, or strokes of one kind that follow each other on one frame."""


def pieces_of(strokes: Sequence[Stroke], areas: Sequence[Area]) -> list[Piece]:
    """What was painted, in the order in which it acts: the boxes, then the strokes."""
    groups = groupby(strokes, key=lambda each: (each.frame, each.erase))
    return [*areas, *(tuple(group) for _, group in groups)]


def frame_of(piece: Piece) -> int:
    """The frame that it was painted on."""
    return piece.frame if isinstance(piece, Area) else piece[0].frame


def followed(piece: Piece, flows: ShotFlow, first: int) -> list[Paint]:
    """A piece forward and backward through the shot of these pictures, which begins at frame `first`.

    Strokes that touch are one thing, and go by the median flow of what they cover (`tracking.moved`).
    """
    size, start = flows.greys[0].shape, frame_of(piece) - first
    if isinstance(piece, Area):
        box = np.array([piece.x * size[1], piece.y * size[0], piece.width * size[1], piece.height * size[0]])
        return [Paint(carried(flows, start, box, None, first), False)]
    things = _things(piece, size)
    return [Paint(carried(flows, start, box, shape, first, False), piece[0].erase) for box, shape in things]


def _things(strokes: Sequence[Stroke], size: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The connected things that strokes paint: the box of each in pixels of `size`, and its shape at FINE times it."""
    canvas = drawn(strokes, (FINE * size[0], FINE * size[1]))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(canvas)
    for label in range(1, count):
        x, y, width, height = stats[label, :4]
        shape = (labels[y : y + height, x : x + width] == label).astype(np.float32)
        yield np.array([x, y, width, height], float) / FINE, shape


def drawn(strokes: Sequence[Stroke], size: tuple[int, int]) -> np.ndarray:
    """What strokes cover of a frame of `size` (height, width), uint8 (H, W), 1 inside; `erase` has no say."""
    canvas, scale = np.zeros(size, np.uint8), np.array([size[1], size[0]])
    for stroke in strokes:
        radius = max(1, round(stroke.radius * size[1]))
        points = np.rint(np.array(stroke.points) * scale - 0.5).astype(int)
        for point in points:
            cv2.circle(canvas, (int(point[0]), int(point[1])), radius, 1, -1)
        if len(points) > 1:
            cv2.polylines(canvas, [points.reshape(-1, 1, 2).astype(np.int32)], False, 1, 2 * radius)
    return canvas


def over(base: np.ndarray, paints: Sequence[Paint], frame: int) -> np.ndarray:
    """A mask uint8 (H, W) of a frame, with what is painted added to it or taken from it, in its order."""
    mask = base
    for paint in paints:
        own = paint.track.mask(frame, (base.shape[0], base.shape[1]))
        mask = np.minimum(mask, 255 - own) if paint.erase else np.maximum(mask, own)
    return mask
