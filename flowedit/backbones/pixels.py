"""Frames to latents and back through diffusers' CogVideoX autoencoder, a chunk of frames at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor


def encode(vae: Any, frames: np.ndarray, device: torch.device, progress: Callable[[int], None] | None = None) -> Tensor:
    """Frames uint8 (8 k + 1, H, W, 3) to the mode of the latent distribution, (1, C, F, h, w) float32, unscaled.

    Chunks of 8 frames, the first of 9, as the model was trained; the causal convolutions carry their past over.
    """
    if _tiled(vae, frames.shape[1], frames.shape[2], vae.tile_sample_min_height, vae.tile_sample_min_width):
        mode = vae.encode(_to_tensor(frames, device, vae.dtype)).latent_dist.mode()
        if progress is not None:
            progress(len(frames))
        return mode.float()
    past, parts = None, []
    for start, end in _chunks(len(frames), vae.num_sample_frames_batch_size):
        x, past = vae.encoder(_to_tensor(frames[start:end], device, vae.dtype), conv_cache=past)
        x = x if vae.quant_conv is None else vae.quant_conv(x)
        parts.append(x.chunk(2, dim=1)[0].float())  # mean and log-variance: the mode is the mean
        if progress is not None:
            progress(end - start)
    return torch.cat(parts, dim=2)


def decode(vae: Any, z: Tensor) -> Iterator[np.ndarray]:
    """An unscaled latent (1, C, F, h, w) to chunks of frames uint8 (f, H, W, 3), two latents at a time."""
    z = z.to(vae.dtype)
    if _tiled(vae, z.shape[3], z.shape[4], vae.tile_latent_min_height, vae.tile_latent_min_width):
        yield _to_frames(vae.decode(z).sample)
        return
    past = None
    for start, end in _chunks(z.shape[2], vae.num_latent_frames_batch_size):
        part = z[:, :, start:end]
        part = part if vae.post_quant_conv is None else vae.post_quant_conv(part)
        x, past = vae.decoder(part, conv_cache=past)
        yield _to_frames(x)


def _tiled(vae: Any, height: int, width: int, least_height: int, least_width: int) -> bool:
    return bool(vae.use_tiling) and (height > least_height or width > least_width)


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each chunk of `size`; the first takes the remainder as well."""
    rest = count % size
    for i in range(max(count // size, 1)):
        yield (0 if i == 0 else size * i + rest), size * (i + 1) + rest if count >= size else count


def _to_tensor(frames: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return (rearrange(x, "f h w c -> 1 c f h w").float() / 127.5 - 1.0).to(dtype)


def _to_frames(x: Tensor) -> np.ndarray:
    frames = rearrange(x.float(), "1 c f h w -> f h w c")
    return ((frames + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
