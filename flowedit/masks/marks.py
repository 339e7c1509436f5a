"""Boxes and points that a user marks an object with: how they are written, and which are refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowedit.messages import InputError

BOX, POINT = "x,y,width,height[@frame]", "x,y[@frame]"
EXAMPLES = {"box": "40,30,120,90 or 40,30,120,90@12", "point": "100,75 or 100,75@12"}


@dataclass(frozen=True)
class Mark:
    """A box (x, y, width, height), or a point (x, y), in pixels of the clip as it is shown, on one of its frames."""

    numbers: tuple[float, ...]
    frame: int
    text: str

    @property
    def kind(self) -> str:
        """box or point."""
        return "box" if len(self.numbers) == 4 else "point"


def marks(box: str | None, point: str | None) -> tuple[Mark, ...]:
    """All marks of an edit; raises InputError for one that is not written as it should be."""
    return (*_read("box", 4, box), *_read("point", 2, point))


def _read(kind: str, count: int, text: str | None) -> list[Mark]:
    return [
        _mark(kind, count, each) for each in re.split(r"[;\s]+", re.sub(r"\s*([,@])\s*", r"\1", text or "")) if each
    ]


def _mark(kind: str, count: int, text: str) -> Mark:
    place, at, frame = text.partition("@")
    try:
        numbers = tuple(float(number) for number in place.split(","))
    except ValueError:
        numbers = ()
    good = len(numbers) == count and all(abs(number) < 1e6 for number in numbers)
    if not good or (at and not frame.isdecimal()):
        what = {"box": BOX, "point": POINT}[kind]
        raise InputError(
            f"{kind} {text!r} is not {what}, in pixels of the clip as it is shown: such as {EXAMPLES[kind]}"
        )
    if kind == "box" and min(numbers[2:]) <= 0:
        raise InputError(f"box {text!r} is empty: its width and height are to be above 0")
    return Mark(numbers, int(frame or 0), text)


def check(found: Sequence[Mark], shown: tuple[int, int], frames: int) -> None:
    """Raise InputError for a mark outside a clip of so many frames, shown as (height, width), and for a box so small.

    The sides of a box that leave the frame are cut, of which `of_cut` says a word.
    """
    height, width = shown
    for mark in found:
        x, y, *sides = mark.numbers
        across, down = sides or (0, 0)
        if mark.frame >= frames:
            raise InputError(
                f"{mark.kind} {mark.text!r}: there is no frame {mark.frame}, as {frames} are read: give @0 to "
                f"@{frames - 1}"
            )
        if x >= width or y >= height or x + across < 0 or y + down < 0 or (sides and min(x + across, y + down) <= 0):
            raise InputError(
                f"{mark.kind} {mark.text!r} lies outside the frame, which is shown as {width}x{height}: give x from 0 "
                f"to {width - 1} and y from 0 to {height - 1}"
            )
        left, top, right, bottom = inside(mark, shown)
        if sides and min(right - left, bottom - top) < 1:
            raise InputError(
                f"box {mark.text!r} covers less than a pixel of the frame, which is shown as {width}x{height}: give a "
                f"width and a height of 1 or more in it, such as {EXAMPLES['box'].split()[0]}"
            )


def inside(mark: Mark, shown: tuple[int, int]) -> tuple[float, float, float, float]:
    """The left, top, right and bottom of what lies in the frame, shown as (height, width), in its pixels."""
    x, y, *sides = mark.numbers
    across, down = sides or (0, 0)
    height, width = shown
    return max(0.0, x), max(0.0, y), min(float(width), x + across), min(float(height), y + down)


def of_cut(found: Sequence[Mark], shown: tuple[int, int]) -> list[str]:
    """What users hear of boxes that leave the frame, shown as (height, width)."""
    told = []
    for mark in found:
        left, top, right, bottom = inside(mark, shown)
        x, y, *sides = mark.numbers
        if sides and (left, top, right, bottom) != (x, y, x + sides[0], y + sides[1]):
            rest = ",".join(f"{number:g}" for number in (left, top, right - left, bottom - top))
            told.append(f"box {mark.text} leaves the frame, which is shown as {shown[1]}x{shown[0]}: {rest} is taken")
    return told


def written(value: Any) -> Any:
    """Marks from Python, as one text: texts or lists of numbers, one or several; anything else as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    if value and all(isinstance(each, (int, float)) for each in value):
        return ",".join(f"{each:g}" for each in value)
    return " ".join(str(written(each)) for each in value)
