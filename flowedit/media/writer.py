"""Writes frames as an H.264 mp4 that appears under its name only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from flowedit.machine import whole_file
from flowedit.media.colours import BT709, Colour
from flowedit.media.sound import Sound, SoundTrack
from flowedit.messages import InputError

THREADS = 4  # a fixed number: x264 writes other bytes for another number of threads

SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class Writer:
    """Write uint8 RGB frames of one (height, width) as H.264 in mp4, at exactly `fps`.

    A context manager: the file appears under its name on a clean exit only. Even sizes become yuv420p, odd
    ones yuv444p; `crf` is x264's, 0 (lossless) to 51. `colour` says what colours the RGB is of, and how it becomes
    YUV; `labels` are the file's title and the like. Raises ValueError for frames of another shape or none
    at all, and OSError when the folder or the disk refuses the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        fps: Fraction,
        sound: Sound | None = None,
        crf: int = 16,
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
            except OSError as error:
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
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24").reformat(
                    format=self._format,
                    src_color_range="JPEG",
                    dst_color_range="MPEG",
                    dst_colorspace=self._colour.matrix,
                    interpolation=SCALER,
                )
                picture.pts, picture.time_base = self.frames, 1 / self.fps
                self._container.mux(self._stream.encode(picture))
                self.frames += 1
                if self._sound is not None:
                    self._sound.advance(self.frames / self.fps)
        except OSError as error:
            raise self._refused(error) from None

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
        except OSError as fault:
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

    def _refused(self, error: OSError) -> OSError:
        return OSError(
            f"cannot write {self.path}: {error.strerror or error}; choose a folder that exists, may "
            "be written and has room"
        )
