"""What a video file holds, read from its packets, and which files are refused and why."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from flowedit.media import colours, rates, refusals, timing
from flowedit.media.colours import Colour
from flowedit.media.planes import alpha, picture
from flowedit.media.planes.picture import Chroma
from flowedit.media.planes.turned import orientation
from flowedit.media.stills import pictures
from flowedit.media.stills.decode import is_picture, opened
from flowedit.media.stills.pictures import Pictures
from flowedit.media.timing import Index, Packet
from flowedit.messages import FileError, FileMissingError, InputError

BT601 = 6
"""Of ITU-T H.273's matrices, the one that stands where SD names none."""

LABELS = ("title", "artist", "album", "comment", "description", "copyright", "date", "genre")
"""What of a file's own words a result carries."""


class Chapter(NamedTuple):
    """A chapter of a file: from when to when, in the file's own seconds, and its words."""

    start: Fraction
    end: Fraction
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Video:
    """A clip's file, looked at once: frame count, displayed (height, width), rate, clockwise rotation, sound, index.

    `probe` makes one; all reading takes it, and never looks through the file again.
    """

    path: Path
    frames: int
    size: tuple[int, int]
    fps: Fraction
    rotation: int
    """In degrees, a multiple of 90."""
    has_audio: bool
    pixel_aspect: Fraction = Fraction(1)
    """Displayed width of a pixel over its height."""
    assumed_bt709: bool = False
    """HD that names no colour matrix: players take BT.709, FFmpeg alone BT.601."""
    pixel_format: str = "yuv420p"
    """FFmpeg's name of how the file stores its pixels."""
    notices: tuple[str, ...] = ()
    """What a user should hear about this file, a line each: what is left out, and how it is read."""
    mirrored: bool = False
    """Whether the picture is mirrored left to right before it is turned."""
    colour: Colour = field(default=colours.BT709, repr=False, compare=False)
    times: tuple[Fraction, ...] = field(default=(), repr=False)
    """Where frames come unevenly: seconds from the first of them at which each is shown, and at which the last ends."""
    bits: int = 8
    """Of a component."""
    chroma: Chroma = "420"
    alpha: bool = False
    """Whether anything shows through."""
    beside: str = ""
    """Where alpha lies beside the packets, FFmpeg's name of the decoder that sees it."""
    tracks: tuple[int, ...] = ()
    """The indices of its streams of sound and of subtitles, the sound that players take by themselves first."""
    chapters: tuple[Chapter, ...] = field(default=(), repr=False)
    matrix: tuple[int, ...] | None = field(default=None, repr=False)
    """The display matrix of a picture that is stored turned or mirrored, as FFmpeg has it."""
    labels: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """What the file says of itself: title, artist and the like."""
    index: Index = field(default=Index(), repr=False, compare=False)
    pictures: Pictures | None = field(default=None, repr=False)
    """Of a still, a folder of frames or an animation: its pictures, in place of what FFmpeg would read."""

    @property
    def still(self) -> bool:
        """Whether it is a still: one frame, and no time."""
        return self.pictures is not None and self.pictures.kind == "still"

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return self.times[-1] if self.times else self.frames / self.fps

    @property
    def mean_rate(self) -> Fraction:
        """Frames a second over all of it: `fps`, unless they come unevenly."""
        return (self.frames / self.seconds).limit_denominator(100_000) if self.times else self.fps

    @property
    def planar(self) -> bool:
        """Whether RGB of 8 bits does not hold all of its pictures: more bits, alpha, or colours far from BT.709."""
        return self.pictures is None and (self.bits > 8 or self.alpha or any(colours.strange(self.colour)))

    @property
    def seen_colour(self) -> Colour:
        """The colours of its frames as `reader.read` gives them: its own, unless these are far from BT.709."""
        return colours.BT709 if any(colours.strange(self.colour)) else self.colour

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) in square pixels, as players show it."""
        return self.size[0], max(1, round(self.size[1] * self.pixel_aspect))

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """A decoded picture (H, W[, 3]) as players show it: mirrored and turned."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, -self.rotation // 90)

    def stored(self, picture: np.ndarray) -> np.ndarray:
        """The inverse of `upright`."""
        turned = np.rot90(picture, self.rotation // 90)
        return turned[:, ::-1] if self.mirrored else turned


Prober = Callable[[Path], Video]
"""Looks at a clip: `probe`, or what remembers what it gave."""


def probe(path: str | os.PathLike[str]) -> Video:
    """What a clip holds: a video, from its packets and first frame, in one pass; a picture, or a folder of them.

    Raises FileNotFoundError, OSError (unreadable) or ValueError (not a video, truncated, empty, colours or a codec that
    cannot be read, broken times; of pictures as `pictures.look`), each with one line that says what to do.
    """
    if not isinstance(path, Path):
        _check_address(os.fspath(path))  # here, as a Path keeps one of two slashes
    path = Path(path)
    _check_file(path)
    if (found := pictures.look(path)) is not None:
        return _of_pictures(found)
    try:
        with open_video(path) as container:
            return _inspect(path, container)
    except av.error.FFmpegError as error:
        raise InputError(_unreadable(path, error)) from None


def _of_pictures(found: Pictures) -> Video:
    return Video(
        found.path,
        found.count,
        found.size,
        found.fps,
        rotation=0,
        has_audio=False,
        pixel_format="rgb24",
        notices=found.notices,
        labels=found.labels,
        pictures=found,
        times=found.times,
        alpha=found.alpha,
    )


def open_video(path: Path) -> Any:
    """Open a local file with PyAV; raises av.error.FFmpegError."""
    # absolute, because FFmpeg takes "a:b.mp4" for a protocol; file only, because a playlist may name an address
    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="ignore")


