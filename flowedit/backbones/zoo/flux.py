"""FLUX.1 dev and schnell (Black Forest Labs 2024): rectified flows of single pictures, through diffusers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.backbones.architecture import Architecture
from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.coders import image
from flowedit.backbones.families import FAMILIES, Family
from flowedit.backbones.readings import clip
from flowedit.backbones.sheets import flux
from flowedit.backbones.text import Output, Reading
from flowedit.flow.schedule import shift_of
from flowedit.messages import InputError
from flowedit.networks.lanes import Blocks

PIPELINE = "FluxPipeline"


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a FLUX.1 checkpoint has of its own; raises InputError for one that needs a picture beside the prompt.

    u is the network's output at z and timestep t; t below the smallest knot is conditioned at that knot. A token is 2×2
    latent sites. Text is T5's states, which attend together with the picture, and CLIP's pooled vector, which is added
    to the time's embedding. dev is told its guidance scale; schnell, distilled to four steps, knows none.
    """
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import T5EncoderModel

    config = checkpoint.config("transformer", FluxTransformer2DModel)
    vae = checkpoint.config("vae", AutoencoderKL)
    schedule = checkpoint.config("scheduler", FlowMatchEulerDiscreteScheduler)
    _require_text_to_image(checkpoint, config, vae, schedule)
    knots, _ = times(schedule)
    shift, growth = shift_of(schedule)
    length, factor, offset = flux.text_tokens(config), vae["scaling_factor"], vae["shift_factor"] or 0.0
    spec = replace(
        flux.spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=checkpoint.notices,
        trained=checkpoint.trained,
        shift=shift,
        shift_growth=growth,
        world=checkpoint.world,
    )
    words = Reading(T5EncoderModel, length, folder="text_encoder_2", tokenizer="tokenizer_2", join=_joined)
    return Architecture(
        spec=spec,
        knots=knots,
        channels=vae["latent_channels"],
        scale=flux.scale_of(vae),
        patch=(1, 2, 2),
        frame_step=1,
        transformer=(FluxTransformer2DModel, dtype),
        vae=(AutoencoderKL, dtype),
        reading=replace(words, others=(clip.pooled(),)),
        call=_call,
        timestep=lambda t: max(t, float(knots[-1])),
        attention=lambda network: [block.attn for block in _blocks(network)],
        text_queries=length,  # joint attention: text, then the picture, in both kinds of blocks
        blocks=Blocks(
            of=_blocks,
            rotary="image_rotary_emb",
            axis=0,
            attention=lambda block: block.attn,
            packs=False,  # the pooled vector is in the time's embedding
        ),
        encoder=image.encoder,
        decoder=image.decoder,
        scaled=lambda x: (x - offset) * factor,
        unscaled=lambda z: z / factor + offset,
    )


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by a FLUX's scheduler, and what its own grid is shifted by at the size that it learned."""
    count = schedule.get("num_train_timesteps", 1000)
    shift, growth = shift_of(schedule)
    return torch.arange(count, 0, -1, dtype=torch.float64) / count, shift * math.exp(growth * flux.TOKENS)


def _call(
    network: Any, z: Tensor, timestep: Tensor, embedding: Tensor, pooled: Tensor, guidance: Tensor | None = None
) -> Tensor:
    height, width = z.shape[-2] // 2, z.shape[-1] // 2
    output: Tensor = network(
        hidden_states=rearrange(z, "b c 1 (h p) (w q) -> b (h w) (c p q)", p=2, q=2),
        encoder_hidden_states=embedding,
        pooled_projections=pooled,
        timestep=timestep,
        guidance=guidance,
        txt_ids=torch.zeros((embedding.shape[1], 3), device=z.device),  # text has no place
        img_ids=_places(height, width, z.device),
        return_dict=False,
    )[0]
    return rearrange(output, "b (h w) (c p q) -> b c 1 (h p) (w q)", h=height, p=2, q=2)


@lru_cache(maxsize=4)
def _places(height: int, width: int, device: torch.device) -> Tensor:
    """(0, row, column) of each token, (height width, 3)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float().to(device)


def _blocks(network: Any) -> list[Any]:
    """Those of two streams, then those of one."""
    return [*network.transformer_blocks, *network.single_transformer_blocks]


def _joined(outputs: Sequence[Output]) -> Output:
    (embedding,), (pooled,) = outputs
    return embedding, pooled


def _require_text_to_image(
    checkpoint: Checkpoint, config: dict[str, Any], vae: dict[str, Any], schedule: dict[str, Any]
) -> None:
    path = checkpoint.path
    takes, gives = config["in_channels"], config["out_channels"] or config["in_channels"]
    if checkpoint.pipeline != PIPELINE or takes != gives:
        raise InputError(
            f"backbone {path} is a {checkpoint.pipeline} that takes a picture beside the prompt, or of another FLUX; "
            "a text-to-image FLUX.1 is needed, such as --backbone flux1-dev"
        )
    if takes != 4 * vae["latent_channels"]:
        made = vae["latent_channels"]
        raise InputError(
            f"backbone {path}: its transformer takes 4 sites of {takes // 4} channels, its autoencoder makes {made}"
        )
    if schedule["use_dynamic_shifting"] and schedule["time_shift_type"] != "exponential":
        kind = schedule["time_shift_type"]
        raise InputError(f"backbone {path} shifts its times by {kind!r}; a FLUX.1 shifts them exponentially")


FAMILIES.add(
    "flux",
    Family(
        about="FLUX.1 dev and schnell text-to-image, a rectified flow of single pictures (Black Forest Labs 2024)",
        pipelines=(PIPELINE, "Flux*"),
        open=partial(Adapter, architecture),
        times=times,
    ),
)
