"""A checkpoint's networks: read when first needed, one at a time on an accelerator, to fit a consumer card."""

from functools import cached_property
from typing import Any

import torch

from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.text import TextEncoder


class Components:
    """The transformer and the autoencoder of a checkpoint, given as (class, precision); the text encoder makes room."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        text: TextEncoder,
        *,
        transformer: tuple[Any, torch.dtype],
        vae: tuple[Any, torch.dtype],
        tiling: bool,
    ) -> None:
        self._checkpoint, self._device, self._text, self._tiling = checkpoint, device, text, tiling
        self._transformer, self._vae = transformer, vae
        self._placed: Any = None

    @cached_property
    def transformer(self) -> Any:
        """The transformer, wherever it is."""
        return self._checkpoint.model("transformer", *self._transformer)

    @cached_property
    def vae(self) -> Any:
        """The autoencoder, wherever it is."""
        vae = self._checkpoint.model("vae", *self._vae)
        if self._tiling:
            vae.enable_tiling()
        return vae

    def ready(self) -> None:
        """Read the weights of both; the text encoder's may never be needed."""
        self.vae, self.transformer  # noqa: B018  (cached when first asked for)

    def place(self, network: Any) -> Any:
        """The network on the device, the other one off it."""
        self._text.release()
        if self._device.type == "cpu" or network is self._placed:
            return network
        if self._placed is not None:
            self._placed.to("cpu")
        self._placed = network.to(self._device)
        return network