def comment(path: Path) -> str | None:
    """The comment that a video, a PNG or a GIF holds; None without one. Raises as `probe` for what is no clip."""
    _check_file(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file")
    if is_picture(path):
        with opened(path) as image:
            said = image.info.get("Comment", image.info.get("comment"))  # of a PNG, of a GIF
        return said.decode(errors="replace") if isinstance(said, bytes) else said
    try:
        with open_video(path) as container:
            return next((value for key, value in container.metadata.items() if key.lower() == "comment"), None)
    except av.error.FFmpegError as error:
        raise InputError(_unreadable(path, error)) from None


def codec_known(name: str, write: bool = False) -> bool:
    """Whether this PyAV decodes, or encodes, a codec by FFmpeg's name of it."""
    try:
        av.codec.Codec(name, "w" if write else "r")
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _check_address(text: str) -> None:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) and not os.path.exists(text):
        raise InputError(f"{text} is an address: download the video first, and give the file")


def _check_file(path: Path) -> None:
    _check_address(str(path))
    if not path.exists():
        raise FileMissingError(f"{path} does not exist: check the path of the video")
    if path.is_dir():
        return
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a video file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): give a video file")
    try:
        path.open("rb").close()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}; check its permissions") from None


def _unreadable(path: Path, error: Exception) -> str:
    head = path.open("rb").read(12)
    if head[4:8] == b"ftyp":
        return f"{path} is truncated (its index, the moov atom, is missing): copy or export it again"
    # FFmpeg refuses a file's own absurd numbers as memory that it cannot have
    absurd = getattr(error, "errno", None) == errno.ENOMEM
    reason = "its tables hold absurd numbers" if absurd else getattr(error, "strerror", error)
    return f"{path} is not a video that can be read ({reason}): give a video, a picture or a folder of pictures"


def _inspect(path: Path, container: Any) -> Video:
    stream = container.streams.best("video")
    kind = container.format.name
    if kind.endswith("_pipe") or kind == "image2":
        raise InputError(f"{path} is a still image of a format that is not read: save it as PNG, JPEG or WebP")
    if kind in ("tty", "hls", "concat", "dash"):
        raise InputError(f"{path} is not a video but {container.format.long_name}: give a video file")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        raise InputError(f"{path} has no video stream, or one without frames: give a video file")
    if stream.codec_context is None:
        raise InputError(refusals.refusal(path, (0, 0), [refusals.UNDECODED]))
    frame, packets, headless, end, clocks = _scan(path, container, stream)
    _check_whole(path, container, stream, len(packets), end)
    if not packets:
        raise InputError(f"{path} has no frames: give a video with at least one")
    if frame is None:
        raise InputError(f"{path} is damaged: none of its frames can be decoded; copy or export it again")
    times = _times(path, kind, packets, frame, headless)
    fps, steady, held = rates.of_header(stream, times)
    uneven = [] if steady else sorted(time for time in times if time is not None)
    if uneven:
        fps = rates.meant(uneven, stream.time_base)
    _check_clocks(path, fps, clocks)
    assumed = frame.colorspace == colours.UNSPECIFIED and min(frame.height, frame.width) >= 720
    rgb = frame.format.is_rgb or len(frame.format.components) < 3  # or a palette of it, or grey
    colour = colours.of_frame(frame, colours.BT709.matrix if assumed or rgb else BT601)
    refusals.judge(path, stream, frame, colour, uneven)
    clear, beside = alpha.shows_through(path, frame, stream, packets, lambda: open_video(path))
    last = next((packet.duration for packet in packets if packet.pts == uneven[-1]), 0) if uneven else 0
    shown_at = rates.places(uneven, last, stream.time_base) if uneven else ()
    (rotation, mirrored), matrix = orientation(path, frame)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    height, width = frame.height, frame.width
    if rotation % 180:
        height, width, aspect = width, height, 1 / aspect
    video = Video(
        path,
        len(times) + held,
        (height, width),
        fps,
        rotation,
        bool(container.streams.audio),
        aspect,
        assumed,
        frame.format.name,
        tuple(_notices(len(packets) - len(times), held, fps)),
        mirrored,
        colour,
        shown_at,
        picture.bits_of(frame.format),
        picture.chroma_of(frame.format),
        clear,
        beside,
        _tracks(container),
        tuple(_chapters(container)),
        matrix if rotation or mirrored else None,
        tuple((key.lower(), value) for key, value in container.metadata.items() if key.lower() in LABELS),
        timing.make_index(kind, packets, times, headless, held, fps, stream.time_base),
    )
    return replace(video, notices=(*video.notices, *refusals.told(video, container, stream, frame)))


