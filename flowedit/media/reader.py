"""Video files in and out, in one place: which frames to take and their pixels by chunks; the rest by name."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Any, TypeVar

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from flowedit.media import timing
from flowedit.media.pixels import resize
from flowedit.media.planes.blend import Depth
from flowedit.media.planes.picture import EXACT, Planar, is_grey, is_limited, of_frame, to_frame
from flowedit.media.probe import Video, open_video, probe
from flowedit.media.rates import frame_rate
from flowedit.media.sound import Sound
from flowedit.media.stills import pictures
from flowedit.media.writer import Writer
from flowedit.messages import InputError

__all__ = ["Selection", "Sound", "Video", "Writer", "probe", "read", "read_small", "select"]

T = TypeVar("T")

THREADS = 4

DECORD = ("yuv444p", "yuvj444p", "gbrp")
"""Pixel formats whose colours decord reads rightly; others it darkens, and it has no option that says not to."""


@dataclass(frozen=True)
class Selection:
    """Source frame indices to read, the rate they play at, and the interval of the source that they cover.

    `times` are empty where they come evenly, at `fps`; else the seconds from the first at which each is shown, and at
    which the last ends.
    """

    indices: tuple[int, ...]
    fps: Fraction
    start_seconds: Fraction
    seconds: Fraction
    times: tuple[Fraction, ...] = field(default=(), repr=False)

    def time(self, frame: int) -> Fraction:
        """Seconds from the first of these frames to this one, or to the end."""
        return self.times[frame] if self.times else frame / self.fps

    def between(self, first: int, end: int) -> Selection:
        """The frames [first, end) of these; all of them are these."""
        if (first, end) == (0, len(self.indices)):
            return self
        begin, stop = self.time(first), self.time(end)
        times = tuple(time - begin for time in self.times[first : end + 1])
        return Selection(self.indices[first:end], self.fps, self.start_seconds + begin, stop - begin, times)


def select(video: Video, start: int = 0, frames: int | None = None, fps: float | Fraction | None = None) -> Selection:
    """Choose frames: `start` counts frames of the source, `frames` counts frames taken (after resampling).

    A rate below the source's takes the indices floor(start + i·source_fps/fps), or where frames come unevenly the last
    that begins before (i + 1/2)/fps; None keeps the source's times, and `frames=None` goes on to the end. A folder of
    frames plays at the rate that is given. Raises ValueError for a start, count or rate outside the source, and for any
    of a still.
    """
    if video.pictures is not None and video.pictures.kind != "animation":
        video, fps = replace(video, fps=pictures.chosen(video.pictures, start, frames, fps)), None
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
    begin = video.times[start] if video.times else start / video.fps
    left = video.seconds - begin
    if rate * left < 1 and fps is not None:
        raise InputError(
            f"fps {fps} is less than one frame of {video.path}: from frame {start} on it lasts "
            f"{_decimal(left)} s, so give at least {_decimal(1 / left)}"
        )
    own = bool(video.times) and fps is None
    available = video.frames - start if own else math.ceil(left * rate)
    count = available if frames is None else frames
    if not 1 <= count <= available:
        raise InputError(
            f"frames {count} cannot be taken from {video.path}: from frame {start} on at "
            f"{_decimal(rate)} fps there are {available}, so give 1 to {available}"
        )
    if own:
        times = tuple(time - begin for time in video.times[start : start + count + 1])
        return Selection(tuple(range(start, start + count)), rate, begin, times[-1], times)
    if video.times:
        places = (bisect_left(video.times, begin + (i + Fraction(1, 2)) / rate) - 1 for i in range(count))
        indices = tuple(min(max(start, place), video.frames - 1) for place in places)
    else:
        indices = tuple(math.floor(start + i * video.fps / rate) for i in range(count))
    return Selection(indices, rate, begin, count / rate)


def read(video: Video, indices: Sequence[int], chunk: int = 16) -> Iterator[np.ndarray]:
    """Yield the frames at `indices` (ascending, repeats allowed) as uint8 (f, H, W, 3) RGB, f <= `chunk`.

    H, W are the displayed size. Pillow decodes pictures; videos decord where it is installed, PyAV elsewhere and
    whatever decord fails on. Raises ValueError for indices outside the file and for a frame that cannot be decoded.
    """
    indices = [int(i) for i in indices]
    if not indices or indices[0] < 0 or indices[-1] >= video.frames or sorted(indices) != indices:
        raise InputError(
            f"frames {indices[:3]}…{indices[-3:]} cannot be read from {video.path}: give ascending "
            f"indices from 0 to {video.frames - 1}"
        )
    if chunk < 1:
        raise InputError(f"chunk {chunk} is not a number of frames: give 1 or more")
    if video.pictures is not None:
        return _pictured(video.pictures, indices, chunk)
    return _read(video, _in_file(video, indices), chunk)


def read_planar(video: Video, indices: Sequence[int]) -> Iterator[tuple[Planar, np.ndarray]]:
    """Yield the frames at `indices`, one by one, of a video that is `planar`: as it is stored, and as `read` gives it.

    The pictures that are stored have alpha where the video has any. Raises ValueError as `read`.
    """
    depth = Depth(video.colour)
    indices = _in_file(video, [int(i) for i in indices])
    for (picture,) in _decode(video, indices, 1, lambda frame: _planar(video, frame)):
        yield picture, np.ascontiguousarray(video.upright(depth.shown(picture)))


def _planar(video: Video, frame: Any) -> Planar:
    picture = of_frame(frame)
    if video.alpha and picture.alpha is None:  # a decoder leaves out what is opaque
        picture = replace(picture, alpha=np.full_like(picture.planes[0], 2**picture.bits - 1))
    return picture if video.alpha else replace(picture, alpha=None)


def _pictured(of: pictures.Pictures, indices: list[int], chunk: int) -> Iterator[np.ndarray]:
    found = (picture.shown for picture in of.read(indices))
    for begin in range(0, len(indices), chunk):
        yield np.stack(list(islice(found, min(chunk, len(indices) - begin))))


def read_small(video: Video, indices: Sequence[int], side: int) -> Iterator[np.ndarray]:
    """Yield the frames at `indices`, as `read` takes them, one by one and small, to be looked at and not worked with.

    uint8 (h, w, 3) RGB, the longer of h and w being `side`, as they lie in the file and not rotated; pictures are
    scaled before they become RGB, which saves most of the time. For a frame that cannot be decoded stands the next one,
    or the last.
    """
    shrink = side / max(video.size)
    if video.pictures is not None:
        height, width = (max(2, round(length * shrink)) for length in video.size)
        yield from (resize(picture.shown[None], (height, width))[0] for picture in video.pictures.read(indices))
        return
    height, width = (max(2, round(length * shrink)) for length in video.size[:: -1 if video.rotation % 180 else 1])
    indices, to_rgb = _in_file(video, indices), _to_rgb(video, Interpolation.AREA, width=width, height=height)
    done, picture = 0, None
    for index, frame in _decoded(video, indices[0], THREADS):
        if index < indices[done]:
            continue
        picture = to_rgb(frame)
        while done < len(indices) and indices[done] <= index:
            yield picture
            done += 1
        if done == len(indices):
            return
    if picture is not None:
        yield from [picture] * (len(indices) - done)


def _in_file(video: Video, indices: Sequence[int]) -> list[int]:
    """Indices of a clip as they count in its file, where the first frame is one however long it is held."""
    return [max(0, index - video.index.held) for index in indices]


def _to_rgb(video: Video, kernel: Interpolation, **size: int) -> Callable[[Any], np.ndarray]:
    """A function from a decoded frame to uint8 RGB, at a width and height if those are given."""
    if video.planar:
        depth = Depth(video.colour)
        return lambda frame: depth.shown(_planar(video, frame), kernel, **size)
    reformatter = VideoReformatter()
    matrix = {"src_colorspace": "ITU709"} if video.assumed_bt709 else {}
    options: dict[str, Any] = {"format": "rgb24", "interpolation": kernel | EXACT, "threads": 1} | matrix | size

    def of(frame: Any) -> np.ndarray:
        if is_grey(frame.format) and is_limited(frame):  # FFmpeg takes all grey for full
            frame = to_frame(of_frame(frame), video.colour)
        rgb: np.ndarray = reformatter.reformat(frame, **options).to_ndarray()
        return rgb

    return of


def _read(video: Video, indices: list[int], chunk: int) -> Iterator[np.ndarray]:
    # decord counts frames from key frames in the file's order, and so returns others where groups are open
    # it takes BT.601 for whatever names no matrix, and a mirror for half a turn
    exact = video.index.closed and not (video.assumed_bt709 or video.mirrored) and video.pixel_format in DECORD
    exact = exact and not video.planar
    batch = _decord(video) if exact and timing.tables_agree(video.path) else None
    to_rgb = _to_rgb(video, Interpolation.BICUBIC)
    for begin in range(0, len(indices), chunk):
        frames = batch(indices[begin : begin + chunk]) if batch else None
        if frames is None:
            rest = _decode(video, indices[begin:], chunk, lambda frame: video.upright(to_rgb(frame)))
            yield from map(np.stack, rest)
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
    if len(reader) != len(video.index.times):
        return None

    def batch(indices: list[int]) -> np.ndarray | None:
        try:
            frames: np.ndarray = reader.get_batch(indices).asnumpy()
        except (fault, RuntimeError):
            return None
        return frames if frames.shape == (len(indices), *video.size, 3) else None

    return batch


ATTEMPTS = ((THREADS, True), (1, True), (1, False))
"""Threads, and whether to seek: one thread loses nothing but a damaged frame itself, and a decoder that begins at a
point of recovery gives no whole frame at once."""


def _decode(
    video: Video, indices: list[int], chunk: int, make: Callable[[Any], T], attempt: int = 0
) -> Iterator[list[T]]:
    """What `make` makes of the frames at ascending `indices`, in lists, by PyAV; ValueError for one that is damaged."""
    pictures: list[T] = []
    stored = video.size[:: -1 if video.rotation % 180 else 1]
    done = 0
    for index, frame in _decoded(video, indices[0], *ATTEMPTS[attempt]):
        if done == len(indices) or index > indices[done]:
            break
        picture: T | None = None
        while done < len(indices) and index == indices[done]:
            if picture is None:
                if (frame.height, frame.width) != stored:
                    wide, high = (frame.height, frame.width) if video.rotation % 180 else (frame.width, frame.height)
                    raise InputError(
                        f"frame {index} of {video.path} is {wide}x{high}, others "
                        f"are {video.size[1]}x{video.size[0]}: export the video again in one size"
                    )
                picture = make(frame)
            pictures.append(picture)
            done += 1
            if len(pictures) == chunk:
                yield pictures
                pictures = []
    if pictures:
        yield pictures
    if done < len(indices) and attempt + 1 < len(ATTEMPTS):
        yield from _decode(video, indices[done:], chunk, make, attempt + 1)
    elif done < len(indices):
        raise InputError(
            f"frame {indices[done] + video.index.held} of {video.path} cannot be decoded, the file is damaged there: "
            "choose other frames, or export the video again"
        )


def _decoded(video: Video, first: int, threads: int, seek: bool = True) -> Iterator[tuple[int, Any]]:
    """Yield (index, frame) in order, from a key frame at or before frame `first` on, without damaged ones."""
    places = {time: index for index, time in enumerate(video.index.times)}
    headless = video.index.headless and not places
    ordinal = -1
    decoder: Any = av.CodecContext.create(video.beside, "r") if video.beside else None
    for packet in _packets(video, first, threads, seek):
        try:
            decoded = packet.decode() if decoder is None else decoder.decode(packet if packet.size else None)
        except av.error.FFmpegError:
            if places:
                continue
            return
        for frame in decoded:
            headless = headless and not frame.key_frame
            ordinal += not headless
            index = places.get(frame.pts, -1) if places else ordinal
            if index >= first:
                yield index, frame


def _packets(video: Video, first: int, threads: int, seek: bool) -> Iterator[Any]:
    """Packets in the file's order, from the last key frame at or before frame `first` on, or from an earlier one."""
    index = video.index
    keys = [key for key in index.keys if key[0] <= index.times[first]] if seek else []
    for key in keys[:0:-1][:3]:
        with open_video(video.path) as container:
            stream, head = _video_stream(container, threads), None
            with suppress(av.error.FFmpegError):
                container.seek(key[1], stream=stream)
                packets = timing.from_packet(container.demux(stream), *key)
                head = next(packets, None)
            if head is not None:
                yield head
                yield from packets
                return
    with open_video(video.path) as container:
        packets = container.demux(_video_stream(container, threads))
        yield from timing.from_key_packet(packets) if index.headless else packets


def _video_stream(container: Any, threads: int) -> Any:
    stream = container.streams.best("video")
    stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
    return stream


def _decimal(rate: Fraction) -> str:
    return f"{float(rate):.6g}"
