"""CogVideoX (Yang et al. 2024) as a rectified flow, through diffusers: 1.0 (sincos or rotary) and 1.5."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from einops import rearrange
from torch import Tensor

from flowedit.backbones import autoencoder, cogvideox_vae
from flowedit.backbones.checkpoint import Folder
from flowedit.backbones.components import Parts
from flowedit.backbones.guided import Guided
from flowedit.backbones.text import TextEncoder
from flowedit.flow import rectify
from flowedit.flow.guidance import scales
from flowedit.messages import InputError
from flowedit.types import BackboneSpec, Conditioning, Frames, Geometry, Maps, Scale, Tokens, Velocity

NATIVE_15 = (96, 170)
"""Latent (height, width) of 768 x 1360, CogVideoX 1.5's own size; its files hold 300 x 300, a bound of its table."""


class CogVideoX:
    """A CogVideoX checkpoint folder behind the `Backbone` seam; components are loaded when first needed.

    One component at a time is on an accelerator. Raises ValueError for a folder that is not a text-to-video
    CogVideoX, and for a clip's shape that it cannot carry.
    """

    def __init__(
        self,
        folder: Folder,
        device: torch.device,
        dtype: torch.dtype,
        *,
        rows: int,
        tiling: bool,
        cache: Path | None,
    ) -> None:
        self._folder, self.device, self._dtype = folder, device, dtype
        self._config = folder.config("transformer", CogVideoXTransformer3DModel)
        if self._config["in_channels"] != self._config["out_channels"]:
            raise InputError(f"backbone {folder.path} is an image-to-video CogVideoX; a text-to-video one is needed")
        self._schedule = folder.config("scheduler", CogVideoXDDIMScheduler)
        if self._schedule["prediction_type"] != "v_prediction":
            kind = self._schedule["prediction_type"]
            raise InputError(f"backbone {folder.path} predicts {kind!r}; a CogVideoX predicts v (v_prediction)")
        self._patch, self._patch_t = self._config["patch_size"], self._config["patch_size_t"] or 1
        vae = folder.config("vae", AutoencoderKLCogVideoX)
        self._scale = 2 ** (len(vae["block_out_channels"]) - 1)
        self._text = TextEncoder(folder, device, dtype, self._config["max_text_seq_length"], cache)
        self._parts = Parts(
            folder,
            device,
            self._text,
            transformer=(CogVideoXTransformer3DModel, dtype),
            vae=(AutoencoderKLCogVideoX, dtype),
            tiling=tiling,
        )
        self._guided = Guided(self._network, (self._patch_t, self._patch, self._patch), rows)
        self._turned = self._config["use_rotary_positional_embeddings"]
        self._tables: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        height, width = self._native_latent()
        self.spec = BackboneSpec(
            name=folder.name,
            notices=tuple(self._first_notices()),
            trained=folder.trained,
            trained_frames=self._config["sample_frames"],
            fps=8,
            latent_size=(height, width),
            native_area=height * width * self._scale**2,
            multiple=self._scale * self._patch,
            frames_per_latent=int(vae["temporal_compression_ratio"]),
            # The table of a "slice" grid ends at the sample size; beyond it there are no positions.
            max_side=min(self._sample) * self._scale if self._patch_t > 1 else None,
            patch_frames=self._patch_t,
            leading_latents=self._patch_t - 1,
            world=folder.world,
        )
        self.evaluations = 0

    @property
    def _sample(self) -> tuple[int, int]:
        return self._config["sample_height"], self._config["sample_width"]

    def _native_latent(self) -> tuple[int, int]:
        if self._patch_t > 1:
            return min(self._sample[0], NATIVE_15[0]), min(self._sample[1], NATIVE_15[1])
        return self._sample

    def _first_notices(self) -> list[str]:
        notices = (
            [] if self._folder.trained else [f"{self._folder.name} has random weights: whatever it makes is noise"]
        )
        saved = self._folder.dtype("transformer")
        if saved is torch.bfloat16 and self._dtype is torch.float16:
            notices.append(f"{self._folder.name} was trained in bfloat16; in float16 it tends to give NaN")
        if not self._schedule["rescale_betas_zero_snr"]:
            notices.append(
                f"{self._folder.name} was not trained to zero signal: strength 1 starts just below pure noise"
            )
        return notices

    @cached_property
    def knots(self) -> Tensor:
        return rectify.knots(CogVideoXDDIMScheduler.from_config(self._schedule).alphas_cumprod)

    def ready(self) -> None:
        """Read the weights of the transformer and the autoencoder; the text encoder's may never be needed."""
        self._parts.ready()

    def geometry(self, frames: int, size: tuple[int, int]) -> Geometry:
        """The nearest valid shape of a clip of `frames` at about size (height, width).

        8 k + 1 frames (repeat the last), sides in multiples of 16 for the 8-pixel VAE and its 2-site patches.
        """
        if frames < 1:
            raise InputError(f"a clip of {frames} frames has nothing to edit")
        whole = 1 + 8 * -(-(frames - 1) // 8)
        height, width = (max(self.spec.multiple, round(s / self.spec.multiple) * self.spec.multiple) for s in size)
        if self.spec.max_side is not None and max(height, width) > self.spec.max_side:
            raise InputError(
                f"size {width}x{height} has a side over {self.spec.max_side}, the most that {self.spec.name} knows"
            )
        latents = 1 + (whole - 1) // self.spec.frames_per_latent + self.spec.leading_latents
        return Geometry(
            frames,
            whole,
            (height, width),
            (self._config["in_channels"], latents, height // self._scale, width // self._scale),
        )

    @torch.no_grad()
    def encode(self, frames: Frames, progress: Callable[[int], None] | None = None) -> Tensor:
        """Frames uint8 (8 k + 1, H, W, 3) to the latent's mode (1, C, F, h, w) float32 on the host, scaled."""
        vae = self._parts.place(self._parts.vae)
        stream = cogvideox_vae.encoder(vae, len(frames), frames.shape[1:3])
        x = autoencoder.encode(stream, frames, self.device, progress) * vae.config.scaling_factor
        return torch.cat([x[:, :, :1]] * self.spec.leading_latents + [x], dim=2)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Iterator[np.ndarray]:
        """A latent (1, C, F, h, w) to chunks of frames uint8 (f, H, W, 3), the clip's first frames first."""
        vae = self._parts.place(self._parts.vae)
        z = z[:, :, self.spec.leading_latents :] / vae.config.scaling_factor
        yield from autoencoder.decode(cogvideox_vae.decoder(vae, z.shape[2], z.shape[3:]), z, self.device)

    def spans(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """The characters of each token of the prompt, without loading the text encoder."""
        return self._text.spans(prompt)

    def unreadable(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """The characters of the prompt that the tokenizer has no piece for, as (start, end)."""
        return self._text.unreadable(prompt)

    def embed(self, prompt: str) -> Conditioning:
        """The prompt's T5 embedding at the model's own text length; raises ValueError if it is longer."""
        return self._text.embed(prompt)

    def velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> Velocity:
        """u(z, t) with classifier-free guidance in one batched network call; at guidance 1 only conditional rows.

        u = (a + b) v + (b - a) x_t at x_t = (a + b) z, t below the smallest knot conditioned at that knot.
        """
        if set(scales(guidance_scale)) != {1.0} and negative is None:
            negative = self.embed("")

        def velocity(z: Tensor, t: float) -> Tensor:
            x_t = rectify.from_rectified(z.float(), t)
            v = self._guided(x_t, t, prompt, guidance_scale, negative)
            return rectify.velocity_from_v(v, torch.cat([x_t] * (len(v) // len(x_t))), t)

        return velocity

    def _network(self, x_t: Tensor, t: float, embedding: Tensor) -> Tensor:
        net = self._parts.place(self._parts.transformer)
        rows, size = len(x_t), tuple(x_t.shape[-2:])
        time = torch.full((rows,), rectify.timestep(t, self.knots), device=self.device, dtype=torch.float32)
        v = net(
            hidden_states=rearrange(x_t, "b c f h w -> b f c h w").to(self.device, self._dtype),
            encoder_hidden_states=embedding.to(self.device, self._dtype),
            timestep=time,
            image_rotary_emb=self._rotary(x_t.shape[2], size) if self._turned else None,
            return_dict=False,
        )[0]
        self.evaluations += rows
        return rearrange(v, "b f c h w -> b c f h w").float()

    def _rotary(self, frames: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        key = (frames, *size)
        if key not in self._tables:
            self._tables = {key: rotary(self._config, frames, (size[0], size[1]), self.device)}
        return self._tables[key]

    def record(
        self, tokens: Mapping[Conditioning, Tokens], blocks: Sequence[float], normalise: str = "joint"
    ) -> AbstractContextManager[Maps]:
        """Record the joint attention of video queries to each prompt's tokens in blocks given as fractions of depth."""
        modules = [block.attn1 for block in self._parts.transformer.transformer_blocks]
        return self._guided.record(tokens, modules, blocks, normalise, self._text.length)

    def describe(self) -> dict[str, Any]:
        """What run.yaml keeps of a backbone."""
        return self._folder.describe(self.device, self._dtype)


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
