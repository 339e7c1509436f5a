"""Masks from an image, a video or a folder of images: a user's for an edit, and those of a dataset for scoring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from flowedit.media import probe, reader
from flowedit.media.footage import IMAGES, frame_files, open_footage
from flowedit.media.footage import decoded as _decoded
from flowedit.media.frames import Reel
from flowedit.media.pixels import resize
from flowedit.messages import FileMissingError, InputError
from flowedit.types import Frames


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
        raise FileMissingError(f"mask {path} does not exist: check its path")
    mask = open_footage(path)
    if mask.count not in (1, count):
        raise InputError(f"mask {path} has {mask.count} frames, its clip has {count}: give as many, or one")
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


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _cut(grey: np.ndarray, size: tuple[int, int], above: int) -> np.ndarray:
    inside = np.rint(255 * grey) > above
    if inside.shape == size:
        return inside
    return cv2.resize(inside.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0


NOISE = 3 / 255  # what a lossy codec makes of black and white


def read_mask(path: str | os.PathLike[str], info: probe.VideoInfo, indices: Sequence[int]) -> tuple[Frames, list[str]]:
    """A mask as uint8 (F, H, W) at `info.size` for the frames at `indices`, and notices; 255 means edit.

    White means edit, grey is soft, and values within 3/255 of black or white count as those. One image serves
    all frames; otherwise the mask has as many frames as the whole video or as `indices`, and is looked through once
    here and read again when its frames are asked for. An image's alpha is the mask where its colour is one constant,
    and ignored elsewhere. Raises FileNotFoundError, OSError or ValueError (unreadable, no frames, another length, all
    black).
    """
    path = Path(path)
    count, pictures = _source(path, info, indices)
    sizes, brightest = set(), 0.0
    for picture in pictures(0):
        sizes.add((picture.shape[0], picture.shape[1]))
        mask = _levels(picture, info.size)
        brightest = max(brightest, float(mask.max()) / 255)
    said = _notices(path, info, sizes, brightest)
    shape = len(indices), *info.size
    if count == 1:
        return np.broadcast_to(mask, shape), said
    return Reel(shape, lambda start: (_levels(picture, info.size) for picture in pictures(start))), said


def _levels(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A grey picture, float32 (h, w) in [0, 1], as the mask of one frame, uint8 (1, H, W)."""
    grey = resize(picture[None], size)
    grey[grey <= NOISE], grey[grey >= 1 - NOISE] = 0, 1
    return np.rint(255 * grey).astype(np.uint8)


Pictures = Callable[[int], Iterator[np.ndarray]]
"""The pictures from a place on, float32 (H, W) in [0, 1]."""


def _source(path: Path, info: probe.VideoInfo, indices: Sequence[int]) -> tuple[int, Pictures]:
    """The mask's own number of frames, and the pictures for `indices` (one alone if it has one)."""
    if not path.exists():
        raise FileMissingError(f"mask {path} does not exist: check its path")
    if path.is_dir():
        files = frame_files(path)
        if not files:
            raise InputError(f"mask folder {path} has no images: give frames as {', '.join(IMAGES)}")
        named = _chosen(path, len(files), info, indices)
        return len(files), lambda start: (read_grey(files[i], "mask") for i in named[start:])
    if path.suffix.lower() in IMAGES:
        return 1, lambda start: iter([read_grey(path, "mask")])
    mask = probe.probe(path)
    chosen = _chosen(path, mask.frames, info, indices)
    return mask.frames, lambda start: (
        cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        for frames in reader.read(mask, chosen[start:], chunk=8)
        for frame in frames
    )


def _chosen(path: Path, count: int, info: probe.VideoInfo, indices: Sequence[int]) -> list[int]:
    if count == 1:
        return [0]
    if count == info.frames:
        return list(indices)
    if count == len(indices):
        return list(range(count))
    fitting = ", ".join(map(str, sorted({1, len(indices), info.frames})))
    raise InputError(
        f"mask {path} has {count} frames, but {info.path} has {info.frames} and {len(indices)} of "
        f"them are edited: give one of {fitting} frames"
    )


def _notices(path: Path, info: probe.VideoInfo, sizes: set[tuple[int, int]], brightest: float) -> list[str]:
    notices = []
    other = next((size for size in sorted(sizes) if size != info.size), None)
    if other is not None:
        (height, width), (tall, wide) = other, info.size
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
