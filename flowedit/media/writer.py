"""Writes frames as a video that appears under its name only when it is whole; beside other work, if wished."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from flowedit.machine import whole_file
from flowedit.media.colours import BT709, Colour
from flowedit.media.formats.forms import MP4, FileForm
from flowedit.media.formats.yuv import yuv_of
from flowedit.media.pixels import resize
from flowedit.media.planes.picture import EXACT, Planar, to_frame
from flowedit.media.sound import Sound, SoundTrack
from flowedit.media.stills.decode import Decoded
from flowedit.media.stills.write import dressed
from flowedit.messages import FileError, InputError

THREADS = 4  # a fixed number: x264 writes other bytes for another number of threads


class Writer:
    """Write uint8 RGB frames of one (height, width) as a video of limited range: H.264 in mp4, or as `form` says.

    A context manager: the file appears under its name on a clean exit only. Frame i is shown at i / `fps`; or at
    `times[i]` seconds, which begin at 0 and have one more, where the last frame ends. `pixel_aspect` is in the file,
    or becomes 1 where its kind has square pixels alone. `crf` is the codec's quality, its
    own usual one for None; x264's goes from 0 (lossless) to 51. `colour` says what colours the RGB is of, and by which
    matrix it becomes YUV: a source's own, so that nothing is rounded anew. `labels` are the file's title and the like.
    `matrix` says how players turn the pictures (FFmpeg's display matrix). `pictures` are the originals of RGB frames,
    and lend them alpha where `form` has it. Raises ValueError for frames of another shape or none at all, and OSError
    when the folder or the disk refuses the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        fps: Fraction,
        sound: Sound | None = None,
        crf: int | None = None,
        pixel_aspect: Fraction = Fraction(1),
        colour: Colour = BT709,
        labels: Iterable[tuple[str, str]] = (),
        form: FileForm = MP4,
        times: Sequence[Fraction] = (),
        matrix: tuple[int, ...] | None = None,
        pictures: Iterator[Decoded] | None = None,
    ) -> None:
        worst = form.encoder.most
        if min(size) < 2 or fps <= 0 or (crf is not None and not 0 <= crf <= worst):
            raise InputError(
                f"cannot write size {size}, fps {fps}, crf {crf}: sides must be 2 or more, fps above "
                f"0, crf from 0 to {worst}"
            )
        self.path, self.size, self.fps = Path(path), size, Fraction(fps)
        self.frames = 0
        self._form, self._written = form, form.written(size, pixel_aspect)
        self._format = form.pixel_format(self._written)
        self._crf = form.encoder.crf if crf is None else crf
        self._pixel_aspect = pixel_aspect if self._written == size else Fraction(1)
        self._source = sound
        self._colour, self._labels = form.encoder.tagged(colour), dict(labels)
        self._times, self._base = times, time_base(times) if times else 1 / self.fps
        self._matrix, self._originals = matrix, iter(()) if pictures is None else pictures
        self._lasts: dict[int, int] = {}
        self._sound: SoundTrack | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with self._refusing("file"):
                self._open(stack.enter_context(whole_file(self.path, parents=False)), stack)
            with self._refusing("sound"):
                if self._source is not None:
                    self._sound = SoundTrack(self._source, self._container, self._form.container)
            self._stack = stack.pop_all()
        return self

    def _open(self, part: Path, stack: ExitStack) -> None:
        # av.open would also take a folder that is not there, and report it by a bare errno
        part.open("wb").close()
        container, encoder = self._form.container, self._form.encoder
        flags = {"movflags": "+faststart"} if container.muxer in ("mp4", "mov") else {}
        self._container: Any = av.open(str(part.absolute()), "w", format=container.muxer, options=flags)
        stack.push(self._close)
        options = encoder.options(self._crf or 0, self._colour, self._written)
        os.environ.setdefault("SVT_LOG", "1")  # errors alone: SVT-AV1 has no other way to be quiet
        stream: Any = self._container.add_stream(encoder.library, rate=self.fps, options=options)
        stream.height, stream.width = self._written
        stream.pix_fmt = self._format
        codec = stream.codec_context
        codec.time_base, codec.thread_count = self._base, THREADS
        if self._times:
            codec.max_b_frames = 0  # else mp4 counts how long frames last in another order than they are shown
        codec.sample_aspect_ratio = self._pixel_aspect
        codec.color_primaries, codec.color_trc = self._colour.primaries, self._colour.transfer
        codec.colorspace = self._colour.matrix
        codec.color_range = ColorRange.MPEG
        if encoder.tag is not None and container.muxer in ("mp4", "mov"):
            codec.codec_tag = encoder.tag
        if self._matrix is not None:
            stream.set_display_matrix(self._matrix)
        self._stream = stream
        self._container.metadata.update(self._labels)

    def write(self, frames: np.ndarray | Sequence[Planar]) -> None:
        """Append frames: uint8 (f, H, W, 3) RGB, or pictures as their file stores them, which keep their bits.

        Raises ValueError for another shape or type.
        """
        if isinstance(frames, np.ndarray):
            fit = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[1:] == (*self.size, 3)
        else:
            fit = all(each.size == self.size for each in frames)
        if not fit:
            shape, kind = getattr(frames, "shape", len(frames)), getattr(frames, "dtype", "as stored")
            raise InputError(
                f"frames of shape {shape} and type {kind} do not fit {self.path}: "
                f"expected uint8 (f, {self.size[0]}, {self.size[1]}, 3)"
            )
        for each in frames:
            picture = self._stored(each) if isinstance(each, Planar) else self._picture(each)
            picture.pts, picture.time_base = self._at(self.frames), self._base
            self._lasts[picture.pts] = self._at(self.frames + 1) - picture.pts
            self._encode(picture)
            self.frames += 1
            with self._refusing("sound"):
                if self._sound is not None:
                    self._sound.advance(self._at(self.frames) * self._base)

    def _at(self, frame: int) -> int:
        """When this frame is shown, in units of the time base."""
        return round(self._times[frame] / self._base) if self._times else frame

    def _encode(self, picture: Any) -> None:
        """Encode and mux a picture, or None: what is left."""
        with self._refusing("video"):
            packets = self._stream.encode(picture)
        with self._refusing("file"):
            self._mux(packets)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            if self._times:  # encoders say only how long a frame of the nominal rate lasts
                packet.duration = self._lasts.pop(packet.pts)
            if self._form.codec == "h265" and self.frames < 3:  # x265 makes up when so few are decoded
                packet.dts = packet.pts
            self._container.mux(packet)

    def _stored(self, frame: Planar) -> Any:
        picture, (height, width) = to_frame(frame, self._colour), self._written
        if picture.format.name != self._format or frame.full or frame.size != self._written:
            limited: dict[str, Any] = {"dst_colorspace": self._colour.matrix, "dst_color_range": ColorRange.MPEG}
            how: dict[str, Any] = {"format": self._format, "interpolation": Interpolation.BICUBIC | EXACT, "threads": 1}
            picture = picture.reformat(width, height, **how, **limited)
        return picture

    def _picture(self, frame: np.ndarray) -> Any:
        frame = resize(dressed(frame, next(self._originals, None))[None], self._written)[0]
        picture: Any = av.VideoFrame(self._written[1], self._written[0], self._format)
        matrix = self._colour.matrix
        picture.colorspace, picture.color_range = matrix, ColorRange.MPEG
        picture.color_primaries, picture.color_trc = self._colour.primaries, self._colour.transfer  # ProRes asks frames
        parts = yuv_of(frame[..., :3], matrix, self._form.sampling(self._written), self._form.depth)
        if self._form.alpha:
            most = 2**self._form.depth - 1
            alpha = frame[..., 3:].astype(np.float32) if frame.shape[-1] == 4 else np.full(self._written, 255.0)
            parts.append(np.rint(alpha.reshape(self._written) * (most / 255)).astype(parts[0].dtype))
        for plane, values in zip(picture.planes, parts, strict=True):
            np.frombuffer(plane, values.dtype).reshape(plane.height, -1)[:, : plane.width] = values
        return picture

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._refusing("file"), self._stack:
            if not self.frames:
                raise InputError(f"no frames were written to {self.path}: write at least one")
            self._encode(None)
            with self._refusing("sound"):
                if self._sound is not None:
                    self._sound.finish()

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the container before its file is renamed; after an error its own complaint says nothing new."""
        try:
            self._container.close()
        except (OSError, ValueError):
            if error is None:
                raise

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Errors of FFmpeg and of the disk in one line, for what of a file is at fault: "video", "sound" or "file"."""
        try:
            yield
        except FileError:
            raise
        except (OSError, av.error.FFmpegError) as error:
            raise self._refused(error, what) from None

    def _refused(self, error: Exception, what: str) -> Exception:
        said, form = getattr(error, "strerror", None) or error, self._form
        if isinstance(error, OSError):
            room = "choose a folder that exists, may be written and has room"
            return FileError(f"cannot write {self.path}: {said}; {room}")
        if what == "video":
            size = f"{self._written[1]}x{self._written[0]}"
            asked = f"{form.encoder.library} does not encode {self._format} of {size} ({said})"
            return InputError(f"cannot write {self.path}: {asked}; choose another --codec or --format")
        silent = "take the sound out of the source, or export it again"
        if what == "sound":
            return InputError(f"cannot write the sound of {self.path} as {form.format}: {said}; {silent}")
        advice = "choose another --format" + (f", or {silent}" if self._sound is not None else "")
        return InputError(f"cannot write {self.path} as {form.format}: {said}; {advice}")


