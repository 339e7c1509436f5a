"""ModelScope's text-to-video and Zeroscope v2 (Wang et al. 2023, arXiv 2308.06571): noise predictions of a UNet.

Its convolutions and attention run frame by frame, and between them over time, site by site.
"""

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
from flowedit.backbones.sheets import modelscope
from flowedit.backbones.unets import noise
from flowedit.flow import rectify


def architecture(checkpoint: Checkpoint, dtype: torch.dtype) -> Architecture:
    """What a ModelScope or Zeroscope checkpoint has of its own; raises InputError for one that is not text-to-video.

    u = (eps - z) / (1 - t) at x_t = (a + b) z, t below the smallest knot conditioned at that knot; the largest knot is
    below 1. The autoencoder is one of stills, and codes frame by frame.
    """
    from diffusers import AutoencoderKL, UNet3DConditionModel

    config = checkpoint.config("unet", UNet3DConditionModel)
    vae = checkpoint.config("vae", AutoencoderKL)
    noise.require(checkpoint, config, vae, "a text-to-video ModelScope or Zeroscope")
    knots, _ = noise.times(noise.schedule(checkpoint))
    factor = vae["scaling_factor"]
    spec = replace(
        modelscope.spec_of(config, vae, checkpoint.notes),
        name=checkpoint.name,
        notices=checkpoint.notices,
        trained=checkpoint.trained,
        world=checkpoint.world,
    )
    return Architecture(
        spec=spec,
        knots=knots,
        channels=config["in_channels"],
        scale=modelscope.scale_of(vae),
        patch=(1, 1, 1),
        frame_step=1,
        transformer=(UNet3DConditionModel, dtype),
        vae=(AutoencoderKL, dtype),
        reading=clip.last(),
        call=_call,
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


def _call(network: Any, x_t: Tensor, timestep: Tensor, embedding: Tensor) -> Tensor:
    eps: Tensor = network(x_t, timestep, encoder_hidden_states=embedding, return_dict=False)[0]
    return eps


FAMILIES.add(
    "modelscope",
    Family(
        about="ModelScope or Zeroscope v2 text-to-video, a UNet that predicts noise (Wang et al. 2023)",
        pipelines=modelscope.PIPELINES,
        open=partial(Adapter, architecture),
        times=noise.times,
        dtype=torch.float16,  # half of the repositories hold float32, and all their pipelines run in float16
    ),
)