def _tracks(container: Any) -> tuple[int, ...]:
    first = container.streams.best("audio")
    others = [each for each in (*container.streams.audio, *container.streams.subtitles) if each is not first]
    return tuple(each.index for each in ([] if first is None else [first]) + others if each.codec_context is not None)


def _chapters(container: Any) -> Iterator[Chapter]:
    for each in container.chapters():
        start, end = (each[key] * each["time_base"] for key in ("start", "end"))
        yield Chapter(start, end, tuple(each["metadata"].items()))


def _scan(path: Path, container: Any, stream: Any) -> tuple[Any, list[Packet], bool, float, dict[Any, Fraction]]:
    """The first frame that a clip can begin with, the packets of all frames, and where the file ends in seconds.

    The third value says whether the file begins between key frames, the last how long a packet of each sound lasts.
    """
    frame, end, key, headless = None, 0.0, None, False
    clocks: dict[Any, Fraction] = {}
    packets: list[Packet] = []
    for packet in container.demux():
        if packet.size and packet.dts is not None:
            end = max(end, float((packet.dts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.type == "audio" and packet.duration:
            clocks.setdefault(packet.stream, packet.duration * packet.time_base)
        if packet.stream is stream:
            if timing.is_shown(packet, stream):
                packets.append(Packet(packet.pts, packet.dts, packet.is_keyframe, packet.duration or 0))
            if key is None and packet.size:  # a key frame that an edit list hides is one as well
                key = Packet(packet.pts, packet.dts, True) if packet.is_keyframe else None
                headless = headless or key is None
            if frame is None and key is not None:
                frame = next((f for f in _decoded(packet) if timing.begins(f, key, stream.codec_context.name)), None)
    if packets and key is None:  # a file that names no key frame is taken as it decodes
        headless = False
        with open_video(path) as again:
            frame = next((f for packet in again.demux(again.streams.best("video")) for f in _decoded(packet)), None)
    return frame, packets, headless, end, clocks


def _decoded(packet: Any) -> list[Any]:
    with suppress(av.error.FFmpegError):
        return list(packet.decode())
    return []


def _times(path: Path, kind: str, packets: Sequence[Packet], frame: Any, headless: bool) -> list[int | None]:
    """The times of the frames from `frame` on, the first that a clip can begin with."""
    if timing.times_known(kind, packets) or not headless:
        return timing.shown_times(kind, packets, frame.pts)
    with open_video(path) as container:
        count = sum(1 for _ in timing.from_key_frame(_all_frames(container)))
    return timing.shown_times(kind, packets, None, count)


def _all_frames(container: Any) -> Iterator[Any]:
    stream = container.streams.best("video")
    for packet in timing.from_key_packet(container.demux(stream)):
        yield from _decoded(packet)


def _notices(lost: int, held: int, fps: Fraction) -> Iterator[str]:
    if lost:
        yield (
            f"the file begins between key frames: {lost} frames at its start cannot be decoded and are left out, of "
            "picture and sound"
        )
    if held:
        yield (
            f"the first frame is shown as long as {held + 1} frames at {float(fps):.6g} fps, and so counts as "
            f"{held + 1} frames (--start {held} leaves the repeats out)"
        )


def _check_whole(path: Path, container: Any, stream: Any, frames: int, end: float) -> None:
    promised, size = "", path.stat().st_size
    if "mp4" in container.format.name:
        needed = max((entry.pos + entry.size for each in container.streams for entry in each.index_entries), default=0)
        promised = f"{needed} bytes, but has {size}" if needed > size else ""
    elif container.format.name in ("avi", "matroska,webm") and container.duration:
        length = container.duration / av.time_base
        if end < length - 0.1 - 2 / float(stream.average_rate or 25):
            promised = f"{length:.2f} seconds, but ends at {end:.2f}"
    if promised:
        raise InputError(
            f"{path} is truncated (it should have {promised}; {frames} frames are left): copy or export it again"
        )


def _check_clocks(path: Path, fps: Fraction, clocks: Mapping[Any, Fraction]) -> None:
    """Refuse times that no camera writes: a table or a time base in the file is broken."""
    if not rates.LEAST <= fps <= rates.MOST:
        raise InputError(
            f"{path} says that a frame lasts {float(1 / fps):.3g} s: its table of times is broken, export it again"
        )
    for stream, lasts in clocks.items():
        codec = stream.codec_context
        if codec is not None and codec.frame_size and codec.sample_rate:
            usual = Fraction(codec.frame_size, codec.sample_rate)
            if not usual / 16 < lasts < 16 * usual:
                raise InputError(
                    f"the sound of {path} is broken: by its clock a packet lasts {float(lasts):.3g} s and not "
                    f"{float(usual):.3g}; take the sound out, or export it again: "
                    + shlex.join(
                        ["ffmpeg", "-i", str(path), "-c", "copy", "-an", str(path.with_name(f"{path.stem}-silent.mp4"))]
                    )
                )
