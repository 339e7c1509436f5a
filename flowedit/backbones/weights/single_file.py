"""A network's weights from one file, as other programs share them: safetensors in 8 or 16 bits, or GGUF."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from flowedit.messages import InputError
from flowedit.pretrained import layout

SCALES = (".scale_weight", ".weight_scale")
"""What follows a layer's name where its weights in 8 bits are to be multiplied, as ComfyUI writes them."""

BESIDE = (".scale_input", ".input_scale", "scaled_fp8", ".comfy_quant")
"""And what stands beside them, which says nothing of weights."""


def load(cls: Any, path: Path, folder: Path, dtype: torch.dtype) -> Any:
    """The network of diffusers' class with the configuration in `folder` and the weights of a file.

    Raises InputError for a class that diffusers reads no single file of, a missing package, and weights that the file
    lacks.
    """
    if not hasattr(cls, "from_single_file"):
        raise InputError(
            f"diffusers reads no single file of a {cls.__name__}: give a checkpoint folder, and leave "
            "backbone.transformer out"
        )
    common = {"config": str(folder), "local_files_only": True, "torch_dtype": dtype}
    if path.suffix.lower() == ".gguf":
        require_gguf()
        from diffusers import GGUFQuantizationConfig

        how = GGUFQuantizationConfig(compute_dtype=dtype)
        model = cls.from_single_file(str(path), quantization_config=how, **common)
    else:
        try:
            model = cls.from_single_file(_tensors(path, dtype), **common)
        except NotImplementedError as error:  # torch: there is nothing to copy
            raise InputError(f"{str(path)!r} lacks weights of a {cls.__name__}: download it again") from error
    if lost := [name for name, each in model.named_parameters() if each.is_meta]:
        raise InputError(f"{str(path)!r} lacks {len(lost)} weights, such as {lost[0]}")
    return model


def quantised(network: Any) -> bool:
    """Whether its weights are GGUF's."""
    return getattr(network, "hf_quantizer", None) is not None


def require_gguf() -> None:
    """Raise InputError, with what to type, where the package gguf is not installed."""
    if importlib.util.find_spec("gguf") is None:
        raise InputError('GGUF weights need the package gguf, which is not installed: pip install "flowedit[gguf]"')


def parameters(path: Path) -> int:
    """How many numbers a file holds."""
    if path.suffix.lower() != ".gguf":
        return sum(math.prod(entry["shape"]) for entry in layout.entries(path))
    require_gguf()
    from gguf import GGUFReader

    return sum(int(each.n_elements) for each in GGUFReader(path).tensors)


def _tensors(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a safetensors file in `dtype`, those in 8 bits times their scales."""
    layout.header(path)  # which refuses what is none
    with safe_open(path, "pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    scales = {key.removesuffix(end): found.pop(key) for end in SCALES for key in [*found] if key.endswith(end)}
    kept = {key: each for key, each in found.items() if not key.endswith(BESIDE)}
    return {key: _whole(each, scales.get(key.removesuffix(".weight")), dtype) for key, each in kept.items()}


def _whole(tensor: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    if scale is None:
        return tensor.to(dtype)
    return (tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))).to(dtype)
