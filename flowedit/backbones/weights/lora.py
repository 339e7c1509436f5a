"""Low-rank changes of a network's weights, W + w (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685), fused into it."""

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
from flowedit.backbones.weights.looks import looks_like
from flowedit.machine import parsed_json
from flowedit.messages import InputError, first_line
from flowedit.pretrained import layout


@dataclass(frozen=True, eq=False)
class LowRank:
    """What a file adds to one module: B A to its weight, b to its bias; alpha / r is multiplied into B and b."""

    module: str
    down: Tensor
    """A (r, in, ...)."""
    up: Tensor
    """B (out, r, ...)."""
    bias: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it changes."""
        return (self.up.shape[0], *self.down.shape[1:])


def read(
    lora: Lora,
    pipeline: str,
    networks: tuple[str, str],
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[LowRank]:
    """The changes of a file to a network, whose weights have these shapes; a text encoder's are left out.

    `networks` are the name that the pipeline's LoRAs give to a network, and the folder of the one that is changed.
    Keys are those of diffusers, peft or kohya, and what diffusers' loader of that pipeline converts. Raises InputError
    for a pipeline without a loader, keys that nobody can convert, NaN or infinity, an alpha of no change, and changes
    that do not fit.
    """
    network, component = networks
    try:
        with safe_open(lora.path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys() if not key.startswith(TEXT)}  # noqa: SIM118
            said = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{lora.called} cannot be read: {first_line(error)}; download it again") from error
    if bad := next((key for key, each in tensors.items() if not each.float().isfinite().all()), None):
        raise InputError(f"{lora.called} holds NaN or infinity in {bad!r}: download it again")
    if parted := any(map(SECOND.match, tensors)):
        of_second = component != network
        mine = {key: each for key, each in tensors.items() if bool(SECOND.match(key)) is of_second}
        tensors = {SECOND.sub(rf"\1{network}\2", key): each for key, each in mine.items()}
    known = {name: name for key in shapes if (name := key.removesuffix(".weight")) != key}
    known |= {name.replace(".", "_"): name for name in known}
    plain = {key: _plain(key, known, network) for key in tensors}
    whole = None not in plain.values()  # else diffusers' loader wants its own keys
    tensors = {(whole and plain[key]) or _unwrapped(key, network): each for key, each in tensors.items()}
    tensors = _scaled(lora, tensors, _scales(lora, said, component if parted else network), network)
    if not whole:
        tensors = _converted(lora, tensors, pipeline, network, config)
    if not tensors and not (parted and lora.part is None):
        raise InputError(f"{lora.called} holds no change of {component}{_alike(dict.fromkeys(plain))}: leave it out")
    found: dict[str, dict[str, Tensor]] = {}
    for key, each in tensors.items():
        if (split := _split(re.sub(rf"^({network}|diffusion_model)\.", "", key))) is None:
            raise InputError(f"{lora.called}: {key!r} is no key of a LoRA; its layout is not known here")
        found.setdefault(split[0], {})[split[1]] = each
    changes = []
    for module, parts in found.items():
        if not {"A", "B"} <= parts.keys():
            raise InputError(f"{lora.called} lacks half of the change of {module!r}: download it again")
        _rank(lora, module, parts["A"], parts["B"])
        changes.append(LowRank(module, parts["A"], parts["B"], parts.get("bias")))
    return changes


SECOND = re.compile(r"^(lora_)?transformer_2([._])")
"""How keys of a second network begin, in a file that changes each network otherwise."""


def changes_second(lora: Lora) -> bool:
    """Whether a part of it is a second network's alone."""
    return any(map(SECOND.match, layout.header(lora.path)))


PARTS = {
    ".lora_A.weight": "A", ".lora_down.weight": "A", ".lora.down.weight": "A", "_lora.down.weight": "A",
    ".lora_B.weight": "B", ".lora_up.weight": "B", ".lora.up.weight": "B", "_lora.up.weight": "B",
    ".lora_B.bias": "bias",
}  # fmt: skip
"""How the libraries end the key of a factor."""

ENDS = {"A": ".lora_A.weight", "B": ".lora_B.weight", "bias": ".lora_B.bias", "alpha": ".alpha"}


