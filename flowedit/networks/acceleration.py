"""How a transformer runs faster for the same output: its kernels of attention, fused projections, compiled blocks."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from flowedit.messages import InputError, first_line

BACKEND = "DIFFUSERS_ATTN_BACKEND"
"""The variable by which diffusers' users choose how its networks attend; `runtime.attention` stands over it."""


@dataclass(frozen=True)
class Acceleration:
    """What a transformer is run with; each `runtime` option of the same name says what it does."""

    attention: str | None = None
    fuse: bool = False
    compile: bool = False
    split_guidance: str | None = None
    context_parallel: int = 1

    @classmethod
    def of(cls, runtime: Any) -> "Acceleration":
        """What these options of `runtime` say."""
        return cls(**{each.name: getattr(runtime, each.name) for each in fields(cls)})


PLAIN = Acceleration()


def check(how: Acceleration, offload: str = "auto", weights: str = "saved") -> None:
    """Raise InputError for a kernel that is not here, and for what does not go together.

    `offload` and `weights` are those of `runtime`.
    """
    name = kernel(how.attention)
    blocks, stored = ("runtime.offload=blocks", offload == "blocks"), (f"runtime.weights={weights}", weights != "saved")
    second = "runtime.split_guidance", how.split_guidance is not None
    shared = "runtime.context_parallel", how.context_parallel > 1
    compiled = "runtime.compile=true", how.compile
    apart = {compiled: (second, shared, blocks, stored), second: (shared, blocks), shared: (blocks, stored)}
    for (one, chosen), others in apart.items():
        if chosen and (bad := [other for other, given in others if given]):
            raise InputError(f"{one} and {bad[0]} do not go together: leave one out")
    if how.context_parallel == 1:
        return
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as registry

    able = registry._supports_context_parallel
    if (name or registry.get_active_backend()[0].value) not in able:
        raise InputError(
            f"runtime.attention={name} cannot share a call (runtime.context_parallel): {', '.join(able)} can"
        )


def check_family(how: Acceleration, name: str, without: Mapping[str, str]) -> None:
    """Raise InputError for what the network of a checkpoint does not run with; `without` gives the reason of each."""
    for option, reason in without.items():
        if getattr(how, option) != getattr(PLAIN, option):
            raise InputError(f"{name} does not run with runtime.{option}: {reason}; leave it out")


def kernel(name: str | None) -> str | None:
    """diffusers' name of an attention backend, which may be given without "_native" or "_" in front of it.

    None stands for the one of DIFFUSERS_ATTN_BACKEND. Raises InputError for one that diffusers does not know, or that
    lacks its package here.
    """
    asked = f"runtime.attention={name}" if name is not None else f"{BACKEND}={os.environ.get(BACKEND)}"
    wanted = os.environ.get(BACKEND) if name is None else name
    if wanted is None:
        return None
    try:
        from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend

        known = [each.value for each in AttentionBackendName]
        found = next((each for each in (wanted, f"_native_{wanted}", f"_{wanted}") if each in known), wanted)
        with attention_backend(found):  # type: ignore[arg-type]  # a name serves as well
            pass
    except Exception as error:  # a ValueError when diffusers is imported, else whatever a missing package gives
        raise InputError(f"{asked} does not work here: unset it ({first_line(error)})") from error
    return found if name is not None else None


def attend_by(network: Any, name: str) -> None:
    """Let every attention module of the network take this backend of diffusers'.

    Raises InputError where none takes any, as in a UNet.
    """
    able: list[Any] = [getattr(module, "processor", None) for module in network.modules()]
    able = [each for each in able if hasattr(each, "_attention_backend")]
    if not able:
        raise InputError(f"{type(network).__name__} takes PyTorch's own attention alone: leave runtime.attention out")
    for processor in able:
        processor._attention_backend = name


@torch.no_grad()
def fuse(network: Any) -> None:
    """One projection to queries, keys and values in place of three, and to keys and values in place of two.

    The old ones go: they would take their memory a second time.
    """
    from diffusers.models.attention_processor import AttnProcessor2_0, FusedAttnProcessor2_0

    for module in list(network.modules()):
        if not hasattr(module, "fuse_projections") or not hasattr(module, "to_q"):
            continue
        module.fuse_projections()
        if type(module.processor) is AttnProcessor2_0:  # that of UNets, which asks for the projections that go
            module.set_processor(FusedAttnProcessor2_0())
        for name in ("to_q", "to_k", "to_v") if hasattr(module, "to_qkv") else ("to_k", "to_v"):
            delattr(module, name)


class CompiledForward:
    """The forward of one block, compiled, and as it was while `plain` is set.

    torch.compile does not look for hooks that come later, and so would pass the recorder by.
    """

    def __init__(self, block: Any) -> None:
        self._eager, self.plain = block.forward, False
        self._compiled = torch.compile(block.forward, fullgraph=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self._eager if self.plain else self._compiled)(*args, **kwargs)


def compile_blocks(blocks: Sequence[Any], device: torch.device) -> None:
    """Compile the blocks of a transformer one by one: equal blocks share one compilation.

    Raises InputError where this machine cannot compile for the device.
    """
    try:
        torch.compile(_tried, fullgraph=True)(torch.zeros(2, device=device))
    except Exception as error:  # no compiler, no Triton, no headers of Python: each has an error of its own
        raise InputError(
            f"runtime.compile=true needs a compiler, and there is none that works for {device}: install one (g++ for a "
            f"CPU, Triton for a GPU), or leave it out ({first_line(error)})"
        ) from error
    for block in blocks:
        # Kept by name too: what streams a block puts a forward of its own in front.
        block.forward = block.compiled_forward = CompiledForward(block)


def _tried(x: Tensor) -> Tensor:
    return x + 1


@contextmanager
def uncompiled(blocks: Sequence[Any]) -> Iterator[None]:
    """These blocks run as they are, where they are compiled, so that what hooks into them is heard."""
    compiled = [block.compiled_forward for block in blocks if hasattr(block, "compiled_forward")]
    before = [each.plain for each in compiled]
    for each in compiled:
        each.plain = True
    try:
        yield
    finally:
        for each, plain in zip(compiled, before, strict=True):
            each.plain = plain


def prepared(how: Acceleration, device: torch.device, blocks: Callable[[Any], Sequence[Any]]) -> Callable[[Any], Any]:
    """What is done to a transformer that was just read, before it is placed on the device."""

    def prepare(network: Any) -> Any:
        if how.fuse:
            fuse(network)
        if (name := kernel(how.attention)) is not None:
            attend_by(network, name)
        if how.compile:
            compile_blocks(blocks(network), device)
        return network

    return prepare
