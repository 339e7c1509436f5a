"""Frames written as pictures: a still's PNG, the PNGs of a folder, an animated GIF or WebP, each as its source was.

Each writer takes frames as `media.writer.Writer` does. A fully transparent pixel keeps what the source has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flowedit.machine import GIB, whole_file
from flowedit.media.formats.forms import square
from flowedit.media.pixels import resize
from flowedit.media.planes.blend import Depth
from flowedit.media.planes.picture import Planar
from flowedit.media.probe import Video
from flowedit.media.stills.decode import WORDS, Decoded, in_srgb
from flowedit.media.stills.pictures import Pictures, lasts
from flowedit.messages import FileError, InputError

FRAMES = "edit_frames"
"""The folder of an edit's frames, where the clip was one."""

HELD = {"gif": 2, "webp": 12}
"""Bytes a pixel of an animation's frames, at most, until it is written: Pillow takes them all at once (measured)."""

COLOURS = 256
"""Of a frame of a GIF, at most; with transparent pixels the last index is theirs."""


class FrameWriter(Protocol):
    """What takes the frames of a clip one after the other, inside a `with`."""

    frames: int
    """How many it has taken."""

    def write(self, frames: np.ndarray | Sequence[Planar]) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PictureWriter:
    """Frames uint8 (f, H, W, 3) RGB to pictures; `source`, at `indices`, lends them alpha and the name of its colours.

    Pictures as a file stores them become what a model sees, BT.709 of 8 bits, upright as `video` says, with their own
    alpha. Raises FileError where the folder or the disk refuses a file, InputError for no frames at all.
    """

    video: Video | None = None

    def __init__(self, path: Path, source: Pictures | None = None, indices: Sequence[int] = (0,)) -> None:
        self.path, self.frames = path, 0
        self._source, self._indices = source, indices
        self._originals: Iterator[Decoded] = iter(()) if source is None else source.read(indices)

    def write(self, frames: np.ndarray | Sequence[Planar]) -> None:
        """Append frames."""
        for each in frames:
            frame = self._squared(self._upright(each) if isinstance(each, Planar) else each)
            try:
                self._put(frame, next(self._originals, None))
            except OSError as error:
                raise _refused(self.path, error) from None
            self.frames += 1

    def _upright(self, picture: Planar) -> np.ndarray:
        assert self.video is not None
        seen = self._depth.shown(replace(picture, alpha=None))
        if picture.alpha is not None:
            alpha = np.rint(picture.alpha * np.float32(255 / (2**picture.bits - 1)))
            seen = np.dstack([seen, alpha.astype(np.uint8)])
        return self.video.upright(seen)

    @cached_property
    def _depth(self) -> Depth:
        assert self.video is not None
        return Depth(self.video.colour)

    def _squared(self, frame: np.ndarray) -> np.ndarray:
        """In square pixels: of others a GIF says nothing, and a PNG what programs read in two ways."""
        if self.video is None:
            return frame
        height, width = frame.shape[:2]
        return resize(frame[None], square((height, width), self.video.pixel_aspect))[0]

    def _put(self, frame: np.ndarray, original: Decoded | None) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """After the last frame."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        if not self.frames:
            raise InputError(f"no frames were written to {self.path}: write at least one")
        try:
            self._finish()
        except OSError as fault:
            raise _refused(self.path, fault) from None


class StillWriter(PictureWriter):
    """One frame as a PNG, without loss; `labels` are its title and the like, `comment` any text."""

    def __init__(
        self,
        path: Path,
        source: Pictures | None = None,
        labels: Iterable[tuple[str, str]] = (),
        comment: str | None = None,
    ) -> None:
        super().__init__(path, source)
        self._texts = [(WORDS[label], text) for label, text in labels]
        self._texts += [] if comment is None else [("Comment", comment)]

    def _put(self, frame: np.ndarray, original: Decoded | None) -> None:
        if self.frames:
            raise InputError(f"{self.path} is a still: it takes one frame")
        save_png(self.path, dressed(frame, original), original, self._texts)


class FolderWriter(PictureWriter):
    """Frames as PNGs in a folder of their own, under the names of the source's frames, or numbered from 1.

    `comment` is any text, in each.
    """

    def __init__(
        self,
        path: Path,
        source: Pictures | None = None,
        indices: Sequence[int] = (),
        comment: str | None = None,
        video: Video | None = None,
    ) -> None:
        super().__init__(path, source, indices)
        self._texts, self.video = [] if comment is None else [("Comment", comment)], video

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise _refused(self.path, error) from None
        return self

    def _put(self, frame: np.ndarray, original: Decoded | None) -> None:
        name = f"{self.frames + 1:05}"
        if self._source is not None and self._source.kind == "folder":
            name = self._source.files[self._indices[self.frames]].stem
        save_png(self.path / f"{name}.png", dressed(frame, original), original, self._texts)


class AnimationWriter(PictureWriter):
    """Frames as an animation, a WebP without loss; of a source's delays and repeats, or else repeated for ever.

    `lasting` are milliseconds for which frames are shown, in place of the source's; a GIF counts as `in_hundredths`. A
    frame of a GIF has 256 colours at most: of more the nearest, dithered; they are sRGB. All frames wait for the last.
    `comment` is any text, in a GIF.
    """

    def __init__(
        self,
        path: Path,
        source: Pictures | None,
        indices: Sequence[int],
        lasting: Sequence[int] | None = None,
        comment: str | None = None,
        video: Video | None = None,
    ) -> None:
        super().__init__(path, source, indices)
        self._pictures: list[Image.Image] = []
        self._gif, self.video = path.suffix == ".gif", video
        own = delays(source, indices) if lasting is None and source is not None else list(lasting or ())
        self._delays = in_hundredths(list(accumulate(map(lasts, own), initial=0)), 1000) if self._gif else own
        self._clear = (source is not None and source.alpha) or (video is not None and video.alpha)
        loop = 0 if source is None else source.loop
        self._how: dict[str, Any] = {} if loop is None else {"loop": loop}
        self._how |= {} if comment is None else {"comment": comment.encode()}

    def _put(self, frame: np.ndarray, original: Decoded | None) -> None:
        if original is not None and original.profile is not None:
            if self._gif:  # which can name no colours
                frame = in_srgb(frame, original.profile)
            else:
                self._how["icc_profile"] = original.profile
        alpha = frame[..., 3] if frame.shape[-1] == 4 else None if original is None else original.alpha
        if self._gif:
            picture = indexed(np.ascontiguousarray(frame[..., :3]), alpha, self._clear)
        else:
            picture = Image.fromarray(dressed(frame, original))
        self._pictures.append(picture)

    def _finish(self) -> None:
        first, *rest = self._pictures
        if self._gif:
            how = {"disposal": 2, "transparency": COLOURS - 1} if self._clear else {}
            form = "GIF"
        else:
            how, form = {"lossless": True, "exact": True}, "WEBP"
        with whole_file(self.path, parents=False) as part:
            first.save(part, form, save_all=True, append_images=rest, duration=self._delays, **self._how, **how)


def beside(
    source: Pictures | None, folder: Path, indices: Sequence[int], rate: Fraction | None = None
) -> list[FrameWriter]:
    """What an edit of these frames leaves beside its video: of a folder a folder, of an animation its like.

    `rate` is that of an animation whose own times were left for an even one.
    """
    if source is None or source.kind == "still":
        return []
    name = like(source)
    if source.kind == "folder":
        return [FolderWriter(folder / name, source, indices)]
    lasting = None if rate is None else evenly(len(indices), rate)
    return [AnimationWriter(folder / name, source, indices, lasting)]


def like(source: Pictures | None, asked: str = "auto") -> str:
    """The name of what an edit leaves of its clip's own kind: of a still alone, of others beside the video; else none.

    `asked` is the format that a user asks for, which leaves that alone.
    """
    if source is not None and source.kind == "still":
        return "edit.png"
    if source is None or asked != "auto":
        return ""
    return FRAMES if source.kind == "folder" else f"edit.{source.format.lower()}"


def check_animation(
    asked: str, source: Pictures | None, times: Sequence[Fraction], size: tuple[int, int], free: float | None
) -> None:
    """Raise InputError for an animation, asked for or beside a video, that cannot be played, or held in memory.

    `times` are when its frames are shown, and when the last ends, `size` (height, width), `free` GiB of memory or None.
    """
    if asked == "gif":
        in_hundredths(times)
    beside_it = source.format if asked == "auto" and source is not None and source.kind == "animation" else None
    kind = "GIF" if asked == "gif" else beside_it
    if kind is None:
        return
    frames, (height, width) = len(times) - 1, size
    needed = HELD[kind.lower()] * frames * height * width / GIB
    if free is not None and needed > free:
        raise InputError(
            f"a {kind} is held whole until it is written: {frames} frames of {width}x{height} need up to {needed:.1f} "
            f"GiB of memory, and {free:.1f} are free; take fewer --frames, or --format mp4"
        )


def dressed(frame: np.ndarray, original: Decoded | None) -> np.ndarray:
    """A frame with the alpha of its original, uint8 (H, W, 3 or 4), and the original's pixels where it is nothing."""
    if original is None or original.alpha is None:
        return frame
    seen = np.where((original.alpha > 0)[..., None], frame, original.pixels)
    return np.dstack([seen, original.alpha])


