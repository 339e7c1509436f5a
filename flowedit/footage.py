"""Frames that are read by index, from a video file or a folder of images, and masks of them for scoring."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from flowedit import video

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Footage:
    """`count` frames of one (height, width); `fps` is None for a folder, which names no rate."""

    path: Path
    count: int
    size: tuple[int, int]
    fps: Fraction | None
    files: tuple[Path, ...]
    """The images of a folder, in order; empty for a video file."""
    info: video.VideoInfo | None
    """What a video file holds; None for a folder."""

    def read(self, indices: Sequence[int], chunk: int = 16) -> Iterator[np.ndarray]:
        """Yield the frames at ascending `indices` as uint8 (n, H, W, 3) RGB, n <= `chunk`.

        Raises ValueError for indices outside, and for a frame that cannot be read or is of another size.
        """
        if self.info is not None:
            return video.read(self.info, indices, chunk)
        indices = [int(i) for i in indices]
        if not indices or indices[0] < 0 or indices[-1] >= self.count or sorted(indices) != indices or chunk < 1:
            raise ValueError(
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
                    raise ValueError(
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
        if not files:
            raise ValueError(f"folder {path} has no images: give frames as {', '.join(IMAGES)}")
        height, width = _rgb(files[0]).shape[:2]
        return Footage(path, len(files), (height, width), None, tuple(files), None)
    info = video.probe(path)
    return Footage(path, info.frames, info.size, info.fps, (), info)


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order, 10 after 9; hidden files and others are passed over."""
    return sorted(
        (f for f in folder.iterdir() if f.suffix.lower() in IMAGES and not f.name.startswith(".")),
        key=lambda f: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", f.name.lower())],
    )


def read_mask_frames(
    path: str | os.PathLike[str],
    indices: Sequence[int],
    size: tuple[int, int],
    count: int,
    above: int = 127,
    chunk: int = 16,
) -> Iterator[np.ndarray]:
    """Yield a mask of the frames at ascending `indices`, boolean (n, H, W), n <= `chunk`: True where value > `above`.

    One image serves all frames; a video or a folder has as many frames as the clip, `count`, or one. Another size than
    `size` is resized to it by the nearest pixel. Raises ValueError for another number of frames, and as `open_footage`.
    """
    path = Path(path)
    if path.suffix.lower() in IMAGES and path.is_file():
        once = _cut(read_grey(path, "mask"), size, above)
        for begin in range(0, len(indices), chunk):
            yield np.broadcast_to(once, (len(indices[begin : begin + chunk]), *size))
        return
    if not path.exists():
        raise FileNotFoundError(f"mask {path} does not exist: check its path")
    mask = open_footage(path)
    if mask.count not in (1, count):
        raise ValueError(f"mask {path} has {mask.count} frames, its clip has {count}: give as many, or one")
    places = [0] * len(indices) if mask.count == 1 else [int(i) for i in indices]
    if mask.files:
        for begin in range(0, len(places), chunk):
            greys = (read_grey(mask.files[i], "mask") for i in places[begin : begin + chunk])
            yield np.stack([_cut(grey, size, above) for grey in greys])
    else:
        for frames in mask.read(places, chunk):
            yield np.stack([_cut(_grey(frame), size, above) for frame in frames])


def read_grey(path: Path, what: str = "frame") -> np.ndarray:
    """An image as float32 (H, W) in [0, 1]; its alpha where its colour is one constant, and without it elsewhere.

    Raises OSError or ValueError that names the file, after `what` it is.
    """
    picture = _decoded(path, cv2.IMREAD_UNCHANGED, what)
    largest = {"uint8": 255, "uint16": 65535}.get(picture.dtype.name, 1)
    scaled = np.clip(picture.astype(np.float32) / largest, 0, 1)
    if scaled.ndim == 2:
        return scaled
    if scaled.shape[2] == 4 and np.ptp(scaled[..., :3], axis=(0, 1)).max() == 0:
        return scaled[..., 3].copy()
    return np.asarray(cv2.cvtColor(scaled[..., :3].copy(), cv2.COLOR_BGR2GRAY), np.float32)


def _rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR, "frame"), cv2.COLOR_BGR2RGB)


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _cut(grey: np.ndarray, size: tuple[int, int], above: int) -> np.ndarray:
    inside = np.rint(255 * grey) > above
    if inside.shape == size:
        return inside
    return cv2.resize(inside.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0


def _decoded(path: Path, mode: int, what: str) -> np.ndarray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise OSError(f"{what} {path} cannot be read: {error.strerror}; check its permissions") from None
    try:
        picture = cv2.imdecode(data, mode)
    except cv2.error:  # an empty file
        picture = None
    if picture is None:
        raise ValueError(f"{what} {path} is not an image that can be read: give a {', '.join(IMAGES)} file")
    return picture
