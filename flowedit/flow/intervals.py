"""Mean velocities over the intervals of a grid, for networks that learned them in place of velocities."""

from collections.abc import Sequence
from itertools import pairwise

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
