"""Masks from an image, a video or a folder of images: a user's for an edit, and those of a dataset for scoring."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from flowedit.machine import IMAGES, whole_file
from flowedit.media import probe, reader
from flowedit.media.footage import decode_image, frame_files
from flowedit.media.frames import LazyFrames
from flowedit.media.pixels import resize
from flowedit.messages import FileMissingError, InputError
from flowedit.types import Frames

NUMBERS = 15 / 255
"""A mask that nowhere is brighter holds numbers of objects (0 and 1, say), not shades: above 0 is inside."""

LOSSY = (".jpg", ".jpeg", ".webp")
"""Images whose black may hold such values by itself."""

LOSSLESS = ("ffv1", "huffyuv", "ffvhuff", "utvideo", "png", "apng", "qtrle", "rawvideo", "gif")
"""Codecs of videos whose black holds none."""

FEW = 32
"""An indexed image of no more indices than these numbers objects by them; one of more is a picture."""

COLOURED, GREY, FAR = 0.02, 0.5, 0.15
"""Shares of a picture that are in colour, or neither near black nor near white, beyond which it looks like no mask; and
how far from grey, black and white that is."""


class Picture(NamedTuple):
    """One picture of a mask: its values float32 (h, w) in [0, 1], how they were read if not by brightness, and the
    shares of it that are in colour, and that are far from black and white."""

    values: np.ndarray
    how: str = ""
    coloured: float = 0.0
    grey: float = 0.0


@dataclass(frozen=True)
class MaskFile:
    """A mask's image, video or folder of images, opened once: `count` pictures, each of its own size.

    `read(places, chunk)` yields the pictures at ascending places; a video is decoded `chunk` frames at a time. `exact`:
    whether black is 0 in its files.
    """

    path: Path
    count: int
    read: Callable[[Sequence[int], int], Iterator[Picture]]
    exact: bool = True


def open_mask(path: str | os.PathLike[str]) -> MaskFile:
    """The mask of a path; raises FileNotFoundError, OSError or ValueError for what is missing, empty or unreadable."""
    path = Path(path)
    if not path.exists():
        raise FileMissingError(f"mask {path} does not exist: check its path")
    if path.is_dir() or path.suffix.lower() in IMAGES:
        files = frame_files(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"mask folder {path} has no images: give frames as {', '.join(IMAGES)}")
        exact = not any(file.suffix.lower() in LOSSY for file in files)
        return MaskFile(path, len(files), lambda places, _: (read_picture(files[i]) for i in places), exact)
    video = probe.probe(path)
    return MaskFile(
        path,
        video.frames,
        lambda places, chunk: (
            _by_brightness(frame.astype(np.float32) / 255)
            for frames in reader.read(video, places, chunk)
            for frame in frames
        ),
        _codec(path) in LOSSLESS,
    )


def _codec(path: Path) -> str:
    with probe.open_video(path) as container:
        return str(container.streams.best("video").codec_context.name)


def read_picture(path: Path) -> Picture:
    """An image as a picture of a mask; raises OSError or ValueError that names the file.

    Of an image with alpha that is the alpha where its colour is one constant, and what is transparent where it is a
    picture, not black and white. Of one with a palette it is every index above 0, unless its colours are black and
    white. Of any other it is its brightness.
    """
    picture = decode_image(path, cv2.IMREAD_UNCHANGED, "mask")
    if picture.ndim == 3 and picture.dtype == np.uint8 and (inside := _indexed(path)) is not None:
        return Picture(inside.astype(np.float32), "it has a palette: every index above 0 is inside")
    largest = {"uint8": 255, "uint16": 65535}.get(picture.dtype.name, 1)
    scaled = np.clip(picture.astype(np.float32) / largest, 0, 1)
    if scaled.ndim == 2 or scaled.shape[2] != 4:
        return _by_brightness(scaled)
    colour, alpha = scaled[..., :3], scaled[..., 3]
    if np.ptp(colour, axis=(0, 1)).max() == 0:
        return Picture(alpha.copy())
    seen = _by_brightness(colour[alpha > 0.5][None]) if np.ptp(alpha) and (alpha > 0.5).any() else Picture(alpha)
    if seen.coloured > COLOURED or seen.grey > FAR:
        return Picture(1 - alpha, "it is a picture with transparent places: these are inside")
    return _by_brightness(colour)


def _by_brightness(picture: np.ndarray) -> Picture:
    """(h, w) or (h, w, 3) float32 in [0, 1], as its brightest channel: so red on black is inside as white is."""
    if picture.ndim == 2:
        values, coloured = picture, 0.0
    else:
        values = picture.max(2)
        coloured = float((values - picture.min(2) > FAR).mean())
    return Picture(values, "", coloured, float(((values > FAR) & (values < 1 - FAR)).mean()))


def _indexed(path: Path) -> np.ndarray | None:
    """Where the index of an image with a palette is above 0, (h, w); None for one that is to be read by its colours."""
    try:
        with av.open(io.BytesIO(path.read_bytes()), "r") as container:
            frame = next(container.decode(video=0))
            if frame.format.name != "pal8":
                return None
            index, palette = frame.to_ndarray()
    except (av.FFmpegError, StopIteration, ValueError):  # what OpenCV alone can read
        return None
    used = np.unique(index)
    colours = palette[used, 1:].astype(np.float32) / 255
    dark, bright = colours.max(1) <= NUMBERS, colours.min(1) >= 1 - FAR
    plain = float(np.ptp(colours, axis=1).max()) <= FAR and bool(bright.any())
    if plain or len(used) > FEW or used[0] != 0 or (dark[1:].any() and not dark[0]):
        return None
    return np.asarray(index > 0)


def write_mask(path: str | os.PathLike[str], masks: Iterable[np.ndarray], fps: Fraction) -> None:
    """Write masks uint8 (H, W) of one size as a grey video without loss, FFV1 in Matroska, whole or not at all.

    `read_mask` gives them back to the bit, but for what it takes as black and white. Raises OSError where the folder or
    the disk refuses the file.
    """
    with whole_file(path) as part, av.open(str(part), "w", "matroska", {"fflags": "+bitexact"}) as film:
        stream: Any = film.add_stream("ffv1", rate=fps)
        stream.pix_fmt = "gray"
        for place, mask in enumerate(masks):
            if not place:
                stream.height, stream.width = mask.shape
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(mask), "gray")
            picture.pts, picture.time_base = place, 1 / fps
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))


@dataclass
class MaskSeen:
    """What was seen of a mask: its sizes (height, width), its brightest value, how it was read, how strange it is."""

    brightest: float = 0.0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    hows: set[str] = field(default_factory=set)
    coloured: float = 0.0
    grey: float = 0.0
    count: int = 0

    def add(self, picture: Picture) -> None:
        """One more of its pictures."""
        height, width = picture.values.shape
        self.sizes.add((height, width))
        self.brightest = max(self.brightest, float(picture.values.max()))
        self.hows |= {picture.how} - {""}
        self.coloured = max(self.coloured, picture.coloured)
        self.grey += picture.grey
        self.count += 1


def numbered(mask: MaskFile, look: MaskSeen) -> bool:
    """Whether its values are the numbers of objects."""
    return mask.exact and 0 < look.brightest <= NUMBERS


def understood(mask: MaskFile, look: MaskSeen) -> tuple[MaskFile, list[str]]:
    """The mask by what was seen of it, its numbers of objects as white; and what its owner should hear of that."""
    notices = [f"mask {mask.path}: {how}" for how in sorted(look.hows)]
    if numbered(mask, look):
        text = f"mask {mask.path} has no value above {look.brightest * 255:.3g} of 255: all above 0 is inside"

        def read(places: Sequence[int], chunk: int) -> Iterator[Picture]:
            for picture in mask.read(places, chunk):
                yield picture._replace(values=(picture.values > 0).astype(np.float32))

        return replace(mask, read=read), [*notices, text]
    advice = "its brightness says what is edited: give white on black, such as the mask_plain.mp4 of an edit"
    if look.coloured > COLOURED:
        notices.append(f"mask {mask.path} is in colour, so it may be no mask; {advice}")
    elif look.grey / max(look.count, 1) > GREY:
        notices.append(f"mask {mask.path} is grey nearly everywhere, so it may be no mask; {advice}")
    return mask, notices


def read_mask_frames(
    mask: str | os.PathLike[str] | MaskFile,
    indices: Sequence[int],
    size: tuple[int, int],
    count: int,
    above: int = 127,
    chunk: int = 16,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[np.ndarray]:
    """Yield a mask of the frames at ascending `indices`, boolean (n, H, W), n <= `chunk`: True where value > `above`.

    A mask of one picture serves all frames; any other has as many as the clip, `count`. Another size than `size` is
    resized to it by the nearest pixel. `say` hears how it was read. Raises ValueError for another number of frames and
    for a mask in which nothing is selected, and as `open_mask`.
    """
    mask = mask if isinstance(mask, MaskFile) else open_mask(mask)
    if mask.count not in (1, count):
        raise InputError(f"mask {mask.path} has {mask.count} frames, its clip has {count}: give as many, or one")
    places = [0] if mask.count == 1 else [int(i) for i in indices]
    mask = _selecting(mask, places, above, chunk, say)
    lengths = (len(indices[begin : begin + chunk]) for begin in range(0, len(indices), chunk))
    pictures = (_binary(picture.values, size, above) for picture in mask.read(places, chunk))
    if mask.count == 1:
        once = next(pictures)
        yield from (np.broadcast_to(once, (length, *size)) for length in lengths)
        return
    for length in lengths:
        yield np.stack(list(itertools.islice(pictures, length)))


def _selecting(mask: MaskFile, places: Sequence[int], above: int, chunk: int, say: Callable[[str], None]) -> MaskFile:
    """The mask as understood, looked through until something in it is surely inside; InputError if nothing is."""
    look = MaskSeen()
    for picture in mask.read(places, chunk):
        look.add(picture)
        if look.brightest > NUMBERS and np.rint(255 * look.brightest) > above:
            break
    mask, notices = understood(mask, look)
    for text in notices:
        say(text)
    if not numbered(mask, look) and np.rint(255 * look.brightest) <= above:
        raise InputError(
            f"mask {mask.path} selects nothing: in the frames used no value is above {above} of 255, the brightest is "
            f"{255 * look.brightest:.3g}; paint white what may change"
        )
    return mask


def _binary(grey: np.ndarray, size: tuple[int, int], above: int) -> np.ndarray:
    inside = np.rint(255 * grey) > above
    if inside.shape == size:
        return inside
    return cv2.resize(inside.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0


NOISE = 3 / 255
"""What a lossy codec makes of black and white."""


def read_mask(path: str | os.PathLike[str], video: probe.Video, indices: Sequence[int]) -> tuple[Frames, list[str]]:
    """A user's mask as uint8 (F, H, W) at `video.size` for the frames at `indices`, and notices; 255 means edit.

    White means edit, grey is soft, and values within 3/255 of black or white count as those; palettes, alpha and
    numbers of objects are understood. One picture serves all frames; otherwise the mask has as many as the whole video
    or as `indices`, and is looked through once here and read again when its frames are asked for. Raises as
    `open_mask`, and ValueError for another number of frames and for all black.
    """
    mask, look, brightest = open_mask(path), MaskSeen(), 0.0
    places = _places(mask, video, indices)
    for picture in mask.read(places, CHUNK):
        look.add(picture)
        brightest = max(brightest, float(_levels(picture.values, video.size).max()) / 255)
    mask, notices = understood(mask, look)
    notices += _notices(mask.path, video, look.sizes, 1.0 if numbered(mask, look) else brightest)
    shape = len(indices), *video.size

    def opened(start: int) -> Iterator[np.ndarray]:
        return (_levels(picture.values, video.size) for picture in mask.read(places[start:], CHUNK))

    if mask.count == 1:
        return np.broadcast_to(next(opened(0)), shape), notices
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
