"""Wan 2.1 text-to-video (Wan Team 2025, arXiv 2503.20314), a rectified flow as it is, through diffusers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from torch import Tensor

from flowedit.backbones import autoencoder, wan_vae
from flowedit.backbones.checkpoint import Folder
from flowedit.backbones.components import Parts
from flowedit.backbones.guided import Guided
from flowedit.backbones.text import WAN, TextEncoder
from flowedit.flow.guidance import scales
from flowedit.messages import InputError
from flowedit.types import BackboneSpec, Conditioning, Frames, Geometry, Maps, Scale, Tokens, Velocity

LENGTH = 512
"""Tokens of text that it was trained with; no file of the checkpoint says so."""

NATIVE = {1536: (480, 832)}
"""(height, width) that a transformer of this width was trained at (the 1.3B model); no file says so either."""

LARGEST = (720, 1280)
"""The same for the 14B model, which knows 480p as well."""

FRAMES = 81


class Wan:
    """A Wan 2.1 checkpoint folder behind the `Backbone` seam; components are loaded when first needed.

    One component at a time is on an accelerator. Raises ValueError for a folder that is not a text-to-video
    Wan 2.1, and for a clip's shape that it cannot carry.
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
        self._config = folder.config("transformer", WanTransformer3DModel)
        self._vae = folder.config("vae", AutoencoderKLWan)
        self._schedule = folder.config("scheduler", UniPCMultistepScheduler)
        self._require_text_to_video()
        self._text = TextEncoder(folder, device, dtype, LENGTH, cache, WAN)
        # The autoencoder is small beside the transformer and was released in float32.
        networks = {"transformer": (WanTransformer3DModel, dtype), "vae": (AutoencoderKLWan, torch.float32)}
        self._parts = Parts(folder, device, self._text, tiling=tiling, **networks)
        self._patch = self._config["patch_size"][1]
        self._guided = Guided(self._network, (1, self._patch, self._patch), rows)
        self._scale = self._vae["scale_factor_spatial"]
        width = self._config["num_attention_heads"] * self._config["attention_head_dim"]
        height, width = folder.notes.get("native_size", NATIVE.get(width, LARGEST))
        multiple, places = self._scale * self._patch, self._config["rope_max_seq_len"]
        self.spec = BackboneSpec(
            name=folder.name,
            notices=tuple(self._first_notices()),
            trained=folder.trained,
            trained_frames=int(folder.notes.get("native_frames", FRAMES)),
            fps=16,
            latent_size=(height // self._scale, width // self._scale),
            native_area=height * width,
            multiple=multiple,
            frames_per_latent=int(self._vae["scale_factor_temporal"]),
            # Its rotary table has so many places a side, and as many for latent frames.
            max_side=places * multiple,
            max_latents=places,
            # Flow-matching schedulers call it `shift`; a file that names neither leaves UniPC its default, 1.
            shift=float(self._schedule.get("shift") or self._schedule["flow_shift"] or 1.0),
            world=folder.world,
        )
        self.evaluations = 0

    def _require_text_to_video(self) -> None:
        path, config, index = self._folder.path, self._config, self._folder.index
        if config["image_dim"] is not None or config["in_channels"] != config["out_channels"]:
            raise InputError(f"backbone {path} is an image-to-video Wan; a text-to-video one is needed")
        later = index.get("boundary_ratio") is not None or index.get("expand_timesteps") or self._vae["is_residual"]
        patch = list(config["patch_size"])
        if later or patch[0] != 1 or patch[1] != patch[2]:
            raise InputError(f"backbone {path} is a Wan of another version; Wan 2.1 is supported")
        # UniPC's own default is no flow; a flow-matching scheduler has no such key.
        kind = self._schedule["prediction_type"]
        if str(self._schedule.get("_class_name", "")).startswith("UniPC") and kind != "flow_prediction":
            raise InputError(f"backbone {path} predicts {kind!r}; a Wan predicts the flow (flow_prediction)")

    def _first_notices(self) -> list[str]:
        notices = (
            [] if self._folder.trained else [f"{self._folder.name} has random weights: whatever it makes is noise"]
        )
        if self._dtype is torch.float16:
            notices.append(f"{self._folder.name} was trained in bfloat16; float16 has a smaller range and may give NaN")
        return notices

    @cached_property
    def knots(self) -> Tensor:
        """1000 / 1000, 999 / 1000, ... 1 / 1000: t is its sigma, 1000 t its timestep.

        It was trained at any t of a logit-normal distribution, so that times between knots are as good.
        """
        count = self._schedule["num_train_timesteps"]
        return torch.arange(count, 0, -1, dtype=torch.float64) / count

    def ready(self) -> None:
        """Read the weights of the transformer and the autoencoder; the text encoder's may never be needed."""
        self._parts.ready()

    def geometry(self, frames: int, size: tuple[int, int]) -> Geometry:
        """The nearest valid shape of a clip of `frames` at about size (height, width).

        4 k + 1 frames (repeat the last), sides in multiples of 16 for the 8-pixel VAE and its 2-site patches.
        """
        if frames < 1:
            raise InputError(f"a clip of {frames} frames has nothing to edit")
        latents = 1 - (-(frames - 1) // self.spec.frames_per_latent)
        height, width = (max(self.spec.multiple, round(s / self.spec.multiple) * self.spec.multiple) for s in size)
        if self.spec.max_side is not None and max(height, width) > self.spec.max_side:
            raise InputError(
                f"size {width}x{height} has a side over {self.spec.max_side}, the most that {self.spec.name} knows"
            )
        whole = 1 + (latents - 1) * self.spec.frames_per_latent
        latent = (self._config["in_channels"], latents, height // self._scale, width // self._scale)
        return Geometry(frames, whole, (height, width), latent)

    @torch.no_grad()
    def encode(self, frames: Frames, progress: Callable[[int], None] | None = None) -> Tensor:
        """Frames uint8 (4 k + 1, H, W, 3) to the latent's mode, z = (x - mean) / std a channel.

        (1, C, F, h, w) float32 on the host.
        """
        vae = self._parts.place(self._parts.vae)
        stream = wan_vae.encoder(vae, len(frames), frames.shape[1:3])
        mean, std = self._moments(torch.device("cpu"))
        return (autoencoder.encode(stream, frames, self.device, progress) - mean) / std

    @torch.no_grad()
    def decode(self, z: Tensor) -> Iterator[np.ndarray]:
        """A latent (1, C, F, h, w) to chunks of frames uint8 (f, H, W, 3), the clip's first frames first."""
        vae = self._parts.place(self._parts.vae)
        mean, std = self._moments(z.device)
        z = z.float() * std + mean
        yield from autoencoder.decode(wan_vae.decoder(vae, z.shape[2], z.shape[3:]), z, self.device)

    def _moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(self._vae[key], device=device) for key in ("latents_mean", "latents_std"))
        return mean[:, None, None, None], std[:, None, None, None]

    def spans(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """The characters of each token of the prompt, without loading the text encoder."""
        return self._text.spans(prompt)

    def unreadable(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """The characters of the prompt that the tokenizer has no piece for, as (start, end)."""
        return self._text.unreadable(prompt)

    def embed(self, prompt: str) -> Conditioning:
        """The prompt's UMT5 embedding, zeros after its tokens to 512; raises ValueError if it is longer."""
        return self._text.embed(prompt)

    def velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> Velocity:
        """u(z, t) with classifier-free guidance in one batched network call; at guidance 1 only conditional rows.

        u is the network's output at z and timestep 1000 t; t below the smallest knot is conditioned at that knot.
        """
        if set(scales(guidance_scale)) != {1.0} and negative is None:
            negative = self.embed("")
        return lambda z, t: self._guided(z.float(), t, prompt, guidance_scale, negative)

    def _network(self, z: Tensor, t: float, embedding: Tensor) -> Tensor:
        net = self._parts.place(self._parts.transformer)
        time = len(self.knots) * max(t, float(self.knots[-1]))
        u = net(
            hidden_states=z.to(self.device, self._dtype),
            encoder_hidden_states=embedding.to(self.device, self._dtype),
            timestep=torch.full((len(z),), time, device=self.device, dtype=torch.float32),
            return_dict=False,
        )[0]
        self.evaluations += len(z)
        return u.float()

    def record(
        self, tokens: Mapping[Conditioning, Tokens], blocks: Sequence[float], normalise: str = "joint"
    ) -> AbstractContextManager[Maps]:
        """Record the cross-attention of video queries to each prompt's tokens in blocks given as fractions of depth.

        "joint" is the softmax over all 512 keys, padding included, as the model takes it.
        """
        modules = [block.attn2 for block in self._parts.transformer.blocks]
        return self._guided.record(tokens, modules, blocks, normalise, text=0)

    def describe(self) -> dict[str, Any]:
        """What run.yaml keeps of a backbone."""
        return self._folder.describe(self.device, self._dtype)
