"""A checkpoint folder as `save_pretrained` writes it: checked before anything is loaded, safetensors only."""

import hashlib
import inspect
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from flowedit.backbones import screening
from flowedit.backbones.sheet import noted, sheet_of
from flowedit.backbones.weights import lora, single_file
from flowedit.backbones.weights.asked import NETWORKS, Lora, Overlay, changes_text
from flowedit.machine import digest_file, muted, out_of_memory
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
    """A folder with model_index.json and one folder a component; raises InputError for what is missing in it.

    `overlay` is what an edit lays over its weights.
    """

    loaded = False
    """Whether its networks are somebody else's, in memory already, and stay where and as they are."""

    def __init__(self, path: Path, name: str | None = None, overlay: Overlay | None = None) -> None:
        self.path, self.name = path, name or path.resolve().name
        self.overlay = overlay or Overlay()
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
        said = [] if self.trained else [f"{self.name} has random weights: whatever it makes is noise"]
        told = (each for each in self.overlay.loras if changes_text(each))
        return (*said, *(f"{each.called} changes a text encoder too: that part is left out" for each in told))

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
        self._require_overlay()
        for lost in layout.lacking(self.path):
            if self._file(lost.partition("/")[0]) is not None and not lost.endswith("/config.json"):
                continue
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
        if (self.path / component / "adapter_config.json").exists():  # its loader would look for another model
            raise InputError(f"backbone {str(self.path)!r}: {component} is an adapter; give a whole checkpoint")
        own = self.path / component / "config.json"
        screening.check(layout.read_json(own), repr(str(own)))
        if (file := self._file(component)) is not None:
            told = f"{str(file)!r} does not hold the weights of its {component}, so give another file"
            with self.reporting(told), quiet():
                model = single_file.load(cls, file, own.parent, dtype)
            return self._changed(model, component).eval().requires_grad_(False)
        variant = self._weights(component).variant
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
        return self._changed(model, component).eval().requires_grad_(False)

    def tokenizer(self, folder: str, cls: Any) -> Any:
        """The tokenizer in a folder; raises InputError for one that is not there or cannot be read."""
        self.require_tokenizer(folder)
        own = self.path / folder / "tokenizer_config.json"
        if own.is_file():  # its reader makes as many names as extra_ids says
            extra = layout.read_json(own).get("extra_ids", 0)
            screening.check({"extra_ids": extra if isinstance(extra, int) else -math.inf}, repr(str(own)))
        with self.reporting("its tokenizer cannot be read"), quiet(), muted():
            return cls.from_pretrained(self.path / folder, local_files_only=True)

    def _changed(self, model: Any, component: str) -> Any:
        """The model with the LoRAs of the overlay fused into its weights."""
        if loras := self._loras(component):
            shapes = {name: tuple(each.shape) for name, each in model.named_parameters()}
            lora.fuse(model, [(each.weight, self._changes(each, component, shapes)) for each in loras])
        return model

    def _changes(self, each: Lora, component: str, shapes: dict[str, tuple[int, ...]]) -> list[lora.LowRank]:
        config = self._json(f"{component}/config.json")
        changes = lora.read(each, self.pipeline, (self.denoiser, component), config, shapes)
        lora.check(each, changes, shapes, self.name)
        return changes

    def _loras(self, component: str) -> list[Lora]:
        """Those that go into this network."""
        networks = {NETWORKS[0]: self.denoiser, NETWORKS[1]: SECOND}
        named = [None, *(part for part, folder in networks.items() if folder == component)]
        return [each for each in self.overlay.loras if each.part in named] if len(named) > 1 else []

    def _file(self, component: str) -> Path | None:
        """The single file that replaces a component's weights."""
        return self.overlay.files.get(NETWORKS[0] if component == self.denoiser else component)

    def _require_overlay(self) -> None:
        """Raise InputError for LoRAs that do not fit these networks, and for what has no second network to go into."""
        asked = (*(f"{each.called}@{each.part}" for each in self.overlay.loras if each.part == SECOND),)
        asked += tuple(f"backbone.{name}" for name in self.overlay.files if name == SECOND)
        if asked and not self.second:
            raise InputError(f"{asked[0]}: {self.name} has one network: leave {SECOND} out")
        for each in () if self.second else self.overlay.loras:
            if lora.changes_second(each):
                raise InputError(f"{each.called} is for two networks, and {self.name} has one: give a LoRA of one")
        for component in (self.denoiser, *[SECOND] * self.second):
            file, loras = self._file(component), self._loras(component)
            if file is not None and file.suffix.lower() == ".gguf":
                single_file.require_gguf()
                if loras:
                    raise InputError(f"{loras[0].called} cannot go into GGUF weights: give a .safetensors transformer")
            if file is not None:
                self._require_file(component, file)
            files = () if file is not None or not loras else self._weights(component).files
            for each in loras if files else ():  # what a single file holds is seen when it is read
                entries = {name: entry for path in files for name, entry in layout.header(path).items()}
                entries.pop("__metadata__", None)
                shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
                self._changes(each, component, shapes)

    def _require_file(self, component: str, file: Path) -> None:
        """Raise InputError for a single file that does not hold this network's weights, by its header alone."""
        import diffusers

        own = self.path / component / "config.json"
        kind = str(self._json(f"{component}/config.json").get("_class_name", ""))
        if (cls := getattr(diffusers, kind, None)) is None:
            return  # of a plug-in's own class: seen when it is read
        config, sheet = self.config(component, cls), sheet_of(self.pipeline)
        family = self.pipeline if sheet is None or sheet.signs is None else sheet.signs.called
        option = f"backbone.{NETWORKS[0] if component == self.denoiser else component}"
        with self.reporting(f"its {component} cannot be made of {str(own)!r}"), quiet():
            single_file.require_fits(file, option, cls, config, family)

    def dtype(self, component: str) -> torch.dtype:
        """The precision that a component's weights are saved in."""
        if self._file(component) is not None:
            return torch.bfloat16  # what fp8 and GGUF are computed in
        names = [entry["dtype"] for entry in layout.entries(self._weights(component).files[0])]
        return DTYPES.get(max(set(names), key=names.count), torch.float32)

    def parameters(self, component: str) -> int:
        """How many numbers a component's weights hold, read from the headers of its files; 0 without weights."""
        if (file := self._file(component)) is not None:
            return single_file.parameters(file)
        found = layout.weights(self.path / component)
        files = () if found is None else found.files
        return sum(math.prod(entry["shape"]) for path in files for entry in layout.entries(path))

    def tensor(self, component: str, name: str) -> torch.Tensor:
        """A tensor of a component's weights, by its name; raises InputError where its files hold none of that name."""
        from safetensors import safe_open

        for path in self._weights(component).files:
            with safe_open(path, framework="pt") as file:
                if name in file.keys():  # noqa: SIM118  (it is no mapping)
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
        replacing = self._file(component)
        own = (p for p in (self.path / component).iterdir() if p.is_file())
        for path in (*sorted(own), *([] if replacing is None else [replacing])):
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
            **({"loras": self._described} if self.overlay.loras else {}),
            "trained": self.trained,
            "dtype": str(dtype).removeprefix("torch."),
            "device": str(device),
        }

    @property
    def quantised(self) -> bool:
        """Whether its networks come from GGUF files."""
        return any(path.suffix.lower() == ".gguf" for path in self.overlay.files.values())

    @property
    def _described(self) -> list[dict[str, Any]]:
        return [
            {"file": each.path.name, "hash": digest_file(each.path), "weight": each.weight, "network": each.part}
            for each in self.overlay.loras
        ]

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
