"""Tiles of the video autoencoders whose sizes and strides are pixels: LTX-Video's, HunyuanVideo's and Mochi's."""

from typing import Any

from flowedit.networks.autoencoder import Tiles


def tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off."""
    sample = (vae.tile_sample_min_height, vae.tile_sample_min_width)
    apart = (vae.tile_sample_stride_height, vae.tile_sample_stride_width)
    scale = vae.spatial_compression_ratio
    latent, latent_apart = ((each[0] // scale, each[1] // scale) for each in (sample, apart))
    tile, stride, out, keep = (
        (sample, apart, latent, latent_apart) if to_latent else (latent, latent_apart, sample, apart)
    )
    if not vae.use_tiling or (size[0] <= tile[0] and size[1] <= tile[1]):
        return None
    return Tiles(tile, stride, (out[0] - keep[0], out[1] - keep[1]), keep)
