"""One picture of a file, as people see it: upright, RGB of 8 bits, with its alpha and what is kept of its colours."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from flowedit.machine import muted
from flowedit.media import colours
from flowedit.messages import FileError, FileMissingError, InputError, listed

NAMES = {"PNG": "PNG", "JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WebP", "GIF": "GIF", "BMP": "BMP"}
"""Pillow's formats that are read, and what users call them. An MPO is a JPEG that holds another picture as well."""

BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")
"""How the files of these formats begin; WebP has its name at byte 8."""

BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, MemoryError),
    *(struct.error, zlib.error),
)
"""What Pillow raises on damaged files."""

ORIENTATION = 0x0112
"""EXIF's tag for how a picture is to be turned."""

FULL = 255
"""Alpha of a pixel that hides all behind it, in pictures, which lose none."""

KEPT = (b"cHRM", b"gAMA", b"sRGB", b"cICP")
"""Chunks of a PNG that say what its colours are: they go into the result as they are."""

HEADS = (*KEPT, b"IHDR", b"acTL")


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels uint8 (H, W, 3), alpha uint8 (H, W) or None, and what a result keeps so that its colours mean the same.

    `profile` is an ICC profile of RGB; `tags` are chunks of a PNG.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    tags: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def shown(self) -> np.ndarray:
        """The pixels with white where nothing can be seen: what is stored there may be anything."""
        if self.alpha is None or self.alpha.all():
            return self.pixels
        return np.where((self.alpha > 0)[..., None], self.pixels, np.uint8(255))


@dataclass(frozen=True)
class FileHead:
    """What a file says before a pixel is decoded; `size` (height, width) is that of the upright picture."""

    kind: str
    size: tuple[int, int]
    frames: int
    pictures: int
    """How many its file holds; more than frames where the others are none of the clip's."""
    mode: str
    bits: int
    alpha: bool
    profile: bytes | None = field(repr=False)
    profile_name: str
    """Empty without a profile, and for one that cannot be read."""
    labels: tuple[tuple[str, str], ...]


def is_picture(path: Path) -> bool:
    """Whether a file begins as one of the formats that are read; an animated PNG is a video to FFmpeg."""
    with path.open("rb") as file:
        start = file.read(12)
    if start.startswith(b"\x89PNG"):
        return b"acTL" not in chunks(path)
    return start.startswith(BEGINNINGS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def chunks(path: Path) -> Mapping[bytes, bytes]:
    """The chunks HEADS of a PNG that come before its pixels; those that can be read of a damaged one."""
    found: dict[bytes, bytes] = {}
    with path.open("rb") as file:
        file.seek(8)
        while len(start := file.read(8)) == 8:
            length, name = int.from_bytes(start[:4], "big"), start[4:]
            if name in (b"IDAT", b"IEND"):
                break
            if name in HEADS and length <= 64:
                found[name] = file.read(length)
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)
    return found


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture's file; raises FileError or InputError, in one line, for what goes wrong with it inside the block."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # beyond twice as many pixels it refuses
            image = Image.open(path, formats=("PNG", "JPEG", "WEBP", "GIF", "BMP"))
        with image:
            yield image
    except (InputError, FileError):
        raise
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(f"{path} has more than {most:.0f} million pixels: make it smaller first") from None
    except FileNotFoundError:
        raise FileMissingError(f"{path} does not exist: check its path") from None
    except PermissionError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    except BROKEN:
        raise InputError(
            f"{path} is damaged or truncated, and not a picture that can be read: export it again"
        ) from None


def head(path: Path) -> FileHead:
    """What a picture's file says of itself; raises FileError or InputError for what cannot be read, and for HDR."""
    with opened(path) as image:
        exif = image.getexif()
        turned = exif.get(ORIENTATION, 1) in (5, 6, 7, 8)
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        profile, count = image.info.get("icc_profile") or None, getattr(image, "n_frames", 1)
        found = chunks(path) if image.format == "PNG" else {}
        _check_range(path, found)
        return FileHead(
            NAMES[image.format or ""],
            (height, width),
            1 if image.format == "MPO" else count,
            count,
            image.mode,
            found[b"IHDR"][8] if len(found.get(b"IHDR", b"")) == 13 else 8,
            image.has_transparency_data,
            profile,
            _name(profile),
            tuple(_labels(exif, image.info)),
        )


