"""What leaves each stage of a network while it runs: the layers of a text encoder, the blocks of an autoencoder."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

DEPTHS = 20
"""Places at which a network of a plug-in is read, which does not tell how many blocks it has."""

Modules = Mapping[str, torch.nn.Module]


def depth(backbone: Any) -> int:
    """How many blocks of the backbone's network see text, 1 or more."""
    own = getattr(backbone, "architecture", None)
    return DEPTHS if own is None else len(own.attention(backbone.components.transformer))


def layers(network: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The layers of a text encoder of transformers by name: the members of its first list of modules."""
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.ModuleList):
            return {f"{name.rpartition('.')[2]} {place}": each for place, each in enumerate(module, 1)}
    return {}


def stages(coder: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The stages of an autoencoder's encoder or decoder by name; lists of them are opened."""
    found: dict[str, torch.nn.Module] = {}
    for name, module in coder.named_children():
        if isinstance(module, torch.nn.ModuleList):
            found |= {f"{name} {place}": each for place, each in enumerate(module, 1)}
        else:
            found[name] = module
    return found


@contextmanager
def watched(
    modules: Modules, keep: Callable[[Tensor, int], Any], entry: str | None = None
) -> Iterator[dict[str, list[Any]]]:
    """What `keep` makes of each tensor that leaves one of the modules, by name, in the order of the calls.

    It is told how many came before by that name. Of several outputs the first counts. `entry` names what enters the
    first module, if that is asked for too. Nothing is changed, and the hooks are gone afterwards, whatever happens.
    """
    seen: dict[str, list[Any]] = {}

    def note(name: str, found: Any) -> None:
        if isinstance(found, Tensor):
            before = seen.setdefault(name, [])
            before.append(keep(found, len(before)))

    def leaves(name: str) -> Callable[..., None]:
        return lambda module, args, output: note(name, output[0] if isinstance(output, tuple) else output)

    def enters(module: Any, args: Any, kwargs: Any) -> None:
        assert entry is not None
        note(entry, args[0] if args else kwargs.get("hidden_states"))

    hooks = [module.register_forward_hook(leaves(name)) for name, module in modules.items()]
    if entry is not None and modules:
        first = next(iter(modules.values()))
        hooks.append(first.register_forward_pre_hook(enters, with_kwargs=True))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
