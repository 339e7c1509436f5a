"""Masks between pixels and the latent grid."""

from collections.abc import Sequence

from einops import rearrange

from flowedit.tensors import F, Tensor, torch


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
    per_frame = _of_frames(mask, frames, frames_per_latent)
    return F.interpolate(per_frame, size=size, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


def to_plain(mask: Tensor, frames: Sequence[int], frames_per_latent: int, size: tuple[int, int]) -> Tensor:
    """A mask on pixels of which `to_latent` makes the same hard sites again: (1, 1, F', h, w) to (f, H, W) in [0, 1].

    It is the mask of `to_pixels` from the floor on, but darker over sites that are not wholly inside where their mean
    would reach the half from which a user's mask is inside.
    """
    soft = cut(to_pixels(mask, frames, frames_per_latent, size), FLOOR)
    sites = _of_frames(mask, frames, frames_per_latent)
    mean = F.interpolate(soft[:, None], size=sites.shape[2:], mode="area")
    share = (EDGE / mean.clamp_min(EDGE)).masked_fill(sites >= WHOLE, 1.0)
    return soft * F.interpolate(share, size=size, mode="nearest-exact")[:, 0]


FLOOR = 0.05
"""On pixels a soft mask below this is outside, where the source's own stand."""

WHOLE, EDGE = 0.999, 0.45
"""Where a site is wholly inside, but for rounding; and the most that the mean of any other is on a plain mask."""


def _of_frames(mask: Tensor, frames: Sequence[int], frames_per_latent: int) -> Tensor:
    """The latent mask of each frame, (f, 1, h, w)."""
    places = [0 if frame == 0 else 1 + (frame - 1) // frames_per_latent for frame in frames]
    return mask[0, 0, places][:, None]


def cut(mask: Tensor, floor: float) -> Tensor:
    """(M - floor) / (1 - floor), at least 0: a soft mask of any shape, 0 wherever it is below `floor`."""
    return ((mask - floor) / (1.0 - floor)).clamp(0.0, 1.0)
