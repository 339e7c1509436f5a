"""Wan 2.1's autoencoder as two streams: one frame, then 4 at a time for each latent, by its own tiles."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor

from flowedit.backbones.autoencoder import Stream, Tiles


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To latents, from 4 k + 1 frames of `size` (height, width)."""
    convolutions = _causal(vae.encoder)

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        past = [None] * convolutions if past is None else past  # each convolution's last frames, replaced in place
        return vae.quant_conv(vae.encoder(x, feat_cache=past, feat_idx=[0])), past

    step = vae.config.scale_factor_temporal
    chunks = [(0, 1), *((i, i + step) for i in range(1, frames, step))]
    return Stream(vae, network, chunks, _tiles(vae, size, to_latent=True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, 4 a chunk and the first 1, from `latents` latent frames of `size` (height, width)."""
    convolutions = _causal(vae.decoder)

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        past = [None] * convolutions if past is None else past
        return vae.decoder(vae.post_quant_conv(x), feat_cache=past, feat_idx=[0]), past

    return Stream(vae, network, [(i, i + 1) for i in range(latents)], _tiles(vae, size, to_latent=False))


def _causal(network: Any) -> int:
    return sum(isinstance(module, WanCausalConv3d) for module in network.modules())


def _tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off."""
    pixels = (vae.tile_sample_min_height, vae.tile_sample_min_width)
    apart = (vae.tile_sample_stride_height, vae.tile_sample_stride_width)
    scale = vae.spatial_compression_ratio
    sites, sites_apart = (pixels[0] // scale, pixels[1] // scale), (apart[0] // scale, apart[1] // scale)
    taken, stride = (pixels, apart) if to_latent else (sites, sites_apart)
    made, keep = (sites, sites_apart) if to_latent else (pixels, apart)
    if not vae.use_tiling or (size[0] <= taken[0] and size[1] <= taken[1]):
        return None
    return Tiles(taken, stride, (made[0] - keep[0], made[1] - keep[1]), keep)
