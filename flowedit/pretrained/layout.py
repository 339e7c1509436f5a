"""How a checkpoint lies on the model hub: which files are a component's weights, and which files are not there.

Weights are one file, or shards that an index names; either may be of a variant, such as fp16. The two libraries name
them alike but for the first word (diffusion_pytorch_model, model).
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowedit import machine
from flowedit.messages import InputError

STEMS = "diffusion_pytorch_model|model"

WEIGHTS = re.compile(rf"({STEMS})(\.(?P<variant>[\w-]+?))?(-(?P<shard>\d+)-of-(?P<count>\d+))?\.safetensors")

INDEX = re.compile(rf"({STEMS})\.safetensors\.index(\.(?P<variant>[\w-]+))?\.json")

HEADER = 100 * 2**20
"""The most bytes of a safetensors file's header."""

TOKENIZERS = ("tokenizer", "tokenizer_2")

PARTS = (
    "scheduler", "text_encoder", "text_encoder_2", *TOKENIZERS, "transformer", "transformer_2", "unet", "vae",
)  # fmt: skip
"""The components that a text-to-video model is made of; what else a repository holds is not asked for."""

TOKENIZER = (("spiece.model",), ("tokenizer.json",), ("vocab.json", "merges.txt"))
"""What one is read from: sentencepiece, the library's own file, or byte pairs."""

NEEDED = {"scheduler": (("scheduler_config.json",),), **dict.fromkeys(TOKENIZERS, TOKENIZER)}
"""Files of which a component without weights needs one or another set; all others need config.json, and weights."""


NOTES = "flowedit.json"
"""What a checkpoint of ours says of itself."""

WORLD = ("classes", "grounds", "motions", "sizes", "tints")
"""Kinds of words that a checkpoint of the pocket world learned."""


@dataclass(frozen=True)
class Weights:
    """The safetensors files of a component, and the variant that a loader must be told of; None for the plain ones."""

    files: tuple[Path, ...]
    variant: str | None


def weights(folder: Path) -> Weights | None:
    """A component's weights: the plain ones, else those of its first variant; None where there are none.

    Files beside them, such as pickles, adapters or another variant, are passed by.
    """
    found: dict[str | None, list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if (name := WEIGHTS.fullmatch(path.name)) and path.is_file():
            found.setdefault(name["variant"], []).append(path)
    if not found:
        return None
    variant = None if None in found else min(str(each) for each in found)
    whole = tuple(path for path in found[variant] if "-of-" not in path.name)
    return Weights(whole or tuple(found[variant]), variant)


def cached(cache: Path, repository: str) -> Path | None:
    """The folder of a repository in the hub's cache, whole; None if it is not there, or not whole.

    What the hub's client would say, which takes a second to import.
    """
    place = cache / f"models--{repository.replace('/', '--')}"
    try:
        folder = place / "snapshots" / (place / "refs" / "main").read_text(encoding="utf-8").strip()
        return None if lacking(folder) else folder
    except (OSError, ValueError):
        return None


def notes(folder: Path) -> dict[str, Any]:
    """What a checkpoint of ours says of itself; empty for others. Raises InputError for a file that is no JSON."""
    return read_json(folder / NOTES) if (folder / NOTES).is_file() else {}


def world(folder: Path, said: dict[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint of the pocket world learned, by kind of word, as its notes have said; None of all others.

    Raises InputError for a kind that is no list of words.
    """
    if not set(WORLD) <= set(said):
        return None
    for kind in WORLD:
        if not isinstance(said[kind], list) or not all(isinstance(word, str) for word in said[kind]):
            raise InputError(f"backbone {str(folder)!r}: {kind} in {NOTES} is not a list of words")
    return {kind: said[kind] for kind in WORLD}


def lacking(folder: Path) -> list[str]:
    """The files of a checkpoint that are not in its folder, by their places in it; none of a whole one.

    Looked for are model_index.json, of each component that it names a configuration and weights, and every shard that
    an index names. Raises InputError for a JSON file that holds something else than it should.
    """
    if not (folder / "model_index.json").is_file():
        return ["model_index.json"]
    return [
        f"{component}/{name}" for component in components(folder) for name in _lacking(folder / component, component)
    ]


def components(folder: Path) -> list[str]:
    """Those of `PARTS` that model_index.json names: entries [library, class], neither of them null."""
    index = read_json(folder / "model_index.json")
    pairs = {name: index.get(name) for name in PARTS}
    return [name for name, pair in pairs.items() if isinstance(pair, list) and len(pair) == 2 and all(pair)]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; raises InputError or FileError, in one line, for any other."""
    value = machine.read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{str(path)!r} holds no mapping: download it again")
    return value


def unmet(folder: Path, sets: Sequence[Sequence[str]]) -> list[str]:
    """What a folder lacks that should hold one or another set of files, in words: of a set that it has a part of."""
    left = [[name for name in names if not (folder / name).is_file()] for names in sets]
    begun = [names for names, own in zip(left, sets, strict=True) if len(names) < len(own)]
    return [] if [] in left else [" or ".join(" and ".join(names) for names in begun or left)]


def _lacking(folder: Path, component: str) -> list[str]:
    lost = unmet(folder, NEEDED.get(component, (("config.json",),)))
    if component in NEEDED:
        return lost
    found = weights(folder)
    if found is not None and "-of-" not in found.files[0].name:
        return lost
    index = _index(folder, None if found is None else found.variant)
    if index is not None:
        return lost + [name for name in shards(index) if not (folder / name).is_file()]
    if found is None:
        return [*lost, "*.safetensors"]
    stem, end = found.files[0].name.split(".")[0].split("-0")[0], "" if found.variant is None else f".{found.variant}"
    return [*lost, f"{stem}.safetensors.index{end}.json"]  # no loader finds shards without it


def _index(folder: Path, variant: str | None) -> Path | None:
    """The index of a component's shards; where no shard is there yet, that of any variant."""
    named = {name["variant"]: path for path in folder.glob("*.json") if (name := INDEX.fullmatch(path.name))}
    return named.get(variant, next(iter(named.values()), None) if weights(folder) is None else None)


def shards(index: Path) -> list[str]:
    """The files that an index names, each once; raises InputError for names that leave its folder."""
    mapped = read_json(index).get("weight_map")
    names = sorted({str(name) for name in mapped.values()}) if isinstance(mapped, dict) else []
    if not names or not all(WEIGHTS.fullmatch(name) for name in names):
        raise InputError(f"{str(index)!r} names no shards, or other files than shards: download it again")
    return names


def entries(path: Path) -> list[dict[str, Any]]:
    """What a safetensors file says of each of its tensors: dtype, shape."""
    return [entry for name, entry in header(path).items() if name != "__metadata__"]


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: of each tensor its dtype and its shape; raises InputError for any other."""
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        data = file.read(min(size, HEADER))
    try:
        header = machine.parsed_json(data, "header", HEADER)
        good = isinstance(header, dict) and all(_is_entry(header[name]) for name in header if name != "__metadata__")
    except InputError:
        good = False
    if not good or set(header) <= {"__metadata__"}:
        raise InputError(f"{str(path)!r} is not a safetensors file, or is cut short")
    return dict(header)


def _is_entry(entry: Any) -> bool:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    whole = isinstance(shape, list) and all(type(length) is int and length >= 0 for length in shape)
    return whole and isinstance(entry.get("dtype"), str)
