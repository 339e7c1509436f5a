"""A checkpoint folder as `save_pretrained` writes it: checked before anything is loaded, safetensors only."""

import hashlib
import inspect
import math
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from flowedit.backbones import screening
from flowedit.backbones.sheet import noted
from flowedit.machine import out_of_memory, parsed_json
from flowedit.messages import Error, InputError, first_line
from flowedit.pretrained import hub, layout
from flowedit.pretrained.layout import Weights

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

FILES = (
    "model_index.json",
    *(f"{part}/*" for part in layout.TOKENIZERS),
    *(f"{part}/*.{end}" for part in layout.PARTS if part not in layout.TOKENIZERS for end in ("json", "safetensors")),
)
"""What is downloaded of a repository on the hub: the components of `layout.PARTS` alone, and no pickles."""

SECOND = "transformer_2"
"""The folder of a second transformer, of a model that has one for small times."""

SAMPLE = 1 << 20
"""Bytes that a fingerprint reads at a place."""


class Checkpoint:
    """A folder with model_index.json and one folder a component; raises InputError for what is missing in it."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path, self.name = path, name or path.resolve().name
        self._fingerprints: dict[str, str] = {}
        if not path.is_dir():
            raise InputError(f"backbone {str(path)!r} is not a folder")
        self.require("", "model_index.json")

    @cached_property
    def index(self) -> dict[str, Any]:
        """model_index.json: the pipeline's class, its components and its own settings."""
        return self._json("model_index.json")

    @property
    def pipeline(self) -> str:
        """The pipeline class that model_index.json names, such as CogVideoXPipeline; empty for none."""
        return str(self.index.get("_class_name", ""))

    @property
    def second(self) -> bool:
        """Whether it has a second transformer."""
        return SECOND in layout.components(self.path)

    @cached_property
    def denoiser(self) -> str:
        """The folder of the network that predicts: "unet" where it has no "transformer"."""
        own = layout.components(self.path)
        return "unet" if "unet" in own and "transformer" not in own else "transformer"

    @cached_property
    def notes(self) -> dict[str, Any]:
        """flowedit.json, where a checkpoint of ours says what it was trained on; of a release what no file says."""
        return {**noted(self.name), **layout.notes(self.path)}

    @property
    def trained(self) -> bool:
        """False for random weights, which a checkpoint of ours says of itself."""
        return bool(self.notes.get("trained", True))

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should hear of the weights, whatever their family."""
        return () if self.trained else (f"{self.name} has random weights: whatever it makes is noise",)

    @property
    def world(self) -> dict[str, Any] | None:
        """What a checkpoint of the pocket world learned, by kind of word; None for all others."""
        return layout.world(self.path, self.notes)

    def require(self, component: str, *any_of: str) -> None:
        """Raise InputError unless one of the files is in the component's folder."""
        if not any((self.path / component / name).is_file() for name in any_of):
            files = " or ".join(str(Path(component) / name) for name in any_of)
            raise InputError(f"backbone {str(self.path)!r} lacks {files}: give a folder that save_pretrained wrote")

    def require_tokenizer(self, folder: str) -> None:
        """Raise InputError unless the folder holds what a tokenizer is read from."""
        for lost in layout.unmet(self.path / folder, layout.TOKENIZER):
            raise InputError(
                f"backbone {str(self.path)!r} lacks {folder}/{lost}: give a folder that save_pretrained wrote"
            )

    def require_whole(self) -> None:
        """Raise InputError for a file that the folder lacks: a configuration, weights, a shard that an index names."""
        for path in (path for part in ("", *layout.PARTS) for path in sorted((self.path / part).glob("*"))):
            if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
                raise InputError(f"backbone {str(self.path)!r}: {path.name} is neither a file nor a folder")
        for lost in layout.lacking(self.path):
            if lost.endswith("*.safetensors"):
                self._weights(lost.partition("/")[0])
            advice = "give a folder that save_pretrained wrote, or download it again"
            raise InputError(f"backbone {str(self.path)!r} lacks {lost}: {advice}")

    @contextmanager
    def reporting(self, what: str) -> Iterator[None]:
        """Whatever a library raises in the block, at files that do not go together, is an InputError that says `what`.

        Memory that ran out stays what it is.
        """
        try:
            yield
        except Error:
            raise
        except Exception as error:  # diffusers, transformers, tokenizers, safetensors and torch raise their own kinds
            if out_of_memory(error):
                raise
            raise InputError(f"backbone {str(self.path)!r}: {what}: {first_line(error)}") from error

    def config(self, component: str, cls: Any) -> dict[str, Any]:
        """A component's configuration, what it leaves out filled with the defaults of its class."""
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        self.require(component, name)
        parameters = inspect.signature(cls.__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        own = self._json(f"{component}/{name}")
        screening.check(own, repr(str(self.path / component / name)), cls)
        return defaults | own

    def model(self, component: str, cls: Any, dtype: torch.dtype) -> Any:
        """The component's model in evaluation mode, on the CPU; raises InputError if its files cannot be read."""
        variant = self._weights(component).variant
        if (self.path / component / "adapter_config.json").exists():  # its loader would look for another model
            raise InputError(f"backbone {str(self.path)!r}: {component} is an adapter; give a whole checkpoint")
        own = self.path / component / "config.json"
        screening.check(layout.read_json(own), repr(str(own)))
        precision = {"dtype": dtype} if cls.__module__.startswith("transformers.") else {"torch_dtype": dtype}
        with self.reporting(f"{component} cannot be loaded"), quiet():
            model, info = cls.from_pretrained(
                self.path / component,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                variant=variant,
                **precision,
            )
        if missing := sorted(info["missing_keys"]):
            raise InputError(
                f"backbone {str(self.path)!r}: {component} lacks {len(missing)} weights, such as {missing[0]}"
            )
        return model.eval().requires_grad_(False)

    def dtype(self, component: str) -> torch.dtype:
        """The precision that a component's weights are saved in."""
        names = [entry["dtype"] for entry in _entries(self._weights(component).files[0])]
        return DTYPES.get(max(set(names), key=names.count), torch.float32)

    def parameters(self, component: str) -> int:
        """How many numbers a component's weights hold, read from the headers of its files; 0 without weights."""
        found = layout.weights(self.path / component)
        files = () if found is None else found.files
        return sum(math.prod(entry["shape"]) for path in files for entry in _entries(path))

    def tensor(self, component: str, name: str) -> torch.Tensor:
        """A tensor of a component's weights, by its name; raises InputError where its files hold none of that name."""
        from safetensors import safe_open

        for path in self._weights(component).files:
            if name in _header(path):
                with safe_open(path, framework="pt") as file:
                    found: torch.Tensor = file.get_tensor(name)
                    return found
        raise InputError(f"backbone {str(self.path)!r}: {component} lacks {name}")

    def fingerprint(self, component: str) -> str:
        """A hash of the component's content: every small file whole, of a large one its header and samples."""
        if component not in self._fingerprints:
            self._fingerprints[component] = self._hash(component)
        return self._fingerprints[component]

    def _hash(self, component: str) -> str:
        digest = hashlib.sha256()
        for path in sorted(p for p in (self.path / component).iterdir() if p.is_file()):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with path.open("rb") as file:
                for place in range(0, size, SAMPLE if size <= 64 * SAMPLE else size // 64):
                    file.seek(place)
                    digest.update(file.read(SAMPLE))
        return digest.hexdigest()

    def describe(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """What run.yaml keeps of a backbone."""
        return {
            "name": self.name,
            "folder": str(self.path),
            "fingerprint": self.fingerprint(self.denoiser),
            **({"second_fingerprint": self.fingerprint(SECOND)} if self.second else {}),
            "autoencoder": self.fingerprint("vae"),
            "trained": self.trained,
            "dtype": str(dtype).removeprefix("torch."),
            "device": str(device),
        }

    def _weights(self, component: str) -> Weights:
        found = layout.weights(self.path / component)
        if found is None:
            pickled = any((self.path / component).glob("*.bin"))
            advice = "; python scripts/to_safetensors.py makes them of its pickles" if pickled else ""
            raise InputError(
                f"backbone {str(self.path)!r} has no safetensors weights in {component}/; no other kind is read{advice}"
            )
        return found

    def _json(self, name: str) -> dict[str, Any]:
        return layout.read_json(self.path / name)


def quiet() -> AbstractContextManager[None]:
    """`hub.quiet`, of diffusers too."""
    from diffusers.utils import logging

    return hub.quiet(logging)


def _entries(path: Path) -> list[dict[str, Any]]:
    """What a safetensors file says of each of its tensors: dtype, shape."""
    return [entry for name, entry in _header(path).items() if name != "__metadata__"]


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: of each tensor its dtype and its shape; raises InputError for any other."""
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        data = file.read(min(size, 100 * SAMPLE))
    try:
        header = parsed_json(data, "header", 100 * SAMPLE)
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
