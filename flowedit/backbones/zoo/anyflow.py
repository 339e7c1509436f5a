"""AnyFlow (Gu et al. 2026, arXiv 2605.13724): Wan 2.1 distilled to mean velocities over any interval, for few steps."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import torch
from einops import rearrange, repeat
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.sheets import anyflow
from flowedit.backbones.text import Reading, masked_states
from flowedit.backbones.zoo import wan
from flowedit.messages import InputError
from flowedit.networks.lanes import Blocks


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What an AnyFlow checkpoint has of its own; raises InputError for one that is not text-to-video.

    The mean velocity over [r, t] is the network's output at z and timesteps 1000 t and 1000 r; t below the smallest
    knot is conditioned at that knot. Classifier-free guidance is in its weights.
    """
    from diffusers import AnyFlowTransformer3DModel, AutoencoderKLWan, FlowMapEulerDiscreteScheduler
    from transformers import UMT5EncoderModel

    config = checkpoint.config("transformer", AnyFlowTransformer3DModel)
    vae = checkpoint.config("vae", AutoencoderKLWan)
    schedule = checkpoint.config("scheduler", FlowMapEulerDiscreteScheduler)
    _require_text_to_video(checkpoint, config, vae)
    knots, shift = times(schedule)
    scaled, unscaled = wan.scalings(vae)
    notices = checkpoint.notices
    if dtype is torch.float16:
        notices += (f"{checkpoint.name} was trained in bfloat16; float16 has a smaller range and may give NaN",)
    spec = replace(
        anyflow.spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=notices,
        trained=checkpoint.trained,
        shift=shift,
        world=checkpoint.world,
    )

    def unshared(network: Any) -> NoReturn:
        raise InputError(f"{checkpoint.name} runs in one process: leave runtime.context_parallel out")

    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=vae["scale_factor_spatial"],
        patch=tuple(config["patch_size"]),
        frame_step=spec.frames_per_latent,
        transformer=(AnyFlowTransformer3DModel, dtype),
        vae=(AutoencoderKLWan, torch.float32),
        reading=Reading(
            UMT5EncoderModel, wan.LENGTH, cleaned=True, output=masked_states, with_mask=True, padding="zeros"
        ),
        call=_call,
        timestep=lambda t: len(knots) * max(t, float(knots[-1])),
        until=lambda t: len(knots) * t,
        plan=unshared,
        attention=lambda network: [block.attn2 for block in network.blocks],  # cross-attention: no query is text
        blocks=Blocks(
            of=lambda network: network.blocks,
            rotary="rotary_emb",
            axis=2,
            attention=lambda block: block.attn1,
            text_attention=lambda block: block.attn2,
            packs=False,  # a time's embedding for each token
        ),
        encoder=wan.encoder,
        decoder=wan.decoder,
        scaled=scaled,
        unscaled=unscaled,
    )


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by an AnyFlow's scheduler, and what its own grid is shifted by."""
    count = schedule.get("num_train_timesteps", 1000)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, float(schedule.get("shift", 1.0))


def _call(network: Any, z: Tensor, timestep: Tensor, embedding: Tensor, until: Tensor) -> Tensor:
    frames = z.shape[2]
    output: Tensor = network(
        hidden_states=rearrange(z, "b c f h w -> b f c h w"),
        timestep=repeat(timestep, "b -> b f", f=frames),
        r_timestep=repeat(until, "b -> b f", f=frames),
        encoder_hidden_states=embedding,
        return_dict=False,
    )[0]
    return rearrange(output, "b f c h w -> b c f h w")


def _require_text_to_video(checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any]) -> None:
    path, patch, takes = checkpoint.path, list(config["patch_size"]), config["in_channels"]
    if config["image_dim"] is not None or takes != config["out_channels"]:
        raise InputError(f"backbone {path} is an image-to-video AnyFlow; a text-to-video one is needed")
    if patch[0] != 1 or patch[1] != patch[2]:
        raise InputError(f"backbone {path} is an AnyFlow of another version: give one of Wan 2.1")
    if takes != vae["z_dim"]:
        raise InputError(
            f"backbone {path}: its transformer takes {takes} channels, its autoencoder makes {vae['z_dim']}"
        )


FAMILIES.add(
    "anyflow",
    Family(
        about="AnyFlow on Wan 2.1: mean velocities, for edits in few steps (Gu et al. 2026)",
        pipelines=anyflow.PIPELINES,
        open=partial(Adapter, architecture),
        times=times,
        dtype=torch.bfloat16,  # as Wan's
    ),
)
