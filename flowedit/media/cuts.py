"""Hard cuts of a clip: frames whose colours and picture are both new, and stand out from those around them.

A stretch of a clip between two cuts is a shot.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np

from flowedit.messages import InputError, listed

SIDE = 48
"""Pixels of the longer side at which frames are compared; noise and small motion are gone there."""

BINS = (16, 4, 8)
"""Of hue, saturation and value."""

COLOUR, SHAPE, STANDS_OUT = 0.4, 0.45, 2.25
"""What a cut has at least: distance of the colours, distance of the pictures, times the second largest change near."""

FLASH = 2
"""The most frames of a flash: frames so far apart are compared across it."""

NEAR = 3
"""Frames on each side whose changes a cut stands out from."""

FLAT = 4.0
"""Grey levels of contrast below which a picture counts as noise."""


class Look(NamedTuple):
    """What is compared of a frame: the square roots of its HSV histogram, and its normalised luma, both flat."""

    colours: np.ndarray
    picture: np.ndarray


def find(frames: Iterable[np.ndarray]) -> list[int]:
    """The frames at which a new shot begins, ascending, without 0; frames are uint8 (H, W, 3), one after the other.

    A cut is where the change is at least 1 and STANDS_OUT times the second largest of the NEAR changes on each side
    (the second: a shot of one frame has a cut on both sides). Fast motion and fades do not stand out. A flash of up to
    FLASH frames is not counted, nor is an insert as short between two frames of one shot. A dissolve is no cut.

    Measured on nine real clips, the numbers above chosen on them: all 752 cuts of 592 clips joined from two or three
    of these at 1/1 to 1/8 of their rates, and none too many, there and in 585 clips without a cut (the same clips
    alone, with flashes, fades, dissolves, steps of brightness, pans, zooms). Of 43 cuts between two views of one place
    38 are found; two shots of the same background with other objects in front may be missed.
    """
    change = changes(frames)
    return [i for i in range(1, len(change)) if change[i] >= max(1.0, STANDS_OUT * _around(change, i))]


def changes(frames: Iterable[np.ndarray]) -> list[float]:
    """How new each frame is against those before it, the first 0.

    change(i) = min over a < i <= b, b - a <= 1 + FLASH, of min(d_colour(a, b) / COLOUR, d_shape(a, b) / SHAPE), where
    d_colour is the Bhattacharyya distance sqrt(1 - sum sqrt(p q)) of HSV histograms, in [0, 1], and d_shape is 1 less
    the correlation of the lumas, in [0, 2], which brightness and contrast do not change. A few frames are in memory
    at a time.
    """
    looks: dict[int, Look] = {}
    result: list[float] = []
    count = 0
    for count, frame in enumerate(frames, 1):
        looks[count - 1] = look(frame)
        if count > FLASH:
            result.append(_change(looks, count - 1 - FLASH))
            looks.pop(count - 3 - 2 * FLASH, None)
    return result + [_change(looks, place) for place in range(len(result), count)]


def look(frame: np.ndarray) -> Look:
    """A frame uint8 (H, W, 3) RGB of any size as what is compared of it."""
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    histogram = cv2.calcHist([hsv], [0, 1, 2], None, list(BINS), [0, 180, 0, 256, 0, 256]).ravel()
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()
    grey -= grey.mean()
    return Look(np.sqrt(histogram / histogram.sum()), grey / (np.sqrt(np.square(grey).mean()) + FLAT))


def distance(a: Look, b: Look) -> float:
    """The smaller of two frames' distances in colour and in shape, each in units of what a cut has at least."""
    colour = max(0.0, 1.0 - float(a.colours @ b.colours)) ** 0.5
    shape = 1.0 - float(a.picture @ b.picture) / len(a.picture)
    return min(colour / COLOUR, shape / SHAPE)


def check(cuts: object, frames: int) -> None:
    """Raise ValueError where one of the cuts that a user gave lies outside a clip of so many frames."""
    if isinstance(cuts, tuple) and cuts and cuts[-1] >= frames:
        valid = f"give numbers from 1 to {frames - 1}" if frames > 1 else "one frame has no cut"
        raise InputError(f"cuts {list(cuts)}: no shot can begin at frame {cuts[-1]} of the {frames} read; {valid}")


def notice(cuts: Sequence[int], time: Callable[[int], Fraction]) -> str:
    """What a user is told of the cuts that `find` gave, in frames, and in seconds by a frame's `time`."""
    shown = cuts[:MOST] if len(cuts) > MOST + 1 else cuts
    places, seconds = listed([str(i) for i in shown]), ", ".join(f"{float(time(i)):.1f} s" for i in shown)
    if more := len(cuts) - len(shown):
        places, seconds = f"{', '.join(map(str, shown))} and {more} more", f"{seconds}, …"
    summary = (
        f"1 hard cut found, at frame {places}" if len(cuts) == 1 else f"{len(cuts)} hard cuts found, at frames {places}"
    )
    return (
        f"{summary} ({seconds}): each of the {len(cuts) + 1} shots is edited by itself (cuts=none edits the clip whole)"
    )


MOST = 8
"""Cuts that a notice names; run.yaml has all."""


def _change(looks: Mapping[int, Look], i: int) -> float:
    if i == 0:
        return 0.0
    reach = 1 + FLASH
    pairs = [(a, b) for a in range(i - reach, i) for b in range(i, a + reach + 1) if a in looks and b in looks]
    return min(distance(looks[a], looks[b]) for a, b in pairs)


def _around(change: Sequence[float], i: int) -> float:
    near = sorted([*change[max(1, i - NEAR) : i], *change[i + 1 : i + 1 + NEAR]])
    return near[-2] if len(near) > 1 else 0.0
