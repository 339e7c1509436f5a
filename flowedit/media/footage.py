"""Frames that are read by index, from a video file or a folder of images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from flowedit.machine import IMAGES, muted
from flowedit.media import probe, reader
from flowedit.messages import FileError, InputError


@dataclass(frozen=True)
class Footage:
    """`count` frames of one (height, width); `fps` is None for a folder, which names no rate."""

    path: Path
    count: int
    size: tuple[int, int]
    fps: Fraction | None
    files: tuple[Path, ...]
    """The images of a folder, in order; empty for a video file."""
    video: probe.Video | None
    """The video file, or a folder of frames with an alpha channel; None for any other folder."""

    def read(self, indices: Sequence[int], chunk: int = 16) -> Iterator[np.ndarray]:
        """Yield the frames at ascending `indices` as uint8 (n, H, W, 3) RGB, n <= `chunk`.

        Raises ValueError for indices outside, and for a frame that cannot be read or is of another size.
        """
        if self.video is not None:
            return reader.read(self.video, indices, chunk)
        indices = [int(i) for i in indices]
        if not indices or indices[0] < 0 or indices[-1] >= self.count or sorted(indices) != indices or chunk < 1:
            raise InputError(
                f"frames {indices[:3]}…{indices[-3:]} cannot be read from {self.path}, {chunk} at a time: give "
                f"ascending indices from 0 to {self.count - 1}"
            )
        return self._images(indices, chunk)

    def _images(self, indices: list[int], chunk: int) -> Iterator[np.ndarray]:
        for begin in range(0, len(indices), chunk):
            part = indices[begin : begin + chunk]
            frames = np.empty((len(part), *self.size, 3), np.uint8)
            for place, index in enumerate(part):
                frame = _rgb(self.files[index])
                if frame.shape != frames.shape[1:]:
                    (height, width), (tall, wide) = frame.shape[:2], self.size
                    raise InputError(
                        f"frame {self.files[index]} is {width}x{height}, the first is {wide}x{tall}: give frames of "
                        "one size"
                    )
                frames[place] = frame
            yield frames


def open_footage(path: str | os.PathLike[str]) -> Footage:
    """A video file, or a folder of images in natural order; reads the first frame alone.

    Raises FileNotFoundError, OSError or ValueError, in one line, for what is missing, empty or not readable.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        with suppress(InputError):  # a row of numbered frames, which a clip may be
            row = probe.probe(path)
            if row.pictures is not None and row.pictures.alpha:  # shown as an edit of them shows them
                return Footage(path, row.frames, row.size, None, (), row)
        if not files:
            raise InputError(f"folder {path} has no images: give frames as {', '.join(IMAGES)}")
        height, width = _rgb(files[0]).shape[:2]
        return Footage(path, len(files), (height, width), None, tuple(files), None)
    video = probe.probe(path)
    return Footage(path, video.frames, video.size, video.fps, (), video)


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order, 10 after 9; hidden files and others are passed over."""
    return sorted(
        (f for f in folder.iterdir() if f.suffix.lower() in IMAGES and not f.name.startswith(".")),
        key=lambda f: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", f.name.lower())],
    )


def _rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(decode_image(path, cv2.IMREAD_COLOR, "frame"), cv2.COLOR_BGR2RGB)


def decode_image(path: Path, mode: int, what: str) -> np.ndarray:
    """An image file by OpenCV in its `mode`; raises OSError or ValueError that names the file, after `what` it is."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(f"{what} {path} is not a file: give a {', '.join(IMAGES)} file")
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise FileError(f"{what} {path} cannot be read: {error.strerror}; check its permissions") from None
    try:
        with muted():
            picture = cv2.imdecode(data, mode)
    except cv2.error:  # an empty file, or more pixels than OpenCV takes
        picture = None
    if picture is None:
        raise InputError(f"{what} {path} is not an image that can be read: give a {', '.join(IMAGES)} file")
    return picture
