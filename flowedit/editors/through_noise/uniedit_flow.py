"""UniEdit-Flow: up by Uni-Inv, down along both prompts' velocities, weighed by where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.common import counted, stretched
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, both_sides
from flowedit.editors.through_noise.ways import beside, recalls, rises, up
from flowedit.flow.solvers import Memory, euler, solve, times, uni_inv
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Velocity


def uniedit_flow(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    *,
    omega: float = 5.0,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """Up by Uni-Inv under u_src; down by Euler along m u_tgt + (1 - m) u_src + omega (1 + m) g, g = u_tgt - u_src.

    Both are evaluated at the same state; m (1, 1, F, H, W) is mean_c |g|, stretched over the clip to [0, 1], and 0
    where g is. x_src (1, C, F, H, W) float32; the result likewise. Where g = 0 the way down undoes the way up to order
    2. Uni-Inv remembers in `memory`. Outside the mask the way
    down follows the way up, as in inversion. A grid of one time returns the source. Raises FloatingPointError on NaN
    or Inf. Source: UniEdit-Flow (Jiao et al. 2025, arXiv 2504.13109); |g| as in its code for FLUX,
    where that for videos takes the mean of g with its signs.
    """
    steps = len(grid) - 1
    top, path = up(source, x_src, grid, uni_inv, callback, 2 * steps, memory)

    def united(z: Tensor, t: float) -> Tensor:
        u_src = source(z, t)
        g = target(z, t) - u_src
        m = stretched(g.abs().mean(1, keepdim=True))
        return u_src + (m + omega * (1.0 + m)) * g

    return solve(united, top, grid, euler, beside(path, mask, preserve, grid), counted(callback, steps, 2 * steps))


@dataclass(frozen=True, kw_only=True)
class UniEditFlowOptions(ModeOptions):
    """The options of `uniedit_flow`."""

    omega: float = option("how hard the way down follows the difference of the two velocities", least=0, most=100)


def _run(inputs: EditorInputs, options: UniEditFlowOptions) -> Tensor:
    return uniedit_flow(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        omega=options.omega,
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
        memory=inputs.memory,
    )


def _cost(options: UniEditFlowOptions, counts: Counts) -> int:
    return counts.source(times("uni_inv", counts.rising)) + both_sides(options, counts)


EDITORS.add(
    "uniedit_flow",
    EditorSpec(
        about="up by Uni-Inv, down along both velocities, weighed by where they differ (UniEdit-Flow)",
        options=UniEditFlowOptions,
        run=_run,
        noise=False,
        cost=_cost,
        passes=lambda options: 2,
        recalls=recalls,
        difference="heard",
        rises=rises,
        solver=lambda options: "uni_inv",
    ),
)
