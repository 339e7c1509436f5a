"""Colours as a file names them (ITU-T H.273): what a model sees as it is, what it is shown converted, what is refused.

A model learned from pictures of a display's gamma and BT.709's primaries. Curves and primaries that differ from these
by less than displays differ from one another are edited as they are. Others are shown to the model as BT.709 and put
back (`planes/tone.py`). The result is tagged like its source. A file of what has no such way is refused by name.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

UNSPECIFIED = 2


@dataclass(frozen=True)
class Light:
    """What an HDR file says of the light that it was made for, each None where it says nothing.

    `display`: x and y (CIE 1931) of red, green, blue and white of the display that it was graded on, and its least and
    greatest luminance in cd/m^2 (SMPTE ST 2086). `content`: the lightest pixel, and the lightest mean of a frame, in
    cd/m^2 (CTA-861.3).
    """

    display: tuple[Fraction, ...] | None = None
    content: tuple[int, int] | None = None


@dataclass(frozen=True)
class Colour:
    """The numbers of a file's primaries, transfer function and matrix; BT.709 by default."""

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1
    light: Light | None = field(default=None, repr=False)


BT709 = Colour()


class Name(NamedTuple):
    """A number's name for people and for ffmpeg, whether a model sees it as it is, and whether converted."""

    text: str
    ffmpeg: str
    kept: bool = False
    shown: bool = False


PRIMARIES = {
    1: Name("BT.709", "bt709", True),
    4: Name("BT.470 System M (NTSC 1953)", "bt470m", shown=True),
    5: Name("BT.470 System B, G (PAL)", "bt470bg", True),
    6: Name("SMPTE 170M (NTSC)", "smpte170m", True),
    7: Name("SMPTE 240M", "smpte240m", True),
    8: Name("generic film", "film", shown=True),
    9: Name("BT.2020 (wide gamut)", "bt2020", shown=True),
    10: Name("SMPTE ST 428 (CIE XYZ)", "smpte428"),
    11: Name("SMPTE RP 431 (DCI-P3)", "smpte431", shown=True),
    12: Name("SMPTE EG 432 (Display P3)", "smpte432", shown=True),
    22: Name("EBU Tech. 3213", "ebu3213"),  # which H.264 and H.265 cannot say
}

TRANSFERS = {
    1: Name("BT.709", "bt709", True),
    4: Name("gamma 2.2", "bt470m", True),
    5: Name("gamma 2.8", "bt470bg", True),
    6: Name("SMPTE 170M", "smpte170m", True),
    7: Name("SMPTE 240M", "smpte240m", True),
    8: Name("linear light", "linear", shown=True),
    9: Name("logarithmic (100:1)", "log100", shown=True),
    10: Name("logarithmic (316:1)", "log316", shown=True),
    11: Name("IEC 61966-2-4 (xvYCC)", "iec61966-2-4", True),
    12: Name("BT.1361", "", True),
    13: Name("sRGB", "iec61966-2-1", True),
    14: Name("BT.2020, 10 bits", "bt2020-10", True),
    15: Name("BT.2020, 12 bits", "bt2020-12", True),
    16: Name("PQ (SMPTE ST 2084, HDR)", "smpte2084", shown=True),
    17: Name("SMPTE ST 428 (digital cinema)", ""),
    18: Name("HLG (ARIB STD-B67, HDR)", "arib-std-b67", shown=True),
}

MATRICES = {
    0: Name("RGB", "gbr", True),
    1: Name("BT.709", "bt709", True),
    4: Name("FCC", "fcc", True),
    5: Name("BT.470 System B, G", "bt470bg", True),
    6: Name("SMPTE 170M", "smpte170m", True),
    7: Name("SMPTE 240M", "smpte240m", True),
    8: Name("YCgCo", "ycgco"),
    9: Name("BT.2020 non-constant luminance", "bt2020nc", True),
    10: Name("BT.2020 constant luminance", "bt2020c"),
    11: Name("SMPTE ST 2085", ""),
    12: Name("chromaticity-derived non-constant luminance", "chroma-derived-nc"),
    13: Name("chromaticity-derived constant luminance", "chroma-derived-c"),
    14: Name("ICtCp", "ictcp"),
    15: Name("IPT-C2", ""),
    16: Name("YCgCo-Re", ""),
    17: Name("YCgCo-Ro", ""),
}

RESERVED = (UNSPECIFIED, 0, 3)
"""Numbers of primaries and of transfer functions that say nothing; of matrices 0 is RGB."""

