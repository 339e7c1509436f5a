"""Mochi 1, text-to-video (Genmo 2024): a rectified flow whose time runs the other way, through diffusers.

Its autoencoder's encoder attends over all frames of a clip, so clips are encoded whole in time, a tile at a time. Its
decoder is causal and is run by chunks of two latent frames, which keep what their convolutions saw last: the same as
whole, in bounded memory. (What diffusers has for that, `_enable_framewise_decoding`, pads otherwise, and is off.)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.coders.tiles import tiles
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.readings import t5
from flowedit.backbones.sheets.mochi import scale_of, spec_of
from flowedit.messages import InputError
from flowedit.networks.autoencoder import Stream
from flowedit.networks.lanes import Blocks


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a Mochi checkpoint has of its own; raises InputError for one of another version.

    The network is told 1000 (1 - t) and gives -u; t below the smallest knot is conditioned at that knot. Video and text
    attend together, the video first, and of the text the prompt's own tokens alone are seen.
    """
    from diffusers import AutoencoderKLMochi, MochiTransformer3DModel

    config = checkpoint.config("transformer", MochiTransformer3DModel)
    vae = checkpoint.config("vae", AutoencoderKLMochi)
    _require(checkpoint, config, vae)
    knots, shift = times(checkpoint.config("scheduler", _scheduler()))
    spec = replace(
        spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=checkpoint.notices,
        trained=checkpoint.trained,
        shift=shift,
        world=checkpoint.world,
    )

    def moments(device: torch.device) -> list[Tensor]:
        """Mean and standard deviation of each channel, (C, 1, 1, 1)."""
        both = (torch.tensor(vae[key], device=device) for key in ("latents_mean", "latents_std"))
        return [each[:, None, None, None] for each in both]

    def scaled(x: Tensor) -> Tensor:
        mean, std = moments(x.device)
        return (x - mean) * vae["scaling_factor"] / std

    def unscaled(z: Tensor) -> Tensor:
        mean, std = moments(z.device)
        return z.float() * std / vae["scaling_factor"] + mean

    patch, length = config["patch_size"], config["max_sequence_length"]
    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=scale_of(vae),
        patch=(1, patch, patch),
        frame_step=spec.frames_per_latent,
        transformer=(MochiTransformer3DModel, dtype),
        vae=(AutoencoderKLMochi, dtype),
        reading=t5.apart(length, bool(checkpoint.index.get("force_zeros_for_empty_prompt"))),
        call=_call,
        timestep=lambda t: len(knots) * (1.0 - max(t, float(knots[-1]))),
        velocity=lambda output, z, t: -output,
        attention=lambda network: [block.attn1 for block in network.transformer_blocks],
        text_queries=-length,  # joint attention: video, then text
        blocks=Blocks(
            of=lambda network: network.transformer_blocks,
            rotary="image_rotary_emb",
            axis=0,
            attention=lambda block: block.attn1,
            packs=False,  # the text's pooled vector is in the time's embedding
        ),
        prepare=prepared,
        without={
            "fuse": "its attention asks for each projection",
            "context_parallel": "its masks are not spread over processes",
        },
        encoder=encoder,
        decoder=decoder,
        scaled=scaled,
        unscaled=unscaled,
    )


