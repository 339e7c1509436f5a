"""Masks between pixels and the latent grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def to_latent(mask: Tensor, frames_per_latent: int, size: tuple[int, int]) -> Tensor:
    """A mask on pixels to the latent grid: frames (F, H, W) in [0, 1] to (1, 1, F', h, w).

    The first frame has a latent frame of its own, as the causal VAE encodes it; the mean over space, the largest
    over the frames that share a latent, so that nothing that moves within them is lost.
    """
    small = F.interpolate(mask[:, None].float(), size=size, mode="area")[:, 0]
    first, rest = small[:1], small[1:]
    grouped = rearrange(rest, "(f g) h w -> f g h w", g=frames_per_latent).amax(1)
    return torch.cat([first, grouped])[None, None]


def to_pixels(mask: Tensor, frames: Sequence[int], frames_per_latent: int, size: tuple[int, int]) -> Tensor:
    """The way back for some frames: (1, 1, F', h, w) to (f, H, W), of each frame its latent's mask, bilinear."""
    places = [0 if frame == 0 else 1 + (frame - 1) // frames_per_latent for frame in frames]
    per_frame = mask[0, 0, places][:, None]
    return F.interpolate(per_frame, size=size, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


def cut(mask: Tensor, floor: float) -> Tensor:
    """(M - floor) / (1 - floor), at least 0: a soft mask of any shape, 0 wherever it is below `floor`."""
    return ((mask - floor) / (1.0 - floor)).clamp(0.0, 1.0)
