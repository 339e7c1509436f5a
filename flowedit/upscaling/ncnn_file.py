"""Weights in ncnn's two files: a list of layers in text, and their numbers one after the other; neither holds code."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowedit.messages import FileError, InputError

HALF, FULL = 0x01306B47, 0
"""What stands before a convolution's weights: the type that they are stored in."""

BARE = {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"}
"""Layers without numbers."""


def weights(param: Path, numbers: Path) -> list[np.ndarray]:
    """The arrays of each convolution (weight (out, in, k, k), bias (out,)) and PReLU (slope), in the layers' order.

    All float32, of `NAME.param` and `NAME.bin` (ncnn, wiki "param and model file structure"). Raises FileError for
    files that cannot be read, InputError for layers that are not known here and for numbers that do not fit them.
    """
    try:
        lines, data = param.read_text(encoding="utf-8").splitlines(), numbers.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"weights {str(param)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    place, found = 0, []
    shapes: list[tuple[int, ...]]
    try:
        for kind, options in _layers(lines):
            if kind in BARE:
                continue
            if kind == "PReLU":
                shapes, stored = [(options[0],)], FULL
            elif kind == "Convolution":
                out, side, count = options[0], options[1], options[6]
                shapes = [(out, count // (out * side * side), side, side), (out,)]
                stored, place = int(np.frombuffer(data, "<u4", 1, place)[0]), place + 4
            else:
                raise ValueError(f"a layer {kind}")
            if stored not in (HALF, FULL):
                raise ValueError(f"numbers of a type {stored:#x}")
            for number, shape in enumerate(shapes):
                dtype = "<f2" if stored == HALF and number == 0 else "<f4"
                array = np.frombuffer(data, dtype, int(np.prod(shape)), place)
                place += -(-array.nbytes // 4) * 4  # each begins at a multiple of four bytes
                found.append(array.astype(np.float32).reshape(shape))
        if place != len(data):
            raise ValueError(f"{len(data) - place} bytes too many")
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{str(numbers)!r} is no network that is known here: {error}") from None
    return found


def _layers(lines: list[str]) -> Iterator[tuple[str, dict[int, int]]]:
    """(kind, its whole-numbered options by their number) of each layer."""
    for line in lines[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        options = (text.split("=") for text in rest[int(inputs) + int(outputs) :])
        yield kind, {int(key): int(value) for key, value in options if value.lstrip("-").isdecimal()}
