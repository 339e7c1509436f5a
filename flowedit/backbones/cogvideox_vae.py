"""CogVideoX's autoencoder as two streams: 8 frames or 2 latents at a time, as it was trained, by its own tiles."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from flowedit.backbones.autoencoder import Stream, Tiles


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To latents, from 8 k + 1 frames of `size` (height, width)."""

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.encoder(x, conv_cache=past)
        return out if vae.quant_conv is None else vae.quant_conv(out), past

    return Stream(vae, network, tuple(_chunks(frames, vae.num_sample_frames_batch_size)), _tiles(vae, size, True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, 8 a chunk and the first 9 or 1, from `latents` latent frames of `size` (height, width)."""

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.decoder(x if vae.post_quant_conv is None else vae.post_quant_conv(x), conv_cache=past)
        return out, past

    return Stream(vae, network, tuple(_chunks(latents, vae.num_latent_frames_batch_size)), _tiles(vae, size, False))


def _tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off.

    None, too, where rounding makes the tiles overlap by other shares before and after: their outputs would not
    join (a tile of 32 pixels strides 26, and keeps 3 latents of 8).
    """
    sample = (vae.tile_sample_min_height, vae.tile_sample_min_width)
    latent = (vae.tile_latent_min_height, vae.tile_latent_min_width)
    taken, made = (sample, latent) if to_latent else (latent, sample)
    if not vae.use_tiling or (size[0] <= taken[0] and size[1] <= taken[1]):
        return None
    overlap = (vae.tile_overlap_factor_height, vae.tile_overlap_factor_width)
    stride = int(taken[0] * (1 - overlap[0])), int(taken[1] * (1 - overlap[1]))
    blend = int(made[0] * overlap[0]), int(made[1] * overlap[1])
    keep = made[0] - blend[0], made[1] - blend[1]
    if any(stride[i] * made[i] != keep[i] * taken[i] for i in (0, 1)):
        return None
    return Tiles(taken, stride, blend, keep)


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each chunk of `size`; the first takes the remainder as well."""
    start, rest = 0, count % size
    for i in range(max(count // size, 1)):
        end = min(rest + size * (i + 1), count)
        yield start, end
        start = end