def _split(key: str) -> tuple[str, str] | None:
    """The module that a key changes, and which part of the change it is; None of a key that is no LoRA's."""
    if key.endswith(".alpha"):
        stem = key.removesuffix(".alpha")
        factor = _split(stem)
        return re.sub(r"[._]lora$", "", stem) if factor is None else factor[0], "alpha"
    return next(((key.removesuffix(end), part) for end, part in PARTS.items() if key.endswith(end)), None)


PEFT = "base_model.model."
"""What peft's own files begin their keys with."""


def _unwrapped(key: str, network: str) -> str:
    return f"{network}.{key.removeprefix(PEFT)}" if key.startswith(PEFT) else key


def _plain(key: str, known: Mapping[str, str], network: str) -> str | None:
    """A key as peft ends it and diffusers begins it, where it names one of the `known` modules; else None.

    They are known with lines for dots too, as kohya writes them; diffusers' keys of 2023 name a processor in between.
    """
    bare = re.sub(rf"^({re.escape(PEFT)}|{network}\.|diffusion_model\.|lora_unet_|lora_transformer_)", "", key)
    if (split := _split(bare)) is None:
        return None
    module = re.sub(r"\.to_out$", ".to_out.0", split[0].replace(".processor.", "."))
    name = known.get(split[0], known.get(module))
    return None if name is None else f"{network}.{name}{ENDS[split[1]]}"


def _rank(lora: Lora, module: str, down: Tensor, up: Tensor) -> int:
    if min(down.ndim, up.ndim) < 2 or 0 in (*down.shape, *up.shape):
        raise InputError(f"{lora.called}: A and B of {module!r} are no matrices: download it again")
    if down.shape[0] != up.shape[1]:
        raise InputError(f"{lora.called}: A and B of {module!r} are of unlike ranks, {down.shape[0]} and {up.shape[1]}")
    return int(down.shape[0])


def _scaled(
    lora: Lora, tensors: Mapping[str, Tensor], said: Callable[[str, int], float], network: str
) -> dict[str, Tensor]:
    """The tensors without their alphas, alpha / r multiplied into B and its bias, in float32.

    Before diffusers converts them: its loaders rename, split or drop alphas, each in its own way.
    """
    keys: dict[str, dict[str, str]] = {}
    for key in tensors:
        if (split := _split(key)) is not None:
            keys.setdefault(split[0], {})[split[1]] = key
    made = dict(tensors)
    for module, own in keys.items():
        whole = {"A", "B"} <= own.keys()
        if "alpha" in own and (not whole or tensors[own["alpha"]].numel() != 1):
            what = "is no number" if whole else "belongs to no change"
            raise InputError(f"{lora.called}: {own['alpha']!r} {what}: download it again")
        if not whole:
            continue
        rank = _rank(lora, module, tensors[own["A"]], tensors[own["B"]])
        alpha = float(made.pop(own["alpha"])) if "alpha" in own else None
        scale = said(module.removeprefix(f"{network}."), rank) if alpha is None else alpha / rank
        for key in (own[part] for part in ("B", "bias") if part in own and scale != 1):
            made[key] = scale * tensors[key].float()
    return made