def save_png(
    path: Path, pixels: np.ndarray, original: Decoded | None = None, texts: Iterable[tuple[str, str]] = ()
) -> None:
    """Write pixels uint8 (H, W, 3 or 4) as a PNG that appears whole, in the colours of its original."""
    told = PngInfo()
    for name, data in () if original is None else original.tags:
        told.add(name, data)
    for keyword, text in texts:
        told.add_itxt(keyword, text)
    profile = None if original is None else original.profile
    with whole_file(path, parents=False) as part:
        Image.fromarray(pixels).save(part, "PNG", pnginfo=told, icc_profile=profile)


def indexed(frame: np.ndarray, alpha: np.ndarray | None, clear: bool) -> Image.Image:
    """A frame (H, W, 3) as one of a GIF: its own colours where they are few, else the nearest of a palette.

    `clear`: the last index is kept for transparent pixels, where `alpha` is below a half.
    """
    room = COLOURS - clear
    packed = frame.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found, index = np.unique(packed, return_inverse=True)
    if len(found) <= room:
        palette = np.stack([found >> 16, found >> 8 & 255, found & 255], 1).astype(np.uint8)
        picture = Image.fromarray(index.reshape(packed.shape).astype(np.uint8), "P")
    else:
        made = Image.fromarray(frame).quantize(room)
        picture = Image.fromarray(frame).quantize(room, palette=made, dither=Image.Dither.FLOYDSTEINBERG)
        palette = np.asarray(picture.getpalette(), np.uint8).reshape(-1, 3)[:room]
    if clear:
        places = np.array(picture)
        if alpha is not None:
            places[alpha < 128] = COLOURS - 1
        picture = Image.fromarray(places, "P")
    picture.putpalette(np.pad(palette, [(0, COLOURS - len(palette)), (0, 0)]).tobytes())
    return picture


