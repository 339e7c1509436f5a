"""A source's sound and subtitles, cut to an interval and carried into its edit: packets copied where they may be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from flowedit.media.formats.containers import Container
from flowedit.media.formats.forms import MP4
from flowedit.media.probe import Video, open_video
from flowedit.messages import InputError

RATES = {
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "libopus": (8000, 12000, 16000, 24000, 48000),
}
"""Samples a second that an encoder takes, where it does not take all."""

BITS = {"aac": 96_000, "libopus": 80_000}
"""Bits a second of a channel of encoded sound, counted as two at least; of more than two a third less."""

LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "quad", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
"""Where loudspeakers stand, by FFmpeg's names, that an encoder which compresses can say."""

SAME = {
    **{"quad(side)": "quad", "5.0(side)": "5.0", "5.1(side)": "5.1"},
    **{"6 channels": "5.1", "8 channels": "7.1"},
}
"""Layouts by the name of the one they are played as: the side's loudspeakers at the back, and PCM that names none."""

LAPPED = ("aac", "ac3", "eac3", "mp2", "mp3", "opus", "vorbis")
"""Codecs whose packets sound right only after the one before."""

OLD_NAMES = {
    "deu": "ger", "ell": "gre", "fas": "iri", "fre": "fra", "isl": "ice", "mkd": "mac", "nld": "dut", "sqi": "alb",
    "swe": "sve", "zho": "chi",
}  # fmt: skip
"""Languages (ISO 639-2) as a mov knows them; it drops what it does not know."""


@dataclass(frozen=True)
class Sound:
    """The interval of a file's sound, in seconds after the first frame that `probe` found, to carry over.

    `tracks` are the indices of the streams, sound and subtitles, in the order of the result; None is the one sound that
    players take by themselves.
    """

    video: Video
    start: Fraction
    seconds: Fraction
    tracks: tuple[int, ...] | None = None


def carried(stream: Any, container: Container = MP4.container) -> str | None:
    """What becomes of a stream of a source in a kind of file: "copied", "encoded" anew, or None where it is left."""
    if stream.codec_context is None:
        return None
    name = stream.codec_context.codec.canonical_name
    if stream.type == "audio":
        return "copied" if name in container.sound else "encoded"
    return "copied" if stream.type == "subtitle" and name in container.subtitles else None


class SoundTrack:
    """Feeds a source's sound and subtitles to an output in step with its video; silent sources add nothing."""

    def __init__(self, sound: Sound, output: Any, container: Container = MP4.container) -> None:
        tracks: tuple[int | None, ...] = (None,) if sound.tracks is None else sound.tracks
        self._tracks = [_Track(sound, index, output, container) for index in tracks]
        if container.chapters:
            output.set_chapters(chapters(sound))

    def advance(self, seconds: Fraction) -> None:
        """Mux the packets that begin before `seconds` of the output."""
        for track in self._tracks:
            track.advance(seconds)

    def finish(self) -> None:
        """Mux the packets that are left."""
        for track in self._tracks:
            track.finish()


def chapters(sound: Sound) -> list[Any]:
    """The source's chapters that lie in the interval, cut to it and counted from its beginning."""
    kept: list[Any] = []
    unit, begin = Fraction(1, 1000), sound.video.index.start + sound.start
    for each in sound.video.chapters:
        start, end = max(Fraction(0), each.start - begin), min(each.end - begin, sound.seconds)
        if start < end:
            times = {"start": round(start / unit), "end": round(end / unit), "time_base": unit}
            kept.append({"id": len(kept) + 1, "metadata": dict(each.words), **times})
    return kept