def _scheduler() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by a Mochi's scheduler, and what its own grid is shifted by.

    Its pipeline's own grid, half of it linear down to 0.975 and half a parabola, is not taken: `mode.times` gives one.
    """
    count = schedule.get("num_train_timesteps", 1000)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, float(schedule.get("shift", 1.0))


def _call(network: Any, z: Tensor, timestep: Tensor, embedding: Tensor, own: Tensor) -> Tensor:
    output: Tensor = network(
        hidden_states=z,
        encoder_hidden_states=embedding,
        timestep=timestep,
        encoder_attention_mask=own,
        return_dict=False,
    )[0]
    return output


def _require(checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any]) -> None:
    path = checkpoint.path
    if (config["out_channels"] or config["in_channels"]) != config["in_channels"]:
        raise InputError(f"backbone {path} is a Mochi that takes more than a latent; a text-to-video one is needed")
    if (takes := config["in_channels"]) != vae["latent_channels"]:
        made = vae["latent_channels"]
        raise InputError(f"backbone {path}: its transformer takes {takes} channels, its autoencoder makes {made}")


def encoder(vae: Any, frames: int, size: tuple[int, ...]) -> Stream:
    """To unscaled latents, from 6 k + 1 frames of `size` (height, width), all of them at once."""
    return Stream(vae, lambda x, past: (vae.encoder(x)[0], None), [(0, frames)], tiles(vae, size, to_latent=True))


def decoder(vae: Any, latents: int, size: tuple[int, ...]) -> Stream:
    """To frames, 12 a chunk and the first 7, from `latents` latent frames of `size` (height, width)."""
    from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXCausalConv3d

    convolutions = [module for module in vae.decoder.modules() if isinstance(module, CogVideoXCausalConv3d)]
    extra = vae.temporal_compression_ratio - 1

    def coder(z: Tensor, past: Any) -> tuple[Tensor, Any]:
        first, past = past is None, [None] * len(convolutions) if past is None else past
        with _remembering(convolutions, past):
            out = vae.decoder(z)[0]
        return out[:, :, extra:] if first else out, past  # the first latent is one frame

    step = vae.num_latent_frames_batch_size
    chunks = [(i, min(i + step, latents)) for i in range(0, latents, step)]
    return Stream(vae, coder, chunks, tiles(vae, size, to_latent=False))


@contextmanager
def _remembering(convolutions: list[Any], past: list[Tensor | None]) -> Iterator[None]:
    """Inside, each convolution is padded in time by the last frames that it saw, in `past`, and not by its first."""

    def padded(place: int, convolution: Any, x: Tensor, conv_cache: Any = None) -> Tensor:
        kept = convolution.time_kernel_size - 1
        before = past[place]
        x = torch.cat([x[:, :, :1].expand(-1, -1, kept, -1, -1) if before is None else before, x], dim=2)
        past[place] = x[:, :, -kept:].clone()
        return F.pad(x, (*convolution.time_causal_padding[:4], 0, 0), mode="replicate")

    for place, each in enumerate(convolutions):
        each.fake_context_parallel_forward = partial(padded, place, each)
    try:
        yield
    finally:
        for each in convolutions:
            del each.fake_context_parallel_forward


class MaskedProcessor:
    """Joint attention of video and text, as diffusers' `MochiAttnProcessor2_0`, of one module of a Mochi.

    That one attends sample by sample, each with its own text alone; here all attend at once, and what pads a text is
    masked. What the text's own padding gives is zero in both.
    """

    _attention_backend: str | None = None
    """As that of `DispatchedProcessor`."""
    _parallel_config: Any = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Video (B, N, D) and text (B, L, D'), which are the prompt's own tokens (B, L), to what is added to each."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        video, own = hidden_states.shape[1], attention_mask.bool()
        seen = [(attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None)]
        said = [(attn.add_q_proj, attn.norm_added_q), (attn.add_k_proj, attn.norm_added_k), (attn.add_v_proj, None)]
        q, k, v = (_headed(attn.heads, *each, hidden_states) for each in seen)
        if image_rotary_emb is not None:
            q, k = _turned(q, *image_rotary_emb), _turned(k, *image_rotary_emb)
        words = (_headed(attn.heads, *each, encoder_hidden_states) for each in said)
        q, k, v = (torch.cat(pair, dim=1) for pair in zip((q, k, v), words, strict=True))
        mask = torch.cat([own.new_ones(len(own), video), own], dim=1)[:, None, None]
        backend: Any = self._attention_backend
        out = dispatch_attention_fn(q, k, v, attn_mask=mask, backend=backend, parallel_config=self._parallel_config)
        out = out.flatten(2, 3)
        text = out[:, video:] * own[..., None]
        text = attn.to_add_out(text) if hasattr(attn, "to_add_out") else text
        return attn.to_out[1](attn.to_out[0](out[:, :video])), text


def _headed(heads: int, project: Any, norm: Any, x: Tensor) -> Tensor:
    """(B, N, D) to (B, N, heads, d), projected and normalised."""
    projected: Tensor = project(x).unflatten(2, (heads, -1))
    return projected if norm is None else norm(projected)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, N, heads, d), of which neighbours are turned together, by the angles (N, heads, d / 2) of their places."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    pair = (even * cos - odd * sin).to(x.dtype), (even * sin + odd * cos).to(x.dtype)
    return torch.stack(pair, dim=-1).flatten(-2)


def prepared(network: Any) -> Any:
    """The Mochi, each of its attention modules with a processor of its own, and its angles without an autocast.

    A CPU knows no autocast to float32, and diffusers' own way warns of that at every call.
    """
    for block in network.transformer_blocks:
        block.attn1.processor = MaskedProcessor()
    network.rope._create_rope = _angles
    return network


def _angles(frequencies: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (N, heads, d / 2), in float32, of the places (N, 3)."""
    turns = torch.einsum("nd,dhf->nhf", places.float(), frequencies.float())
    return turns.cos(), turns.sin()


FAMILIES.add(
    "mochi",
    Family(
        about="Mochi 1 text-to-video, a rectified flow (Genmo 2024)",
        pipelines=("MochiPipeline",),
        open=partial(Adapter, architecture),
        times=times,
        dtype=torch.bfloat16,  # its weights lie on the hub in twice the precision that it was trained in
    ),
)
