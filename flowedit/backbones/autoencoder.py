"""Frames to latents and back through a causal autoencoder of diffusers, a chunk of frames and a tile at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from flowedit.messages import NumericalError
from flowedit.types import Frames

Coder = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""An encoder or a decoder: a chunk and what its causal convolutions kept of the chunk before, to the same."""


@dataclass(frozen=True)
class Tiles:
    """Overlapping tiles of `size`, a `stride` apart; outputs are blended over `blend` and cropped to `keep`."""

    size: tuple[int, int]
    stride: tuple[int, int]
    blend: tuple[int, int]
    keep: tuple[int, int]


@dataclass(frozen=True)
class Stream:
    """One way through an autoencoder, to latents or back: its coder, the chunks of frames it takes, its tiles."""

    vae: Any
    coder: Coder
    chunks: Sequence[tuple[int, int]]
    tiles: Tiles | None


def encode(
    stream: Stream, frames: Frames, device: torch.device, progress: Callable[[int], None] | None = None
) -> Tensor:
    """Frames uint8 (F, H, W, 3) to the mode of the latent distribution, (1, C, f, h, w) float32, unscaled, on the host.

    The device holds one chunk, of a size that the model was trained with.
    """
    past: dict[tuple[int, int], Any] = {}
    parts = []
    for start, end in stream.chunks:
        moments = _through(stream, _to_tensor(frames[start:end], device, stream.vae.dtype), past)
        parts.append(moments.chunk(2, dim=1)[0].float().cpu())  # mean and log-variance: the mode is the mean
        if progress is not None:
            progress(end - start)
    return torch.cat(parts, dim=2)


def decode(stream: Stream, z: Tensor, device: torch.device) -> Iterator[np.ndarray]:
    """An unscaled latent (1, C, f, h, w) to chunks of frames uint8 (F, H, W, 3); the device holds one of them.

    Raises NumericalError on NaN or Inf.
    """
    past: dict[tuple[int, int], Any] = {}
    for start, end in stream.chunks:
        yield _to_frames(_through(stream, z[:, :, start:end].to(device, stream.vae.dtype), past))


def _through(stream: Stream, x: Tensor, past: dict[tuple[int, int], Any]) -> Tensor:
    """One chunk, whole or by tiles, each with a past of its own; the blending is diffusers'."""
    vae, coder, tiles = stream.vae, stream.coder, stream.tiles
    if tiles is None:
        out, past[0, 0] = coder(x, past.get((0, 0)))
        return out
    (height, width), (down, across) = tiles.size, tiles.stride
    above: list[Tensor] = []
    rows = []
    for i in range(0, x.shape[3], down):
        row: list[Tensor] = []
        for j in range(0, x.shape[4], across):
            tile, past[i, j] = coder(x[..., i : i + height, j : j + width], past.get((i, j)))
            if above:
                tile = vae.blend_v(above[len(row)], tile, tiles.blend[0])
            if row:
                tile = vae.blend_h(row[-1], tile, tiles.blend[1])
            row.append(tile)
        rows.append(torch.cat([tile[..., : tiles.keep[0], : tiles.keep[1]] for tile in row], dim=4))
        above = row
    return torch.cat(rows, dim=3)


def _to_tensor(frames: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return (rearrange(x, "f h w c -> 1 c f h w").float() / 127.5 - 1.0).to(dtype)


def _to_frames(x: Tensor) -> np.ndarray:
    if not torch.isfinite(x).all():
        raise NumericalError("decoding gave NaN or Inf: the weights of the VAE may be damaged, or its precision low")
    frames = rearrange(x.float(), "1 c f h w -> f h w c")
    return ((frames + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
