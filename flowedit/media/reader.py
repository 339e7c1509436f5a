"""Video files in and out, in one place: which frames to take and their pixels by chunks; the rest by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from flowedit.media.probe import Video, open_video, probe
from flowedit.media.rates import frame_rate
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer
from flowedit.messages import InputError

__all__ = ["Selection", "Sound", "Video", "Writer", "probe", "read", "read_small", "select"]

THREADS = 4


@dataclass(frozen=True)
class Selection:
    """Source frame indices to read, the rate they play at, and the interval of the source that they cover."""

    indices: tuple[int, ...]
    fps: Fraction
    start_seconds: Fraction
    seconds: Fraction

    def between(self, first: int, end: int) -> Selection:
        """The frames [first, end) of these; all of them are these."""
        if (first, end) == (0, len(self.indices)):
            return self
        start = self.start_seconds + first / self.fps
        return Selection(self.indices[first:end], self.fps, start, (end - first) / self.fps)


def select(video: Video, start: int = 0, frames: int | None = None, fps: float | Fraction | None = None) -> Selection:
    """Choose frames: `start` counts frames of the source, `frames` counts frames taken (after resampling).

    A rate below the source's takes the indices floor(start + i·source_fps/fps); None keeps the source's,
    and `frames=None` goes on to the end. Raises ValueError for a start, count or rate outside the source.
    """
    if not 0 <= start < video.frames:
        raise InputError(
            f"start {start} is outside {video.path}: it has {video.frames} frames, so give a start "
            f"from 0 to {video.frames - 1}"
        )
    rate = video.fps
    if fps is not None:
        asked = frame_rate(fps)
        # 27.02 is how people write 369000/13657, and 30 how they write 30000/1001, of which no frame can be left out
        if not -Fraction(1, 2000) < asked / video.fps - 1 < Fraction(1, 500):
            rate = asked
        if rate > video.fps:
            raise InputError(
                f"fps {fps} is above the rate of {video.path}, {_decimal(video.fps)}: frames can be "
                f"left out but not invented, so give at most {_decimal(video.fps)}"
            )
    step = video.fps / rate
    if step > (left := video.frames - start):
        raise InputError(
            f"fps {fps} is less than one frame of {video.path}: from frame {start} on it lasts "
            f"{_decimal(left / video.fps)} s, so give at least {_decimal(video.fps / left)}"
        )
    available = math.ceil((video.frames - start) / step)
    count = available if frames is None else frames
    if not 1 <= count <= available:
        raise InputError(
            f"frames {count} cannot be taken from {video.path}: from frame {start} on at "
            f"{_decimal(rate)} fps there are {available}, so give 1 to {available}"
        )
    indices = tuple(math.floor(start + i * step) for i in range(count))
    if video.limit is not None and indices[-1] >= video.limit.frames:
        raise InputError(video.limit.reason)
    return Selection(indices, rate, start / video.fps, count / rate)


def read(video: Video, indices: Sequence[int], chunk: int = 16) -> Iterator[np.ndarray]:
    """Yield the frames at `indices` (ascending, repeats allowed) as uint8 (f, H, W, 3) RGB, f <= `chunk`.

    H, W are the displayed size. decord decodes where it is installed, PyAV elsewhere and whatever decord
    fails on. Raises ValueError for indices outside the file and for a frame that cannot be decoded.
    """
    indices = [int(i) for i in indices]
    if not indices or indices[0] < 0 or indices[-1] >= video.frames or sorted(indices) != indices:
        raise InputError(
            f"frames {indices[:3]}…{indices[-3:]} cannot be read from {video.path}: give ascending "
            f"indices from 0 to {video.frames - 1}"
        )
    if chunk < 1:
        raise InputError(f"chunk {chunk} is not a number of frames: give 1 or more")
    return _read(video, indices, chunk)


def read_small(video: Video, indices: Sequence[int], side: int) -> Iterator[np.ndarray]:
    """Yield the frames at `indices`, as `read` takes them, one by one and small, to be looked at and not worked with.

    uint8 (h, w, 3) RGB, the longer of h and w being `side`, as they lie in the file and not rotated; pictures are
    scaled before they become RGB, which saves most of the time. For a frame that cannot be decoded stands the next one,
    or the last.
    """
    shrink = side / max(video.size)
    height, width = (max(2, round(length * shrink)) for length in video.size[:: -1 if video.rotation % 180 else 1])
    done, picture = 0, None
    for index, frame in _decoded(video, indices[0], THREADS):
        if index < indices[done]:
            continue
        picture = frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA).to_ndarray()
        while done < len(indices) and indices[done] <= index:
            yield picture
            done += 1
        if done == len(indices):
            return
    if picture is not None:
        yield from [picture] * (len(indices) - done)


def _read(video: Video, indices: list[int], chunk: int) -> Iterator[np.ndarray]:
    # decord counts frames from key frames in the file's order, and so returns others where groups are open
    # it takes BT.601 for whatever names no matrix, and a mirror for half a turn
    plain = video.index.closed and not video.assumed_bt709 and not video.mirrored
    batch = _decord(video) if plain else None
    for begin in range(0, len(indices), chunk):
        frames = batch(indices[begin : begin + chunk]) if batch else None
        if frames is None:
            yield from _decode(video, indices[begin:], chunk)
            return
        yield frames


def _decord(video: Video) -> Callable[[list[int]], np.ndarray | None] | None:
    """A function from indices to frames, or to None where decord fails; None without decord."""
    try:
        import decord  # no wheels for Apple silicon or Linux on arm
    except ImportError:
        return None
    fault = decord.base.DECORDError
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(video.path.absolute()), num_threads=THREADS)
    except (fault, RuntimeError):
        return None
    if len(reader) != video.frames:
        return None

    def batch(indices: list[int]) -> np.ndarray | None:
        try:
            frames: np.ndarray = reader.get_batch(indices).asnumpy()
        except (fault, RuntimeError):
            return None
        return frames if frames.shape == (len(indices), *video.size, 3) else None

    return batch


def _decode(video: Video, indices: list[int], chunk: int, threads: int = THREADS) -> Iterator[np.ndarray]:
    """Yield the frames at ascending `indices` in chunks, by PyAV; raises ValueError for one that is damaged."""
    frames: list[np.ndarray] = []
    done = 0
    for index, frame in _decoded(video, indices[0], threads):
        if done == len(indices) or index > indices[done]:
            break
        picture = None
        while done < len(indices) and index == indices[done]:
            if picture is None:
                matrix = {"src_colorspace": "ITU709"} if video.assumed_bt709 else {}
                picture = video.upright(frame.to_ndarray(format="rgb24", **matrix))
                if picture.shape != (*video.size, 3):
                    raise InputError(
                        f"frame {index} of {video.path} is {picture.shape[1]}x{picture.shape[0]}, others "
                        f"are {video.size[1]}x{video.size[0]}: export the video again in one size"
                    )
            frames.append(picture)
            done += 1
            if len(frames) == chunk:
                yield np.stack(frames)
                frames = []
    if frames:
        yield np.stack(frames)
    if done < len(indices) and threads > 1:  # one thread loses nothing but the damaged frame itself
        yield from _decode(video, indices[done:], chunk, threads=1)
    elif done < len(indices):
        raise InputError(
            f"frame {indices[done]} of {video.path} cannot be decoded, the file is damaged there: choose "
            "other frames, or export the video again"
        )


def _decoded(video: Video, first: int, threads: int) -> Iterator[tuple[int, Any]]:
    """Yield (index, frame) in order, from a key frame at or before frame `first` on, without damaged ones."""
    places = {time: index for index, time in enumerate(video.index.times)}
    with open_video(video.path) as container:
        stream = container.streams.best("video")
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        before = [dts for pts, dts in video.index.keys if pts <= video.index.times[first]]
        if len(before) > 1:
            container.seek(before[-1], stream=stream)
        ordinal = -1
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                if places:
                    continue
                return
            for frame in decoded:
                ordinal += 1
                index = places.get(frame.pts, -1) if places else ordinal
                if index >= first:
                    yield index, frame


def _decimal(rate: Fraction) -> str:
    return f"{float(rate):.6g}"
