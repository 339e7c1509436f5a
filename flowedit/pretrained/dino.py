"""DINO: the keys of its last layer, which tell a picture's structure from its looks (Tumanyan et al. 2022)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTModel

from flowedit.messages import InputError
from flowedit.pretrained import hub

CHUNK = 4
"""Frames a call: patches of 8 pixels make long rows of tokens."""

SIDES = (224, 480)
"""What a frame's shorter side becomes, and the most that its longer one may."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass(frozen=True, eq=False)
class Dino:
    """A vision transformer on its device, and the projection in it that makes the last layer's keys."""

    model: Any
    projection: nn.Linear

    @torch.no_grad()
    def keys(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W, 3) RGB to float32 (n, tokens, d): heads concatenated, the class token first."""
        found: list[Tensor] = []
        hook = self.projection.register_forward_hook(lambda _module, _input, keys: found.append(keys.float().cpu()))
        try:
            for start in range(0, len(frames), CHUNK):
                self.model(pixels(frames[start : start + CHUNK], self.model.device), interpolate_pos_encoding=True)
        finally:
            hook.remove()
        return torch.cat(found).numpy()

    @torch.no_grad()
    def tokens(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W, 3) RGB to the class tokens of the last layer, float32 (n, d)."""
        found = []
        for start in range(0, len(frames), CHUNK):
            shown = pixels(frames[start : start + CHUNK], self.model.device)
            found.append(self.model(shown, interpolate_pos_encoding=True).last_hidden_state[:, 0].float().cpu())
        return torch.cat(found).numpy()


@cache
def load(device: torch.device, place: str | Path = "facebook/dino-vitb8") -> Dino:
    """The model of a name on the hub (0.3 GB) or of a folder, in float32; raises as `hub.model` does."""
    model = hub.model(ViTModel, place, {"dtype": torch.float32, "add_pooling_layer": False})
    return Dino(model.to(device), last_keys(model))


def last_keys(model: Any) -> nn.Linear:
    """The last layer's key projection, by the names that transformers has had for it; ValueError if none fits."""
    names = ("key", "k_proj")
    found = [
        part for name, part in model.named_modules() if name.split(".")[-1] in names and isinstance(part, nn.Linear)
    ]
    layers = model.config.num_hidden_layers
    if len(found) != layers:
        raise InputError(
            f"{type(model).__name__} has {len(found)} key projections in {layers} layers: which is the last?"
        )
    return found[-1]


def pixels(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (n, H, W, 3) to what DINO was trained on: (n, 3, h, w), resized and normalised."""
    from torchvision.transforms.v2 import functional as pictures  # a second of import

    values = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255
    values = pictures.resize(values, [SIDES[0]], max_size=SIDES[1], antialias=True)
    return pictures.normalize(values, MEAN, DEVIATION)
