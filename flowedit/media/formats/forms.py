"""Which kinds of file there are, what each holds, and how each codec is asked to encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from flowedit.media.colours import Colour
from flowedit.media.formats.containers import CONTAINERS, Container

PICTURES = {"png": "edit_frames", "gif": "edit.gif"}
"""Formats that are pictures, and the name of the file or folder."""

if TYPE_CHECKING:
    from flowedit.media.pixels import Size

    Format = str
else:  # every kind that there is, so that a new one is an option without a line here
    Format = Literal[("auto", *CONTAINERS, *PICTURES)]

Codec = Literal["auto", "h264", "h265", "av1"]
BitDepth = Literal["auto", 8, 10]


@dataclass(frozen=True)
class FileOptions:
    """What a user asks of the file of an edit, as `config/schema.py` declares it."""

    format: Format = "auto"
    codec: Codec = "auto"
    crf: int | None = None
    bit_depth: BitDepth = "auto"


WRITTEN = tuple(each.name for each in fields(FileOptions))
"""The names of these options."""

CRF = 16
"""The quality of what is written, alike in codecs whose scale is like x264's."""


@dataclass(frozen=True)
class Encoder:
    """A codec's encoder: its `library` in FFmpeg, its quality by default and at its worst, and what pixels it takes.

    `crf` is None where it has no such quality. `sampling` are the ways to hold chroma, the coarsest first, and `alpha`
    those of transparent pictures, none where it has no transparency.
    """

    library: str
    crf: int | None
    most: int
    sampling: tuple[str, ...]
    depths: tuple[int, ...]
    options: Callable[[int, Colour, Size], dict[str, str]]
    alpha: tuple[str, ...] = ()
    even: bool = False
    """Whether it takes even sides alone."""
    least: int = 2
    """The shortest side that it takes."""
    tag: str | None = None
    """The four letters by which players of mp4 and mov know it, where FFmpeg's own are others."""
    transfers: Mapping[int, int] = field(default_factory=dict)
    matrices: Mapping[int, int] = field(default_factory=dict)
    """Numbers of colours that it cannot say, and those of the same curves and weights that it can."""

    def takes(self, size: Size) -> bool:
        """Whether it encodes pictures of this (height, width)."""
        return min(size) >= self.least and not (self.even and any(side % 2 for side in size))

    def tagged(self, colour: Colour) -> Colour:
        """The colours by numbers that it can say."""
        transfer, matrix = colour.transfer, colour.matrix
        return replace(
            colour, transfer=self.transfers.get(transfer, transfer), matrix=self.matrices.get(matrix, matrix)
        )


def _x264(crf: int, colour: Colour, size: Size) -> dict[str, str]:
    # x264's macroblock tree gives other bytes from run to run (its assembly does; measured)
    shown = _light(colour, "mastering-display", "cll")
    return {"crf": str(crf), "preset": "fast", "x264-params": ":".join(["mbtree=0", *shown])}


def _x265(crf: int, colour: Colour, size: Size) -> dict[str, str]:
    shown = _light(colour, "master-display", "max-cll")
    # its cutree writes past the rows of a narrow picture, and the process dies (seen at 31 to 48 columns, not at 50)
    narrow = ["no-cutree=1"] if size[1] < 64 else []
    return {"crf": str(crf), "preset": "fast", "x265-params": ":".join(["log-level=error", *narrow, *shown])}


def _svt(crf: int, colour: Colour, size: Size) -> dict[str, str]:
    shown = _light(colour, "mastering-display", "content-light", whole=False)
    return {"crf": str(crf), "preset": "6", "svtav1-params": ":".join(["lp=2", *shown])}