def _converted(
    lora: Lora, tensors: dict[str, Tensor], pipeline: str, network: str, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors by diffusers' keys, made by its loader of tensors whose scale is 1."""
    import diffusers
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    loader = getattr(getattr(diffusers, pipeline, None), "lora_state_dict", None)
    if loader is None:
        raise InputError(f"{lora.called}: diffusers loads no LoRA into a {pipeline}: leave it out")
    downs = {key.removesuffix(KOHYA): each for key, each in tensors.items() if key.endswith(KOHYA)}
    ranks = {f"{key}.alpha": torch.tensor(float(len(each))) for key, each in downs.items() if key.startswith("lora_")}
    try:  # some of its converters of kohya's keys fail without an alpha: the rank, which is a scale of 1
        made = loader(tensors | ranks, **({"unet_config": SimpleNamespace(**config)} if network == "unet" else {}))
    except Exception as error:  # its converters raise whatever a dictionary does
        alike = _alike({key: each.shape for key, each in tensors.items()}) or f", such as {next(iter(tensors))[:80]!r}"
        told = f"{lora.called} is for no {pipeline}: its keys are none of that one's{alike}"
        raise InputError(f"{told}; give one that was trained on it") from error
    made = made[0] if isinstance(made, tuple) else made
    return dict(convert_unet_state_dict_to_peft(made) if network == "unet" else made)


KOHYA = ".lora_down.weight"

LARGEST = 1e9
"""No alpha is as large; a whole number of JSON may have thousands of digits."""


def _scales(lora: Lora, said: Mapping[str, str], network: str) -> Callable[[str, int], float]:
    """alpha / r by module and rank, by what the file or peft's adapter_config.json beside it says, else 1.

    A module has the alpha of the first name in alpha_pattern that is its own, or the end of its own after a dot.
    """
    beside = lora.path.with_name("adapter_config.json")
    about: Any = {}
    where = f"{lora.called}: lora_adapter_metadata"
    if "lora_adapter_metadata" in said:
        about = parsed_json(said["lora_adapter_metadata"].encode(errors="replace"), where)
    elif beside.is_file():
        about, where = layout.read_json(beside), repr(str(beside))
    if not isinstance(about, dict):
        raise InputError(f"{where} holds no mapping: download it again")
    about = {key.removeprefix(f"{network}."): value for key, value in about.items()}
    patterns = about.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise InputError(f"{where}: alpha_pattern holds no mapping: download it again")
    for key, value in {**patterns, **{key: about[key] for key in ("lora_alpha",) if key in about}}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise InputError(f"{where}: the alpha of {key[:80]!r} is no number: download it again")
    alphas = {}
    for key, value in patterns.items():
        name = key.removeprefix("^").replace("\\.", ".")
        if not re.fullmatch(r"[\w.-]+", name):  # peft takes any pattern: one of a stranger's could run for ever
            raise InputError(f"{where}: alpha_pattern {key[:80]!r} is no module's name, and no other pattern is read")
        alphas[name] = (key.startswith("^"), float(value))

    def scale(module: str, rank: int) -> float:
        named = (
            value
            for name, (whole, value) in alphas.items()
            if name == module or (not whole and module.endswith(f".{name}"))
        )
        alpha = next(named, float(about["lora_alpha"]) if "lora_alpha" in about else None)
        return 1.0 if alpha is None else alpha / (math.sqrt(rank) if about.get("use_rslora") else rank)

    return scale


def check(lora: Lora, changes: Sequence[LowRank], shapes: Mapping[str, tuple[int, ...]], model: str) -> None:
    """Raise InputError where the changes do not fit a network's weights, by their names and shapes."""
    for each in changes:
        key = f"{each.module}.weight"
        if key not in shapes:
            raise InputError(
                f"{lora.called} does not fit {model}, which has no {each.module!r}{_alike({each.module: each.shape})}; "
                "give one that was trained on it"
            )
        if tuple(shapes[key]) != each.shape:
            sizes = " and ".join("x".join(map(str, shape)) for shape in (each.shape, shapes[key]))
            alike = _alike({each.module: each.shape})
            raise InputError(
                f"{lora.called} does not fit {model}: {each.module!r} is {sizes} in the two{alike}; give one that was "
                "trained on it"
            )
        if each.bias is not None and tuple(shapes.get(f"{each.module}.bias", ())) != tuple(each.bias.shape):
            raise InputError(f"{lora.called} does not fit {model}: {each.module!r} has no such bias there")


@torch.no_grad()
def fuse(network: Any, weighted: Iterable[tuple[float, Sequence[LowRank]]]) -> None:
    """W + sum_k w_k B_k A_k in place, added up in float32 and rounded to the precision of W once."""
    sums: dict[str, Tensor] = {}
    for weight, changes in weighted:
        for each in changes if weight else ():
            product = weight * (each.up.float().flatten(1) @ each.down.float().flatten(1))
            add = {f"{each.module}.weight": product.reshape(each.shape)}
            add |= {} if each.bias is None else {f"{each.module}.bias": weight * each.bias.float()}
            for name, change in add.items():
                sums[name] = sums[name] + change if name in sums else change
    for name, change in sums.items():
        own = network.get_parameter(name)
        own.copy_((own.float() + change.to(own.device)).to(own.dtype))


def _alike(shapes: Mapping[str, Any]) -> str:
    """What to add to a complaint: which model it looks to be of; empty where nobody knows."""
    alike = looks_like({key: shape or () for key, shape in shapes.items()})
    return f"; it looks like one of {alike}" if alike else ""
