"""Whether anything of a video shows through, as a few of its frames say."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av

from flowedit.media import refusals
from flowedit.media.planes.picture import bits_of, samples
from flowedit.media.timing import Packet
from flowedit.messages import InputError

OPAQUE = 250
"""Alpha from here on, of 255, is none: a lossy codec's opaque planes are not exact."""

LOOKED = 16
"""So many frames are looked at, evenly spread from the first to the last."""

RUN = 32
"""So many frames after a key frame are decoded on the way to one of them, at most."""

DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Of codecs whose alpha lies beside the packets, the decoder that puts both together."""

BESIDE = "matroska_block_additional"


def shows_through(
    path: Path, frame: Any, stream: Any, packets: Sequence[Packet], reopen: Callable[[], Any]
) -> tuple[bool, str]:
    """Whether a video is transparent anywhere, and the decoder that its alpha needs, if it needs its own.

    `frame` is its first, `packets` are those of all, and `reopen` opens the file again. A channel, or a tag, that says
    nothing but "opaque" is none. LOOKED frames are looked at, or those that can be decoded within RUN frames of the key
    frame before them. What shows through in other frames alone is missed: then the clip counts as opaque, its alpha is
    left out, and the edit has whatever colour the file holds there. Raises InputError where the decoder is not there.
    """
    pixels = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
    tagged = ("alpha_mode", "1") in {(key.lower(), value) for key, value in stream.metadata.items()}
    if not (pixels or tagged):
        return False, ""
    codec = str(stream.codec_context.name)
    with reopen() as container:
        # in WebM the alpha is a grey video of its own, beside each packet
        beside = None if pixels else av.CodecContext.create(codec, "r")
        seen = any(map(_clear, _looked(container, packets, beside)))
    decoder = "" if pixels or not seen else DECODERS.get(codec, "")
    if decoder and decoder not in av.codecs_available:
        raise InputError(refusals.refusal(path, (frame.height, frame.width), [UNSEEN]))
    return seen, decoder


def spread(count: int) -> list[int]:
    """LOOKED of so many places, ascending, the first and the last among them; all of them where they are fewer."""
    return sorted({round(each * (count - 1) / (LOOKED - 1)) for each in range(LOOKED)}) if count else []


UNSEEN = refusals.Fault("transparency that FFmpeg cannot decode here", (), "opaque")


def _looked(container: Any, packets: Sequence[Packet], beside: Any) -> Iterator[Any]:
    """The frames on the way to each of LOOKED times, no frame twice; where no time is known, of the first RUN.

    A file in which no seek is possible gives the frames from its beginning on.
    """
    stream = container.streams.best("video")
    frames = _decoded(container.demux(stream), beside)
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    keys = sorted(packet.pts for packet in packets if packet.key and packet.pts is not None)
    reached = times[0] if times else 0
    for place in spread(len(times)) if times else [0]:
        aim = times[place] if times else None
        if aim is not None and (key := bisect_right(keys, aim)) and keys[key - 1] > reached:
            with suppress(av.error.FFmpegError):
                container.seek(aim, stream=stream)
            if beside is not None:
                beside.flush_buffers()
            frames = _decoded(container.demux(stream), beside)
        for frame in islice(frames, RUN if place == 0 or aim is None or reached < aim else 0):
            yield frame
            reached = reached if frame.pts is None else max(reached, frame.pts)
            if aim is not None and reached >= aim:
                break


def _decoded(packets: Iterator[Any], beside: Any) -> Iterator[Any]:
    """The frames of packets, or of what lies beside them, with the times of the packets; none of damaged ones."""
    for packet in packets:
        with suppress(av.error.FFmpegError):  # a damaged frame is found when it is read
            if beside is None:
                yield from packet.decode()
            elif packet.has_sidedata(BESIDE):
                alpha = av.Packet(bytes(packet.get_sidedata(BESIDE))[8:])  # an eight-byte number says: it is alpha
                alpha.pts = packet.pts
                yield from beside.decode(alpha)


def _clear(frame: Any) -> bool:
    """Whether a pixel of a frame lets something through: by its alpha, or by its luma where it has none."""
    fmt = frame.format
    place = next((number for number, each in enumerate(fmt.components) if each.is_alpha), None)
    packed = place is not None and len(frame.planes) < len(fmt.components)
    if packed or fmt.has_palette or fmt.is_big_endian:
        return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < OPAQUE)
    bits = bits_of(fmt)
    return int(samples(frame.planes[place or 0], bits).min()) * 255 < OPAQUE * (2**bits - 1)
