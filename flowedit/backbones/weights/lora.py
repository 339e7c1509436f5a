"""Low-rank changes of a network's weights, W + w (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685), fused into it."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flowedit.backbones.weights.asked import TEXT, Lora
from flowedit.machine import read_json
from flowedit.messages import InputError, first_line


@dataclass(frozen=True, eq=False)
class LowRank:
    """What a file adds to one module: scale B A to its weight, scale b to its bias; scale is alpha / r."""

    module: str
    down: Tensor
    """A (r, in, ...)."""
    up: Tensor
    """B (out, r, ...)."""
    bias: Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it changes."""
        return (self.up.shape[0], *self.down.shape[1:])


def read(
    lora: Lora, pipeline: str, network: str, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> list[LowRank]:
    """The changes of a file to a pipeline's `network`, whose weights have these shapes; a text encoder's are left out.

    Keys are those of diffusers, peft or kohya, and what diffusers' loader of that pipeline converts. Raises InputError
    for a pipeline without a loader, keys that nobody can convert, NaN or infinity, and changes that do not fit.
    """
    try:
        with safe_open(lora.path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            said = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{lora.called} cannot be read: {first_line(error)}; download it again") from error
    if bad := next((key for key, each in tensors.items() if not each.float().isfinite().all()), None):
        raise InputError(f"{lora.called} holds NaN or infinity in {bad!r}: download it again")
    unflat = {key.removesuffix(".weight").replace(".", "_"): key.removesuffix(".weight") for key in shapes}
    tensors = {_plain(key, unflat, network): each for key, each in tensors.items()}
    if network == "unet" or any(not key.startswith((f"{network}.", *TEXT)) for key in tensors):
        tensors = _converted(lora, tensors, pipeline, network, config)
    own = {re.sub(rf"^({network}|diffusion_model)\.", "", key): each for key, each in tensors.items() if _ours(key)}
    alphas = {key.removesuffix(".alpha"): float(own.pop(key)) for key in [*own] if key.endswith(".alpha")}
    found: dict[str, dict[str, Tensor]] = {}
    for key, each in own.items():
        module, name = _split(lora, key)
        found.setdefault(module, {})[name] = each
    said_scale = _scales(lora, said, network)
    changes = []
    for module, parts in found.items():
        if not {"A", "B"} <= parts.keys():
            raise InputError(f"{lora.called} lacks half of the change of {module!r}: download it again")
        rank, other = parts["A"].shape[0], parts["B"].shape[1]
        if rank != other:
            raise InputError(f"{lora.called}: A and B of {module!r} are of unlike ranks, {rank} and {other}")
        scale = alphas[module] / rank if module in alphas else said_scale(module, rank)
        changes.append(LowRank(module, parts["A"], parts["B"], parts.get("bias"), scale))
    return changes


def _ours(key: str) -> bool:
    return not key.startswith(TEXT)


def _plain(key: str, unflat: Mapping[str, str], network: str) -> str:
    """A key of peft's, or of kohya's that names one of these modules with lines for dots, as diffusers writes it."""
    if key.startswith(PEFT):
        return f"{network}.{key[len(PEFT) :]}"
    named, dot, rest = key.partition(".")
    module = unflat.get(named.removeprefix("lora_unet_").removeprefix("lora_transformer_"))
    return key if module is None or not named.startswith("lora_") else f"{network}.{module}{dot}{rest}"


PARTS = {
    "lora_A.weight": "A", "lora_B.weight": "B", "lora_B.bias": "bias", "lora_down.weight": "A",
    "lora_up.weight": "B", "lora.down.weight": "A", "lora.up.weight": "B",
}  # fmt: skip
"""How the libraries end the key of a factor."""


def _split(lora: Lora, key: str) -> tuple[str, str]:
    """The module that a key changes, and which part of the change it is."""
    for end, name in PARTS.items():
        if key.endswith(f".{end}"):
            return key.removesuffix(f".{end}"), name
    raise InputError(f"{lora.called}: {key!r} is no key of a LoRA; its layout is not known here")


def _converted(
    lora: Lora, tensors: dict[str, Tensor], pipeline: str, network: str, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors by diffusers' keys, made by its loader; alphas that it keeps apart among them."""
    import diffusers
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    loader = getattr(getattr(diffusers, pipeline, None), "lora_state_dict", None)
    if loader is None:
        raise InputError(f"{lora.called}: diffusers loads no LoRA into a {pipeline}: leave it out")
    try:
        made = loader(dict(tensors), **({"unet_config": SimpleNamespace(**config)} if network == "unet" else {}))
    except Exception as error:  # its converters raise whatever a dictionary does
        raise InputError(
            f"{lora.called}: its keys are none of a {pipeline}'s{looks_like(tensors)} ({first_line(error)})"
        ) from error
    made, alphas = made if isinstance(made, tuple) else (made, None)
    made = convert_unet_state_dict_to_peft(made) if network == "unet" else made
    apart = {key.partition(".lora_")[0].removesuffix(".alpha"): each for key, each in (alphas or {}).items()}
    return {**made, **{f"{module}.alpha": torch.tensor(float(each)) for module, each in apart.items()}}


PEFT = "base_model.model."
"""What peft's own files begin their keys with."""


def _scales(lora: Lora, said: Mapping[str, str], network: str) -> Callable[[str, int], float]:
    """alpha / r by module and rank, by what the file or peft's adapter_config.json beside it says, else 1."""
    beside = lora.path.with_name("adapter_config.json")
    if "lora_adapter_metadata" in said:
        whole = json.loads(said["lora_adapter_metadata"])
        about = {key.removeprefix(f"{network}."): value for key, value in whole.items()}
    elif beside.is_file():
        about = dict(read_json(beside))
    else:
        about = {}

    def scale(module: str, rank: int) -> float:
        if "lora_alpha" not in about:
            return 1.0
        patterns = about.get("alpha_pattern") or {}
        named = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module))
        alpha = float(next(named, about["lora_alpha"]))
        return alpha / (math.sqrt(rank) if about.get("use_rslora") else rank)

    return scale


def check(lora: Lora, changes: Sequence[LowRank], shapes: Mapping[str, tuple[int, ...]], model: str) -> None:
    """Raise InputError where the changes do not fit a network's weights, by their names and shapes."""
    for each in changes:
        key = f"{each.module}.weight"
        if key not in shapes:
            alike = looks_like([each.module], each.shape)
            raise InputError(f"{lora.called} does not fit {model}, which has no {each.module!r}{alike}")
        if tuple(shapes[key]) != each.shape:
            sizes = " and ".join("x".join(map(str, shape)) for shape in (each.shape, shapes[key]))
            alike = looks_like([each.module], each.shape)
            raise InputError(
                f"{lora.called} does not fit {model}: {each.module!r} is {sizes} in the two{alike}; give one that was "
                "trained on it"
            )
        if each.bias is not None and tuple(shapes.get(f"{each.module}.bias", ())) != tuple(each.bias.shape):
            raise InputError(f"{lora.called} does not fit {model}: {each.module!r} has no such bias there")


@torch.no_grad()
def fuse(network: Any, weighted: Iterable[tuple[float, Sequence[LowRank]]]) -> None:
    """W + sum_k w_k (alpha_k / r_k) B_k A_k in place, added up in float32 and rounded to the precision of W once."""
    sums: dict[str, Tensor] = {}
    for weight, changes in weighted:
        for each in changes if weight else ():
            factor = weight * each.scale
            product = factor * (each.up.float().flatten(1) @ each.down.float().flatten(1))
            add = {f"{each.module}.weight": product.reshape(each.shape)}
            add |= {} if each.bias is None else {f"{each.module}.bias": factor * each.bias.float()}
            for name, change in add.items():
                sums[name] = sums[name] + change if name in sums else change
    for name, change in sums.items():
        own = network.get_parameter(name)
        own.copy_((own.float() + change.to(own.device)).to(own.dtype))


LOOKS = (
    (r"(^|[._])(double_blocks|single_transformer_blocks|single_blocks)", "FLUX or HunyuanVideo"),
    (r"(temp_attentions|motion_modules)", "a video U-Net (Zeroscope, ModelScope, AnimateDiff)"),
    (r"(down_blocks|up_blocks|input_blocks|output_blocks|mid_block)", "a U-Net (Stable Diffusion, SDXL, Zeroscope)"),
    (r"(^|[._])transformer_blocks[._]\d+[._]attn[._]", "SD3 or Qwen-Image"),
    (r"(^|[._])transformer_blocks[._]\d+[._]attn2", "LTX-Video"),
    (r"(^|[._])transformer_blocks[._]\d+[._](attn1|norm1|norm2|ff[._])", "CogVideoX, LTX-Video or Mochi"),
    (r"(^|[._])blocks[._]\d+[._](attn\d|self_attn|cross_attn|ffn)", "Wan"),
)
"""Of which model a LoRA looks to be, by its keys."""

WIDTHS = {("Wan", 1536): "Wan 1.3B", ("Wan", 3072): "Wan 2.2 5B", ("Wan", 5120): "Wan 14B"} | {
    ("CogVideoX, LTX-Video or Mochi", width): name
    for width, name in ((1920, "CogVideoX 2B"), (3072, "CogVideoX 5B or Mochi"), (2048, "LTX-Video"))
}
"""And by the width of its attention, which says which size of it."""


def looks_like(keys: Iterable[str], shape: tuple[int, ...] = ()) -> str:
    """What to add to a complaint about a LoRA: which model it looks to be of; empty where nobody knows."""
    keys = list(keys)
    for pattern, name in LOOKS:
        if any(re.search(pattern, key) for key in keys):
            named = next((WIDTHS[name, side] for side in shape if (name, side) in WIDTHS), name)
            return f"; it looks like one of {named}"
    return ""
