"""LTX-Video 0.9 and 0.9.1, text-to-video (HaCohen et al. 2024, arXiv 2501.00103): rectified flows, through diffusers.

Its autoencoder is coded whole in time, a tile at a time: what diffusers has for a part of a clip's frames, `framewise`,
is off there too, and blends parts that do not know each other.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.coders.tiles import tiles
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.readings import t5
from flowedit.backbones.sheets.ltx import TEXT, TOKENS, spec_of
from flowedit.flow.schedule import shift_of
from flowedit.messages import InputError
from flowedit.networks.autoencoder import Stream
from flowedit.networks.lanes import Blocks

SEED = 0
"""Of the noise that the decoders since 0.9.1 add to themselves, so that a latent has one clip."""


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What an LTX-Video checkpoint has of its own; raises InputError for one of another version.

    u is the network's output at z and timestep 1000 t; t below the smallest knot is conditioned at that knot. A token
    is a latent site; its place in time is in seconds, at the rate that the model learned. Of the text's keys the video
    sees the prompt's own alone.
    """
    from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXVideoTransformer3DModel

    config = checkpoint.config("transformer", LTXVideoTransformer3DModel)
    vae = checkpoint.config("vae", AutoencoderKLLTXVideo)
    schedule = checkpoint.config("scheduler", FlowMatchEulerDiscreteScheduler)
    _require(checkpoint, config, vae)
    knots, _ = times(schedule)
    shift, growth = shift_of(schedule)
    spec = replace(
        spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=checkpoint.notices,
        trained=checkpoint.trained,
        shift=shift,
        shift_growth=growth,
        world=checkpoint.world,
    )
    step, scale = spec.frames_per_latent, spec.multiple
    interpolation = (step / spec.fps, scale, scale)

    @cache
    def moments(device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, (C, 1, 1, 1); they lie among the weights."""
        mean, std = (checkpoint.tensor("vae", f"latents_{name}").float() for name in ("mean", "std"))
        return mean[:, None, None, None].to(device), std[:, None, None, None].to(device)

    def scaled(x: Tensor) -> Tensor:
        mean, std = moments(x.device)
        return (x - mean) * vae["scaling_factor"] / std

    def unscaled(z: Tensor) -> Tensor:
        mean, std = moments(z.device)
        return z.float() * std / vae["scaling_factor"] + mean

    def call(network: Any, z: Tensor, timestep: Tensor, embedding: Tensor, own: Tensor) -> Tensor:
        frames, height, width = z.shape[2:]
        output: Tensor = network(
            hidden_states=rearrange(z, "b c f h w -> b (f h w) c"),
            encoder_hidden_states=embedding,
            timestep=timestep,
            encoder_attention_mask=own,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=interpolation,
            return_dict=False,
        )[0]
        return rearrange(output, "b (f h w) c -> b c f h w", f=frames, h=height)

    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=scale,
        patch=(1, 1, 1),
        frame_step=step,
        transformer=(LTXVideoTransformer3DModel, dtype),
        vae=(AutoencoderKLLTXVideo, dtype),
        reading=t5.seen(TEXT),
        call=call,
        timestep=lambda t: len(knots) * max(t, float(knots[-1])),
        attention=lambda network: [block.attn2 for block in network.transformer_blocks],  # no query is text
        blocks=Blocks(
            of=lambda network: network.transformer_blocks,
            rotary="image_rotary_emb",
            axis=1,
            attention=lambda block: block.attn1,
            text_attention=lambda block: block.attn2,
            mask="encoder_attention_mask",
        ),
        without={
            "fuse": "its attention asks for each projection",
            "context_parallel": "its masks are not spread over processes",
        },
        encoder=encoder,
        decoder=decoder,
        scaled=scaled,
        unscaled=unscaled,
    )


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by an LTX's scheduler, and what its own grid is shifted by at the size and length that it learned.

    Its file's `shift_terminal`, which stretches the pipeline's grid so that its last time before 0 is 0.1, is left out:
    a user's number of steps says where a grid ends.
    """
    count = schedule.get("num_train_timesteps", 1000)
    shift, growth = shift_of(schedule)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, shift * math.exp(growth * TOKENS)


def _require(checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any]) -> None:
    path = checkpoint.path
    if (config["patch_size"], config["patch_size_t"]) != (1, 1):
        raise InputError(f"backbone {path} is an LTX-Video of another version; 0.9 and 0.9.1 are supported")
    if (takes := config["in_channels"]) != vae["latent_channels"]:
        made = vae["latent_channels"]
        raise InputError(f"backbone {path}: its transformer takes {takes} channels, its autoencoder makes {made}")


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from 8 k + 1 frames of `size` (height, width), all of them at once."""
    return Stream(vae, lambda x, past: (vae.encoder(x), None), [(0, frames)], tiles(vae, size, to_latent=True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, from latents of `size` (height, width), all of them at once.

    A decoder that is told a time (since 0.9.1) is told 0, at which its pipeline adds no noise to the latent.
    """

    def coder(z: Tensor, past: Any) -> tuple[Tensor, Any]:
        time = torch.zeros(len(z), device=z.device, dtype=z.dtype) if vae.config.timestep_conditioning else None
        with torch.random.fork_rng(devices=[z.device] if z.is_cuda and torch.cuda.is_available() else []):
            torch.manual_seed(SEED)
            return vae.decoder(z, time), None

    return Stream(vae, coder, [(0, latents)], tiles(vae, size, to_latent=False))


FAMILIES.add(
    "ltx",
    Family(
        about="LTX-Video 0.9 text-to-video, a rectified flow (HaCohen et al. 2024)",
        pipelines=("LTXPipeline",),
        open=partial(Adapter, architecture),
        times=times,
        dtype=torch.bfloat16,  # its weights lie on the hub in twice the precision that it was trained in
    ),
)