class _Track:
    """One stream of the source, by its index or the best sound, read by itself."""

    def __init__(self, sound: Sound, index: int | None, output: Any, container: Container) -> None:
        self._output, self._ahead = output, None
        self._hides = container.hides
        try:
            self._source = open_video(sound.video.path)
        except av.error.FFmpegError as error:
            raise InputError(
                f"the sound of {sound.video.path} cannot be read: {error.strerror}; write without it, or give "
                "another file"
            ) from None
        streams = self._source.streams
        stream: Any = streams.best("audio") if index is None else streams[index]
        self._packets: Iterator[Any] = iter(())
        how = None if stream is None else carried(stream, container)
        if how is None:
            self._source.close()
            return
        start = sound.video.index.start + sound.start
        if sound.start > 0 and stream.type == "audio":
            with suppress(av.error.FFmpegError):  # a container that cannot be sought in is read from its beginning
                self._source.seek(int(start * av.time_base))
        if how == "copied":
            self._stream = output.add_stream_from_template(stream)
            copied = self._copied if stream.type == "audio" else self._shown
            self._packets = copied(stream, start, start + sound.seconds)
        else:
            self._stream = _encoder(stream, output, container.encoded)
            self._packets = self._encoded(stream, start, start + sound.seconds)
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        kept = {key: tags[key] for key in ("language", "title") if key in tags}
        if container.muxer == "mov" and "language" in kept:
            kept["language"] = OLD_NAMES.get(kept["language"], kept["language"])
        name = {"handler_name": tags["title"]} if "title" in tags else {}  # where an mp4 keeps a track's title
        self._stream.metadata.update(kept | name)

    def advance(self, seconds: Fraction) -> None:
        """Mux the packets that begin before `seconds` of the output."""
        while True:
            if self._ahead is None:
                self._ahead = next(self._packets, None)
            if self._ahead is None or self._ahead.pts * self._ahead.time_base >= seconds:
                return
            self._output.mux(self._ahead)
            self._ahead = None

    def finish(self) -> None:
        """Mux the packets that are left."""
        self.advance(Fraction(10**9))
        self._source.close()

    def _copied(self, stream: Any, start: Fraction, end: Fraction) -> Iterator[Any]:
        """Packets that sound in the interval, and the one before where decoders need it; the last is cut at the end.

        A packet that begins before the interval stays, at a negative time: the edit list of an mp4 hides that part.
        """
        base, name = stream.time_base, stream.codec_context.codec.canonical_name
        shift, lead, first = round(start / base), name in LAPPED and self._hides, True
        before: Any = None
        for packet in self._source.demux(stream):
            if packet.pts is None or not packet.size:
                continue
            begin = packet.pts * base
            stop = begin + (packet.duration or 0) * base
            if begin >= end:
                return
            if stop <= start:
                before = packet
                continue
            if first and lead and before is not None:
                yield self._moved(before, shift)
            first = False
            if stop > end:
                packet.duration = max(1, round((end - begin) / base))
            yield self._moved(packet, shift)

    def _moved(self, packet: Any, shift: int) -> Any:
        packet.pts -= shift
        packet.dts = packet.pts
        packet.stream = self._stream
        return packet

    def _shown(self, stream: Any, start: Fraction, end: Fraction) -> Iterator[Any]:
        """Subtitles, those that are shown across an end of the interval cut there."""
        base = stream.time_base
        for packet in self._source.demux(stream):
            if packet.pts is None or not packet.size:
                continue
            begin = packet.pts * base
            left, right = max(begin, start), min(begin + (packet.duration or 0) * base, end)
            if left < right:
                packet.pts = packet.dts = round((left - start) / base)
                packet.duration = round((right - start) / base) - packet.pts
                packet.stream = self._stream
                yield packet

    def _encoded(self, stream: Any, start: Fraction, end: Fraction) -> Iterator[Any]:
        codec = self._stream.codec_context
        # packed: PyAV cannot take apart eight planes
        resampler, channels = av.AudioResampler("flt", codec.layout, codec.sample_rate), codec.layout.nb_channels
        first, last = round(start * codec.sample_rate), round(end * codec.sample_rate)
        position: int | None = None
        for frame in self._frames(stream):
            if position is None:
                position = round(frame.time * codec.sample_rate) if frame is not None else 0
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray().reshape(-1, channels)
                left, right = max(first - position, 0), last - position
                position += len(samples)
                if len(kept := samples[left : max(right, left)]):
                    cut = av.AudioFrame.from_ndarray(kept.reshape(1, -1), format="flt", layout=codec.layout.name)
                    cut.sample_rate = codec.sample_rate
                    cut.time_base = Fraction(1, codec.sample_rate)
                    cut.pts = position - len(samples) + left - first
                    yield from self._stream.encode(cut)
            if position >= last:
                break
        yield from self._stream.encode(None)

    def _frames(self, stream: Any) -> Iterator[Any]:
        """Decoded frames, then None (the resampler's flush); damaged ones are left out."""
        for packet in self._source.demux(stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue
        yield None


def mixed_to(stream: Any, encoder: str) -> str | None:
    """The layout that encoded sound is mixed to where the encoder cannot say the source's; None where it can."""
    name = stream.codec_context.layout.name
    if encoder not in LAYOUTS or SAME.get(name, name) in LAYOUTS[encoder]:
        return None
    return "5.1" if stream.codec_context.channels > 6 else "stereo"


def _encoder(stream: Any, output: Any, name: str) -> Any:
    """A stream of encoded sound."""
    source, known = stream.codec_context, RATES.get(name)
    rate = source.sample_rate if known is None or source.sample_rate in known else 48000
    layout = mixed_to(stream, name) or source.layout.name
    layout = layout if known is None else SAME.get(layout, layout)
    pair = 2 * BITS.get(name, 0)
    options = {"b": str(max(pair, pair * av.AudioLayout(layout).nb_channels // 3))} if pair else {}
    return output.add_stream(name, rate=rate, layout=layout, options=options)
