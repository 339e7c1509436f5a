"""The autoencoder of images, AutoencoderKL of diffusers: one frame at a time, and the frames of a clip apart."""

from collections.abc import Callable
from typing import Any

from einops import rearrange
from torch import Tensor

from flowedit.networks.autoencoder import Stream, Tiles


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from frames of `size` (height, width)."""

    def coded(x: Tensor) -> Tensor:
        out: Tensor = vae.encoder(x)
        return out if vae.quant_conv is None else vae.quant_conv(out)

    return _stream(vae, coded, frames, _tiles(vae, size, True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, from latents of `size` (height, width)."""

    def coded(z: Tensor) -> Tensor:
        out: Tensor = vae.decoder(z if vae.post_quant_conv is None else vae.post_quant_conv(z))
        return out

    return _stream(vae, coded, latents, _tiles(vae, size, False))


def _stream(vae: Any, coded: Callable[[Tensor], Tensor], frames: int, tiles: Tiles | None) -> Stream:
    def coder(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        return rearrange(coded(rearrange(x, "b c f h w -> (b f) c h w")), "(b f) c h w -> b c f h w", b=len(x)), None

    return Stream(vae, coder, [(i, i + 1) for i in range(frames)], tiles)


def _tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off.

    None, too, where rounding makes the tiles overlap by other shares before and after: their outputs would not join.
    """
    sample, latent, overlap = vae.tile_sample_min_size, vae.tile_latent_min_size, vae.tile_overlap_factor
    tile_in, tile_out = (sample, latent) if to_latent else (latent, sample)
    if not vae.use_tiling or max(size) <= tile_in:
        return None
    stride, blend = int(tile_in * (1 - overlap)), int(tile_out * overlap)
    keep = tile_out - blend
    if stride * tile_out != keep * tile_in:
        return None
    return Tiles((tile_in, tile_in), (stride, stride), (blend, blend), (keep, keep))
