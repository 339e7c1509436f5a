"""Frames to latents and back through diffusers' CogVideoX autoencoder, a chunk of frames and a tile at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

Network = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""Encoder or decoder: a chunk and what its causal convolutions kept of the chunk before, to the same."""


@dataclass(frozen=True)
class Tiles:
    """Overlapping tiles of `size`, a `stride` apart; outputs are blended over `blend` and cropped to `keep`."""

    size: tuple[int, int]
    stride: tuple[int, int]
    blend: tuple[int, int]
    keep: tuple[int, int]


def encode(vae: Any, frames: np.ndarray, device: torch.device, progress: Callable[[int], None] | None = None) -> Tensor:
    """Frames uint8 (8 k + 1, H, W, 3) to the mode of the latent distribution, (1, C, F, h, w) float32, unscaled.

    Chunks of 8 frames, the first of 9, as the model was trained; the device holds one chunk.
    """

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.encoder(x, conv_cache=past)
        return out if vae.quant_conv is None else vae.quant_conv(out), past

    tiles = _tiles(vae, frames.shape[1:3], to_latent=True)
    past: dict[tuple[int, int], Any] = {}
    parts = []
    for start, end in _chunks(len(frames), vae.num_sample_frames_batch_size):
        moments = _through(vae, network, _to_tensor(frames[start:end], device, vae.dtype), past, tiles)
        parts.append(moments.chunk(2, dim=1)[0].float())  # mean and log-variance: the mode is the mean
        if progress is not None:
            progress(end - start)
    return torch.cat(parts, dim=2)


def decode(vae: Any, z: Tensor) -> Iterator[np.ndarray]:
    """An unscaled latent (1, C, F, h, w) to chunks of frames uint8 (f, H, W, 3): 8 at a time, the first 9 or 1.

    The device holds one chunk of frames. Raises FloatingPointError on NaN or Inf.
    """

    def network(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.decoder(x if vae.post_quant_conv is None else vae.post_quant_conv(x), conv_cache=past)
        return out, past

    z = z.to(vae.dtype)
    tiles = _tiles(vae, z.shape[3:], to_latent=False)
    past: dict[tuple[int, int], Any] = {}
    for start, end in _chunks(z.shape[2], vae.num_latent_frames_batch_size):
        yield _to_frames(_through(vae, network, z[:, :, start:end], past, tiles))


def _through(vae: Any, network: Network, x: Tensor, past: dict[tuple[int, int], Any], tiles: Tiles | None) -> Tensor:
    """One chunk, whole or by tiles, each with a past of its own; the blending is diffusers'."""
    if tiles is None:
        out, past[0, 0] = network(x, past.get((0, 0)))
        return out
    (height, width), (down, across) = tiles.size, tiles.stride
    above: list[Tensor] = []
    rows = []
    for i in range(0, x.shape[3], down):
        row: list[Tensor] = []
        for j in range(0, x.shape[4], across):
            tile, past[i, j] = network(x[..., i : i + height, j : j + width], past.get((i, j)))
            if above:
                tile = vae.blend_v(above[len(row)], tile, tiles.blend[0])
            if row:
                tile = vae.blend_h(row[-1], tile, tiles.blend[1])
            row.append(tile)
        rows.append(torch.cat([tile[..., : tiles.keep[0], : tiles.keep[1]] for tile in row], dim=4))
        above = row
    return torch.cat(rows, dim=3)


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


def _to_tensor(frames: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return (rearrange(x, "f h w c -> 1 c f h w").float() / 127.5 - 1.0).to(dtype)


def _to_frames(x: Tensor) -> np.ndarray:
    if not torch.isfinite(x).all():
        raise FloatingPointError(
            "decoding gave NaN or Inf: the weights of the VAE may be damaged, or its precision low"
        )
    frames = rearrange(x.float(), "1 c f h w -> f h w c")
    return ((frames + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
