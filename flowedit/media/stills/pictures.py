"""Pictures as a clip: one still, the numbered frames of a folder, or the frames of an animation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

from flowedit.media.planes.alpha import spread
from flowedit.media.rates import frame_rate
from flowedit.media.stills.decode import Decoded, FileHead, decoded, head, is_picture, opened
from flowedit.messages import FileError, InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Of the frames of a folder."""

RATE = Fraction(24)
"""Frames a second of a folder, which names none."""

SHORTEST, USUAL = 10, 100
"""Browsers show a frame of an animation for 100 ms where its file says 10 or less."""


UNIT = 10
"""Milliseconds in which a GIF counts: delays that differ by no more are one rate, rounded."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a clip: `count` of one upright (height, width), from one file or from the files of a folder."""

    kind: Literal["still", "folder", "animation"]
    path: Path
    files: tuple[Path, ...]
    count: int
    size: tuple[int, int]
    format: str
    """What users call the format of its files."""
    fps: Fraction
    """That of a still is 1: it has none."""
    alpha: bool
    """Whether anything shows through; of a folder in those files that are looked at (`planes.alpha.spread`)."""
    profile: str = ""
    """The name of its colour profile, where that is not sRGB."""
    notices: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    delays: tuple[int, ...] = field(default=(), repr=False)
    """Of an animation, how many milliseconds each frame is shown, as its file says."""
    loop: int | None = None
    """Of an animation, how often it is repeated, as its file says; 0 is for ever."""

    @property
    def times(self) -> tuple[Fraction, ...]:
        """When each frame of an uneven animation is shown, and when the last ends, in seconds; else empty."""
        lasting = [lasts(each) for each in self.delays]
        if not lasting or max(lasting) - min(lasting) <= UNIT:
            return ()
        return tuple(Fraction(each, 1000) for each in accumulate(lasting, initial=0))

    def read(self, indices: Sequence[int]) -> Iterator[Decoded]:
        """Yield the pictures at ascending `indices`; raises InputError, FileError for one that cannot be read."""
        if self.kind == "animation":
            yield from self._animated(indices)
            return
        last, kept = -1, None
        for index in indices:
            if kept is None or index != last:
                with opened(self.files[index]) as image:
                    last, kept = index, decoded(image, self.files[index])
                self._check(self.files[index], kept)
            yield kept

    def _animated(self, indices: Sequence[int]) -> Iterator[Decoded]:
        with opened(self.path) as image:
            last, kept = -1, None
            for index in indices:
                if kept is None or index != last:
                    image.seek(index)
                    last, kept = index, decoded(image, self.path)
                    self._check(self.path, kept)
                yield kept

    def _check(self, file: Path, found: Decoded) -> None:
        if found.pixels.shape[:2] != self.size:
            (height, width), (tall, wide) = found.pixels.shape[:2], self.size
            raise InputError(f"{file} is {width}x{height}, others are {wide}x{tall}: give frames of one size")


def look(path: Path) -> Pictures | None:
    """The pictures of a file or a folder; None for a file that FFmpeg is to read.

    Raises InputError or FileError, in one line, for pictures that cannot be read, and for a folder that holds no
    numbered frames of one size.
    """
    if path.is_dir():
        return _folder(path)
    if not is_picture(path):
        return None
    found = head(path)
    if found.frames > 1:
        return _animation(path, found)
    with opened(path) as image:
        clear = decoded(image, path).alpha is not None  # whole, so that a truncated file is refused before all else
    said, profile = tuple(_told(path, found)), _strange(found)
    return Pictures("still", path, (path,), 1, found.size, found.kind, Fraction(1), clear, profile, said, found.labels)


def _told(path: Path, found: FileHead) -> Iterator[str]:
    """What a user hears of a picture's bits, inks and second picture, whatever is made of it."""
    if found.bits > 8:
        yield f"{path} has {found.bits} bits a component: it is edited, and written, in 8"
    if found.mode == "CMYK":
        how = "by its profile" if found.profile_name else "without a profile, so colours are near"
        yield f"{path} is CMYK, for print: it is read as RGB ({how}), and the result is RGB"
    elif found.profile is not None and not found.profile_name:
        yield f"{path} has a colour profile that cannot be read: it is left out"
    if found.pictures > found.frames:
        yield f"{path} holds another picture as well (a gain map, or a second view), which the result leaves out"


def _strange(found: FileHead) -> str:
    """The name of a colour profile that is not sRGB and is kept; else none."""
    letters = re.sub(r"[^a-z]", "", found.profile_name.lower())
    return "" if found.mode in ("CMYK", "L", "LA", "1", "I", "I;16") or "srgb" in letters else found.profile_name


