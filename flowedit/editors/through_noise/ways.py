"""The way up to noise, kept state by state, and how a way down follows it outside a mask."""

from collections.abc import Callable, Sequence
from typing import Any

from flowedit.editors.common import blend, counted, mask_at, on_host
from flowedit.flow.solvers import Memory, Project, Solver, heard, solve
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Step, Velocity


def up(
    velocity: Velocity,
    x_src: Tensor,
    grid: Sequence[float],
    solver: Solver,
    callback: Callback,
    total: int,
    memory: Memory | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The state at grid[0] of dz/dt = u(z, t) from X_src at 0, and all states of the way, that at grid[i] the i-th.

    x_src (1, C, F, H, W). The path is on the host, as its states are as many as the steps; its last is x_src itself.
    The steps are the first of `total`.
    """
    path = [x_src]

    def remember(step: Step) -> Tensor:
        state = heard(counted(callback, 0, total), step)
        path.append(on_host(state))
        return state

    top = solve(velocity, x_src, list(reversed(grid)), solver, None, remember, memory)
    return top, path[::-1]


def rises(options: Any, steps: int) -> int:
    """How many of its first steps lead up: as many as the grid has."""
    return steps


def recalls(options: Any, steps: int) -> tuple[int, ...]:
    """The states of the way up, which the way down looks at, and the last of all."""
    return (*range(steps), 2 * steps - 1)


def at(path: Sequence[Tensor], index: int, like: Tensor) -> Tensor:
    """The path's state at grid[index], where the tensor `like` is; no step waits for it."""
    return path[index].to(like.device, non_blocking=True)


def beside(path: Sequence[Tensor], mask: Mask, preserve: bool, grid: Sequence[float]) -> Project:
    """Outside the mask the way down follows the path; `preserve` counts sites with M < 0.5 as outside."""

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        m = mask_at(mask, step, preserve)
        return z if m is None else blend(z, at(path, step + 1, z), m, grid, step)

    return keep_outside


def telling(
    solver: Solver,
    path: Sequence[Tensor],
    grid: Sequence[float],
    differ: Callable[[float, Tensor, Tensor], None] | None,
) -> Solver:
    """The solver of a way down, which tells `differ` of each step's mean velocity and that of the way up beside it.

    (P' - P) / h and (z' - z) / h in the interval from t to t' = t + h, P and P' the path's states: they cost nothing.
    """
    if differ is None:
        return solver

    def step(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
        i, h = grid.index(t), t_next - t
        reached = solver(velocity, z, t, t_next, memory)
        differ(t, (at(path, i + 1, z) - at(path, i, z)) / h, (reached - z) / h)
        return reached

    return step
