"""Uploaded clips: checked by content, kept under an id, with what a browser needs to show them."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from flowedit.app.limits import TooMuchError, UnknownError, check_id, safe_stem, safe_suffix
from flowedit.app.options import MIB, StudioOptions
from flowedit.machine import IMAGES, read_json, whole_folder
from flowedit.media import cuts
from flowedit.media.pixels import resize
from flowedit.media.probe import Video, probe
from flowedit.media.reader import read
from flowedit.media.sound import Sound
from flowedit.media.stills.decode import FileHead, head, is_picture
from flowedit.media.writer import Writer
from flowedit.messages import Error

FACTS, SHOWN, POSTER = "facts.json", "video.mp4", "poster.jpg"

WIDEST, POSTER_WIDTH = 960, 480
"""Pixels of what a browser is shown."""

MOST_SIDE, MOST_RATE = 8192, 240
"""Pixels of a side, and frames a second, beyond which nothing is decoded."""

MOST_PIXELS = 2 * 10**10
"""Pixels of all frames, beyond which nothing is decoded: about a minute of 3840x2160 at 30 frames a second."""

TAKEN = ".upload"
"""What an upload is called until it is known what it holds."""

SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WebP": (".webp",), "GIF": (".gif",), "BMP": (".bmp",)}
"""What pictures of a kind may be called."""


@dataclass(frozen=True)
class StoredClip:
    """An uploaded clip: what its file holds, and the first frames of its scenes; `file` is a name in its folder."""

    id: str
    name: str
    file: str
    owner: str | None
    width: int
    height: int
    fps: float
    frames: int
    seconds: float
    has_audio: bool
    scenes: list[int]
    still: bool
    created: float
    times: list[float] = field(default_factory=list)
    """As `seconds_of` gives them; of a clip that was kept before they were, its copy is even."""

    def plain(self) -> dict[str, Any]:
        """What the API tells of it."""
        told = {key: value for key, value in asdict(self).items() if key not in ("file", "owner", "created")}
        files = {"video": SHOWN, "poster": POSTER, "original": "original"}
        return told | {key: f"{self.address}/{name}" for key, name in files.items()}

    @property
    def address(self) -> str:
        """Where the API has it."""
        return f"/api/clips/{self.id}"

    @property
    def given(self) -> str:
        """The name of the file that is edited: the last part of the user's own, with the suffix that its content has.

        Ours where nothing is left of the user's.
        """
        last, suffix = re.split(r"[/\\]", self.name)[-1], Path(self.file).suffix
        if not last.strip(". "):
            return self.file
        return last if last.lower().endswith(suffix) else f"{Path(last).stem}{suffix}"


class Clips:
    """The folder of all clips."""

    def __init__(self, root: Path, options: StudioOptions) -> None:
        self.root, self._options = root, options

    def folder(self, id: str) -> Path:
        """Where a clip's files are; raises UnknownError for an id of none."""
        place = self.root / check_id(id, "clip")
        if not (place / FACTS).is_file():
            raise UnknownError(f"no clip is called {id!r}: upload it again")
        return place

    def get(self, id: str) -> StoredClip:
        """A clip by its id; raises UnknownError."""
        return StoredClip(**read_json(self.folder(id) / FACTS))

    def path(self, id: str) -> Path:
        """The file that is edited."""
        return self.folder(id) / self.get(id).file

    def all(self) -> list[StoredClip]:
        """Every clip; what cannot be read is passed over."""
        found = []
        for place in sorted(self.root.glob(f"*/{FACTS}")):
            with suppress(Error, TypeError):
                found.append(self.get(place.parent.name))
        return found

    def add(self, id: str, source: str | Path | IO[bytes], name: str, owner: str | None) -> StoredClip:
        """Keep a file under an id, checked and made ready to be shown; what is refused leaves nothing.

        Raises TooMuchError beyond the limits, InputError for what is no video or image that can be read.
        """
        shown = name.replace("\0", "").strip()[:200] or "clip"
        with whole_folder(self.root / id) as stage:
            path = stage / TAKEN
            self._take(source, path)
            try:
                found = head(path) if path.stat().st_size and is_picture(path) else None
                path = path.rename(_place(stage, name, found))
                if found is not None:  # all frames of a picture are decoded to look at it
                    check_pixels(path, found.size, found.frames)
                video = probe(path)
                self._check(video)
                scenes = _show(video, stage)
            except Error as error:
                raise renamed(error, path, shown) from None
            height, width = video.shown
            clip = StoredClip(
                id=id,
                name=shown,
                file=path.name,
                owner=owner,
                width=width,
                height=height,
                fps=round(float(video.mean_rate), 6),
                frames=video.frames,
                seconds=round(float(video.seconds), 3),
                has_audio=video.has_audio,
                scenes=scenes,
                still=video.still,
                created=time.time(),
                times=seconds_of(video),
            )
            (stage / FACTS).write_text(json.dumps(asdict(clip), indent=1), encoding="utf-8")
        return clip

    def _take(self, source: str | Path | IO[bytes], path: Path) -> None:
        """Copy a file or a stream, never more than the limit."""
        if isinstance(source, (str, Path)):
            if Path(source).is_file() and Path(source).stat().st_size > self._options.most_bytes:
                raise self.too_large()
            shutil.copyfile(source, path)
            return
        taken = 0
        with path.open("wb") as file:
            while part := source.read(MIB):
                taken += len(part)
                if taken > self._options.most_bytes:
                    raise self.too_large()
                file.write(part)

    def too_large(self) -> TooMuchError:
        """What is said of an upload beyond the limit."""
        return TooMuchError(f"the file is larger than {self._options.upload_limit} MiB: cut or compress it first")

    def _check(self, video: Video) -> None:
        check_pixels(video.path, video.size, video.frames)
        seconds = float(video.seconds)
        if seconds > self._options.longest:
            raise TooMuchError(
                f"{video.path} lasts {seconds:.1f} s: at most {self._options.longest:g} s, so cut it first"
            )
        if video.fps > MOST_RATE:
            raise TooMuchError(f"{video.path} has {float(video.fps):.0f} frames a second: at most {MOST_RATE}")


