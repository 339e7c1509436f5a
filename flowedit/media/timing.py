"""When a file's frames are shown, where its key frames are, and which frames at its start cannot be decoded."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple


class Packet(NamedTuple):
    """Of a packet that becomes a frame: display and decoding time in stream units, whether it is a key frame, and how
    long the frame is shown; 0 where the file does not say."""

    pts: int | None
    dts: int | None
    key: bool
    duration: int = 0


@dataclass(frozen=True)
class Index:
    """Where a file's frames are: display times in stream units, ascending (empty if unknown), and its key frames."""

    times: tuple[int, ...] = ()
    keys: tuple[tuple[int, int], ...] = ()
    """Of each key frame its display and its decoding time, in the file's order."""
    closed: bool = False
    """Seeks are exact: no frame after a key frame in the file is displayed before it."""
    headless: bool = False
    """The file begins between key frames: what comes before the first one cannot be decoded."""
    held: int = 0
    """How many more times than once the first frame is counted, because it is shown for longer than the others."""
    start: Fraction = Fraction(0)
    """When the first frame is shown, in the file's own seconds."""


def is_shown(packet: Any, stream: Any) -> bool:
    """Whether a video packet becomes a frame that players show."""
    if not packet.size or packet.is_discard:
        return False
    # a VP8 reference frame that is never displayed says so in its first byte
    return stream.codec_context.name != "vp8" or bool(bytes(packet)[0] & 0x10)


def begins(frame: Any, key: Packet, codec: str) -> bool:
    """Whether a clip can begin with a decoded frame, the file's first key frame being `key`."""
    # FFmpeg gives out H.264 frames that are displayed before that one and made from others that are not there
    return codec != "h264" or key.pts is None or frame.pts is None or frame.pts >= key.pts


def times_known(kind: str, packets: Sequence[Packet]) -> bool:
    """Whether every frame has a display time of its own, in a container of FFmpeg's name `kind`."""
    # AVI has no display times: FFmpeg makes some up, and they are wrong where frames are reordered
    times = {packet.pts for packet in packets}
    return kind != "avi" and None not in times and len(times) == len(packets)


def shown_times(kind: str, packets: Sequence[Packet], first: int | None, count: int | None = None) -> list[int | None]:
    """The times of the frames that can be decoded, ascending: display times, else decoding times.

    `first` is the display time of the first such frame, `count` their number where that is known instead.
    """
    if times_known(kind, packets):
        times = sorted(packet.pts for packet in packets if packet.pts is not None)
        return [time for time in times if first is None or first not in times or time >= first]
    displayed = all(packet.pts is not None for packet in packets)
    found = [packet.pts if displayed else packet.dts for packet in packets]
    known = sorted(time for time in found if time is not None)
    found = [*known] if len(known) == len(found) else found
    return found if count is None else found[len(found) - count :]


def make_index(
    kind: str,
    packets: Sequence[Packet],
    times: Sequence[int | None],
    headless: bool,
    held: int,
    fps: Fraction,
    base: Fraction,
) -> Index:
    """The index of a file: all its packets in the file's order, of which the frames at `times` can be decoded.

    `held` is how many more frames' time the first of them is shown, `base` the unit of all times in seconds.
    """
    start = Fraction(0)
    if times[0] is not None:
        start = times[0] * base
    if held and times[1] is not None:  # the others are shown when the file says, the first a fraction of a frame off
        start = times[1] * base - (held + 1) / fps
    if not times_known(kind, packets):
        return Index((), (), False, headless, held, start)
    displayed = [packet.pts for packet in packets if packet.pts is not None]
    earliest, closed = displayed[-1], "mp4" in kind or "matroska" in kind
    for packet, time in zip(reversed(packets), reversed(displayed), strict=True):
        closed = closed and not (packet.key and earliest < time)
        earliest = min(earliest, time)
    keys = tuple(
        (time, time if packet.dts is None else packet.dts)
        for packet, time in zip(packets, displayed, strict=True)
        if packet.key
    )
    kept = tuple(time for time in times if time is not None)
    return Index(kept, keys, closed and not headless, headless, held, start)


def from_key_packet(packets: Iterable[Any]) -> Iterator[Any]:
    """Packets from the first one that is a key frame on."""
    return dropwhile(lambda packet: not packet.is_keyframe, packets)


def from_key_frame(frames: Iterable[Any]) -> Iterator[Any]:
    """Frames from the first one that is a key frame on: what a decoder gives before it lacks others."""
    return dropwhile(lambda frame: not frame.key_frame, frames)


def from_packet(packets: Iterable[Any], pts: int, dts: int) -> Iterator[Any]:
    """Packets from the key frame of these times on; none where a seek landed behind it."""
    packets = iter(packets)
    for packet in packets:
        if packet.is_keyframe and packet.pts == pts:
            yield packet
            yield from packets
        elif packet.dts is not None and packet.dts > dts:
            return


def tables_agree(path: Path) -> bool:
    """Whether an mp4's tables of samples are as long as they say and count as many times as sizes; true of other files.

    Old readers allocate what the tables say, and end the process where that is absurd. Files in fragments do not agree.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with data:
        if data[4:8] != b"ftyp":
            return True
        return all(_counts(data, table) for table in _inside(data, 0, len(data), (b"moov", b"trak", b"mdia", b"minf")))


Boxes = dict[bytes, tuple[int, int]]
"""The boxes of one track's tables by name: where each one's contents begin and end."""


def _inside(data: Any, begin: int, end: int, names: Sequence[bytes]) -> Iterator[Boxes]:
    found = list(_boxes(data, begin, end))
    for name, first, last in found:
        if not names and name == b"stbl":
            yield {child: (start, stop) for child, start, stop in _boxes(data, first, last)}
        elif names and name == names[0]:
            yield from _inside(data, first, last, names[1:])


def _boxes(data: Any, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while begin + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, begin)
        head = 8
        if size == 1 and begin + 16 <= end:
            (size,), head = struct.unpack_from(">Q", data, begin + 8), 16
        size = size or end - begin
        if size < head or begin + size > end:
            return
        yield name, begin + head, begin + size
        begin += size


def _counts(data: Any, table: Boxes) -> bool:
    def entries(name: bytes, width: int, head: int = 4) -> list[Any]:
        """The entries of a table, `width` numbers of 32 bits each, after `head` bytes and their count."""
        begin, end = table.get(name, (0, 0))
        if end - begin < head + 4:
            return []
        (count,) = struct.unpack_from(">I", data, begin + head)
        long_enough = count * 4 * width <= end - begin - head - 4
        return (
            list(struct.iter_unpack(f">{width}I", data[begin + head + 4 : begin + head + 4 + 4 * width * count]))
            if long_enough
            else []
        )

    begin, end = table.get(b"stsz", (0, 0))
    if end - begin < 12:
        return False
    size, count = struct.unpack_from(">II", data, begin + 4)
    sizes = count if size else len(entries(b"stsz", 1, 8))
    times, shifts = entries(b"stts", 2), entries(b"ctts", 2)
    return (
        0 < count == sizes == sum(samples for samples, _ in times)
        and (b"ctts" not in table or sum(samples for samples, _ in shifts) == count)
        and all(delta < 1 << 31 for _, delta in times)
    )
