"""Which LoRAs and which single files an edit asks for, and what can be refused of them without torch."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowedit.messages import FileMissingError, InputError, nearest
from flowedit.pretrained import layout

NETWORKS = ("transformer", "transformer_2")

_LORA = re.compile(r"(?P<file>.+?)(:(?P<weight>[^:@/\\]*))?(@(?P<part>transformer(_2)?))?", re.DOTALL)


@dataclass(frozen=True)
class Lora:
    """A file of low-rank changes, their weight, and the network that they go into; None for every one there is."""

    path: Path
    weight: float = 1.0
    part: str | None = None

    @property
    def called(self) -> str:
        """What messages call it."""
        return f"lora {str(self.path)!r}"


@dataclass(frozen=True)
class Overlay:
    """What is laid over a checkpoint's own weights; `files` are single files by the network that each replaces."""

    loras: tuple[Lora, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)

    def words(self) -> list[Any]:
        """Itself as JSON has it, for another process."""
        loras = [[str(each.path.absolute()), each.weight, each.part] for each in self.loras]
        return [loras, {name: str(path.absolute()) for name, path in self.files.items()}]


def of_words(words: list[Any]) -> Overlay:
    """An overlay by its `words`."""
    loras, files = words
    return Overlay(
        tuple(Lora(Path(path), weight, part) for path, weight, part in loras),
        {name: Path(path) for name, path in files.items()},
    )


def overlay(loras: Iterable[str] | None, transformer: str | None = None, transformer_2: str | None = None) -> Overlay:
    """What these texts ask for, `FILE[:WEIGHT][@NETWORK]` each LoRA.

    Raises InputError and FileMissingError for a weight that is no number, a file that is not there, and one of another
    kind.
    """
    files = {name: Path(text) for name, text in zip(NETWORKS, (transformer, transformer_2), strict=True) if text}
    asked = Overlay(tuple(lora(text) for text in loras or ()), files)
    for each in asked.loras:
        _require(each.path, "lora", (".safetensors",))
        _require_pairs(each)
    for name, path in files.items():
        _require(path, f"backbone.{name}", (".safetensors", ".gguf"))
    return asked


def lora(text: str) -> Lora:
    """One LoRA by its text; a file whose name ends like a weight is meant as it is."""
    if Path(text).is_file():
        return Lora(Path(text))
    found = _LORA.fullmatch(text)
    if found is None:
        raise InputError("lora is empty: give FILE[:WEIGHT], such as style.safetensors:0.8")
    name, weight = found["file"], found["weight"]
    try:
        number = 1.0 if weight is None else float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"lora {text!r}: the weight {weight!r} is no number; give FILE:WEIGHT, such as {name}:0.8")
    return Lora(Path(name), number, found["part"])


def _require(path: Path, option: str, ends: tuple[str, ...]) -> None:
    if path.is_dir():
        inside = sorted(each.name for each in path.glob("*.safetensors"))
        which = f"one of its files, such as {inside[0]}" if inside else "a .safetensors file"
        raise InputError(f"{option} {str(path)!r} is a folder: give {which}")
    if not path.exists():
        raise FileMissingError(f"{option} {str(path)!r} does not exist{_alike(path, ends) or ': check its path'}")
    if not path.is_file():
        raise InputError(f"{option} {str(path)!r} is neither a file nor a folder")
    if path.suffix.lower() not in ends:
        raise InputError(f"{option} {str(path)!r} is no {' or '.join(ends)} file: no other kind is read")


def _alike(path: Path, ends: tuple[str, ...]) -> str:
    """What to add of the file beside it whose name, without its ending, is nearest; empty for none."""
    beside = {each.stem: each.name for each in sorted(path.parent.glob("*")) if each.suffix in ends}
    found = nearest(path.stem, beside)
    return next((found.replace(repr(stem), repr(name)) for stem, name in beside.items() if repr(stem) in found), "")


TEXT = ("text_encoder", "lora_te", "text_model.")
"""The beginnings of keys that change a text encoder."""

OTHER_KINDS = {
    "dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "lokr_": "LoKr", "hada_": "LoHa", "oft_": "OFT",
}  # fmt: skip
"""Changes that are no product of two matrices alone, by what their keys hold."""

FACTORS = ("lora_A", "lora_B", "lora_down", "lora_up", "lora.down", "lora.up", "_lora.")


def changes_text(lora: Lora) -> bool:
    """Whether a part of it is a text encoder's."""
    return any(key.startswith(TEXT) for key in layout.header(lora.path))


def _require_pairs(lora: Lora) -> None:
    """Raise InputError for a file that holds no low-rank changes, or those of a text encoder alone."""
    keys = [key for key in layout.header(lora.path) if key != "__metadata__"]
    for sign, kind in OTHER_KINDS.items():
        if any(sign in key for key in keys):
            raise InputError(f"{lora.called} is a {kind}, which is not a product B A: give a plain LoRA")
    pairs = [key for key in keys if any(factor in key for factor in FACTORS)]
    if not pairs:
        raise InputError(f"{lora.called} holds no LoRA, as no key such as {keys[0]!r} names one: give another file")
    if all(key.startswith(TEXT) for key in pairs):
        raise InputError(
            f"{lora.called} changes a text encoder alone ({pairs[0]!r}), which is left as it is here: give a LoRA of "
            "the transformer"
        )
