"""CogVideoX (Yang et al. 2024) as a rectified flow, through diffusers: 1.0 (sincos or rotary) and 1.5."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint, quiet
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.sheets.cogvideox import spec_of
from flowedit.backbones.text import Reading
from flowedit.flow import rectify
from flowedit.messages import InputError
from flowedit.networks.autoencoder import Stream, Tiles
from flowedit.networks.lanes import Blocks
from flowedit.types import BackboneSpec


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a CogVideoX checkpoint has of its own; raises InputError for one that is not text-to-video.

    u = (a + b) v + (b - a) x_t at x_t = (a + b) z, t below the smallest knot conditioned at that knot.
    """
    from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
    from transformers import T5EncoderModel

    from flowedit.networks.processor import dispatched, split_plan

    config = checkpoint.config("transformer", CogVideoXTransformer3DModel)
    if config["in_channels"] != config["out_channels"]:
        raise InputError(f"backbone {checkpoint.path} is an image-to-video CogVideoX; a text-to-video one is needed")
    schedule = checkpoint.config("scheduler", CogVideoXDDIMScheduler)
    if schedule["prediction_type"] != "v_prediction":
        kind = schedule["prediction_type"]
        raise InputError(f"backbone {checkpoint.path} predicts {kind!r}; a CogVideoX predicts v (v_prediction)")
    vae = checkpoint.config("vae", AutoencoderKLCogVideoX)
    patch, patch_t = config["patch_size"], config["patch_size_t"] or 1
    scale, factor = 2 ** (len(vae["block_out_channels"]) - 1), vae["scaling_factor"]
    knots, _ = times(schedule)
    table = lru_cache(maxsize=2)(partial(rotary, config))

    def call(network: Any, x_t: Tensor, timestep: Tensor, embedding: Tensor) -> Tensor:
        turned = config["use_rotary_positional_embeddings"]
        v = network(
            hidden_states=rearrange(x_t, "b c f h w -> b f c h w"),
            encoder_hidden_states=embedding,
            timestep=timestep,
            image_rotary_emb=table(x_t.shape[2], tuple(x_t.shape[-2:]), x_t.device) if turned else None,
            return_dict=False,
        )[0]
        return rearrange(v, "b f c h w -> b c f h w")

    return Architecture(
        spec=_spec(checkpoint, config, vae, schedule, dtype),
        knots=knots,
        channels=config["in_channels"],
        scale=scale,
        patch=(patch_t, patch, patch),
        frame_step=8,
        transformer=(CogVideoXTransformer3DModel, dtype),
        vae=(AutoencoderKLCogVideoX, dtype),
        reading=Reading(T5EncoderModel, config["max_text_seq_length"]),
        call=call,
        timestep=lambda t: rectify.timestep(t, knots),
        attention=lambda network: [block.attn1 for block in network.transformer_blocks],
        blocks=Blocks(
            of=lambda network: network.transformer_blocks,
            rotary="image_rotary_emb",
            axis=0,
            attention=lambda block: block.attn1,
        ),
        prepare=dispatched,
        plan=split_plan,
        text_queries=config["max_text_seq_length"],  # joint attention: text, then video
        encoder=encoder,
        decoder=decoder,
        scaled=lambda x: x * factor,
        unscaled=lambda z: z / factor,
        state=rectify.from_rectified,
        velocity=lambda v, x_t, t: rectify.velocity_from_v(v, torch.cat([x_t] * (len(v) // len(x_t))), t),
    )


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots of a CogVideoX's scheduler, and 1: its own grid is not shifted beyond them."""
    from diffusers import CogVideoXDDIMScheduler

    with quiet():  # keys of an older diffusers
        return rectify.knots(CogVideoXDDIMScheduler.from_config(dict(schedule)).alphas_cumprod), 1.0


def _spec(
    checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any], schedule: dict[str, Any], dtype: torch.dtype
) -> BackboneSpec:
    notices = checkpoint.notices
    if checkpoint.dtype("transformer") is torch.bfloat16 and dtype is torch.float16:
        notices += (f"{checkpoint.name} was trained in bfloat16; in float16 it tends to give NaN",)
    if not schedule["rescale_betas_zero_snr"]:
        notices += (f"{checkpoint.name} was not trained to zero signal: strength 1 starts just below pure noise",)
    return replace(
        spec_of(config, vae, any_size=checkpoint.world is not None),
        name=checkpoint.name,
        notices=notices,
        trained=checkpoint.trained,
        world=checkpoint.world,
    )


def rotary(config: dict[str, Any], frames: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(cos, sin), each (tokens, head width), for a latent of `frames` and `size` (height, width)."""
    from diffusers.models.embeddings import get_3d_rotary_pos_embed
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

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


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from 8 k + 1 frames of `size` (height, width)."""

    def coder(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.encoder(x, conv_cache=past)
        return out if vae.quant_conv is None else vae.quant_conv(out), past

    return Stream(vae, coder, tuple(_chunks(frames, vae.num_sample_frames_batch_size)), _tiles(vae, size, True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, 8 a chunk and the first 9 or 1, from `latents` latent frames of `size` (height, width)."""

    def coder(x: Tensor, past: Any) -> tuple[Tensor, Any]:
        out, past = vae.decoder(x if vae.post_quant_conv is None else vae.post_quant_conv(x), conv_cache=past)
        return out, past

    return Stream(vae, coder, tuple(_chunks(latents, vae.num_latent_frames_batch_size)), _tiles(vae, size, False))


def _tiles(vae: Any, size: tuple[int, ...], to_latent: bool) -> Tiles | None:
    """The autoencoder's own tiles for an input of `size`; None where one tile holds it, or tiling is off.

    None, too, where rounding makes the tiles overlap by other shares before and after: their outputs would not
    join (a tile of 32 pixels strides 26, and keeps 3 latents of 8).
    """
    sample = (vae.tile_sample_min_height, vae.tile_sample_min_width)
    latent = (vae.tile_latent_min_height, vae.tile_latent_min_width)
    tile_in, tile_out = (sample, latent) if to_latent else (latent, sample)
    if not vae.use_tiling or (size[0] <= tile_in[0] and size[1] <= tile_in[1]):
        return None
    overlap = (vae.tile_overlap_factor_height, vae.tile_overlap_factor_width)
    stride = int(tile_in[0] * (1 - overlap[0])), int(tile_in[1] * (1 - overlap[1]))
    blend = int(tile_out[0] * overlap[0]), int(tile_out[1] * overlap[1])
    keep = tile_out[0] - blend[0], tile_out[1] - blend[1]
    if any(stride[i] * tile_out[i] != keep[i] * tile_in[i] for i in (0, 1)):
        return None
    return Tiles(tile_in, stride, blend, keep)


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each chunk of `size`; the first takes the remainder as well."""
    start, rest = 0, count % size
    for i in range(max(count // size, 1)):
        end = min(rest + size * (i + 1), count)
        yield start, end
        start = end


FAMILIES.add(
    "cogvideox",
    Family(
        about="CogVideoX 1.0 and 1.5 text-to-video, diffusion seen as a rectified flow (Yang et al. 2024)",
        pipelines=("CogVideoXPipeline", "CogVideoX*"),
        open=partial(Adapter, architecture),
        times=times,
    ),
)
