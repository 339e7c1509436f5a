"""Writes frames as an H.264 mp4 that appears under its name only when it is whole; beside other work, if wished."""

from __future__ import annotations

import functools
import os
import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from flowedit.machine import whole_file
from flowedit.media.colours import BT709, Colour
from flowedit.media.sound import Sound, SoundTrack
from flowedit.messages import InputError

CRF = 16
"""x264's quality of what is written."""

THREADS = 4  # a fixed number: x264 writes other bytes for another number of threads

LUMA = {
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""What red and blue weigh in luma, by a matrix's number in ITU-T H.273: all that `colours` keeps."""


@functools.cache
def to_yuv(matrix: int) -> np.ndarray:
    """R, G, B, 1 to Y, Cb, Cr in limited range (ITU-T H.273), all from 0 to 255; float32 (3, 4)."""
    red, blue = LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    differences = ([0, 0, 1] - luma) / (1 - blue), ([1, 0, 0] - luma) / (1 - red)
    rows = np.stack([219 / 255 * luma, *(112 / 255 * each for each in differences)])
    return np.column_stack([rows, (16, 128, 128)]).astype(np.float32)


_HALF = (0.64484, 0.30880, -0.15432, -0.00014, 0.02324), (0.54823, 0.04390, -0.15755, 0.06208, 0.00334)

ACROSS = np.array(_HALF[0][:0:-1] + _HALF[0], np.float32)
DOWN = np.array(_HALF[1][::-1] + _HALF[1], np.float32)
ONE = np.ones(1, np.float32)
"""Chroma to half its samples, which H.264 places on every other column and between two rows. These are inverses from
the left of the cubic kernel by which FFmpeg doubles them again (a = -0.6), near to the ideal low pass: another pass of
reading and writing takes nothing away. FFmpeg's own kernels blur colours and shift them by a quarter of a sample."""


def planes(frame: np.ndarray, matrix: int, subsampled: bool) -> list[np.ndarray]:
    """Y, Cb, Cr of an RGB frame (H, W, 3), each uint8 and rounded to the nearest; chroma (H/2, W/2) if `subsampled`."""
    luma, *chroma = cv2.split(cv2.transform(frame.astype(np.float32), to_yuv(matrix)))
    if subsampled:
        # beyond an edge FFmpeg repeats the sample there, which lies between two rows and on a column
        chroma = [cv2.sepFilter2D(each, -1, ONE, DOWN, None, (0, 4), 0, cv2.BORDER_REFLECT)[::2] for each in chroma]
        chroma = [
            cv2.sepFilter2D(each, -1, ACROSS, ONE, None, (4, 0), 0, cv2.BORDER_REPLICATE)[:, ::2] for each in chroma
        ]
    return [np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in (luma, *chroma)]


class Writer:
    """Write uint8 RGB frames of one (height, width) as H.264 in mp4, limited range, at exactly `fps`.

    A context manager: the file appears under its name on a clean exit only. Even sizes become yuv420p, odd
    ones yuv444p; `crf` is x264's, 0 (lossless) to 51. `colour` says what colours the RGB is of, and by which matrix it
    becomes YUV: a source's own, so that nothing is rounded anew. `labels` are the file's title and the like. Raises
    ValueError for frames of another shape or none at all, and OSError when the folder or the disk refuses the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        fps: Fraction,
        sound: Sound | None = None,
        crf: int = CRF,
        pixel_aspect: Fraction = Fraction(1),
        colour: Colour = BT709,
        labels: Iterable[tuple[str, str]] = (),
    ) -> None:
        if min(size) < 2 or fps <= 0 or not 0 <= crf <= 51:
            raise InputError(
                f"cannot write size {size}, fps {fps}, crf {crf}: sides must be 2 or more, fps above "
                "0, crf from 0 to 51"
            )
        self.path, self.size, self.fps = Path(path), size, Fraction(fps)
        self.frames = 0
        self._format = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        self._crf, self._pixel_aspect, self._source = crf, pixel_aspect, sound
        self._colour, self._labels = colour, dict(labels)
        self._sound: SoundTrack | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                self._open(stack.enter_context(whole_file(self.path, parents=False)), stack)
            except (OSError, av.error.FFmpegError) as error:
                raise self._refused(error) from None
            self._stack = stack.pop_all()
        return self

    def _open(self, part: Path, stack: ExitStack) -> None:
        # av.open would also take a folder that is not there, and report it by a bare errno
        part.open("wb").close()
        self._container: Any = av.open(str(part.absolute()), "w", format="mp4", options={"movflags": "+faststart"})
        stack.push(self._close)
        # x264's macroblock tree gives other bytes from run to run (its assembly does; measured)
        options = {"crf": str(self._crf), "preset": "fast", "x264-params": "mbtree=0"}
        stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.height, stream.width = self.size
        stream.pix_fmt = self._format
        codec = stream.codec_context
        codec.time_base, codec.thread_count = 1 / self.fps, THREADS
        codec.sample_aspect_ratio = self._pixel_aspect
        codec.color_primaries, codec.color_trc = self._colour.primaries, self._colour.transfer
        codec.colorspace = self._colour.matrix
        codec.color_range = ColorRange.MPEG
        self._stream = stream
        self._container.metadata.update(self._labels)
        if self._source is not None:
            self._sound = SoundTrack(self._source, self._container)

    def write(self, frames: np.ndarray) -> None:
        """Append frames, uint8 (f, H, W, 3) RGB; raises ValueError for another shape or type."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (*self.size, 3):
            raise InputError(
                f"frames of shape {frames.shape} and type {frames.dtype} do not fit {self.path}: "
                f"expected uint8 (f, {self.size[0]}, {self.size[1]}, 3)"
            )
        try:
            for array in frames:
                picture = self._picture(array)
                picture.pts, picture.time_base = self.frames, 1 / self.fps
                self._container.mux(self._stream.encode(picture))
                self.frames += 1
                if self._sound is not None:
                    self._sound.advance(self.frames / self.fps)
        except (OSError, av.error.FFmpegError) as error:
            raise self._refused(error) from None

    def _picture(self, frame: np.ndarray) -> Any:
        picture: Any = av.VideoFrame(self.size[1], self.size[0], self._format)
        matrix, subsampled = self._colour.matrix, self._format == "yuv420p"
        picture.colorspace, picture.color_range = matrix, ColorRange.MPEG
        for plane, values in zip(picture.planes, planes(frame, matrix, subsampled), strict=True):
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] = values
        return picture

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        try:
            with self._stack:
                if not self.frames:
                    raise InputError(f"no frames were written to {self.path}: write at least one")
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.finish()
        except (OSError, av.error.FFmpegError) as fault:
            raise self._refused(fault) from None

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the container before its file is renamed; after an error its own complaint says nothing new."""
        try:
            self._container.close()
        except (OSError, ValueError):
            if error is None:
                raise

    def _refused(self, error: Exception) -> Exception:
        said = getattr(error, "strerror", None) or error
        if not isinstance(error, OSError):
            return InputError(
                f"cannot write {self.path} as an mp4: {said}; take the sound out of the source, or export it again"
            )
        return OSError(f"cannot write {self.path}: {said}; choose a folder that exists, may be written and has room")


class Beside:
    """Does one thing after another in a thread of its own, while what comes next is made; at most `most` wait.

    A context manager: a clean exit waits until all is done. The first error of the thread ends it; it is raised at the
    next call, or on exit. An error of the block, or an interrupt while it waits at the end, ends the thread after the
    thing that it is at.
    """

    def __init__(self, most: int = 2) -> None:
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._error: BaseException | None = None
        self._ended = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __call__(self, work: Callable[[], None]) -> None:
        """Have this done; waits while `most` others wait."""
        self._raise()
        self._waiting.put(work)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            if self._ended or self._error is not None:
                continue  # taken, so that nobody waits for room
            try:
                work()
            except BaseException as error:  # raised where it is heard
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            self._ended = True
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = self._ended or error is not None
        try:
            self._finish()
        except BaseException:  # interrupted: the thread must not outlive the files that it writes
            self._ended = True
            self._finish()
            raise
        if error is None:
            self._raise()

    def _finish(self) -> None:
        """Wait for the thread's end; asked for twice, the second sign lies unread."""
        self._waiting.put(None)
        self._thread.join()
