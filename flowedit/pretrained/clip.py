"""CLIP: frames and prompts as unit vectors of one space (Radford et al. 2021)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPModel, CLIPProcessor

from flowedit.pretrained import hub

CHUNK = 16
"""Frames a call."""


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A CLIP model on its device, with the processor that its checkpoint brings."""

    model: Any
    processor: Any

    @torch.no_grad()
    def images(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W, 3) RGB to float64 unit vectors (n, d)."""
        found = []
        for start in range(0, len(frames), CHUNK):
            pictures = list(torch.from_numpy(np.ascontiguousarray(frames[start : start + CHUNK])).permute(0, 3, 1, 2))
            pixels = self.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
            found.append(self.model.get_image_features(pixel_values=pixels.to(self.model.device)).pooler_output)
        return _unit(torch.cat(found))

    @torch.no_grad()
    def text(self, prompt: str) -> np.ndarray:
        """A float64 unit vector (d,); of a prompt longer than CLIP reads (77 tokens), its beginning counts."""
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.processor.tokenizer([prompt], truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        return _unit(self.model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output)[0]


@cache
def load(device: torch.device, place: str | Path = "openai/clip-vit-large-patch14") -> ClipModel:
    """The model of a name on the hub (1.7 GB) or of a folder, in float32; raises as `hub.model` does."""
    model = hub.model(CLIPModel, place, {"dtype": torch.float32})
    return ClipModel(model.to(device), hub.processor(CLIPProcessor, place))


def _unit(features: torch.Tensor) -> np.ndarray:
    wide = features.double()
    return (wide / wide.norm(dim=-1, keepdim=True)).cpu().numpy()
