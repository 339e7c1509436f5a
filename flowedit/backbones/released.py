"""The released checkpoints: folders with the files that lie on the model hub, and random weights.

What a file says was read in public copies (AUDIT.md names them); the words stand in `sheets/`. `save_released` writes
the files of a release with random weights, at its real size or small, so that what the hub holds can be opened without
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowedit.backbones.sheet import Config, Gathered, Release, ReleasedPart, sheet_of
from flowedit.messages import InputError

if TYPE_CHECKING:  # what the files say is asked for where torch is not loaded
    import torch

RELEASES = Gathered(lambda sheet: sheet.releases)
"""Of all families, by the names of conf/backbone."""

LAYERS = ("num_layers", "num_hidden_layers")
"""What a configuration of a text encoder calls the number of its layers."""


def save_released(
    folder: Path,
    name: str,
    *,
    small: bool = False,
    text_layers: int | None = None,
    changes: Mapping[str, Config] = MappingProxyType({}),
) -> Path:
    """Write the files of a release, with random weights, in the layout of the hub's; returns the folder.

    At its real size that is as much disk as the release, and the memory of one file of it; `text_layers` cuts the text
    encoder, its largest part. A small one is about 1 MB. `changes` to a component's configuration, by its folder, come
    on top. It says nothing of being random, as the hub's does not. Raises InputError for an unknown name.
    """
    if name not in RELEASES:
        raise InputError(f"release {name!r} is not one of {', '.join(RELEASES)}")
    import torch

    release, generator = RELEASES[name], torch.Generator().manual_seed(0)
    sheet = sheet_of(release.pipeline)
    sizes: Mapping[str, Config] = sheet.small if small and sheet is not None else {}
    save_words(folder, release)
    for component, part in release.parts.items():
        config = {**part.config, **sizes.get(part.kind, {}), **changes.get(component, {})}
        if component.startswith("text_encoder") and text_layers is not None:
            config |= {key: text_layers for key in LAYERS if key in config}
        _write(folder / component / "config.json", _words(release, part) | config)
        _weights(folder / component, part, config, generator)
    return folder


def save_words(folder: Path, release: Release) -> None:
    """Write all files of a release but the weights."""
    index = {
        "_class_name": release.pipeline,
        "_diffusers_version": release.diffusers,
        **release.index,
        "scheduler": ["diffusers", release.scheduler[0]],
        **{component: ["transformers", each.kind] for component, each in release.tokenizers.items()},
        **{component: [part.library, part.kind] for component, part in release.parts.items()},
    }
    _write(folder / "model_index.json", index)
    schedule = {"_class_name": release.scheduler[0], "_diffusers_version": release.diffusers, **release.scheduler[1]}
    _write(folder / "scheduler" / "scheduler_config.json", schedule)
    for component, tokenizer in release.tokenizers.items():
        tokenizer.write(folder / component)
    for component, part in release.parts.items():
        _write(folder / component / "config.json", _words(release, part) | dict(part.config))


def _words(release: Release, part: ReleasedPart) -> dict[str, Any]:
    """What diffusers adds to a configuration of its own classes."""
    if part.library != "diffusers":
        return {}
    return {"_class_name": part.kind, "_diffusers_version": release.diffusers}


def network(part: ReleasedPart, config: Config | None = None) -> Any:
    """A component's network without memory for its weights, on the device "meta"."""
    import diffusers
    import torch
    import transformers

    from flowedit.backbones.checkpoint import quiet

    config = part.config if config is None else config
    with torch.device("meta"), quiet():  # of keys of an older diffusers
        if part.library == "diffusers":
            return getattr(diffusers, part.kind).from_config(dict(config))
        cls = getattr(transformers, part.kind)
        return cls(cls.config_class(**config))


def _weights(folder: Path, part: ReleasedPart, config: Config, generator: torch.Generator) -> None:
    """The weights in as many files as the release has, and their index; one file's tensors in memory at a time."""
    from safetensors.torch import save_file

    stem = "model" if part.library == "transformers" else "diffusion_pytorch_model"
    tensors = {key: value for key, value in network(part, config).state_dict().items() if _kept(key)}
    groups = list(_shares(list(tensors), part.files))
    names = [f"{stem}-{i:05}-of-{len(groups):05}.safetensors" for i in range(1, len(groups) + 1)]
    for file, keys in zip(names if len(groups) > 1 else [f"{stem}.safetensors"], groups, strict=True):
        values = {key: _random(key, tensors[key].shape, generator).to(part.dtype) for key in keys}
        save_file(values, folder / file, metadata={"format": "pt"})
    if len(groups) > 1:
        size = sum(value.numel() for value in tensors.values()) * part.dtype.itemsize
        weight_map = {key: file for file, keys in zip(names, groups, strict=True) for key in keys}
        _write(folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def _kept(key: str) -> bool:
    """Whether a release's files hold it: of the text encoder's embedding, one of its two names, and no fixed tables."""
    return key != "encoder.embed_tokens.weight" and "pos_embedding" not in key and not key.startswith("rope.")


def _random(key: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    import torch

    if len(shape) == 1:
        return torch.ones(shape) if key.endswith(("weight", "latents_std")) else torch.zeros(shape)
    return 0.02 * torch.randn(shape, generator=generator)


def _shares(keys: list[str], count: int) -> Iterator[list[str]]:
    for i in range(count):
        yield keys[len(keys) * i // count : len(keys) * (i + 1) // count]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