BT2020 = 9
"""Of primaries, and of the matrix with luma that is not constant."""

PQ, HLG = 16, 18

ICTCP, CONSTANT = 14, 10
"""Matrices that are converted from HDR alone, and from other curves alone."""

ZSCALE = ("log100", "log316", "bt2020c", "chroma-derived-nc", "chroma-derived-c", "ictcp")
"""What ffmpeg's own filter `colorspace` does not know, and `zscale` does."""


def of_frame(frame: Any, assumed: int) -> Colour:
    """A decoded frame's colours; a matrix that it does not name, and RGB's, come out as the one `assumed`."""
    said = (int(frame.color_primaries), int(frame.color_trc))
    primaries, transfer = (UNSPECIFIED if number in RESERVED else number for number in said)
    matrix = int(frame.colorspace)
    if matrix in RESERVED:
        wide = primaries == BT2020 or (primaries == UNSPECIFIED and transfer in (PQ, HLG))
        matrix = BT2020 if wide and matrix == UNSPECIFIED else assumed
    return Colour(primaries, transfer, matrix, _light(frame))


def beside(frame: Any) -> dict[str, bytes]:
    """What lies beside a decoded frame, by FFmpeg's names."""
    found = map(frame.side_data.__getitem__, range(len(frame.side_data)))
    return {each.type.name: bytes(each) for each in found}


def _light(frame: Any) -> Light | None:
    """What FFmpeg's AVMasteringDisplayMetadata and AVContentLightMetadata beside a frame say."""
    said, display, content = beside(frame), None, None
    if len(data := said.get("MASTERING_DISPLAY_METADATA", b"")) >= 88:
        *numbers, colours_told, light_told = struct.unpack_from("=22i", data)
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if colours_told and light_told and all(below for _, below in pairs):
            display = tuple(Fraction(*pair) for pair in pairs)
    if len(data := said.get("CONTENT_LIGHT_LEVEL", b"")) >= 8:
        most, mean = struct.unpack_from("=2I", data)
        content = (most, mean) if most or mean else None
    return Light(display, content) if display or content else None


def strange(colour: Colour) -> Iterator[str]:
    """What of a file's colours a model does not see as it is, by name."""
    return _named(colour, lambda name: name.kept)


def refused(colour: Colour) -> Iterator[str]:
    """What of a file's colours a model can be shown in no way, by name."""
    return _named(colour, lambda name: name.kept or name.shown)


def _named(colour: Colour, good: Callable[[Name], bool]) -> Iterator[str]:
    for what, names, number in _parts(colour):
        if number == UNSPECIFIED:
            continue
        name = names.get(number)
        if name is None or not good(name):
            yield f"{'number ' + str(number) if name is None else name.text} {what}"


def filters_to_bt709(colour: Colour, rgb: bool) -> list[str] | None:
    """ffmpeg's filters from these colours to BT.709; None where it has none.

    What the file leaves unsaid is given as what it is taken for.
    """
    hdr = colour.transfer in (PQ, HLG)
    unsaid = BT2020 if hdr else BT709.primaries
    primaries = unsaid if colour.primaries == UNSPECIFIED else colour.primaries
    transfer = BT709.transfer if colour.transfer == UNSPECIFIED else colour.transfer
    matrix = 0 if rgb else colour.matrix
    parts = (PRIMARIES, primaries), (TRANSFERS, transfer), (MATRICES, matrix)
    names = [known[number].ffmpeg if number in known else "" for known, number in parts]
    if not all(names) or matrix == (CONSTANT if hdr else ICTCP):
        return None
    if not (hdr or rgb or set(names) & set(ZSCALE)):
        return ["colorspace=iprimaries={}:itrc={}:ispace={}:all=bt709:range=tv".format(*names)]
    tagged = "setparams=color_primaries={}:color_trc={}:colorspace={}".format(*names)
    if not hdr:
        return [tagged, "zscale=p=bt709:t=bt709:m=bt709:r=tv"]
    return [
        tagged,
        "zscale=t=linear:npl=100",
        "format=gbrpf32le",
        "zscale=p=bt709",
        "tonemap=hable:desat=0",
        "zscale=t=bt709:m=bt709:r=tv",
    ]


def _parts(colour: Colour) -> list[tuple[str, dict[int, Name], int]]:
    return [
        ("primaries", PRIMARIES, colour.primaries),
        ("transfer", TRANSFERS, colour.transfer),
        ("matrix", MATRICES, colour.matrix),
    ]
