"""What a family has of its own: a record that the adapter reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.text import Reading
from flowedit.networks.autoencoder import Stream
from flowedit.networks.lanes import Blocks
from flowedit.types import BackboneSpec


def _state(z: Tensor, t: float) -> Tensor:
    return z


def _own_plan(network: Any) -> Mapping[str, Any]:
    plan: Mapping[str, Any] = network._cp_plan
    return plan


def _velocity(output: Tensor, x: Tensor, t: float) -> Tensor:
    return output


@dataclass(frozen=True, eq=False)
class Architecture:
    """What one family has of its own: facts, networks, and a function for each thing that it does its own way.

    Sizes are (height, width). Latents are float32 (B, C, F, h, w).
    """

    spec: BackboneSpec
    knots: Tensor
    """Times the model was trained at, float64, descending from the largest."""
    channels: int
    """C of a latent."""
    scale: int
    """Pixels a side of a latent site."""
    patch: tuple[int, int, int]
    """(frames, height, width) of the latent sites that one token of the network holds."""
    frame_step: int
    """A clip has `frame_step` k + 1 frames."""
    transformer: tuple[Any, torch.dtype]
    """Class of diffusers, and precision."""
    vae: tuple[Any, torch.dtype]
    reading: Reading
    call: Callable[..., Tensor]
    """Output of the network: call(network, x, timestep (B,) float32, embedding (B, L, D), *extras), of the shape of x.

    Extras are the prompt's, each (B, ...). All are on the device, and numbers in the network's precision.
    """
    timestep: Callable[[float], float]
    """What the network is told for time t in [0, 1]."""
    attention: Callable[[Any], Sequence[torch.nn.Module]]
    """The network's attention modules that see text, one a block."""
    encoder: Callable[[Any, int, tuple[int, ...]], Stream]
    """encoder(vae, frames, size): from frames to unscaled latents."""
    decoder: Callable[[Any, int, tuple[int, ...]], Stream]
    """decoder(vae, latent frames, latent size): from unscaled latents to frames."""
    scaled: Callable[[Tensor], Tensor]
    """From the autoencoder's latent to the one that the network knows."""
    unscaled: Callable[[Tensor], Tensor]
    """Back again."""
    blocks: Blocks
    """The network's blocks, and how they take a sequence: what a region's own pass needs."""
    prepare: Callable[[Any], Any] = lambda network: network
    """What the family does to a transformer that was just read."""
    plan: Callable[[Any], Mapping[str, Any]] = _own_plan
    """Where diffusers splits and joins the network's sequence for processes that share it."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Options of `runtime` that it does not run with, each with the reason that is said."""
    boundary: float | None = None
    """The time below which another network of the same shape is called, `transformer_2`; None where there is one."""
    pyramid: bool = False
    """Whether its attention runs frame by frame, at several sizes (a UNet): its maps are brought to the latent's grid,
    and it is neither controlled nor shared by processes."""
    until: Callable[[float], float] | None = None
    """What a network of mean velocities is told, after the extras, of the time that they lead to; None for others."""
    text_queries: int = 0
    """How many of the first queries of those modules are text, not video; below 0, how many of the last."""
    state: Callable[[Tensor, float], Tensor] = _state
    """x that the network takes for the state z of the rectified flow at time t; of a flow model z itself."""
    velocity: Callable[[Tensor, Tensor, float], Tensor] = _velocity
    """u = dz/dt from the network's output (K B, ...), guided, at x (B, ...) and t; of a flow model that output."""
