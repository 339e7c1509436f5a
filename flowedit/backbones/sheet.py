"""What is known of a model family without torch: a sheet each, found by the pipelines that it describes.

A sheet is one file: `SHEETS.add("name", Sheet(...))`, in `sheets/` or in an installed package that names its entry in
the entry-point group `flowedit.sheets`. It holds the words of the family's released files, its small random
checkpoints, and the terms by which memory.py, shapes.py and the doctor reckon it. Nothing here or there loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flowedit.declare import Registry
from flowedit.messages import InputError
from flowedit.types import BackboneSpec

if TYPE_CHECKING:  # what the files say is asked for where torch is not loaded
    import torch

T = TypeVar("T")

Config = Mapping[str, Any]
"""A component's config.json."""

Latent = tuple[int, int, int, int]
"""(C, F, H, W)."""

SampleSize = tuple[int, int]
"""The native latent (height, width) of a small random checkpoint."""

FLOAT = 4
"""Bytes of a float32, in which states are kept."""

STRENGTH_SHIFT = 3.0
"""What strength means on every released model's own grid: the start of Wan's own, t = 3 s / (1 + 2 s)."""


# What a release's files say.


@dataclass(frozen=True)
class ReleasedPart:
    """A component with weights: its class, configuration, precision of the saved weights, and number of files."""

    kind: str
    config: Config
    saved: str
    files: int = 1
    library: str = "diffusers"
    """The one that has the class: diffusers or transformers."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision, as torch knows it."""
        import torch

        kind: torch.dtype = getattr(torch, self.saved)
        return kind


@dataclass(frozen=True)
class ReleasedTokenizer:
    """A tokenizer: its class of transformers, and what writes a small one with the files of a release into a folder."""

    kind: str
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Release:
    """A release: the version of diffusers that wrote it, its components, and the class and file of its scheduler."""

    pipeline: str
    diffusers: str
    parts: Mapping[str, ReleasedPart]
    """The components with weights, by their folders, such as transformer or unet, vae, text_encoder, text_encoder_2."""
    scheduler: tuple[str, Config]
    tokenizers: Mapping[str, ReleasedTokenizer]
    """By their folders: tokenizer, tokenizer_2."""
    index: Config = field(default_factory=dict)
    """What its model_index.json says beside its components."""
    notes: Config = field(default_factory=dict)
    """What tells it from others whose files say the same, as flowedit.json would: native_size, native_frames."""


@dataclass(frozen=True)
class Recipe:
    """What a random checkpoint looks like: the released model, its pipeline, and what flowedit.json adds.

    Both are made for a native latent size.
    """

    model: str
    pipeline: Callable[[SampleSize], Any]
    notes: Callable[[SampleSize], dict[str, Any]] = lambda sample: {}


# The terms of memory and of work.


@dataclass(frozen=True)
class EncoderTerms:
    """What memory.py asks of a kind of text encoder."""

    parameters: Callable[[Config], tuple[float, float, int]]
    """Numbers in its weights beside its blocks, in one block, and the blocks."""
    held: Callable[[Config, int, int], Mapping[str, float]]
    """(configuration, tokens, bytes of a number) -> bytes that one call holds, by what holds them."""
    streams: bool = True
    """Whether its blocks can come one by one; a small one is there whole."""


class ChunksOf(Protocol):
    """Frames of the first chunk of an autoencoder's way, and of a later one, 0 for none; `latents` are the clip's."""

    def __call__(self, drawn: Blueprint, latents: int, decode: bool) -> tuple[int, int]: ...


@dataclass(frozen=True)
class AutoencoderTerms:
    """What memory.py asks of an autoencoder; each by its configuration, numbers and not bytes.

    `decode` is the way from latents, else the one to them, and sizes are of what goes in: latents or pixels.
    """

    scale: Callable[[Config], int]
    """Pixels a side of a latent site."""
    weights: Callable[[Config], float]
    """Its parameters, both ways."""
    peak: Callable[[Config, bool, tuple[int, int], tuple[int, int]], float]
    """(configuration, decode, chunks, size of a tile) -> the most that are alive, without the weights."""
    tile: Callable[[Config, tuple[int, int], bool], tuple[int, int]]
    """(configuration, size of the clip's latent, decode) -> latent size of its own tiles, or of the whole where one
    tile holds it."""
    chunks: ChunksOf
    itemsize: int | None = None
    """Bytes of a number, where they do not follow the denoiser's."""


