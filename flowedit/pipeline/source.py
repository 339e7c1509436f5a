"""The clip that is edited: a file or an array, opened once, and the frames that are taken from it."""

import atexit
import functools
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from flowedit.config.schema import Settings
from flowedit.flow.windows import Window
from flowedit.media import cuts, fit
from flowedit.media.fit import Fit
from flowedit.media.frames import LazyFrames, by_chunks
from flowedit.media.pixels import resize
from flowedit.media.planes.picture import Planar
from flowedit.media.probe import Video, probe
from flowedit.media.rates import frame_rate
from flowedit.media.reader import Selection, read, read_planar, read_small, select
from flowedit.media.stills.pictures import rate_told
from flowedit.messages import InputError
from flowedit.types import Frames, Geometry


@dataclass(frozen=True, eq=False)
class Clip:
    """What a user gives: what a video file holds, or frames in memory, and which of its frames are edited."""

    video: Video
    selection: Selection
    array: np.ndarray | None = None
    """Frames uint8 (F, H, W, 3), where they do not come from a file."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return self.video.size

    def read(self, indices: Sequence[int], chunk: int = 16) -> Iterator[np.ndarray]:
        """The frames at ascending indices of the source, uint8 (f, H, W, 3), f <= chunk."""
        if self.array is None:
            yield from read(self.video, indices, chunk)
            return
        for start in range(0, len(indices), chunk):
            yield self.array[list(indices[start : start + chunk])]

    def originals(self) -> Iterator[tuple[np.ndarray, Planar | None]]:
        """The selected frames one at a time, uint8 (H, W, 3), each with what is stored where that holds more."""
        if self.video.planar and self.array is None:
            yield from ((seen, picture) for picture, seen in read_planar(self.video, self.selection.indices))
        else:
            yield from ((frames[0], None) for frames in self.read(self.selection.indices, chunk=1))

    def read_small(self, side: int) -> Iterator[np.ndarray]:
        """The selected frames, one at a time, the longer side at most about `side` pixels."""
        if self.array is None:
            yield from read_small(self.video, self.selection.indices, side)
            return
        height, width = self.size
        scale = min(1.0, side / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        for index in self.selection.indices:
            yield resize(self.array[index : index + 1], size)[0]


@dataclass(frozen=True, eq=False)
class Shot:
    """A stretch of the clip between hard cuts: its frames, the model's shape for them, and how the two sizes lie.

    `first` is the place of its first frame among the frames that are read; `windows` are in latent frames.
    """

    first: int
    selection: Selection
    geometry: Geometry
    fit: Fit
    windows: tuple[Window, ...]


def open_clip(settings: Settings, video: Video | None = None) -> Clip:
    """The settings' clip, probed once; `video` is what was probed already. Raises as `probe` and `select` do."""
    if settings.clip is None:
        raise InputError("no clip: give a video file or an edit's YAML file")
    video = probe(settings.clip) if video is None else video
    if video.pictures is not None and video.pictures.kind == "folder" and settings.rate is None:
        video = replace(video, notices=(*video.notices, rate_told(video.pictures)))
    return Clip(video, select(video, settings.start, settings.frames, settings.rate))


def array_clip(frames: np.ndarray, fps: float | Fraction, settings: Settings) -> Clip:
    """Frames in memory as a clip; raises InputError for what is not uint8 (F, H, W, 3) with a frame."""
    if not isinstance(frames, np.ndarray):
        raise InputError(f"frames are {type(frames).__name__}: give an array uint8 (frames, height, width, 3), RGB")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise InputError(f"frames are {frames.dtype} {frames.shape}: give uint8 (frames, height, width, 3), RGB")
    size = int(frames.shape[1]), int(frames.shape[2])
    video = Video(Path("frames"), len(frames), size, frame_rate(fps), rotation=0, has_audio=False)
    return Clip(video, select(video, settings.start, settings.frames, settings.rate), frames)


