"""RF-Inversion: up to noise under a controller that leads to one noise, down under one that leads to the source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.common import counted
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.editors.through_noise.ways import beside, recalls, rises, up
from flowedit.flow.solvers import Memory, Solver, euler, solve
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Velocity


def rf_inversion(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    gamma: float = 0.5,
    eta: Sequence[float] = (),
    stochastic: bool = False,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
) -> Tensor:
    """Up by u + gamma [(eps - z) / (1 - t) - u], u = u_src(z, t); down by v = u + eta_i [(z - X_src) / t - u], u_tgt.

    x_src (1, C, F, H, W) float32; the result likewise. eps = noise(0, 0) is the same in all steps; `eta` is that of
    the first steps of the way down, 0 in those beyond. gamma = 1 ends at (1 - t0) X_src + t0 eps (SDEdit's start), eta
    = 1 in all steps at X_src, both exactly on any grid; gamma = eta = 0 is inversion. `stochastic`: of the way down
    every step but the first is z + (t - t_next) [-2 v - z / (1 - t)] + sqrt(2 t / (1 - t) (t - t_next)) noise(i, 0), of
    the same marginals; where t - t_next > 1 - t it is not stable. Outside the mask the way down follows the way up, as
    in inversion. A grid of one time returns the source. Raises FloatingPointError on NaN or Inf. Source: RF-Inversion
    (Rout et al. 2024, arXiv 2410.10792); its code evaluates the way up at evenly spaced times and
    steps by others, and leaves out its last step: ours evaluates where it stands, on the whole grid.
    """
    if len(grid) == 1:
        return x_src
    steps = len(grid) - 1
    eps = noise(0, 0)

    def led_to_noise(z: Tensor, t: float) -> Tensor:
        u = source(z, t)
        return u + gamma * ((eps - z) / (1.0 - t) - u)

    def led_to_source(z: Tensor, t: float) -> Tensor:
        u, i = target(z, t), grid.index(t)
        return u + eta[i] * ((z - x_src) / t - u) if i < len(eta) and eta[i] else u

    top, path = up(led_to_noise, x_src, grid, euler, callback, 2 * steps)
    how = diffusing(grid, noise) if stochastic else euler
    outside = beside(path, mask, preserve, grid)
    return solve(led_to_source, top, grid, how, outside, counted(callback, steps, 2 * steps))


def diffusing(grid: Sequence[float], noise: Noise) -> Solver:
    """Steps of the reverse SDE whose marginals are the flow's: Euler-Maruyama, the first of the grid plain Euler."""

    def step(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
        i = grid.index(t)
        if i == 0:
            return euler(velocity, z, t, t_next, memory)
        s = t - t_next
        drift = -2.0 * velocity(z, t) - z / (1.0 - t)
        return z + s * drift + math.sqrt(2.0 * t / (1.0 - t) * s) * noise(i, 0)

    return step


def pulls(eta: float, share: float, decay: float, steps: int) -> list[float]:
    """eta (1 - i / steps)^decay of the first round(share steps) of so many steps; halves go up."""
    return [eta * (1.0 - i / steps) ** decay for i in range(int(share * steps + 0.5))]


@dataclass(frozen=True, kw_only=True)
class RFInversionOptions(ModeOptions):
    """The options of `rf_inversion`."""

    up_prompt: Literal["empty", "source"] = option("the prompt of the way up: empty | source")
    up_pull: float = option("how hard the way up is led to one noise (gamma): 0 not at all, 1 to it", least=0, most=1)
    down_pull: float = option(
        "how hard the way down is led back to the source (eta): 0 not at all, 1 to it", least=0, most=1
    )
    pull_share: float = option(
        "share of the way down, from its start, that is led", least=0, most=1, needs="mode.down_pull>0"
    )
    pull_decay: float = option(
        "power by which that pull falls off over the way down; 0 leaves it even",
        least=0,
        most=100,
        needs="mode.down_pull>0",
    )
    stochastic: bool = option("the way down by the stochastic equation, with fresh noise in every step")


def _run(inputs: EditorInputs, options: RFInversionOptions) -> Tensor:
    return rf_inversion(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        inputs.noise,
        gamma=options.up_pull,
        eta=pulls(options.down_pull, options.pull_share, options.pull_decay, len(inputs.grid) - 1),
        stochastic=options.stochastic,
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
    )


def _cost(options: RFInversionOptions, counts: Counts) -> int:
    return counts.source(counts.rising[:-1]) + counts.target(counts.starts)


EDITORS.add(
    "rf_inversion",
    EditorSpec(
        about="up to noise and down again, led to one noise and back to the source (RF-Inversion)",
        options=RFInversionOptions,
        run=_run,
        unprompted=lambda options: options.up_prompt == "empty",
        cost=_cost,
        passes=lambda options: 2,
        recalls=recalls,
        rises=rises,
        instants="stochastic",
    ),
)
