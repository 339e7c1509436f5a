"""Stable Diffusion XL on stills (Podell et al. 2023, arXiv 2307.01952): noise predictions of a UNet, one frame."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.coders import image
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.readings import clip
from flowedit.backbones.sheets import sdxl
from flowedit.backbones.sheets.modelscope import scale_of
from flowedit.backbones.unets import noise
from flowedit.flow import rectify
from flowedit.messages import InputError
from flowedit.pretrained import layout


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What an SDXL checkpoint has of its own; raises InputError for one that is not text-to-image.

    u = (eps - z) / (1 - t) at x_t = (a + b) z, as of every noise prediction. It is told the size of the picture,
    uncropped (section 2.2), and the pooled vector of the prompt; the empty prompt is zeros where its index says so,
    also one that is typed, which diffusers' pipeline encodes.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    config = checkpoint.config("unet", UNet2DConditionModel)
    vae = checkpoint.config("vae", AutoencoderKL)
    _require_text_to_image(checkpoint, config, vae)
    knots, _ = noise.times(noise.schedule(checkpoint))
    factor, scale = vae["scaling_factor"], scale_of(vae)
    spec = replace(
        sdxl.spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=checkpoint.notices,
        trained=checkpoint.trained,
        world=checkpoint.world,
    )
    wide = vae["force_upcast"] and dtype is torch.float16  # its autoencoder overflows in float16
    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=scale,
        patch=(1, 1, 1),
        frame_step=1,
        transformer=(UNet2DConditionModel, dtype),
        vae=(AutoencoderKL, torch.float32 if wide else dtype),
        reading=clip.both(blank=bool(checkpoint.index.get("force_zeros_for_empty_prompt", True))),
        call=partial(_call, scale),
        timestep=noise.timestep(knots),
        attention=noise.attention,
        blocks=noise.BLOCKS,
        pyramid=True,
        encoder=image.encoder,
        decoder=image.decoder,
        scaled=lambda x: x * factor,
        unscaled=lambda z: z / factor,
        state=rectify.from_rectified,
        velocity=noise.velocity,
    )


def _call(scale: int, network: Any, x_t: Tensor, timestep: Tensor, embedding: Tensor, pooled: Tensor) -> Tensor:
    """eps of stills (B, C, 1, h, w)."""
    if x_t.shape[2] != 1:
        raise InputError(f"this model knows single pictures, not {x_t.shape[2]} frames at once")
    height, width = (side * scale for side in x_t.shape[3:])
    # The size that the picture had, where it was cropped from, and the size that is wanted.
    sizes = torch.tensor([[height, width, 0, 0, height, width]], device=x_t.device, dtype=torch.float32)
    told = {"text_embeds": pooled, "time_ids": sizes.expand(len(x_t), -1)}
    eps: Tensor = network(
        x_t[:, :, 0], timestep, encoder_hidden_states=embedding, added_cond_kwargs=told, return_dict=False
    )[0]
    return eps[:, :, None]


def _require_text_to_image(checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any]) -> None:
    there = layout.components(checkpoint.path)
    needed = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
    if lost := [part for part in needed if part not in there]:
        raise InputError(f"backbone {checkpoint.path}: model_index.json names no {lost[0]}, which an SDXL base needs")
    noise.require(checkpoint, config, vae, "a text-to-image SDXL")
    if (kind := config["addition_embed_type"]) != "text_time":
        raise InputError(f"backbone {checkpoint.path} is told {kind!r} beside the prompt; an SDXL is told text_time")
    if vae.get("latents_mean") is not None:
        raise InputError(f"backbone {checkpoint.path} has latents with a mean of their own; an SDXL base is needed")


FAMILIES.add(
    "sdxl",
    Family(
        about="Stable Diffusion XL text-to-image, a UNet that predicts noise, of single pictures (Podell et al. 2023)",
        pipelines=sdxl.PIPELINES,
        open=partial(Adapter, architecture),
        times=noise.times,
        dtype=torch.float16,
    ),
)
