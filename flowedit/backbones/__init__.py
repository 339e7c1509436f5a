"""One adapter a model family; nothing above this folder imports diffusers or transformers."""

from pathlib import Path

import torch

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
    from flowedit.backbones.folder import Folder

    folder = Folder(path, name)
    wan = folder.family == "WanPipeline"
    if not wan and not folder.family.startswith("CogVideoX"):
        held = folder.family or "model without a name"
        raise ValueError(f"backbone {str(path)!r} holds a {held}; CogVideoXPipeline and WanPipeline are supported")
    from flowedit.backbones.cogvideox import CogVideoX
    from flowedit.backbones.wan import Wan

    place = find_device(device)
    if dtype in PRECISIONS:
        precision = PRECISIONS[dtype]
    elif dtype != "auto":
        raise ValueError(f"runtime.dtype {dtype!r} is not one of auto, {', '.join(PRECISIONS)}")
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
    from flowedit.backbones import folder

    return folder.download(repository, size)


def downloaded(repository: str) -> Path | None:
    """The checkpoint folder of a hub repository if it is here already."""
    from flowedit.backbones import folder

    return folder.downloaded(repository)


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def find_device(name: str) -> torch.device:
    """auto: the GPU when there is one, else the CPU; raises ValueError for one that is unknown or absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise ValueError(f"runtime.device {name!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"runtime.device {name!r} is not here ({torch.cuda.device_count()} CUDA devices); use cpu or auto"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("runtime.device 'mps' is not here; use cpu or auto")
    return torch.device(name)
