"""UNets that predict noise, as rectified flows: u = (eps - z) / (1 - t) up to the largest time of their training.

    x_t = (a + b) z, a = sqrt(alpha_bar), b = sqrt(1 - alpha_bar), t = b / (a + b)

Their alpha_bar never reaches 0, so neither does t reach 1: see flow/rectify.py.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.checkpoint import Checkpoint, quiet
from flowedit.flow import rectify
from flowedit.messages import InputError
from flowedit.networks.lanes import Blocks


def times(schedule: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The knots by a diffusion's scheduler, whichever it is, and 1: its own grid is not shifted beyond them."""
    from diffusers import DDIMScheduler

    with quiet():  # keys of other schedulers, and of an older diffusers
        return rectify.knots(DDIMScheduler.from_config(dict(schedule)).alphas_cumprod), 1.0


def schedule(checkpoint: Checkpoint) -> dict[str, Any]:
    """The scheduler's file; raises InputError for one of another prediction, or of noise without any signal."""
    from diffusers import DDIMScheduler

    found = checkpoint.config("scheduler", DDIMScheduler)
    if (kind := found["prediction_type"]) != "epsilon":
        raise InputError(f"backbone {checkpoint.path} predicts {kind!r}; this UNet is run by its noise (epsilon)")
    if found["rescale_betas_zero_snr"]:
        raise InputError(f"backbone {checkpoint.path} predicts noise, and its times end at noise alone (zero_snr)")
    return found


def velocity(eps: Tensor, x_t: Tensor, t: float) -> Tensor:
    """u = (eps - z) / (1 - t) from the predictions (K B, ...) at x_t (B, ...); raises InputError at t = 1."""
    z = rectify.to_rectified(x_t, t)
    return rectify.velocity_from_epsilon(eps, torch.cat([z] * (len(eps) // len(z))), t)


def timestep(knots: Tensor) -> Callable[[float], float]:
    """What the network is told for a time t."""
    return lambda t: rectify.timestep(t, knots)


def _seeing(network: Any) -> Iterator[torch.nn.Module]:
    for part in (*network.down_blocks, network.mid_block, *network.up_blocks):
        for spatial in getattr(part, "attentions", None) or ():  # those over time see no text
            yield from spatial.transformer_blocks


def blocks(network: Any) -> list[torch.nn.Module]:
    """The UNet's blocks that see text, in the order in which they run: down, the middle, up."""
    return list(_seeing(network))


BLOCKS = Blocks(
    of=blocks,
    rotary="",
    axis=0,
    attention=lambda block: block.attn1,
    text_attention=lambda block: block.attn2,
    packs=False,
)


def attention(network: Any) -> list[Any]:
    """Their attention to text."""
    return [block.attn2 for block in blocks(network)]


def require(checkpoint: Checkpoint, config: Mapping[str, Any], vae: Mapping[str, Any], what: str) -> None:
    """Raise InputError for a UNet that takes more than a latent, a time and a prompt."""
    if config["in_channels"] != config["out_channels"]:
        more = config["in_channels"] - config["out_channels"]
        raise InputError(f"backbone {checkpoint.path} takes {more} channels beside the latent; {what} is needed")
    if (takes := config["in_channels"]) != vae["latent_channels"]:
        made = vae["latent_channels"]
        raise InputError(f"backbone {checkpoint.path}: its unet takes {takes} channels, its autoencoder makes {made}")
    if config["time_cond_proj_dim"] is not None:
        raise InputError(f"backbone {checkpoint.path} is distilled to few steps (time_cond_proj_dim); {what} is needed")