def decoded(image: Image.Image, path: Path) -> Decoded:
    """The picture that an open file stands at; `path` is where its bytes lie."""
    found = chunks(path) if image.format == "PNG" else {}
    orientation = image.getexif().get(ORIENTATION, 1)
    tags = tuple((name, found[name]) for name in KEPT if name in found)
    profile = image.info.get("icc_profile") or None
    if len(ihdr := found.get(b"IHDR", b"")) == 13 and ihdr[8] == 16:
        pixels, alpha = _deep(path)
    else:
        pixels, alpha = _plain(image, profile)
    if image.mode in ("CMYK", "L", "LA", "1", "I", "I;16") or not _name(profile):
        profile = None  # of inks, of grey, or no profile: it would not fit the RGB that is written
    alpha = None if alpha is None or alpha.min() == FULL else alpha
    return Decoded(
        np.ascontiguousarray(_turned(pixels, orientation)),
        None if alpha is None else np.ascontiguousarray(_turned(alpha, orientation)),
        profile,
        tags,
    )


def _plain(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of an image of 8 bits; grey and CMYK with a profile become sRGB by it."""
    if image.mode in ("CMYK", "L") and profile is not None:
        with suppress(ImageCms.PyCMSError, OSError):
            return _converted(image, profile), None
    if image.has_transparency_data:
        whole = np.asarray(image.convert("RGBA"))
        return whole[..., :3], whole[..., 3]
    return np.asarray(image.convert("RGB")), None


def in_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels uint8 (H, W, 3 or 4) of a profile's colours in sRGB's, or as they are for one of no use."""
    try:
        made = _converted(Image.fromarray(np.ascontiguousarray(pixels[..., :3])), profile)
    except (ImageCms.PyCMSError, OSError):
        return pixels
    return np.concatenate([made, pixels[..., 3:]], -1)


def _converted(image: Image.Image, profile: bytes) -> np.ndarray:
    """An image by its profile as sRGB; raises PyCMSError where it cannot be used."""
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, own, srgb, outputMode="RGB"))


def _deep(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a PNG of 16 bits, rounded to 8; Pillow would cut them off."""
    with muted():
        found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise ValueError("no picture of 16 bits")
    levels = np.rint(found / np.float32(257)).astype(np.uint8)
    if levels.ndim == 2:
        return np.repeat(levels[..., None], 3, -1), None
    return levels[..., 2::-1], levels[..., 3] if levels.shape[-1] == 4 else None


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda array: array[:, ::-1],
    3: partial(np.rot90, k=2),
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: partial(np.rot90, k=-1),
    7: lambda array: array.swapaxes(0, 1)[::-1, ::-1],
    8: np.rot90,
}
"""What EXIF's numbers do to a stored picture (CIPA DC-008, 4.6.4)."""


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    turn = TURNS.get(orientation)
    return array if turn is None else turn(array)


def _name(profile: bytes | None) -> str:
    """What an ICC profile calls itself; empty for none, and for one that cannot be read."""
    if profile is None:
        return ""
    with suppress(ImageCms.PyCMSError, OSError, ValueError):
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip() or "unnamed"
    return ""


def _check_range(path: Path, found: Mapping[bytes, bytes]) -> None:
    """Raise InputError for a PNG of a high dynamic range, or of primaries that a model does not know."""
    if len(said := found.get(b"cICP", b"")) == 4 and (
        strange := list(colours.strange(colours.Colour(said[0], said[1], 1)))
    ):
        raise InputError(f"{path} has {listed(strange)}, and sRGB is what can be edited: export it as sRGB")


WORDS = {"title": "Title", "artist": "Author", "description": "Description", "copyright": "Copyright"}
"""What a result carries of a picture's own words, by its label, and a PNG's keyword for each."""

TAGS = {"description": 0x010E, "artist": 0x013B, "copyright": 0x8298}
"""Where EXIF has them."""

LONGEST = 1000
"""Letters of one of them."""


def _labels(exif: Mapping[int, object], info: Mapping[str | tuple[int, int], object]) -> Iterator[tuple[str, str]]:
    for label, keyword in WORDS.items():
        said = info.get(keyword) or exif.get(TAGS.get(label, 0))
        if isinstance(said, str) and (text := said.replace("\0", "").strip()):
            yield label, text[:LONGEST]
