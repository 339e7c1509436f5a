"""A source's sound, cut to an interval and carried into an mp4: packets copied where mp4 can hold them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from flowedit.media.probe import Video, open_video
from flowedit.messages import InputError

MP4_CODECS = {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}  # what players expect in an mp4

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


@dataclass(frozen=True)
class Sound:
    """The interval of a file's sound, in seconds after the first frame that `probe` found, to carry over."""

    video: Video
    start: Fraction
    seconds: Fraction


class SoundTrack:
    """Feeds a source's sound to an output container in step with its video; silent sources add nothing."""

    def __init__(self, sound: Sound, output: Any) -> None:
        self._output, self._ahead = output, None
        try:
            self._source = open_video(sound.video.path)
        except av.error.FFmpegError as error:
            raise InputError(
                f"the sound of {sound.video.path} cannot be read: {error.strerror}; write without it, or give "
                "another file"
            ) from None
        stream: Any = self._source.streams.best("audio")
        self._packets: Iterator[Any] = iter(())
        if stream is None or stream.codec_context is None:
            self._source.close()
            return
        start = sound.video.index.start + sound.start
        if sound.start > 0:
            with suppress(av.error.FFmpegError):  # a container that cannot be sought in is read from its beginning
                self._source.seek(int(start * av.time_base))
        if stream.codec_context.codec.canonical_name in MP4_CODECS:
            self._stream = output.add_stream_from_template(stream)
            self._packets = self._copied(stream, start, start + sound.seconds)
        else:
            rate = stream.codec_context.sample_rate
            self._stream = output.add_stream(
                "aac",
                rate=rate if rate in AAC_RATES else 48000,
                layout="mono" if stream.codec_context.channels == 1 else "stereo",
                options={"b": "192k"},
            )
            self._packets = self._encoded(stream, start, start + sound.seconds)
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        kept = {key: tags[key] for key in ("language", "title") if key in tags}
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
        shift = round(start / stream.time_base)
        for packet in self._source.demux(stream):
            if packet.pts is None or not packet.size:
                continue
            begin = packet.pts * stream.time_base
            stop = begin + (packet.duration or 0) * stream.time_base
            # a packet that begins before the cut stays, at a negative time: mp4's edit list hides that part
            if stop > start and stop <= end:
                packet.pts -= shift
                packet.dts = packet.pts
                packet.stream = self._stream
                yield packet
            elif begin >= end:
                return

    def _encoded(self, stream: Any, start: Fraction, end: Fraction) -> Iterator[Any]:
        codec = self._stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=codec.layout, rate=codec.sample_rate)
        first, last = round(start * codec.sample_rate), round(end * codec.sample_rate)
        position: int | None = None
        for frame in self._frames(stream):
            if position is None:
                position = round(frame.time * codec.sample_rate) if frame is not None else 0
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray()
                left, right = max(first - position, 0), last - position
                position += samples.shape[1]
                if (kept := samples[:, left : max(right, left)]).shape[1]:
                    cut = av.AudioFrame.from_ndarray(kept.copy(), format="fltp", layout=codec.layout.name)
                    cut.sample_rate = codec.sample_rate
                    cut.time_base = Fraction(1, codec.sample_rate)
                    cut.pts = position - samples.shape[1] + left - first
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
