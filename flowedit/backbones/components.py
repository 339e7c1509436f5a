"""A checkpoint's networks: read when first needed, one at a time on an accelerator, to fit a consumer card."""

from functools import cached_property
from typing import Any

import torch

from flowedit.backbones.checkpoint import Folder
from flowedit.backbones.text import TextEncoder


class Parts:
    """The transformer and the autoencoder of a folder, given as (class, precision); the text encoder makes room."""

    def __init__(
        self,
        folder: Folder,
        device: torch.device,
        text: TextEncoder,
        *,
        transformer: tuple[Any, torch.dtype],
        vae: tuple[Any, torch.dtype],
        tiling: bool,
    ) -> None:
        self._folder, self._device, self._text, self._tiling = folder, device, text, tiling
        self._transformer, self._vae = transformer, vae
        self._placed: Any = None

    @cached_property
    def transformer(self) -> Any:
        """The transformer, wherever it is."""
        return self._folder.model("transformer", *self._transformer)

    @cached_property
    def vae(self) -> Any:
        """The autoencoder, wherever it is."""
        vae = self._folder.model("vae", *self._vae)
        if self._tiling:
            vae.enable_tiling()
        return vae

    def ready(self) -> None:
        """Read the weights of both; the text encoder's may never be needed."""
        self.vae, self.transformer  # noqa: B018  (cached when first asked for)

    def place(self, wanted: Any) -> Any:
        """The network on the device, the other ones off it."""
        self._text.release()
        if self._device.type == "cpu" or wanted is self._placed:
            return wanted
        if self._placed is not None:
            self._placed.to("cpu")
        self._placed = wanted.to(self._device)
        return wanted
