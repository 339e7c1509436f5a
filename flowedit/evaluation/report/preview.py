"""Videos and stills for a page: small copies as data: URIs (H.264, or WebP of a still), or links to the files."""

import base64
import io
import os
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import cv2
import numpy as np
from PIL import Image

from flowedit.media import pixels, reader
from flowedit.media.probe import Prober, Video, probe
from flowedit.media.writer import Writer

HEIGHT = 320
"""The highest that a copy is; a video lower than SMALL grows towards it by whole pixels."""

SMALL = 160

STILL = 720
"""The highest that the copy of a still is."""

FRAMES = 240
"""The most frames that a copy holds, at the video's own rate."""

CRF = 26


class Film(NamedTuple):
    """Where a page finds a video, how many of its `total` frames are there, and their rate; or why it cannot be shown.

    `src` is empty where `fault` is not; `file` is the video itself, relative to the page.
    """

    src: str
    frames: int = 0
    total: int = 0
    fps: float = 0.0
    fault: str = ""
    file: str = ""
    still: bool = False
    """Whether it is a picture."""
    times: tuple[float, ...] = ()
    """Where frames come unevenly: when each is shown, and when the last ends, in seconds."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.times[-1] if self.times else self.frames / self.fps


def link(path: Path, folder: Path, look: Prober = probe) -> Film:
    """The file itself, by its path relative to the page's folder; `look` probes it."""
    try:
        info = look(path)
        # no such path leads to another drive
        place = os.path.relpath(path, folder)
    except (OSError, ValueError) as error:
        return _missing(path, error)
    src = quote(Path(place).as_posix())
    if info.pictures is not None and not info.still:  # which no video element plays
        return Film("", fault=f"{path.name} is shown by a copy alone, and this page is full", file=src)
    return _film(src, info, info.frames)._replace(file=src)


def embed(path: Path, look: Prober = probe) -> Film:
    """A copy of its first FRAMES frames as a data: URI; `look` probes it."""
    try:
        info = look(path)
        data = base64.b64encode(_picture(info) if info.still else _copy(info)).decode()
    except (OSError, ValueError) as error:
        return _missing(path, error)
    if info.still:
        return Film(f"data:image/webp;base64,{data}", 1, 1, float(info.fps), still=True)
    return _film(f"data:video/mp4;base64,{data}", info, min(info.frames, FRAMES))


def _film(src: str, info: Video, frames: int) -> Film:
    times = tuple(round(float(time), 6) for time in info.times[: frames + 1])
    return Film(src, frames, info.frames, float(info.mean_rate), still=info.still, times=times)


def size(info: Video) -> pixels.Size:
    """(height, width) of a copy: square pixels, even sides."""
    height, width = info.size[0], float(info.size[1] * info.pixel_aspect)
    scale = (
        min(1.0, (STILL if info.still else HEIGHT) / height)
        if height >= SMALL
        else float(max(1, int(HEIGHT / max(height, width))))
    )
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _picture(info: Video) -> bytes:
    (frames,) = reader.read(info, [0])
    shape, data = size(info), io.BytesIO()
    shown = _nearest(frames, shape) if info.size[0] < SMALL else pixels.resize(frames, shape)
    Image.fromarray(shown[0]).save(data, "WEBP", quality=95)
    return data.getvalue()


def _copy(info: Video) -> bytes:
    shape = size(info)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.mp4"
        count = min(info.frames, FRAMES)
        with Writer(path, shape, info.fps, crf=CRF, times=info.times[: count + 1]) as writer:
            for frames in reader.read(info, range(count), chunk=8):
                writer.write(_nearest(frames, shape) if info.size[0] < SMALL else pixels.resize(frames, shape))
        return path.read_bytes()


def _nearest(frames: np.ndarray, shape: pixels.Size) -> np.ndarray:
    """The same pixels, larger: a pixelated clip stays what it is."""
    return np.stack([cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_NEAREST) for frame in frames])


def _missing(path: Path, error: Exception) -> Film:
    """A page says which file, and not where on this machine it lies."""
    return Film("", fault=str(error).replace(str(path), path.name))
