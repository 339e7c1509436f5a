"""Inversion: run the flow up to noise under the source prompt, then down under the target prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.common import counted
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.editors.through_noise.ways import beside, recalls, rises, telling, up
from flowedit.flow.solvers import SOLVERS, Memory, Solver, euler, solve, times, way_down
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Stop, Velocity


def inversion(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise | None = None,
    *,
    method: Solver = euler,
    down: Solver | None = None,
    mask: Mask = None,
    preserve: bool = False,
    reconstruction: Callable[[float], None] | None = None,
    differ: Callable[[float, Tensor, Tensor], None] | None = None,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """z(t0) by dz/dt = u_src(z, t) up the grid from X_src, then down it under u_tgt (Song et al. 2021; DDIM inversion).

    x_src (1, C, F, H, W) float32; the result likewise. `method` is the solver of the way up, and of the way down too
    unless `down` is given; `memory` is where they remember. Outside the mask the way down follows the stored way up;
    `preserve` counts sites with M < 0.5 as outside.
    `reconstruction` asks for one more way down, under u_src, and receives its root mean square error in the latent.
    `differ(t, u, v)` hears the mean velocities of the way up and of the way down in each interval.
    `noise` is not used: the path is deterministic; it stands here so that all editors are called alike.
    A grid of one time returns the source. Raises FloatingPointError on NaN or Inf.
    """
    down, steps = down or method, len(grid) - 1
    total = steps * (2 if reconstruction is None else 3)
    top, path = up(source, x_src, grid, method, callback, total, memory)
    outside = beside(path, mask, preserve, grid)
    told = telling(down, path, grid, differ)
    z = solve(target, top, grid, told, outside, counted(callback, steps, total), memory)
    if reconstruction is not None:
        try:
            again = solve(source, top, grid, down, None, counted(callback, 2 * steps, total), memory)
        except Stop:  # the edit is done: only its report is lost
            return z
        reconstruction(float((again - x_src).square().mean().sqrt()))
    return z


@dataclass(frozen=True, kw_only=True)
class InversionOptions(ModeOptions):
    """The options of `inversion`."""

    solver: Literal["euler", "midpoint", "heun", "fireflow", "uni_inv"] = option(
        "of both ways: euler (DDIM) | midpoint (RF-Solver) | heun | fireflow | uni_inv (Uni-Inv up, euler down)"
    )
    reconstruction: bool = option("one more way down under the source prompt, to report the error of the inversion")


def _run(inputs: EditorInputs, options: InversionOptions) -> Tensor:
    def report(error: float) -> None:
        text = f"the inversion gives the source back to within {error:.4g}, root mean square in the latent"
        inputs.report("reconstruction_error", error, text)

    return inversion(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        inputs.noise,
        method=SOLVERS[options.solver],
        down=SOLVERS[way_down(options.solver)],
        mask=inputs.mask,
        preserve=inputs.preserve,
        reconstruction=report if options.reconstruction else None,
        differ=inputs.differ,
        callback=inputs.callback,
        memory=inputs.memory,
    )


def _cost(options: InversionOptions, counts: Counts) -> int:
    down = times(way_down(options.solver), counts.grid)
    rows = counts.source(times(options.solver, counts.rising)) + counts.target(down)
    return rows + (counts.source(down) if options.reconstruction else 0)


EDITORS.add(
    "inversion",
    EditorSpec(
        about="up to noise under the source prompt, down under the target prompt (DDIM inversion)",
        options=InversionOptions,
        run=_run,
        noise=False,
        cost=_cost,
        passes=lambda options: 3 if options.reconstruction else 2,
        recalls=recalls,
        rises=rises,
        difference="told",
    ),
)