def time_base(times: Sequence[Fraction]) -> Fraction:
    """A unit in which all these times are whole numbers; 1/90000 s where that is too small."""
    base = Fraction(1, math.lcm(*(time.denominator for time in times)))
    return base if base >= Fraction(1, 1_000_000) else Fraction(1, 90_000)


class Beside:
    """Does one thing after another in a thread of its own, while what comes next is made; at most `most` wait.

    A context manager: a clean exit waits until all is done. The first error of the thread ends it; it is raised at the
    next call, or on exit. An error of the block, or an interrupt while it waits at the end, ends the thread after the
    thing that it is at.
    """

    def __init__(self, most: int = 2) -> None:
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._error: BaseException | None = None
        self._ended = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __call__(self, work: Callable[[], None]) -> None:
        """Have this done; waits while `most` others wait."""
        self._raise()
        self._waiting.put(work)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            if self._ended or self._error is not None:
                continue  # taken, so that nobody waits for room
            try:
                work()
            except BaseException as error:  # raised where it is heard
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            self._ended = True
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = self._ended or error is not None
        try:
            self._finish()
        except BaseException:  # interrupted: the thread must not outlive the files that it writes
            self._ended = True
            self._finish()
            raise
        if error is None:
            self._raise()

    def _finish(self) -> None:
        """Wait for the thread's end; asked for twice, the second sign lies unread."""
        self._waiting.put(None)
        self._thread.join()