def delays(source: Pictures, indices: Sequence[int]) -> list[int]:
    """Milliseconds that each of these frames is shown: as its file says, or as browsers if some are left out."""
    last = indices[-1] + (indices[-1] - indices[-2] if len(indices) > 1 else 1)
    stretches = [source.delays[first:end] for first, end in zip(indices, [*indices[1:], last], strict=True)]
    return [each[0] if len(each) == 1 else sum(map(lasts, each)) for each in stretches]


def in_hundredths(times: Sequence[Fraction | int], unit: int = 1) -> list[int]:
    """Milliseconds in whole hundredths of a second, as a GIF counts, between times in 1/`unit` s, the last the end.

    Each is 2/100 s at least, as browsers play less for 1/10 s; a frame that is too short takes from the next, so that
    no error adds up. Raises InputError for more than 50 frames a second, which no GIF plays.
    """
    count, seconds = len(times) - 1, Fraction(times[-1], unit)
    if 2 * count > round(100 * seconds) + 1:
        rate = count / seconds
        raise InputError(
            f"a GIF shows at most 50 frames a second, and these are {float(rate):.6g}: add "
            f"--fps {float(rate / -(-rate // 50)):.6g}"
        )
    ends = [0]
    for time in times[1:]:
        ends.append(max(ends[-1] + 2, round(Fraction(100 * time, unit))))
    return [10 * (after - before) for before, after in pairwise(ends)]


def evenly(frames: int, rate: Fraction) -> list[int]:
    """Milliseconds that each of so many frames is shown at an even rate."""
    ends = [round(1000 * frame / rate) for frame in range(frames + 1)]
    return [after - before for before, after in pairwise(ends)]


def _refused(path: Path, error: OSError) -> OSError:
    if isinstance(error, FileError):
        return error
    said = error.strerror or error
    return FileError(f"cannot write {path}: {said}; choose a folder that exists, may be written and has room")
