"""A checkpoint's networks: read when first needed, one at a time on an accelerator, to fit a consumer card."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch

from flowedit.backbones.checkpoint import Checkpoint
from flowedit.messages import InputError

NetworkKind = tuple[Any, torch.dtype]
"""The class of a network, and the precision that it is loaded in."""


class Components:
    """The transformer, the autoencoder and the text encoder of a checkpoint, of which one is on the device.

    The text encoder, which is large and asked for once, leaves memory as well when another is asked for.
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
        encoder: NetworkKind,
        tiling: bool,
    ) -> None:
        self._checkpoint, self._device, self._tiling = checkpoint, device, tiling
        self._transformer, self._vae, self._encoder = transformer, vae, encoder
        self._placed: Any = None
        self.prepare = lambda network: network

    @cached_property
    def transformer(self) -> Any:
        """The transformer, wherever it is."""
        self.release_encoder()  # before the memory is needed
        return self.another_transformer()

    def another_transformer(self) -> Any:
        """The transformer, read anew, which stays where the caller puts it."""
        return self.prepare(self._checkpoint.model("transformer", *self._transformer))

    @cached_property
    def vae(self) -> Any:
        """The autoencoder, wherever it is."""
        self.release_encoder()
        vae = self._checkpoint.model("vae", *self._vae)
        if self._tiling:
            vae.enable_tiling()
        return vae

    @cached_property
    def encoder(self) -> Any:
        """The text encoder, wherever it is; prompts that follow each other share one load."""
        encoder = self._checkpoint.model("text_encoder", *self._encoder)
        if encoder.encoder.embed_tokens.weight is not encoder.shared.weight:
            raise InputError(f"{self._checkpoint.path}/text_encoder loaded with untied, empty token embeddings")
        return encoder

    def ready(self) -> None:
        """Read the weights of transformer and autoencoder; the text encoder's may never be needed."""
        self.vae, self.transformer  # noqa: B018  (cached when first asked for)

    def place(self, network: Any) -> Any:
        """The network on the device, the others off it."""
        if network is not vars(self).get("encoder"):
            self.release_encoder()
        if self._device.type == "cpu" or network is self._placed:
            return network
        if self._placed is not None:
            self._placed.to("cpu")
        self._placed = network.to(self._device)
        return network

    def release_encoder(self) -> None:
        """Let the text encoder go from memory; it is read again for another prompt."""
        encoder = vars(self).pop("encoder", None)
        if encoder is not None and encoder is self._placed:
            self._placed = None
