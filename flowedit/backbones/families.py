"""Opens a checkpoint folder with the adapter of its family; nothing above this room imports diffusers."""

from pathlib import Path

import torch

from flowedit.machine import find_device
from flowedit.messages import InputError
from flowedit.types import Backbone


def load(
    path: Path,
    *,
    name: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    rows: int = 0,
    tiling: bool = True,
    cache: Path | None = None,
) -> Backbone:
    """The backbone in a checkpoint folder, its family read from model_index.json; weights follow when needed.

    Raises ValueError for a folder that holds none, an unknown family, device or precision.
    """
    # The adapters bring diffusers and transformers, seconds of import that a mistyped path should not cost.
    from flowedit.backbones.checkpoint import Folder

    folder = Folder(path, name)
    wan = folder.family == "WanPipeline"
    if not wan and not folder.family.startswith("CogVideoX"):
        held = folder.family or "model without a name"
        raise InputError(f"backbone {str(path)!r} holds a {held}; CogVideoXPipeline and WanPipeline are supported")
    from flowedit.backbones.cogvideox import CogVideoX
    from flowedit.backbones.wan import Wan

    place = find_device(device)
    if dtype in PRECISIONS:
        precision = PRECISIONS[dtype]
    elif dtype != "auto":
        raise InputError(f"runtime.dtype {dtype!r} is not one of auto, {', '.join(PRECISIONS)}")
    elif place.type == "cpu":
        precision = torch.float32
    else:
        # Wan's weights lie on the hub in twice the precision that it was trained and is meant to run in.
        precision = torch.bfloat16 if wan else folder.dtype("transformer")
    family: type[CogVideoX] | type[Wan] = Wan if wan else CogVideoX
    backbone: Backbone = family(folder, place, precision, rows=rows, tiling=tiling, cache=cache)
    return backbone


def download(repository: str, size: str) -> Path:
    """The checkpoint folder of a hub repository; raises ConnectionError that says what to download and where."""
    from flowedit.backbones import checkpoint

    return checkpoint.download(repository, size)


def downloaded(repository: str) -> Path | None:
    """The checkpoint folder of a hub repository if it is here already."""
    from flowedit.backbones import checkpoint

    return checkpoint.downloaded(repository)


from flowedit.declare import Registry
from typing import Any

FAMILIES: Registry[Any] = Registry("flowedit.backbones", "backbone family")

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
