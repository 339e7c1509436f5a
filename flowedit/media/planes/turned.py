"""How a picture that is stored turned or mirrored is shown."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from flowedit.media import colours
from flowedit.messages import InputError

MATRIX = "DISPLAYMATRIX"
"""FFmpeg's name of what says how a frame is turned and mirrored."""


def orientation(path: Path, frame: Any) -> tuple[tuple[int, bool], tuple[int, ...] | None]:
    """Clockwise degrees by which a frame is shown, and whether it is mirrored left to right before that; the matrix.

    The display matrix takes a pixel at (x, y), y downwards, to (a x + c y, b x + d y).
    """
    found = colours.beside(frame).get(MATRIX)
    if found is None:
        return (0, False), None
    matrix = struct.unpack("=9i", found)
    a, b, _, c, d, *_ = matrix
    mirrored = a * d < b * c
    degrees = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a)) % 360
    turned = 90 * round(degrees / 90)
    if abs(degrees - turned) >= 1:
        raise InputError(f"{path} is rotated by {degrees:.0f} degrees: turn it by a multiple of 90, or to 0")
    return (turned % 360, mirrored), matrix
