"""Inversion: run the flow up to noise under the source prompt, then down under the target prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.common import blend, counted, mask_at, on_host
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.flow.solvers import SOLVERS, Solver, euler, evaluations, heard, solve
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Step, Stop, Velocity


def inversion(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise | None = None,
    *,
    method: Solver = euler,
    mask: Mask = None,
    preserve: bool = False,
    reconstruction: Callable[[float], None] | None = None,
    callback: Callback = None,
) -> Tensor:
    """z(t0) by dz/dt = u_src(z, t) up the grid from X_src, then down it under u_tgt (Song et al. 2021; DDIM inversion).

    x_src (1, C, F, H, W) float32; the result likewise. Outside the mask the way down follows the stored way up;
    `preserve` counts sites with M < 0.5 as outside.
    `reconstruction` asks for one more way down, under u_src, and receives its root mean square error in the latent.
    `noise` is not used: the path is deterministic; it stands here so that all editors are called alike.
    A grid of one time returns the source. Raises FloatingPointError on NaN or Inf.
    """
    steps = len(grid) - 1
    total = steps * (2 if reconstruction is None else 3)
    path = [x_src]  # the states of the way up; on the host, as they are as many as the steps

    def remember(step: Step) -> Tensor:
        state = heard(counted(callback, 0, total), step)
        path.append(on_host(state))
        return state

    top = solve(source, x_src, list(reversed(grid)), method, None, remember)

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        outside = path[steps - 1 - step].to(z.device, non_blocking=True)
        return blend(z, outside, mask_at(mask, step, preserve), grid, step)

    z = solve(target, top, grid, method, keep_outside, counted(callback, steps, total))
    if reconstruction is not None:
        try:
            again = solve(source, top, grid, method, None, counted(callback, 2 * steps, total))
        except Stop:  # the edit is done: only its report is lost
            return z
        reconstruction(float((again - x_src).square().mean().sqrt()))
    return z


@dataclass(frozen=True, kw_only=True)
class InversionOptions(ModeOptions):
    """The options of `inversion`."""

    solver: Literal["euler", "midpoint", "heun"] = option("of both ways: euler (DDIM) | midpoint | heun")
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
        mask=inputs.mask,
        preserve=inputs.preserve,
        reconstruction=report if options.reconstruction else None,
        callback=inputs.callback,
    )


def _cost(options: InversionOptions, counts: Counts) -> int:
    up, down = (evaluations(options.solver, counts.steps, down) for down in (False, True))
    return up * counts.source + down * counts.target + (down * counts.source if options.reconstruction else 0)


EDITORS.add(
    "inversion",
    EditorSpec(
        about="up to noise under the source prompt, down under the target prompt (DDIM inversion)",
        options=InversionOptions,
        run=_run,
        noise=False,
        cost=_cost,
        passes=lambda options: 3 if options.reconstruction else 2,
        recalls=lambda options, steps: (*range(steps), 2 * steps - 1),
        rises=lambda options, steps: steps,
    ),
)
