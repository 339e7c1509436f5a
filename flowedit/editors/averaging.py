"""How the flows of a step's draws become one: their mean, and differential averaging guidance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.messages import InputError
from flowedit.tensors import Tensor, torch

Average = Callable[[Tensor], Tensor]
"""Candidate flows (n, C, F, H, W) of one clip to one flow (1, C, F, H, W)."""


def mean(flows: Tensor) -> Tensor:
    """V = mean_i V_i: (n, C, F, H, W) to (1, C, F, H, W) (FlowEdit, Kulikov et al. 2024, algorithm 1)."""
    return flows.mean(0, keepdim=True)


def differential(baseline: str, size: int, weight: float) -> Average:
    """Differential averaging guidance: V = V_HQ + w (V_HQ - V_BL), V_HQ the mean of all n flows, V_BL of K of them.

    baseline `first`: the first K draws (FlowDirector v1 with w = omega - 1; over all subsets, as published, the
    difference is identically zero). `least_aligned`: the K flows of lowest cosine similarity to V_HQ (FlowDirector
    v2, CVPR 2026). The result is a function (n, C, F, H, W) to (1, C, F, H, W) that raises ValueError unless
    1 <= K < n: at K = n the difference vanishes.
    """
    if baseline not in BASELINES:
        raise InputError(f"averaging.baseline {baseline!r} is not one of {', '.join(BASELINES)}")
    choose = BASELINES[baseline]

    def average(flows: Tensor) -> Tensor:
        require_baseline(size, len(flows))
        high = flows.mean(0, keepdim=True)
        low = choose(flows, high, size).mean(0, keepdim=True)
        return high + weight * (high - low)

    return average


def require_baseline(size: int, draws: int) -> None:
    """Raise ValueError unless 1 <= K < n for a baseline of K = `size` of n = `draws` flows."""
    if not 1 <= size < draws:
        raise InputError(
            f"averaging.baseline_size {size} must be at least 1 and below draws = {draws}: a baseline of all draws "
            "cancels to nothing; raise draws or choose averaging=mean"
        )


def cosine(flows: Tensor, reference: Tensor) -> Tensor:
    """cos(V_i, V) over all axes but the first: (n, ...), (1, ...) to (n,) float32; 0 where a flow is zero."""
    v, r = flows.flatten(1).float(), reference.flatten(1).float()
    norms = v.norm(dim=1) * r.norm(dim=1)
    return torch.where(norms > 0, (v * r).sum(1) / norms.clamp_min(1e-30), torch.zeros_like(norms))


def _first(flows: Tensor, high: Tensor, size: int) -> Tensor:
    return flows[:size]


def _least_aligned(flows: Tensor, high: Tensor, size: int) -> Tensor:
    return flows[cosine(flows, high).topk(size, largest=False).indices]


BASELINES = {"first": _first, "least_aligned": _least_aligned}


@dataclass(frozen=True, kw_only=True)
class AveragingOptions:
    """How the flows of a step's draws become one."""

    name: Literal["mean", "differential"] = option(
        "how a step's draws become one flow: mean | differential", needs="fresh_noise"
    )
    baseline: Literal["first", "least_aligned"] | None = option(
        "which draws the flow is led away from: first | least_aligned (with the mean of all)", default=None
    )
    baseline_size: int | None = option("K, how many draws these are: at least 1, below draws", least=1, default=None)
    weight: float | None = option("w in V + w (V - V_BL)", least=-100, most=100, default=None)


def average_of(options: AveragingOptions) -> Average:
    """The function that the options name."""
    if options.name == "mean":
        return mean
    return differential(options.baseline or "", options.baseline_size or 0, options.weight or 0.0)


def check_draws(options: AveragingOptions, draws: int) -> None:
    """Raise InputError for so many draws that the options cannot use."""
    if options.name == "differential":
        require_baseline(options.baseline_size or 0, draws)