def _heads(config: Config) -> tuple[int, int]:
    return int(config["num_attention_heads"]), int(config["attention_head_dim"])


def _layers(config: Config) -> int:
    return int(config["num_layers"])


def _channels(config: Config) -> int:
    return int(config["in_channels"])


def rotary_tables(drawn: Blueprint, latent: Latent) -> float:
    """Bytes of a rotary table: cosine and sine of each token's place, as wide as a head."""
    return 2 * drawn.tokens(latent) * drawn.heads[1] * FLOAT


@dataclass(frozen=True)
class DenoiserTerms:
    """What memory.py and the doctor ask of the network that makes the velocity, of one row on a latent (C, F, H, W)."""

    patch: Callable[[Config], tuple[int, int, int]]
    """(frames, height, width) of the latent sites that a token holds."""
    text_tokens: Callable[[Config], int]
    """Tokens of a prompt that it sees, padding included."""
    parameters: Callable[[Blueprint], tuple[float, float, float]]
    """Numbers in its weights beside its blocks, in one block, and the blocks; of unlike ones those of the largest, and
    as many as weigh what all do."""
    seen: Callable[[Blueprint, Latent], int]
    """Tokens that the attention which the recorder reads has for queries."""
    block: Callable[[Blueprint, Latent, int], float]
    """(drawn, latent, bytes of a number) -> numbers that a block holds at its widest."""
    prompt: Callable[[Blueprint], int]
    """Numbers that it holds of each token of a prompt."""
    widest: Callable[[Blueprint], int]
    """Numbers of its widest layer's weight."""
    work: Callable[[Blueprint, Latent], float]
    """Operations of one evaluation, of its blocks."""
    places: Callable[[Blueprint, Latent], float] = rotary_tables
    """Bytes of its tables of places."""
    heads: Callable[[Config], tuple[int, int]] = _heads
    """(heads, width of one)."""
    layers: Callable[[Config], int] = _layers
    """Blocks with attention."""
    channels: Callable[[Config], int] = _channels
    """Those of the latent."""
    beside: Callable[[Blueprint, Latent, float], float] | None = None
    """Where blocks stream and are unlike: (drawn, latent, activations by a weight's size) -> numbers of their weights
    that count beside the widest block, which may be a light one; None: two blocks."""
    folder: str = "transformer"
    """transformer or unet; that of a second one ends in _2."""


@dataclass(frozen=True)
class Signs:
    """What tells whose network a file is for, by the names of its tensors, which begin where the network's own do."""

    called: str
    """The family, as messages say it."""
    sure: str = "(?!)"
    """A regular expression: a name that begins so is of no other family that is known here."""
    maybe: str = "(?!)"
    """The same, of names that other families have too."""
    sizes: Mapping[int, str] = field(default_factory=dict)
    """What a checkpoint is called by the width of its attention."""


@dataclass(frozen=True)
class Sheet:
    """All that is known of a family without torch."""

    pipelines: tuple[str, ...]
    """Pipeline classes in model_index.json that it describes, as names or patterns ("CogVideoX*")."""
    spec: Callable[[Blueprint, Config], BackboneSpec]
    """The shapes of clips by a checkpoint's files and its notes in flowedit.json; name, notices and world are left."""
    denoiser: DenoiserTerms
    autoencoder: AutoencoderTerms
    encoders: Mapping[str, EncoderTerms]
    """Its text encoders by their folders, in the order in which it reads a prompt."""
    signs: Signs | None = None
    """What tells a file of weights or a LoRA of it from one of another family."""
    reads: Mapping[str, int] = field(default_factory=dict)
    """Tokens that an encoder reads, by its folder, where the denoiser sees another number."""
    frame_step: Callable[[BackboneSpec], int] = lambda spec: spec.frames_per_latent
    """A clip has this many frames times k, and one."""
    itemsize: int | None = None
    """Bytes of the denoiser's numbers on an accelerator where a user names no precision; None: as they are saved."""
    releases: Mapping[str, Release] = field(default_factory=dict)
    """Its released checkpoints, by their names in conf/backbone."""
    small: Mapping[str, Config] = field(default_factory=dict)
    """What makes a class small; what a checkpoint's geometry follows from stays as released."""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """Its small random checkpoints, by kind."""