def _place(folder: Path, name: str, picture: FileHead | None) -> Path:
    """Where a file is kept: its name's last part, with the suffix that its content has; a video has no picture's."""
    suffix = safe_suffix(name)
    if picture is not None:
        of = SUFFIXES[picture.kind]
        suffix = suffix if suffix in of else of[0]
    elif suffix in IMAGES:
        suffix = ".mp4"
    kept = safe_stem(name) + suffix
    return folder / (f"clip-{kept}" if kept in (FACTS, SHOWN, POSTER) else kept)


def check_pixels(path: Path, size: tuple[int, int], frames: int) -> None:
    """Raise TooMuchError for more pixels than are decoded, of a side or of all frames; size (height, width)."""
    height, width = size
    if max(size) > MOST_SIDE:
        raise TooMuchError(f"{path} is {width}x{height}: at most {MOST_SIDE} pixels a side")
    if frames * height * width > MOST_PIXELS:
        raise TooMuchError(
            f"{path} is {frames} frames of {width}x{height}, more than {MOST_PIXELS:.0e} pixels: cut it, or make it "
            "smaller"
        )


def renamed(error: Error, path: Path, shown: str) -> Error:
    """The same error with the user's name of the file in place of ours."""
    ours = "|".join(re.escape(each) for each in (str(path), path.name))  # at once: theirs may hold ours
    return type(error)(re.sub(ours, lambda _: shown, error.args[0]) if error.args else shown)


def _show(video: Video, folder: Path) -> list[int]:
    """Write what a browser plays and a poster; and the first frames of the scenes, of the same pass."""
    size = even(fitted(video.shown, WIDEST))
    sound = Sound(video, Fraction(0), video.seconds) if video.has_audio else None
    with Writer(folder / SHOWN, size, video.fps, sound=sound, crf=20, times=video.times) as writer:

        def seen() -> Iterator[np.ndarray]:
            for part in read(video, range(video.frames), chunk_of(video.size)):
                small = resize(part, size)
                if not writer.frames:
                    write_poster(folder / POSTER, small[0])
                writer.write(small)
                yield from small

        return [0, *cuts.find(seen())]


def seconds_of(video: Video) -> list[float]:
    """When each frame begins, and the last ends, in seconds, where they come unevenly; else empty."""
    return [round(float(time), 6) for time in video.times]


def write_poster(path: Path, frame: np.ndarray) -> None:
    """A frame uint8 (H, W, 3) as a JPEG of at most 480 pixels' width."""
    path.write_bytes(jpeg(resize(frame[None], fitted(frame.shape[:2], POSTER_WIDTH))[0]))


def jpeg(frame: np.ndarray) -> bytes:
    """A frame uint8 (H, W, 3) RGB as the bytes of a JPEG."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return bytes(data)


def fitted(size: Sequence[int], widest: int) -> tuple[int, int]:
    """(height, width) reduced to a width, its aspect kept; a smaller one stays."""
    height, width = size[0], size[1]
    share = min(1.0, widest / width)
    return max(2, round(height * share)), max(2, round(width * share))


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The sides as even numbers, as yuv420p asks."""
    return max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2)


def chunk_of(size: Sequence[int]) -> int:
    """Frames of this (height, width) that are held at once."""
    return max(1, min(16, 2**26 // (size[0] * size[1] * 3)))
