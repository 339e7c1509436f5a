"""Where a network's weights lie and how they are stored: streamed block by block, cast to 8 bits, quantised."""

import importlib.util
from typing import Any

import torch

from flowedit.machine import muted, out_of_memory
from flowedit.messages import InputError

HOST = torch.device("cpu")

STREAMING = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""The names of diffusers' hooks that stream a network; the first moves a group of blocks."""


def stream(network: Any, device: torch.device, *, ahead: bool = True) -> None:
    """From now on a call of the network brings its blocks to the device one after the other, and takes each back.

    `network` is on the host, and its blocks are in a list of modules of its own. With `ahead` the next block comes
    while one is at work, on a stream of its own and from pinned memory, where the device is a CUDA one and the host
    has room to pin it; two blocks are then on the device.
    """
    from diffusers.hooks.group_offloading import apply_group_offloading

    if streams(network):
        return

    def apply(**how: Any) -> None:
        apply_group_offloading(network, device, HOST, offload_type="block_level", num_blocks_per_group=1, **how)

    if device.type != "cuda" or not ahead:
        apply()
        return
    try:
        apply(use_stream=True, record_stream=True, non_blocking=True)
    except RuntimeError as error:  # it pins before it changes anything
        if not out_of_memory(error):
            raise
        apply()


def stack(encoder: Any) -> Any:
    """The part of a text encoder that holds its words and its list of layers; None where no one part holds both."""
    inner = getattr(encoder, "encoder", encoder)
    own = dict(inner.named_children())
    whole = "embed_tokens" in own and any(isinstance(each, torch.nn.ModuleList) for each in own.values())
    return inner if whole else None


def streams(network: Any) -> bool:
    """Whether its blocks stream."""
    return any(_group(module) is not None for module in network.modules())


def withdraw(network: Any) -> None:
    """Take everything of a streamed network off the device: what a call that failed left there."""
    for module in network.modules():
        if (group := _group(module)) is not None:
            if group.stream is not None:
                group.stream.synchronize()
            group.offload_()


def awake(network: Any) -> Any:
    """A network that somebody else lays into memory, ready for a call of its parts.

    Hooks on its own forward are not heard then: accelerate's, which moves it whole, and a group's of what is in none of
    its blocks.
    """
    if (hook := getattr(network, "_hf_hook", None)) is not None:
        hook.pre_forward(network)
    if (group := _group(network)) is not None:
        group.onload_()
    return network


def settle(network: Any) -> None:
    """Stream a network no more: it lies on the host whole."""
    if not streams(network):
        return
    withdraw(network)
    for module in network.modules():
        if (registry := getattr(module, "_diffusers_hook", None)) is not None:
            for name in STREAMING:
                registry.remove_hook(name, recurse=False)


def held(network: Any) -> int:
    """Bytes of its weights, as they are held."""
    return sum(_bytes(each) for each in network.parameters())


def _bytes(weight: Any) -> int:
    flatten = getattr(weight, "__tensor_flatten__", None)
    inner = [] if flatten is None else [getattr(weight, name) for name in flatten()[0]]
    return sum(map(_bytes, inner)) if inner else int(weight.numel() * weight.element_size())


def _group(module: Any) -> Any:
    registry = getattr(module, "_diffusers_hook", None)
    hook = None if registry is None else registry.get_hook(STREAMING[0])
    return None if hook is None else hook.group


def store(network: Any, how: str, dtype: torch.dtype) -> Any:
    """The network with its weights held as `how` says, saved, fp8 or int8, and computing in `dtype` as before.

    fp8: float8_e4m3fn, each layer cast as it is called; what diffusers holds sensitive (norms, embeddings) stays. int8:
    a scale for each output channel of every linear layer (torchao). Raises InputError where torchao is not installed.
    """
    if how == "fp8":
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    elif how == "int8":
        require_torchao()
        with muted():  # it warns of its own insides
            from torchao.quantization import Int8WeightOnlyConfig, quantize_
        quantize_(network, Int8WeightOnlyConfig())
    return network


def require_torchao() -> None:
    """Raise InputError, with what to type, where torchao is not installed."""
    if importlib.util.find_spec("torchao") is None:
        raise InputError('int8 weights need torchao, which is not installed: pip install "flowedit[quant]"')
