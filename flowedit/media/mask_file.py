"""Masks from an image, a video or a folder of images: a user's for an edit, and those of a dataset for scoring."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flowedit.media import probe, reader
from flowedit.media.footage import IMAGES, decode_image, frame_files
from flowedit.media.frames import LazyFrames
from flowedit.media.pixels import resize
from flowedit.messages import FileMissingError, InputError
from flowedit.types import Frames


@dataclass(frozen=True)
class MaskFile:
    """A mask's image, video or folder of images, opened once: `count` pictures, each of its own size.

    `read(places, chunk)` yields the pictures at ascending places as float32 (h, w) in [0, 1]; a video is decoded
    `chunk` frames at a time.
    """

    path: Path
    count: int
    read: Callable[[Sequence[int], int], Iterator[np.ndarray]]


def open_mask(path: str | os.PathLike[str]) -> MaskFile:
    """The mask of a path; raises FileNotFoundError, OSError or ValueError for what is missing, empty or unreadable."""
    path = Path(path)
    if not path.exists():
        raise FileMissingError(f"mask {path} does not exist: check its path")
    if path.is_dir():
        files = frame_files(path)
        if not files:
            raise InputError(f"mask folder {path} has no images: give frames as {', '.join(IMAGES)}")
        return MaskFile(path, len(files), lambda places, _: (read_grey(files[i], "mask") for i in places))
    if path.suffix.lower() in IMAGES:
        return MaskFile(path, 1, lambda places, _: (read_grey(path, "mask") for _ in places))
    video = probe.probe(path)
    return MaskFile(
        path,
        video.frames,
        lambda places, chunk: (
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
            for frames in reader.read(video, places, chunk)
            for frame in frames
        ),
    )


def read_mask_frames(
    mask: str | os.PathLike[str] | MaskFile,
    indices: Sequence[int],
    size: tuple[int, int],
    count: int,
    above: int = 127,
    chunk: int = 16,
) -> Iterator[np.ndarray]:
    """Yield a mask of the frames at ascending `indices`, boolean (n, H, W), n <= `chunk`: True where value > `above`.

    A mask of one picture serves all frames; any other has as many as the clip, `count`. Another size than `size` is
    resized to it by the nearest pixel. Raises ValueError for another number of frames, and as `open_mask`.
    """
    mask = mask if isinstance(mask, MaskFile) else open_mask(mask)
    if mask.count not in (1, count):
        raise InputError(f"mask {mask.path} has {mask.count} frames, its clip has {count}: give as many, or one")
    lengths = (len(indices[begin : begin + chunk]) for begin in range(0, len(indices), chunk))
    if mask.count == 1:
        (grey,) = mask.read([0], 1)
        once = _binary(grey, size, above)
        yield from (np.broadcast_to(once, (length, *size)) for length in lengths)
        return
    greys = mask.read([int(i) for i in indices], chunk)
    for length in lengths:
        yield np.stack([_binary(grey, size, above) for grey in itertools.islice(greys, length)])


def read_grey(path: Path, what: str = "frame") -> np.ndarray:
    """An image as float32 (H, W) in [0, 1]; its alpha where its colour is one constant, and without it elsewhere.

    Raises OSError or ValueError that names the file, after `what` it is.
    """
    picture = decode_image(path, cv2.IMREAD_UNCHANGED, what)
    largest = {"uint8": 255, "uint16": 65535}.get(picture.dtype.name, 1)
    scaled = np.clip(picture.astype(np.float32) / largest, 0, 1)
    if scaled.ndim == 2:
        return scaled
    if scaled.shape[2] == 4 and np.ptp(scaled[..., :3], axis=(0, 1)).max() == 0:
        return scaled[..., 3].copy()
    return np.asarray(cv2.cvtColor(scaled[..., :3].copy(), cv2.COLOR_BGR2GRAY), np.float32)


def _binary(grey: np.ndarray, size: tuple[int, int], above: int) -> np.ndarray:
    inside = np.rint(255 * grey) > above
    if inside.shape == size:
        return inside
    return cv2.resize(inside.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0


NOISE = 3 / 255
"""What a lossy codec makes of black and white."""


def read_mask(path: str | os.PathLike[str], video: probe.Video, indices: Sequence[int]) -> tuple[Frames, list[str]]:
    """A mask as uint8 (F, H, W) at `video.size` for the frames at `indices`, and notices; 255 means edit.

    White means edit, grey is soft, and values within 3/255 of black or white count as those. One picture serves
    all frames; otherwise the mask has as many as the whole video or as `indices`, and is looked through once
    here and read again when its frames are asked for. An image's alpha is the mask where its colour is one constant,
    and ignored elsewhere. Raises as `open_mask`, and ValueError for another number of frames and for all black.
    """
    mask = open_mask(path)
    places = _places(mask, video, indices)
    sizes, brightest = set(), 0.0
    for picture in mask.read(places, CHUNK):
        sizes.add((picture.shape[0], picture.shape[1]))
        frame = _levels(picture, video.size)
        brightest = max(brightest, float(frame.max()) / 255)
    notices = _notices(mask.path, video, sizes, brightest)
    shape = len(indices), *video.size
    if mask.count == 1:
        return np.broadcast_to(frame, shape), notices

    def opened(start: int) -> Iterator[np.ndarray]:
        return (_levels(picture, video.size) for picture in mask.read(places[start:], CHUNK))

    return LazyFrames(shape, opened), notices


CHUNK = 8
"""Frames of a mask's video that are decoded at a time."""


def _levels(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A grey picture, float32 (h, w) in [0, 1], as the mask of one frame, uint8 (1, H, W)."""
    grey = resize(picture[None], size)
    grey[grey <= NOISE], grey[grey >= 1 - NOISE] = 0, 1
    return np.rint(255 * grey).astype(np.uint8)


def _places(mask: MaskFile, video: probe.Video, indices: Sequence[int]) -> list[int]:
    """The mask's own pictures for the video's frames at `indices`; one alone if it has no more."""
    if mask.count == 1:
        return [0]
    if mask.count == video.frames:
        return list(indices)
    if mask.count == len(indices):
        return list(range(mask.count))
    fitting = ", ".join(map(str, sorted({1, len(indices), video.frames})))
    raise InputError(
        f"mask {mask.path} has {mask.count} frames, but {video.path} has {video.frames} and {len(indices)} of "
        f"them are edited: give one of {fitting} frames"
    )


def _notices(path: Path, video: probe.Video, sizes: set[tuple[int, int]], brightest: float) -> list[str]:
    notices = []
    other = next((size for size in sorted(sizes) if size != video.size), None)
    if other is not None:
        (height, width), (tall, wide) = other, video.size
        stretched = abs(width * tall / (height * wide) - 1) > 0.01
        notices.append(
            f"mask {path} is {width}x{height} and was resized to the video's {wide}x{tall}"
            + (", which stretches it: its aspect is another" if stretched else "")
        )
    if brightest == 0:
        raise InputError(
            f"mask {path} is empty: it is black in every frame used, so nothing would be edited; "
            "paint what to edit white"
        )
    if brightest < 0.5:
        notices.append(
            f"mask {path} is dark, {brightest:.2f} of white at most, so the edit will be faint: paint "
            "what to edit white"
        )
    return notices
