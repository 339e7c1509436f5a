"""Wan 2.1 and 2.2, text-to-video (Wan Team 2025, arXiv 2503.20314): rectified flows as they are, through diffusers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.sheets.wan import spec_of
from flowedit.backbones.text import Reading, masked_states
from flowedit.messages import InputError
from flowedit.networks.autoencoder import Stream, Tiles
from flowedit.networks.lanes import Blocks

LENGTH = 512
"""Tokens of text that it was trained with; no file of the checkpoint says so."""


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a Wan checkpoint has of its own; raises InputError for one that is not text-to-video.

    u is the network's output at z and timestep 1000 t; t below the smallest knot is conditioned at that knot. Wan 2.2
    5B takes a timestep for each token, which text-to-video makes all alike: one for all is the same. 2.2 A14B has two
    networks: `transformer` from the boundary of its index up, `transformer_2` below.
    """
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
    from transformers import UMT5EncoderModel

    config = checkpoint.config("transformer", WanTransformer3DModel)
    vae = checkpoint.config("vae", AutoencoderKLWan)
    schedule = checkpoint.config("scheduler", UniPCMultistepScheduler)
    _require_text_to_video(checkpoint, config, vae, schedule)
    knots, shift = times(schedule)

    scaled, unscaled = scalings(vae)
    patch, scale = config["patch_size"][1], vae["scale_factor_spatial"]
    notices = checkpoint.notices
    if dtype is torch.float16:
        notices += (f"{checkpoint.name} was trained in bfloat16; float16 has a smaller range and may give NaN",)
    spec = replace(
        spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=notices,
        trained=checkpoint.trained,
        shift=shift,
        world=checkpoint.world,
    )
    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=scale,
        patch=(1, patch, patch),
        frame_step=spec.frames_per_latent,
        transformer=(WanTransformer3DModel, dtype),
        vae=(AutoencoderKLWan, torch.float32),  # small beside the transformer, and released in float32
        boundary=_boundary(checkpoint),
        reading=Reading(UMT5EncoderModel, LENGTH, cleaned=True, output=masked_states, with_mask=True, padding="zeros"),
        call=_call,
        timestep=lambda t: len(knots) * max(t, float(knots[-1])),
        plan=lambda network: {where: how for where, how in network._cp_plan.items() if where},  # "" is Wan 2.2's
        attention=lambda network: [block.attn2 for block in network.blocks],  # cross-attention: no query is text
        blocks=Blocks(
            of=lambda network: network.blocks,
            rotary="rotary_emb",
            axis=1,
            attention=lambda block: block.attn1,
            text_attention=lambda block: block.attn2,
        ),
        encoder=encoder,
        decoder=decoder,
        scaled=scaled,
        unscaled=unscaled,
    )


