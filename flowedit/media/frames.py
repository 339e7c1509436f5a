"""Frames as a sequence of which slices are read when they are asked for, and none stays in memory."""

from collections.abc import Callable, Iterator

import numpy as np

from flowedit.messages import InputError
from flowedit.types import Frames


class LazyFrames:
    """`frames[a:b]` reads those frames to an array: from the open stream where they are next, else from a new stream.

    `open(start)` yields arrays of consecutive frames from index `start` on, each of any number and `shape[1:]`. Beside
    the slice no more than one such array is in memory. What the stream raises is passed on.
    """

    def __init__(self, shape: tuple[int, ...], open: Callable[[int], Iterator[np.ndarray]]) -> None:
        self.shape, self._open = shape, open
        self._stream: Iterator[np.ndarray] = iter(())
        self._place = -1
        """Index of the next frame of the open stream, of which `_rest` comes first; -1 without a stream."""
        self._rest: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice) -> np.ndarray:
        start, stop, step = places.indices(len(self))
        if step != 1:
            raise InputError(f"frames are read one after the other, not by steps of {step}")
        if start != self._place and start < stop:
            self._stream, self._place, self._rest = self._open(start), start, None
        result: np.ndarray | None = None
        while self._place < stop and start < stop:
            rest = next(self._stream) if self._rest is None else self._rest
            if result is None:
                result = np.empty((stop - start, *rest.shape[1:]), rest.dtype)
            count = min(len(rest), stop - self._place)
            result[self._place - start : self._place - start + count] = rest[:count]
            self._rest = rest[count:] if count < len(rest) else None
            self._place += count
        if self._place == len(self):  # so that the file is closed
            self._stream, self._place, self._rest = iter(()), -1, None
        return np.empty((0, *self.shape[1:]), np.uint8) if result is None else result


def between(frames: Frames, start: int, stop: int) -> Frames:
    """The frames from `start` up to `stop` as a sequence of their own, read when they are asked for."""
    if (start, stop) == (0, len(frames)):
        return frames
    shape = stop - start, *frames.shape[1:]
    return LazyFrames(shape, lambda first: (frames[place : place + 1] for place in range(start + first, stop)))


def by_chunks(frames: Frames, size: int = 16) -> Iterator[np.ndarray]:
    """The frames in ascending slices of at most `size`."""
    for start in range(0, len(frames), size):
        yield frames[start : start + size]