SHEETS: Registry[Sheet] = Registry("flowedit.sheets", "family sheet", package="flowedit.backbones.sheets", entry=Sheet)


class Gathered(Mapping[str, T]):
    """What all sheets hold of one kind, by name, as it is now: `Gathered(lambda sheet: sheet.releases)`.

    In the order of the sheets' names, whichever of their modules was imported first.
    """

    def __init__(self, of: Callable[[Sheet], Mapping[str, T]]) -> None:
        self._of = of

    def _all(self) -> dict[str, T]:
        sheets = [SHEETS[name] for name in sorted(SHEETS)]
        return {name: entry for sheet in sheets for name, entry in self._of(sheet).items()}

    def __getitem__(self, name: str) -> T:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def noted(name: str | None) -> Config:
    """What is known of a release by its name alone, see `Release.notes`; empty of all others."""
    return next((each.releases[name].notes for each in SHEETS.values() if name and name in each.releases), {})


class _Reader(Protocol):
    @property
    def pipelines(self) -> tuple[str, ...]: ...


Reader = TypeVar("Reader", bound=_Reader)


def readers(entries: Iterable[Reader], pipeline: str) -> list[Reader]:
    """Those that read a pipeline: first those that name it, then those with a pattern that it fits."""
    every = list(entries)
    named = [each for each in every if pipeline in each.pipelines]
    return named + [each for each in every if any(fnmatchcase(pipeline, pattern) for pattern in each.pipelines)]


def sheet_of(pipeline: str) -> Sheet | None:
    """The sheet that describes a pipeline class; None where none does."""
    return next(iter(readers(SHEETS.values(), pipeline)), None)


@dataclass(frozen=True)
class Blueprint:
    """A checkpoint as its files draw it: `config.json` of its networks, and the bytes of a saved weight."""

    pipeline: str
    parts: Mapping[str, Config]
    """By their folders; of two denoisers the first."""
    saved: int = 2
    """Bytes of a number of the denoiser's weights, as they are saved."""
    denoisers: int = 1
    """Two of a model that has another one for small times."""

    @property
    def sheet(self) -> Sheet:
        """That of its family; raises InputError where none describes its pipeline."""
        if (found := sheet_of(self.pipeline)) is None:
            raise InputError(f"no family's sheet describes a {self.pipeline}")
        return found

    @property
    def denoiser(self) -> Config:
        """The configuration of the network that makes the velocity."""
        return self.parts[self.sheet.denoiser.folder]

    @property
    def vae(self) -> Config:
        """The configuration of the autoencoder."""
        return self.parts["vae"]

    @property
    def heads(self) -> tuple[int, int]:
        """Heads of the denoiser's attention, and the width of one."""
        return self.sheet.denoiser.heads(self.denoiser)

    @property
    def width(self) -> int:
        """Numbers of a token in the denoiser."""
        count, width = self.heads
        return count * width

    @property
    def layers(self) -> int:
        """Blocks of the denoiser with attention."""
        return self.sheet.denoiser.layers(self.denoiser)

    @property
    def patch(self) -> tuple[int, int, int]:
        """(frames, height, width) of the latent sites that a token holds."""
        return self.sheet.denoiser.patch(self.denoiser)

    @property
    def scale(self) -> int:
        """Pixels a side of a latent site."""
        return self.sheet.autoencoder.scale(self.vae)

    @property
    def text_tokens(self) -> int:
        """Tokens of a prompt, padding included."""
        return self.sheet.denoiser.text_tokens(self.denoiser)

    def tokens(self, latent: Latent) -> int:
        """Tokens of the video, of a latent (C, F, H, W)."""
        frames, height, width = (side // p for side, p in zip(latent[1:], self.patch, strict=True))
        return frames * height * width

    def work(self, latent: Latent) -> float:
        """Operations of one evaluation of the denoiser, one row."""
        return self.sheet.denoiser.work(self, latent)