def scalings(vae: Mapping[str, Any]) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """(x - mean) / std of each channel of a latent (B, C, F, h, w), by the autoencoder's configuration, and back."""

    def moments(device: torch.device) -> list[Tensor]:
        """Mean and standard deviation of each channel, (C, 1, 1, 1)."""
        both = (torch.tensor(vae[key], device=device) for key in ("latents_mean", "latents_std"))
        return [each[:, None, None, None] for each in both]

    def scaled(x: Tensor) -> Tensor:
        mean, std = moments(x.device)
        return (x - mean) / std

    def unscaled(z: Tensor) -> Tensor:
        mean, std = moments(z.device)
        return z.float() * std + mean

    return scaled, unscaled


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by a Wan's scheduler, and what its own grid is shifted by.

    t is the sigma of a knot, 1000 t its timestep. It was trained at any t of a logit-normal distribution, so times
    between knots are as good.
    """
    count = schedule.get("num_train_timesteps", 1000)
    # Flow-matching schedulers call it `shift`; a file that names neither leaves UniPC its default, 1.
    shift = float(schedule.get("shift") or schedule.get("flow_shift") or 1.0)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, shift


def _call(network: Any, z: Tensor, timestep: Tensor, embedding: Tensor) -> Tensor:
    output: Tensor = network(hidden_states=z, encoder_hidden_states=embedding, timestep=timestep, return_dict=False)[0]
    return output


def _require_text_to_video(
    checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any], schedule: dict[str, Any]
) -> None:
    path = checkpoint.path
    if config["image_dim"] is not None or config["in_channels"] != config["out_channels"]:
        raise InputError(f"backbone {path} is an image-to-video Wan; a text-to-video one is needed")
    patch = list(config["patch_size"])
    if patch[0] != 1 or patch[1] != patch[2]:
        raise InputError(f"backbone {path} is a Wan of another version; Wan 2.1 and 2.2 are supported")
    if (takes := config["in_channels"]) != vae["z_dim"]:
        raise InputError(
            f"backbone {path}: its transformer takes {takes} channels, its autoencoder makes {vae['z_dim']}"
        )
    # UniPC's own default is no flow; a flow-matching scheduler has no such key.
    kind = schedule["prediction_type"]
    if str(schedule.get("_class_name", "")).startswith("UniPC") and kind != "flow_prediction":
        raise InputError(f"backbone {path} predicts {kind!r}; a Wan predicts the flow (flow_prediction)")


def _boundary(checkpoint: Checkpoint) -> float | None:
    """The time below which the second network is called; None for one network.

    Raises InputError for a boundary without a second network, for a second without a boundary, and for unlike ones.
    """
    from diffusers import WanTransformer3DModel

    path, boundary, two = checkpoint.path, checkpoint.index.get("boundary_ratio"), checkpoint.second
    if (boundary is not None) is not two:
        lost = "boundary_ratio" if two else "transformer_2"
        raise InputError(f"backbone {path}: model_index.json names no {lost}, which a Wan of two networks needs")
    if boundary is None:
        return None
    if not isinstance(boundary, (int, float)) or not 0 < boundary < 1:
        raise InputError(
            f"backbone {path}: boundary_ratio {boundary!r} in model_index.json is no share between 0 and 1"
        )
    first, second = (checkpoint.config(part, WanTransformer3DModel) for part in ("transformer", "transformer_2"))
    if unlike := [key for key in SHAPE if first.get(key) != second.get(key)]:
        raise InputError(f"backbone {path}: transformer and transformer_2 differ in {', '.join(unlike)}")
    return float(boundary)


SHAPE = ("in_channels", "out_channels", "num_layers", "num_attention_heads", "attention_head_dim", "patch_size")
"""What both networks of a Wan 2.2 share."""


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from 4 k + 1 frames of `size` (height, width)."""
    convolutions = _causal(vae.encoder)

    def coder(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        past = [None] * convolutions if past is None else past  # each convolution's last frames, replaced in place
        x = x if vae.config.patch_size is None else patchify(x, vae.config.patch_size)
        return vae.quant_conv(vae.encoder(x, feat_cache=past, feat_idx=[0])), past

    from diffusers.models.autoencoders.autoencoder_kl_wan import patchify

    step = vae.config.scale_factor_temporal
    chunks = [(0, 1), *((i, i + step) for i in range(1, frames, step))]
    return Stream(vae, coder, chunks, _tiles(vae, size, to_latent=True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, 4 a chunk and the first 1, from `latents` latent frames of `size` (height, width)."""
    convolutions = _causal(vae.decoder)

    def coder(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        first, past = past is None, [None] * convolutions if past is None else past
        return vae.decoder(vae.post_quant_conv(x), feat_cache=past, feat_idx=[0], first_chunk=first), past

    def pixels(x: Tensor) -> Tensor:
        return x if vae.config.patch_size is None else unpatchify(x, vae.config.patch_size)

    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

    return Stream(vae, coder, [(i, i + 1) for i in range(latents)], _tiles(vae, size, to_latent=False), pixels)


def _causal(network: Any) -> int:
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

    return sum(isinstance(module, WanCausalConv3d) for module in network.modules())


def _tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off.

    Of one that takes patches the tiles to encode are so much larger, and those decoded are joined before the patches
    are taken apart, as diffusers does both.
    """
    own = (vae.tile_sample_min_height, vae.tile_sample_min_width)
    own_apart = (vae.tile_sample_stride_height, vae.tile_sample_stride_width)
    patch, scale = vae.config.patch_size or 1, vae.spatial_compression_ratio
    times, share = (patch, scale) if to_latent else (1, patch)
    pixels, apart = ((each[0] * times, each[1] * times) for each in (own, own_apart))
    sites, sites_apart = ((each[0] // scale, each[1] // scale) for each in (pixels, apart))
    tile_in, stride = (pixels, apart) if to_latent else (sites, sites_apart)
    joined, kept = ((each[0] // share, each[1] // share) for each in (pixels, apart))
    tile_out, keep = (sites, sites_apart) if to_latent else (joined, kept)
    if not vae.use_tiling or (size[0] <= tile_in[0] and size[1] <= tile_in[1]):
        return None
    return Tiles(tile_in, stride, (tile_out[0] - keep[0], tile_out[1] - keep[1]), keep)


FAMILIES.add(
    "wan",
    Family(
        about="Wan 2.1 or 2.2 text-to-video, a rectified flow (Wan Team 2025)",
        pipelines=("WanPipeline",),
        open=partial(Adapter, architecture),
        times=times,
        dtype=torch.bfloat16,  # its weights lie on the hub in twice the precision that it was trained in
    ),
)
