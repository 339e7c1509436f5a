"""Corrections of an inversion-free edit: of its flow by the source velocity, and of its state by the source."""

import math
from collections.abc import Callable

from einops import reduce

from flowedit.editors.common import TINY, stretched
from flowedit.messages import InputError
from flowedit.tensors import F, Tensor

Correction = Callable[[Tensor, Tensor], Tensor]
"""The flow (1, C, F, H, W) and the source velocity, alike, to the flow that is followed."""

Decoupling = Callable[[Tensor], Tensor]
"""The foreseen change of the clean clip (1, C, F, H, W) to what is taken off the state after a step."""

LENGTH = 21
"""Latent frames of the clips whose flow `amplified` takes as it is strong by itself: Wan's 81 frames."""


def direction_aware(alpha: float, patch: int = 1) -> Correction:
    """V - V_par where V points along V_src (<V, V_src> >= 0), V + alpha V_par where against it.

    V_par = <V, V_src> / (|V_src|^2 + tiny) V_src, the products over the channels of a latent site, or over those of
    patch x patch sites of one frame; a border's patch holds the sites that are there. The result is a function
    (B, C, F, H, W), (B, C, F, H, W) to (B, C, F, H, W). Raises ValueError for patch < 1. Source: FlowDirector v2
    (CVPR 2026), direction-aware flow correction, alpha = 0.25; that V_src is the mean over the draws, guided, and
    that the correction follows the guidance is inferred.
    """
    if patch < 1:
        raise InputError(f"mode.direction_patch {patch} must be at least 1, the side of a patch in latent sites")

    def correct(flow: Tensor, source: Tensor) -> Tensor:
        along = _over_patches((flow * source).sum(1, keepdim=True), patch)
        square = _over_patches(source.square().sum(1, keepdim=True), patch)
        parallel = along / (square + TINY) * source
        return (flow - parallel).where(along >= 0, flow + alpha * parallel)

    return correct


def amplified(gamma: float) -> Correction:
    """(1 + gamma_F C) V, C the channel mean of V between its least and its most in the clip, in [0, 1].

    gamma_F = gamma log F / log 21 for F latent frames: the longer a clip, the weaker its flow, where it is weak
    anyhow. At F = 1 nothing changes. The result is a function (1, C, F, H, W), (1, C, F, H, W) to the first. Source:
    adaptive magnitude modulation, FlowAnchor (arXiv 2604.22586), gamma = 1; C is signed, as in another
    implementation of it.
    """

    def correct(flow: Tensor, source: Tensor) -> Tensor:
        strength = gamma * math.log(flow.shape[2]) / math.log(LENGTH)
        return flow * (1.0 + strength * stretched(flow.mean(1, keepdim=True)))

    return correct


def in_turn(*corrections: Correction) -> Correction | None:
    """One correction after the other; None for none."""

    def correct(flow: Tensor, source: Tensor) -> Tensor:
        for each in corrections:
            flow = each(flow, source)
        return flow

    return correct if corrections else None


def decoupled(zeta: float, phi: float, own: slice = slice(None)) -> Decoupling:
    """zeta (D - phi mean_time(D)), what Z loses after a step's Euler update.

    D = X_tgt - X_src = (Z - X_src) - t V is the change of the clean clip that the step foresees, with Z as it was
    before the step, t its time, and V = u_tgt(P, t) - u_src(Q, t), the plain mean over the draws: the noise cancels
    and no network call is added. phi = 1 holds motion alone to the source's, phi = 0 everything. `own` are the latent
    frames that the mean over time counts. The result is a function (B, C, F, H, W) to the same. Source:
    motion-appearance decoupling, FlowDirector v2 (CVPR 2026), (zeta, phi) = (0.01, 0.3), or (0.007, 0.5) for weak
    motion; that V is neither guided over draws, nor corrected, nor masked is inferred. phi = 0 is the source
    consistency term of FlowAlign (Kim et al. 2025): zeta [(q - t v_q) - (p - t v_p)] = -zeta D.
    """

    def pull(change: Tensor) -> Tensor:
        return zeta * (change - phi * change[:, :, own].mean(2, keepdim=True))

    return pull


def _over_patches(sites: Tensor, patch: int) -> Tensor:
    """The sum over each patch x patch window of a tiling, at every site of it: (B, 1, F, H, W) to the same."""
    if patch == 1:
        return sites
    h, w = sites.shape[-2:]
    whole = F.pad(sites, (0, -w % patch, 0, -h % patch))
    sums = reduce(whole, "b c f (h p) (w q) -> b c f h w", "sum", p=patch, q=patch)
    return sums.repeat_interleave(patch, 3).repeat_interleave(patch, 4)[..., :h, :w]
