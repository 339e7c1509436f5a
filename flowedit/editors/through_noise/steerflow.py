"""SteerFlow: up by Uni-Inv, down beside that very path, steered off it where the prompts differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.common import TINY, counted, mask_at
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.editors.through_noise.ways import at, recalls, rises, up
from flowedit.flow.solvers import Memory, solve, times, uni_inv
from flowedit.tensors import F, Tensor, torch
from flowedit.types import Callback, Mask, Velocity

SLOPE, LOW, HIGH = 15.0, 0.05, 0.95
"""Of its own mask: the slope of the sigmoid, and the quantiles that are stretched to 0 and 1."""


def steerflow(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    *,
    alpha: float = 5.5,
    closing: int = 5,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """z' = P' + (z - P) + h m c (u_tgt(z, t) - V), V = (P' - P) / h, P and P' the way up at t and t' = t + h.

    The way up is by Uni-Inv under u_src; V costs nothing. c = (1 - t_next^alpha) mean cos(u_tgt, V), the cosine over
    channels; m (1, 1, F, H, W) is its own mask, s = sigmoid(15 (x - 0.5)), x = |u_tgt - V| over channels with its
    quantiles of 5 and 95 % at 0 and 1, closed over `closing` sites a side. With a mask M: m = M close(max(s, M)), so
    that where M = 0 the result is X_src to the bit. x_src (1, C, F, H, W) float32; the result likewise. `preserve`
    counts sites with M < 0.5 as outside; Uni-Inv remembers in `memory`. A grid of one time returns the source. Raises
    FloatingPointError on NaN or Inf. Source: SteerFlow (Dao et al. 2026, arXiv 2604.01715); that M bounds the mask, and
    does not only join it, is ours.
    """
    steps = len(grid) - 1
    top, path = up(source, x_src, grid, uni_inv, callback, 2 * steps, memory)

    def steered(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
        i, h = grid.index(t), t_next - t
        here, there = at(path, i, z), at(path, i + 1, z)
        along = (there - here) / h
        u = velocity(z, t)
        away = u - along
        c = (1.0 - t_next**alpha) * F.cosine_similarity(u, along, dim=1).mean()
        own, m = own_mask(away), mask_at(mask, i, preserve)
        own = closed(own, closing) if m is None else m * closed(torch.maximum(own, m), closing)
        # In this order of operations: z - here is exactly zero where nothing was edited.
        return there + (z - here) + h * c * (own * away)

    return solve(target, top, grid, steered, None, counted(callback, steps, 2 * steps))


def own_mask(change: Tensor) -> Tensor:
    """sigmoid(15 (x - 0.5)), x the norm over channels, stretched between its quantiles of 5 and 95 %, over the clip.

    (1, C, F, H, W) to (1, 1, F, H, W); where nothing differs 5.5e-4 everywhere.
    """
    size = change.norm(dim=1, keepdim=True)
    low, high = torch.quantile(size.flatten(), size.new_tensor([LOW, HIGH])).unbind()
    return torch.sigmoid(SLOPE * ((size - low) / (high - low).clamp_min(TINY) - 0.5))


def closed(mask: Tensor, side: int) -> Tensor:
    """The morphological closing of a soft mask (1, 1, F, H, W) by a square of `side` sites, odd, frame by frame."""
    if side == 1:
        return mask
    reach = side // 2
    wide = F.max_pool2d(F.pad(mask[0].transpose(0, 1), 4 * [reach]), side, 1, reach)
    return -F.max_pool2d(-wide, side, 1).transpose(0, 1)[None]


@dataclass(frozen=True, kw_only=True)
class SteerFlowOptions(ModeOptions):
    """The options of `steerflow`."""

    alpha: float = option("how early the edit sets in: its share at time t is 1 - t^alpha", above=0, most=1000)
    closing: float = option("side of the gaps in its own mask that are closed, in shorter sides", least=0, most=1)


def odd(share: float, side: int) -> int:
    """The odd number of sites nearest to this share of the shorter side."""
    return 2 * int(share * side / 2) + 1


def _run(inputs: EditorInputs, options: SteerFlowOptions) -> Tensor:
    return steerflow(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        alpha=options.alpha,
        closing=odd(options.closing, min(inputs.x_src.shape[3:])),
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
        memory=inputs.memory,
    )


def _cost(options: SteerFlowOptions, counts: Counts) -> int:
    return counts.source(times("uni_inv", counts.rising)) + counts.target(counts.starts)


EDITORS.add(
    "steerflow",
    EditorSpec(
        about="up by Uni-Inv, down beside that path, steered off it where the prompts differ (SteerFlow)",
        options=SteerFlowOptions,
        run=_run,
        noise=False,
        cost=_cost,
        passes=lambda options: 2,
        recalls=recalls,
        rises=rises,
        solver=lambda options: "uni_inv",
    ),
)
