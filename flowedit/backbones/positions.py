"""Rotary positions of CogVideoX, as its pipeline builds them: by resizing (1.0) or by slicing (1.5)."""

from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor


def rotary(config: dict[str, Any], frames: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(cos, sin), each (tokens, head width), for a latent of `frames` and `size` (height, width)."""
    patch, patch_t = config["patch_size"], config["patch_size_t"] or 1
    grid = (size[0] // patch, size[1] // patch)
    base = (config["sample_height"] // patch, config["sample_width"] // patch)
    common: dict[str, Any] = {"embed_dim": config["attention_head_dim"], "grid_size": grid, "device": device}
    if patch_t > 1:
        cos, sin = get_3d_rotary_pos_embed(
            **common, crops_coords=None, temporal_size=frames // patch_t, grid_type="slice", max_size=base
        )
    else:
        crop = get_resize_crop_region_for_grid(grid, base[1], base[0])
        cos, sin = get_3d_rotary_pos_embed(**common, crops_coords=crop, temporal_size=frames)
    return cos, sin
