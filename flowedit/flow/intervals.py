"""Mean velocities over the intervals of a grid, for networks that learned them in place of velocities."""

from collections.abc import Sequence
from itertools import pairwise

from flowedit.messages import InputError
from flowedit.tensors import Tensor
from flowedit.types import MeanVelocity, Velocity


def on_grid(mean: MeanVelocity, grid: Sequence[float]) -> Velocity:
    """u(z, t) = mean(z, t, t_next) at a time t of the grid, t_next the one after it, and mean(z, t, t) at all others.

    So an Euler step down the grid, z + (t_next - t) u(z, t), goes where the flow goes, whatever its length. A Uni-Inv
    step up takes the velocity at its upper end, and is its inverse; all other ways up are off by an interval.
    """
    after = dict(pairwise(grid))

    def velocity(z: Tensor, t: float) -> Tensor:
        return mean(z, t, after.get(t, t))

    return velocity


WHOLE_STEPS = ("euler", "uni_inv")
"""The solvers that look at a step's upper end alone on the way that they are for, where its mean velocity stands."""


def check_solver(name: str, solver: str, rises: bool) -> None:
    """Raise InputError for a solver that looks between the ends of a step, or at both, with those that do not.

    With mean velocities such a one is no more exact but less: dz/dt = 3 z from 1 down to 0 in 4 steps is 0.0498 by
    Euler, as it should be, 0.0402 by midpoint and 0.108 by Heun.
    """
    if solver not in WHOLE_STEPS:
        able = "uni_inv (the inverse of a step down) or euler" if rises else "euler"
        raise InputError(
            f"{name} knows mean velocities of whole steps, and mode.solver={solver} looks elsewhere: set "
            f"mode.solver={able}"
        )
