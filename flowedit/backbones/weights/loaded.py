"""A pipeline of diffusers that is loaded already, in place of a checkpoint folder: its networks as they are."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from flowedit.backbones.checkpoint import SECOND, Checkpoint
from flowedit.backbones.weights.asked import Overlay
from flowedit.messages import InputError
from flowedit.networks import placement
from flowedit.pretrained import layout


class LoadedCheckpoint(Checkpoint):
    """The components of a pipeline, with their own weights, precision, place and hooks; nothing is read or copied.

    What a checkpoint of ours says of itself (flowedit.json) is read where the pipeline came from a folder.
    """

    loaded = True

    def __init__(self, pipe: Any) -> None:
        self._pipe, self.overlay = pipe, Overlay()
        came_from = str(pipe.config.get("_name_or_path") or "")
        self.folder = Path(came_from) if came_from and Path(came_from).is_dir() else None
        """Where it was loaded from; None for a model of the hub, and for what was put together by hand."""
        self.path = Path(came_from or type(pipe).__name__)
        self.name = self.path.name if self.folder is None else self.folder.resolve().name
        for component in (self.denoiser, "vae", "text_encoder", "scheduler"):
            self._component(component)

    @property
    def device(self) -> torch.device:
        """Where the pipeline runs, which its offload hooks may say."""
        return torch.device(self._pipe._execution_device)

    @cached_property
    def index(self) -> dict[str, Any]:
        """Its own settings, such as the boundary between two networks."""
        return dict(self._pipe.config)

    @property
    def pipeline(self) -> str:
        """The class of diffusers that it is, or inherits."""
        return next(each.__name__ for each in type(self._pipe).__mro__ if each.__module__.startswith("diffusers."))

    @property
    def second(self) -> bool:
        """Whether it has a second transformer."""
        return getattr(self._pipe, SECOND, None) is not None

    @cached_property
    def denoiser(self) -> str:
        """The name of the network that predicts."""
        return "unet" if hasattr(self._pipe, "unet") and not hasattr(self._pipe, "transformer") else "transformer"

    @cached_property
    def notes(self) -> dict[str, Any]:
        """flowedit.json of the folder that it came from; empty without one."""
        return {} if self.folder is None else layout.notes(self.folder)

    @property
    def world(self) -> dict[str, Any] | None:
        """What a checkpoint of the pocket world learned, by kind of word; None for all others."""
        return None if self.folder is None else layout.world(self.folder, self.notes)

    def config(self, component: str, cls: Any) -> dict[str, Any]:
        """A component's configuration, what it leaves out filled with the defaults of its class."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        found = self._component(component)
        return defaults | dict(found.config) | {"_class_name": type(found).__name__}

    def model(self, component: str, cls: Any, dtype: torch.dtype) -> Any:
        """The component itself; raises InputError for one that is compiled, or whose steps a cache skips."""
        network = self._component(component)
        compiled = any(getattr(each, "_compiled_call_impl", None) is not None for each in network.modules())
        if compiled or hasattr(network, "_orig_mod"):
            raise InputError(
                f"{self.name}: its {component} is compiled, and what an edit reads of it is not heard then: give the "
                "pipeline before torch.compile"
            )
        if getattr(network, "is_cache_enabled", False):
            raise InputError(
                f"{self.name}: a cache of diffusers skips steps of its {component}, which an edit cannot share: call "
                f"pipe.{component}.disable_cache() first"
            )
        return network

    def tokenizer(self, folder: str, cls: Any) -> Any:
        """The tokenizer itself; raises InputError for one that does not tell which characters a token covers."""
        found = self._component(folder)
        if not getattr(found, "is_fast", False):
            raise InputError(f"{self.name}: its {folder} tells no offsets: load it with use_fast=True")
        return found

    def dtype(self, component: str) -> torch.dtype:
        """The precision that a component computes in."""
        found: torch.dtype = self._component(component).dtype
        return found if found.is_floating_point else torch.float32

    def parameters(self, component: str) -> int:
        """How many numbers a component's weights hold."""
        return sum(each.numel() for each in self._component(component).parameters())

    def tensor(self, component: str, name: str) -> torch.Tensor:
        """A tensor of a component's weights, by its name; raises InputError for one that is not there or not held."""
        found: torch.Tensor | None = self._component(component).state_dict().get(name)
        if found is None or found.is_meta:
            raise InputError(f"{self.name}: {component} lacks {name}")
        return found

    def describe(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """What is kept of a backbone: of weights in memory, which may be changed, no fingerprint."""
        return {
            "name": self.name,
            "pipeline": type(self._pipe).__name__,
            "trained": self.trained,
            "dtype": str(dtype).removeprefix("torch."),
            "device": str(device),
        }

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Afterwards the networks are as before: their attention processors, and what their groups offload."""
        networks = [each for each in (self._component(self.denoiser), getattr(self._pipe, SECOND, None)) if each]
        before = [
            (module, module.processor)
            for network in networks
            for module in network.modules()
            if hasattr(module, "processor") and hasattr(module, "set_processor")
        ]
        try:
            yield
        finally:
            for module, processor in before:
                module.set_processor(processor)
            placement.withdraw(self._pipe.vae)

    def _component(self, name: str) -> Any:
        found = getattr(self._pipe, name, None)
        if found is None:
            raise InputError(f"{self.name} ({type(self._pipe).__name__}) has no {name}: load the whole pipeline")
        return found
