"""Random noise: forget the source down to a noise level, then generate with the target prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.common import blend, mask_at
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import SOLVERS, Memory, Solver, euler, solve, times
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Velocity


def random_noise(
    x_src: Tensor,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    method: Solver = euler,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """Solve dz/dt = u_tgt(z, t) down the grid from (1 - t0) X_src + t0 eps, t0 = grid[0] (SDEdit, Meng et al. 2022).

    x_src (1, C, F, H, W) float32; the result likewise. Outside the mask the state is set after every step to
    (1 - t) X_src + t eps with the same eps (Avrahami et al. 2022, blended diffusion); at t0 = 1 without a mask
    nothing of the source is left. `preserve` counts sites with M < 0.5 as outside. A grid of one time returns the
    source. The solver remembers in `memory`. Raises FloatingPointError on NaN or Inf.
    """
    if len(grid) == 1:
        return x_src
    eps = noise(0, 0)

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        return blend(z, interpolate(x_src, eps, t), mask_at(mask, step, preserve), grid, step)

    return solve(target, interpolate(x_src, eps, grid[0]), grid, method, keep_outside, callback, memory)


@dataclass(frozen=True, kw_only=True)
class RandomNoiseOptions(ModeOptions):
    """The options of `random_noise`."""

    solver: Literal["euler", "midpoint", "heun", "fireflow"] = option(
        "of the way down: euler (DDIM) | midpoint (RF-Solver) | heun | fireflow"
    )


def _run(inputs: EditorInputs, options: RandomNoiseOptions) -> Tensor:
    return random_noise(
        inputs.x_src,
        inputs.velocities["target"],
        inputs.grid,
        inputs.noise,
        method=SOLVERS[options.solver],
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
        memory=inputs.memory,
    )


def _cost(options: RandomNoiseOptions, counts: Counts) -> int:
    return counts.target(times(options.solver, counts.grid))


EDITORS.add(
    "random_noise",
    EditorSpec(
        about="noise the source to where the strength starts, generate with the target prompt (SDEdit)",
        options=RandomNoiseOptions,
        run=_run,
        sides=("target",),
        cost=_cost,
        recalls=lambda options, steps: (),
    ),
)