def _vpx(crf: int, colour: Colour, size: Size) -> dict[str, str]:
    return {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1", "auto-alt-ref": "0"}


def _prores(crf: int, colour: Colour, size: Size) -> dict[str, str]:
    return {"vendor": "apl0"}


def _light(colour: Colour, display: str, content: str, whole: bool = True) -> list[str]:
    """An encoder's parameters for the light of a file, in its own names; `whole`: in units of 1/50000 and 1/10000."""
    light = colour.light
    if light is None:
        return []
    told = []
    if light.display is not None:
        steps = (50000, 10000) if whole else (1, 1)
        shown = [round(value * steps[0]) if whole else f"{float(value):.5f}" for value in light.display[:8]]
        bright = [round(value * steps[1]) if whole else f"{float(value):.4f}" for value in light.display[8:]]
        red, green, blue, white = (f"({shown[i]},{shown[i + 1]})" for i in (0, 2, 4, 6))
        told.append(f"{display}=G{green}B{blue}R{red}WP{white}L({bright[1]},{bright[0]})")
    if light.content is not None:
        told.append(f"{content}={light.content[0]},{light.content[1]}")
    return told


ENCODERS = {
    "h264": Encoder("libx264", CRF, 51, ("420", "422", "444"), (8, 10), _x264),
    "h265": Encoder("libx265", CRF, 51, ("420", "422", "444"), (8, 10, 12), _x265, least=16, tag="hvc1"),
    "av1": Encoder("libsvtav1", 12, 63, ("420",), (8, 10), _svt, even=True, least=32),
    "vp9": Encoder("libvpx-vp9", CRF, 63, ("420", "422", "444"), (8,), _vpx, alpha=("420",)),
    "prores": Encoder(
        "prores_ks",
        None,
        0,
        ("422", "444"),
        (10,),
        _prores,
        alpha=("444",),
        transfers={6: 1, 14: 1, 15: 1},
        matrices={5: 6},
    ),
}
"""Codecs by their names."""


@dataclass(frozen=True)
class FileForm:
    """What an edit is written as: a format by its name, and of a video its codec, bits a component and transparency.

    `chroma` is how the source holds it, 420, 422 or 444: so is it written where the codec can.
    """

    format: str = "mp4"
    codec: str = "h264"
    depth: int = 8
    alpha: bool = False
    chroma: str = "420"

    @property
    def file(self) -> str:
        """The name of the edit's file."""
        return self.container.file if self.format in CONTAINERS else PICTURES[self.format]

    @property
    def container(self) -> Container:
        """The kind of video file; InputError for pictures."""
        return CONTAINERS[self.format]

    @property
    def encoder(self) -> Encoder:
        """How it is encoded; KeyError for pictures."""
        return ENCODERS[self.codec]

    def written(self, size: Size, aspect: Fraction) -> Size:
        """(height, width) in which pictures of this pixel aspect are written: as they are, or in square pixels."""
        return square(size, aspect) if self.format not in CONTAINERS or self.container.square else size

    def sampling(self, size: Size) -> str:
        """How chroma is held of frames of this (height, width): the source's way or a finer one, without half samples.

        Where the codec has no finer way, it is the finest that it has.
        """
        height, width = size
        ways = self.encoder.alpha if self.alpha else self.encoder.sampling
        whole = width % 2 or (height % 2 and "420" in ways)
        least = "444" if whole else self.chroma
        return next((way for way in ways if way >= least), ways[-1])

    def pixel_format(self, size: Size) -> str:
        """FFmpeg's name of how its pixels are stored."""
        return pixel_format(self.sampling(size), self.depth, self.alpha)


def pixel_format(chroma: str, bits: int = 8, alpha: bool = False) -> str:
    """FFmpeg's name of planes like these: of 420, 422 or 444, or of "rgb"."""
    deep = "" if bits == 8 else f"{bits}le"
    if chroma == "rgb":
        return f"{'gbrap' if alpha else 'gbrp'}{deep}"
    return f"{'yuva' if alpha else 'yuv'}{chroma}p{deep}"


def square(size: Size, aspect: Fraction) -> Size:
    """(height, width) of a picture in square pixels, its width even for the sake of chroma; as it is where they are."""
    return size if aspect == 1 else (size[0], max(2, 2 * round(size[1] * aspect / 2)))


MP4 = FileForm()
"""H.264 of 8 bits in mp4: what browsers show, and what an edit of a plain video is."""
