"""A checkpoint's networks: read when first needed, and laid into the device's memory as `offload` says."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch

from flowedit.backbones import memory
from flowedit.backbones.checkpoint import SECOND, Checkpoint
from flowedit.machine import GIB, free_memory
from flowedit.messages import InputError
from flowedit.networks import placement

NetworkKind = tuple[Any, torch.dtype]
"""The class of a network, and the precision that it is loaded in."""


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device itself computes in bfloat16, not by way of float32: NVIDIA's do since Ampere."""
    if device.type != "cuda" or torch.version.hip is not None:
        return True
    try:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    except RuntimeError:  # no driver: what runs there says so better
        return True


def require_bfloat16(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise InputError for a model in bfloat16 on a device that does not compute in it."""
    if dtype is torch.bfloat16 and not computes_bfloat16(device):
        raise InputError(
            f"{name} runs in bfloat16, which this GPU ({torch.cuda.get_device_name(device)}) does not "
            "compute: take --backbone cogvideox-2b, which runs in float16, or runtime.device=cpu"
        )


def precision_of_text(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """bfloat16 for float16, of which transformers keeps a quarter in float32, which takes 2 GB more; else as given."""
    exact = dtype is torch.float16 and device.type == "cuda" and computes_bfloat16(device)
    return torch.bfloat16 if exact else dtype


class Components:
    """The transformer, the autoencoder and the text encoders of a checkpoint, these by their folders.

    `offload`: with "none" each stays on the device once it was there. With "parts" one is there at a time, and a text
    encoder, which is large and asked for once, leaves memory as well when another is asked for. With "blocks" the
    transformer and the text encoders are never there whole: their blocks stream through it.
    """

    prepare: Callable[[Any], Any]
    """What is done to the transformer once it is read."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        *,
        transformer: NetworkKind,
        vae: NetworkKind,
        encoders: Mapping[str, NetworkKind],
        tiling: bool,
        weights: str = "saved",
        text_weights: str = "saved",
    ) -> None:
        self._checkpoint, self._device, self.tiling = checkpoint, device, tiling
        self._transformer, self._vae, self._kinds = transformer, vae, encoders
        self._encoders: dict[str, Any] = {}
        """The text encoders that are in memory, by their folders."""
        self.prepare = lambda network: network
        self.weights, self.text_weights = weights, text_weights
        self.offload = "parts"
        self.text_streams = False
        """Whether the text encoder streams under any `offload`: it did not fit."""
        self._placed: list[Any] = []
        """The networks that are on the device whole."""
        self._last: Any = None
        """The network that was placed last."""

    @cached_property
    def transformer(self) -> Any:
        """The transformer, wherever it is."""
        self.release_encoder()  # before the memory is needed
        return self.another_transformer(self._checkpoint.denoiser)

    @cached_property
    def second(self) -> Any:
        """The second transformer of a model that has one, wherever it is."""
        return self.another_transformer(SECOND)

    def another_transformer(self, part: str) -> Any:
        """A transformer, read anew, which stays where the caller puts it."""
        network = self.prepare(self._checkpoint.model(part, *self._transformer))
        return placement.store(network, self.weights, self._transformer[1])

    @cached_property
    def vae(self) -> Any:
        """The autoencoder, wherever it is."""
        self.release_encoder()
        vae = self._checkpoint.model("vae", *self._vae)
        if self.tiling:
            vae.enable_tiling()
        return vae

    def encoder(self, folder: str = "text_encoder") -> Any:
        """A text encoder, wherever it is; prompts that follow each other share one load."""
        if folder not in self._encoders:
            encoder = self._checkpoint.model(folder, *self._kinds[folder])
            read = not self._checkpoint.loaded and hasattr(encoder, "shared")
            if read and encoder.encoder.embed_tokens.weight is not encoder.shared.weight:
                raise InputError(f"{self._checkpoint.path}/{folder} loaded with untied, empty token embeddings")
            self._encoders[folder] = placement.store(encoder, self.text_weights, self._kinds[folder][1])
        return self._encoders[folder]

    def ready(self) -> None:
        """Read the weights of transformers and autoencoder; the text encoder's may never be needed."""
        self.vae, self.transformer  # noqa: B018  (cached when first asked for)
        if self._checkpoint.second:
            self.second  # noqa: B018

    def lay(self, offload: str) -> None:
        """From now on networks lie in memory as `offload` says; another way than before starts with nothing there."""
        if offload != self.offload:
            self.clear()
        self.offload = offload

    def place(self, network: Any) -> Any:
        """The network, ready to be called with what is on the device."""
        if self._checkpoint.loaded:
            return placement.awake(network) if network is self.vae else network
        if network is self._last:
            return network
        reads = self._reads(network)
        if self.offload != "none":
            if not reads:
                self.release_encoder()
            self._evict(but=network)
        if reads and (self.text_streams or self.offload == "blocks") and placement.stack(network) is not None:
            # It is called once a prompt: a block that comes ahead, from pinned memory, is not worth the pinning.
            placement.stream(placement.stack(network), self._device, ahead=False)
        elif self.offload == "blocks" and any(network is vars(self).get(name) for name in ("transformer", "second")):
            placement.stream(network, self._device)
        else:
            placement.settle(network)
            if not self._is_placed(network):
                self._placed.append(network if self._device.type == "cpu" else network.to(self._device))
        self._last = network
        return network

    def encoder_lacks(self, folder: str = "text_encoder") -> tuple[float, float] | None:
        """GiB that a text encoder needs and that are free for it, where it has no room whole; None where it has."""
        encoder = self.encoder(folder)
        if self._checkpoint.loaded or self.offload == "blocks" or self.text_streams or self._is_placed(encoder):
            return None
        if self.offload != "none":
            self._evict(but=encoder)
        needed, free = memory.must_be_free(placement.held(encoder) / GIB), free_memory(self._device)
        return None if free is None or needed <= free else (needed, free)

    def on_device(self) -> float:
        """GiB of weights on the device."""
        return sum(placement.held(each) for each in self._placed) / GIB

    def clear(self) -> None:
        """Take everything off the device, what a call that failed left there as well."""
        self._evict(but=None)
        self._last = None
        for network in (vars(self).get("transformer"), vars(self).get("second"), *self._encoders.values()):
            if network is not None:
                placement.withdraw(network)

    def release_encoder(self) -> None:
        """Let the text encoders go from memory, unless all stay; they are read again for another prompt."""
        if self.offload != "none":
            self._placed = [each for each in self._placed if not self._reads(each)]
            self._last = None if self._reads(self._last) else self._last
            self._encoders.clear()

    def _reads(self, network: Any) -> bool:
        """Whether it is a text encoder."""
        return any(network is each for each in self._encoders.values())

    def _evict(self, but: Any) -> None:
        for each in self._placed:
            if each is not but:
                each.to("cpu")
        self._placed = [each for each in self._placed if each is but]

    def _is_placed(self, network: Any) -> bool:
        return any(each is network for each in self._placed)
