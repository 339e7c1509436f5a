"""A network's weights from one file, as other programs share them: safetensors in 8 or 16 bits, or GGUF."""

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from flowedit.backbones.weights.looks import families, is_lora, looks_like
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
    _converter(cls)
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
    return sum(math.prod(shape) for shape in shapes(path).values())


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by its name, read from the header; raises InputError for a file that has none."""
    if path.suffix.lower() != ".gguf":
        entries = {name: entry for name, entry in layout.header(path).items() if name != "__metadata__"}
        return {name: tuple(entry["shape"]) for name, entry in entries.items()}
    return {each.name: tuple(int(side) for side in reversed(each.shape)) for each in _gguf(path)}


def _gguf(path: Path) -> list[Any]:
    """The tensors of a GGUF file, in place."""
    require_gguf()
    from gguf import GGUFReader

    try:
        return list(GGUFReader(path).tensors)
    except (ValueError, IndexError, KeyError, OSError, OverflowError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} is no GGUF file, or is cut short: download it again") from error


def require_fits(path: Path, option: str, cls: Any, config: Mapping[str, Any], family: str) -> None:
    """Raise InputError where a file does not hold the weights of diffusers' class with this configuration.

    Names and shapes alone are read. A file with other names than diffusers' is renamed by its own converter, on tensors
    without content. `family` is what the messages call the network.
    """
    convert = _converter(cls)
    with torch.device("meta"):
        network = cls.from_config(dict(config))
    own = {name: tuple(each.shape) for name, each in network.named_parameters()}
    found = {name: shape for name, shape in shapes(path).items() if not name.endswith((*SCALES, *BESIDE))}
    made = _renamed(convert, config, own, found)
    lost = [name for name in own if name not in made]
    rest = looks_like({name: shape for name, shape in made.items() if name not in own})
    same = math.prod if path.suffix.lower() == ".gguf" else tuple  # GGUF has four sides at most, and folds others
    wrong = next((name for name in own if name in made and same(made[name]) != same(own[name])), None)
    if len(lost) > len(own) / 2:
        why = "does not hold the weights of this network"
    elif lost:
        why = f"lacks {len(lost)} of this network's {len(own)} weights, such as {lost[0]!r}"
    elif wrong is not None:
        sizes = " and ".join("x".join(map(str, shape)) for shape in (made[wrong], own[wrong]))
        why = f"does not fit this network: {wrong!r} is {sizes} in the two"
    elif rest in families() and rest != family:
        why = "holds more weights than this network has"
    else:
        return
    expected = looks_like(own) if looks_like(own) in families() or wrong is not None else family
    raise InputError(f"{option} {str(path)!r} {why}{_looks(found, expected or family)}")


def _converter(cls: Any) -> Any:
    """What renames the tensors of a file by the model's own names; raises InputError for a class that has none."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES as CONVERTERS

    found: Any = next((CONVERTERS[each.__name__] for each in cls.__mro__ if each.__name__ in CONVERTERS), None)
    if found is None:
        raise InputError(
            f"diffusers reads no single file of a {cls.__name__}: give a checkpoint folder, and leave "
            "backbone.transformer out"
        )
    return found["checkpoint_mapping_fn"]


def _renamed(
    convert: Any, config: Mapping[str, Any], own: Mapping[str, Any], found: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Shapes by diffusers' names; none of a file that its converter does not know."""
    if sum(name in found for name in own) > len(own) / 2:
        return dict(found)
    hollow = {name: torch.empty(shape, device="meta") for name, shape in found.items()}
    try:
        made = convert(checkpoint=hollow, config=dict(config))
    except Exception:  # converters raise whatever a dictionary does, at names that are not there
        return {}
    return {name: tuple(each.shape) for name, each in made.items()}


def _looks(found: Mapping[str, tuple[int, ...]], expected: str) -> str:
    if is_lora(found):
        return ": it holds a LoRA, which goes in by --lora"
    alike = looks_like(found)
    looks = f"it looks like {alike}" if alike else f"nobody here knows names such as {next(iter(found))!r}"
    return f": {looks}; give one of {expected}"


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
