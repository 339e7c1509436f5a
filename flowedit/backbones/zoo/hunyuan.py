"""HunyuanVideo, text-to-video (Kong et al. 2024, arXiv 2412.03603): a rectified flow, through diffusers.

Its autoencoder is coded by chunks of 16 frames and one, 12 apart, which are blended where they meet, as diffusers does
by itself: what is in memory does not grow with the clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.coders.tiles import tiles
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.readings import clip
from flowedit.backbones.sheets.hunyuan import SKIPPED, TEMPLATE, TEXT, spec_of
from flowedit.backbones.text import Output, Reading
from flowedit.messages import InputError
from flowedit.networks.autoencoder import Chunk, Overlap, Stream
from flowedit.networks.lanes import Blocks

PER_SCALE = 1000.0
"""What the network is told for a guidance scale of 1."""

LEFT = 3
"""Llama's states are those that leave the layer so many before the end."""


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a HunyuanVideo checkpoint has of its own; raises InputError for one that is not text-to-video.

    u is the network's output at z and timestep 1000 t; t below the smallest knot is conditioned at that knot. Video and
    text attend together, the video first, and of the text the prompt's own tokens alone are seen. CLIP's pooled vector
    goes with the time. The network is told 1000 times its guidance scale; one without that embedding is guided by two
    rows.
    """
    from diffusers import AutoencoderKLHunyuanVideo, FlowMatchEulerDiscreteScheduler, HunyuanVideoTransformer3DModel

    config = checkpoint.config("transformer", HunyuanVideoTransformer3DModel)
    vae = checkpoint.config("vae", AutoencoderKLHunyuanVideo)
    schedule = checkpoint.config("scheduler", FlowMatchEulerDiscreteScheduler)
    _require_text_to_video(checkpoint, config, vae)
    knots, shift = times(schedule)
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

    def call(
        network: Any,
        z: Tensor,
        timestep: Tensor,
        embedding: Tensor,
        own: Tensor,
        pooled: Tensor,
        guidance: Tensor | None = None,
    ) -> Tensor:
        output: Tensor = network(
            hidden_states=z,
            timestep=timestep,
            encoder_hidden_states=embedding,
            encoder_attention_mask=own,
            pooled_projections=pooled,
            guidance=None if guidance is None else PER_SCALE * guidance,
            return_dict=False,
        )[0]
        return output

    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=vae["spatial_compression_ratio"],
        patch=(config["patch_size_t"], config["patch_size"], config["patch_size"]),
        frame_step=spec.frames_per_latent,
        transformer=(HunyuanVideoTransformer3DModel, dtype),
        vae=(AutoencoderKLHunyuanVideo, dtype),
        reading=reading(),
        call=call,
        timestep=lambda t: len(knots) * max(t, float(knots[-1])),
        attention=lambda network: [block.attn for block in _blocks(network)],
        text_queries=-TEXT,  # joint attention: video, then text, in both kinds of blocks
        blocks=Blocks(
            of=_blocks,
            rotary="image_rotary_emb",
            axis=0,
            attention=lambda block: block.attn,
            packs=False,  # the pooled vector is in the time's embedding
        ),
        without={
            "fuse": "its attention asks for each projection",
            "context_parallel": "its masks are not spread over processes",
        },
        encoder=encoder,
        decoder=decoder,
        scaled=lambda x: x * vae["scaling_factor"],
        unscaled=lambda z: z / vae["scaling_factor"],
    )


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by a HunyuanVideo's scheduler, and what its own grid is shifted by."""
    count = schedule.get("num_train_timesteps", 1000)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, float(schedule.get("shift", 1.0))


def _blocks(network: Any) -> Sequence[Any]:
    """Those of two streams, then those of one."""
    return [*network.transformer_blocks, *network.single_transformer_blocks]


def reading() -> Reading:
    """Llama's states (1, 256, D) of a prompt in its template, and CLIP's pooled vector.

    The prompt's tokens have seen the template's, which are left out. Padding is not seen.
    """
    from transformers import LlamaModel

    return Reading(
        LlamaModel,
        TEXT,
        output=_described,
        words=_words,
        others=(clip.pooled("text_encoder_2", "tokenizer_2"),),
        join=_joined,
        with_mask=True,
        padding="hidden",
        template=TEMPLATE,
        skipped=SKIPPED,
    )


def _words() -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast


def _described(network: Any, ids: Tensor, mask: Tensor) -> Output:
    states = network(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-LEFT]
    return states[:, SKIPPED:], mask[:, SKIPPED:].bool()


def _joined(outputs: Sequence[Output]) -> Output:
    (embedding, own), (pooled,) = outputs
    return embedding, own, pooled


def _require_text_to_video(checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any]) -> None:
    path = checkpoint.path
    if config["image_condition_type"] is not None or config["in_channels"] != config["out_channels"]:
        raise InputError(
            f"backbone {path} is an image-to-video HunyuanVideo; a text-to-video one is needed, such as "
            "--backbone hunyuan-video"
        )
    if (takes := config["in_channels"]) != vae["latent_channels"]:
        made = vae["latent_channels"]
        raise InputError(f"backbone {path}: its transformer takes {takes} channels, its autoencoder makes {made}")
    if config["patch_size_t"] != 1:
        raise InputError(f"backbone {path} is a HunyuanVideo of another version; 1.0 is supported")


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from 4 k + 1 frames of `size` (height, width)."""
    step = vae.temporal_compression_ratio
    whole, apart = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    chunks, overlap = _chunks(vae.use_framewise_encoding, frames, whole, apart)
    join = Overlap(1, (whole - apart) // step, apart // step) if overlap else None
    return Stream(vae, _coder(vae.encoder, vae.quant_conv), chunks, tiles(vae, size, to_latent=True), overlap=join)


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, from `latents` latent frames of `size` (height, width)."""
    step = vae.temporal_compression_ratio
    whole, apart = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    chunks, overlap = _chunks(vae.use_framewise_decoding, latents, whole // step, apart // step)
    join = Overlap(1, whole - apart, apart) if overlap else None
    return Stream(
        vae, _coder(vae.post_quant_conv, vae.decoder), chunks, tiles(vae, size, to_latent=False), overlap=join
    )


def _coder(first: Any, then: Any) -> Any:
    return lambda x, past: (then(first(x)), None)


def _chunks(by_frames: bool, count: int, whole: int, apart: int) -> tuple[list[Chunk], bool]:
    """[start, end) of each chunk of `whole` and one, `apart`, and whether they share frames.

    One that would hold only what the one before holds too is none.
    """
    if not by_frames or count <= whole:
        return [(0, count)], False
    return [(i, min(i + whole + 1, count)) for i in range(0, count, apart) if i == 0 or count - i > 1], True


FAMILIES.add(
    "hunyuan",
    Family(
        about="HunyuanVideo text-to-video, a rectified flow (Kong et al. 2024)",
        pipelines=("HunyuanVideoPipeline",),
        open=partial(Adapter, architecture),
        times=times,
    ),
)