def saved_mask(mask: np.ndarray) -> str:
    """The path of a user's mask in memory, written as lossless images that last as long as this process.

    (H, W) or (F, H, W): boolean, whole numbers from 0 to 255 (of 0 and 1 alone, 1 is inside), or numbers from 0 to 1.
    Raises InputError for another shape or other values.
    """
    if mask.ndim not in (2, 3) or not mask.size:
        raise InputError(f"user_mask is an array {mask.shape}: give (height, width) or (frames, height, width)")
    whole, least, most = mask.dtype.kind in "bui", mask.min(), mask.max()
    if mask.dtype.kind not in "buif" or not 0 <= least <= most <= (255 if whole else 1):
        raise InputError(
            f"user_mask is {mask.dtype} from {least} to {most}: give booleans, whole numbers of 0 to 255, or floats of "
            "0 to 1"
        )
    scale = 1 if whole and most > 1 else 255
    levels = np.rint(mask.reshape(-1, *mask.shape[-2:]).astype(np.float32) * scale).astype(np.uint8)
    # by its content, so that one mask is written once and the same edit has the same settings
    name = hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).hexdigest()[:16]
    folder = Path(_scratch()) / name
    if not folder.exists():
        folder.mkdir()
        for place, level in enumerate(levels):
            (folder / f"{place:06d}.png").write_bytes(cv2.imencode(".png", level)[1].tobytes())
    return str(folder)


@functools.cache
def _scratch() -> str:
    """A folder of this process's own, gone with it."""
    folder = tempfile.mkdtemp(prefix="flowedit-masks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Progress(Protocol):
    """Where a phase of work is announced and counted."""

    def announce(self, name: str, total: int) -> None: ...
    def advance(self, count: int = 1) -> None: ...


def cut_places(settings: Settings, clip: Clip, progress: Progress) -> Sequence[int]:
    """The frames, counted among those that are read, at which new shots begin: as given, or looked for."""
    count = len(clip.selection.indices)
    cuts.check(settings.cuts, count)
    if not isinstance(settings.cuts, str):
        return settings.cuts
    unseen = settings.frame_by_frame and not settings.marks  # which alone are followed from frame to frame
    if settings.cuts == "none" or count == 1 or unseen:
        return ()
    progress.announce("find cuts", count)

    def seen() -> Iterator[np.ndarray]:
        for frame in clip.read_small(2 * cuts.SIDE):
            yield frame
            progress.advance()

    return cuts.find(seen())


def working_frames(clip: Clip, shot: Shot) -> Frames:
    """A shot's frames at the working size, uint8 (frames after padding, H, W, 3), read when they are asked for."""
    taken = shot.selection.indices
    indices = taken + taken[-1:] * (shot.geometry.frames - len(taken))

    def opened(start: int) -> Iterator[np.ndarray]:
        for frames in clip.read(indices[start:], chunk=8):
            yield fit.to_working(frames, shot.fit)

    return LazyFrames((len(indices), *shot.geometry.size, 3), opened)


def loses_margins(shot: Shot, mask: Frames) -> bool:
    """Whether part of a user's mask (F, H, W) lies in the margins that fit=crop leaves as they are."""
    if shot.fit.how != "crop":
        return False
    top, left, height, width = shot.fit.window

    def margins(part: np.ndarray) -> Iterator[np.ndarray]:
        yield from (part[:, :top], part[:, top + height :], part[:, :, :left], part[:, :, left + width :])

    return any(margin.any() for part in by_chunks(mask) for margin in margins(part))


def working_mask(shot: Shot, mask: Frames) -> Frames:
    """A user's mask uint8 (F, H, W) at the working size, float32 in [0, 1], padded in time as the shot is."""
    count, last = shot.geometry.frames, len(mask) - 1

    def opened(start: int) -> Iterator[np.ndarray]:
        frame: np.ndarray | None = None
        for place in range(start, count):
            if frame is None or place <= last:
                held = mask[min(place, last) : min(place, last) + 1]
                frame = fit.mask_to_working(held.astype(np.float32) / 255, shot.fit)
            yield frame

    return LazyFrames((count, *shot.geometry.size), opened)
