"""VIDEO values: a file or frames with sound, by PyAV as in ComfyUI; see ../../README.md."""

import io
import shutil
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import torch


@dataclass
class VideoComponents:
    """Images (frames, height, width, 3) of 0 to 1; audio is {"waveform": (1, channels, samples), "sample_rate"}."""

    images: torch.Tensor
    frame_rate: Fraction
    audio: dict | None = None
    alpha: torch.Tensor | None = None
    metadata: dict | None = None


class VideoFromFile:
    """A path or bytes, and a stretch of it in seconds; 0 seconds long: to its end."""

    def __init__(self, file, *, start_time=0, duration=0):
        self._file, self._start, self._duration = file, start_time, duration

    def get_stream_source(self):
        """The whole file, trimmed or not."""
        return self._file

    def get_active_trim_window(self):
        """First second and length."""
        return float(self._start), float(self._duration)

    def as_trimmed(self, start_time=0, duration=0, strict_duration=False):
        """The same, of another stretch."""
        return VideoFromFile(self._file, start_time=start_time, duration=duration)

    def get_dimensions(self):
        """(width, height)."""
        with av.open(self._file) as container:
            return container.streams.video[0].width, container.streams.video[0].height

    def get_components(self):
        """Everything in memory."""
        end = self._start + self._duration if self._duration else float("inf")
        with av.open(self._file) as container:
            rate = container.streams.video[0].average_rate
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0) if self._start <= f.time < end]
        audio = None
        with av.open(self._file) as container:
            if container.streams.audio:
                stream = container.streams.audio[0]
                resampler = av.AudioResampler(format="fltp")
                parts = [p.to_ndarray() for f in container.decode(stream) for p in resampler.resample(f)]
                wave = np.concatenate(parts, 1)
                first = round(self._start * stream.rate)
                wave = wave[:, first : first + round(self._duration * stream.rate) if self._duration else None]
                audio = {"waveform": torch.from_numpy(wave)[None], "sample_rate": stream.rate}
        return VideoComponents(torch.from_numpy(np.stack(frames)).float() / 255, Fraction(rate), audio)

    def save_to(self, path, format="auto", codec="auto", metadata=None):
        """Copy the streams, or encode a stretch anew."""
        if self._start or self._duration:
            VideoFromComponents(self.get_components()).save_to(path)
        else:
            shutil.copyfile(self._file, path)


class VideoFromComponents:
    """Frames and sound in memory."""

    def __init__(self, components):
        self._components = components

    def get_components(self):
        """As they are."""
        return self._components

    def get_dimensions(self):
        """(width, height)."""
        return self._components.images.shape[2], self._components.images.shape[1]

    def get_active_trim_window(self):
        """All of it."""
        return 0.0, 0.0

    def get_stream_source(self):
        """The bytes of an encoded file."""
        buffer = io.BytesIO()
        self.save_to(buffer)
        buffer.seek(0)
        return buffer

    def save_to(self, path, format="auto", codec="auto", metadata=None):
        """H.264 with AAC, in MP4."""
        given = self._components
        with av.open(path, "w", format="mp4") as container:
            stream = container.add_stream("h264", rate=given.frame_rate)
            stream.height, stream.width = given.images.shape[1:3]
            stream.pix_fmt = "yuv420p"
            if given.audio is not None:
                rate = given.audio["sample_rate"]
                wave = given.audio["waveform"][0].numpy()
                sound = container.add_stream("aac", rate=rate, layout="mono" if len(wave) == 1 else "stereo")
            for image in given.images:
                frame = av.VideoFrame.from_ndarray((255 * image).round().byte().numpy(), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if given.audio is not None:
                frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono" if len(wave) == 1 else "stereo")
                frame.sample_rate, frame.pts = rate, 0
                container.mux(sound.encode(frame))
                container.mux(sound.encode())