def _animation(path: Path, found: FileHead) -> Pictures:
    with opened(path) as image:
        delays, clear = [], False
        for index in range(found.frames):
            image.seek(index)
            clear = decoded(image, path).alpha is not None or clear  # a WebP's delays are known once it is decoded
            delays.append(round(float(image.info.get("duration") or 0)))
        loop = image.info.get("loop")
    shown = [lasts(each) for each in delays]
    rate = Fraction(1000 * len(shown), sum(shown)).limit_denominator(1001)
    said = list(_told(path, found))
    if found.kind == "GIF" and not path.read_bytes().rstrip(b"\0").endswith(b";"):
        said.append(f"{path} does not end as a GIF does, so it may be truncated: {len(shown)} whole frames are read")
    if max(shown) - min(shown) > UNIT:
        said.append(f"the frames of {path} are shown for {min(shown)} to {max(shown)} ms: the result keeps that")
    count = len(delays)
    told, profile = tuple(said), _strange(found)
    return Pictures(
        "animation", path, (path,), count, found.size, found.kind, rate, clear, profile, told, (), tuple(delays), loop
    )


def lasts(delay: int) -> int:
    """Milliseconds for which browsers show a frame whose file says this delay."""
    return delay if delay > SHORTEST else USUAL


NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\.\w+)")


def _folder(path: Path) -> Pictures:
    """The numbered frames of a folder, in the order of their numbers."""
    try:
        images = [f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    if not images:
        raise InputError(f"{path} is a folder without pictures: give a video, or frames as PNG, JPEG or WebP")
    rows: dict[tuple[str, str], dict[int, Path]] = {}
    for file in sorted(images):
        if (found := NUMBERED.fullmatch(file.name)) is None:
            raise InputError(f"{path} is a folder of pictures, of which {file.name} has no number: {NUMBER_THEM}")
        rows.setdefault((found["before"], found["after"].lower()), {})[int(found["number"])] = file
    if len(rows) > 1:
        first, second = (min(row.values()).name for row in list(rows.values())[:2])
        raise InputError(f"{path} holds more than one row of pictures, {first} and {second}: give each its own folder")
    (row,) = rows.values()
    if len(row) < len(images):
        raise InputError(f"{path} holds two pictures of one number: {NUMBER_THEM}")
    numbers = sorted(row)
    files = tuple(row[number] for number in numbers)
    heads = [head(file) for file in files]
    if other := next((place for place, each in enumerate(heads) if each.size != heads[0].size), None):
        (height, width), (tall, wide) = heads[other].size, heads[0].size
        raise InputError(
            f"{path} holds pictures of several sizes: {files[other].name} is {width}x{height}, {files[0].name} is "
            f"{wide}x{tall}; give frames of one size"
        )
    if moving := next((file for file, each in zip(files, heads, strict=True) if each.frames > 1), None):
        raise InputError(f"{moving} is animated: a folder of frames holds stills, so give the animation itself")
    with_alpha = [file for file, each in zip(files, heads, strict=True) if each.alpha]
    clear = any(_clear(with_alpha[place]) for place in spread(len(with_alpha)))
    said, one = (*_gaps(path, numbers, row), *_told(path, heads[0])), heads[0]
    return Pictures("folder", path, files, len(files), one.size, one.kind, RATE, clear, _strange(one), said)


def _clear(file: Path) -> bool:
    with opened(file) as image:
        return decoded(image, file).alpha is not None


NUMBER_THEM = "name them alike, frame_0001.png, frame_0002.png and so on"


def _gaps(path: Path, numbers: Sequence[int], row: dict[int, Path]) -> Iterator[str]:
    """A word on numbers that are missing between the first and the last."""
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if gaps:
        shown = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:4])
        more = f" and {len(gaps) - 4} more gaps" if len(gaps) > 4 else ""
        lost = sum(b - a + 1 for a, b in gaps)
        yield f"{path} lacks {lost} of its frames, number {shown}{more}: those that are there follow each other"


def rate_told(of: Pictures) -> str:
    """What a user hears who gave a folder of frames no rate."""
    named = f"the folder {str(of.path)!r} names no rate"
    return f"{named}: its frames, {of.count}, play at {of.fps} a second (--fps says another)"


def chosen(of: Pictures, start: int, frames: int | None, fps: object) -> Fraction:
    """The rate that a still's or a folder's frames play at: a user's own for a folder.

    Raises InputError for options of time that a still has no use for.
    """
    if of.kind == "folder":
        return of.fps if fps is None else frame_rate(fps)  # type: ignore[arg-type]
    given = {"start": start or None, "frames": frames if frames != 1 else None, "fps": fps}
    if wrong := [(f"--{name}", value) for name, value in given.items() if value is not None]:
        option, value = wrong[0]
        raise InputError(f"{option} {value}: {of.path} is a still, a clip of one frame; leave {option} out")
    return of.fps
