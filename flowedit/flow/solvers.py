"""Solvers of dz/dt = u(z, t) along a grid of times, in either direction: each is one step, `solve` is the loop."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from flowedit.messages import NumericalError
from flowedit.tensors import Tensor, torch
from flowedit.types import Callback, Step, Velocity

Memory = dict[str, Tensor]
"""What a solver carries from one step to the next, by name; empty before the first."""

Solver = Callable[[Velocity, Tensor, float, float, Memory], Tensor]
"""solver(velocity, z, t, t_next, memory): the state at t_next from z at t, any shape."""

Project = Callable[[int, float, Tensor], Tensor]
"""project(i, t_next, z): what takes the place of the state z that step i reached at t_next."""

LAST = "velocity"
"""The name of the last velocity in a solver's memory."""

SOLVERS: dict[str, Solver] = {}


def euler(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
    """z + h u(z, t), h = t_next - t; order 1."""
    return z + (t_next - t) * velocity(z, t)


SOLVERS["euler"] = euler


def midpoint(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
    """z + h u(z + h/2 u(z, t), t + h/2); order 2, two evaluations.

    RF-Solver (Wang et al. 2024, arXiv 2411.04746) is this: its second term is a difference of u(z + h/2 u, t + h/2).
    """
    h = t_next - t
    return z + h * velocity(z + 0.5 * h * velocity(z, t), t + 0.5 * h)


SOLVERS["midpoint"] = midpoint


def heun(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
    """z + h/2 (u(z, t) + u(z + h u(z, t), t_next)); order 2, Euler into t = 0 (Karras et al. 2022)."""
    h, u = t_next - t, velocity(z, t)
    if t_next == 0.0:
        return z + h * u
    return z + 0.5 * h * (u + velocity(z + h * u, t_next))


SOLVERS["heun"] = heun


def fireflow(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
    """z + h v, v = u(z + h/2 v_last, t + h/2), v_last that of the step before, u(z, t) in the first; order 2.

    One evaluation a step, and one more. Source: FireFlow (Deng et al. 2024, arXiv 2412.07517).
    """
    h = t_next - t
    last = memory[LAST] if LAST in memory else velocity(z, t)
    memory[LAST] = v = velocity(z + 0.5 * h * last, t + 0.5 * h)
    return z + h * v


SOLVERS["fireflow"] = fireflow


def uni_inv(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
    """z + h v, v = u(z + h v_last, t_next), v_last that of the step before, u(z, t) in the first; order 1.

    An explicit form of the implicit step z_next = z + h u(z_next, t_next), which an Euler step from t_next to t undoes:
    up by this and down by Euler ends at the start to order 2. One evaluation a step, and one more. Source: Uni-Inv of
    UniEdit-Flow (Jiao et al. 2025, arXiv 2504.13109).
    """
    h = t_next - t
    last = memory[LAST] if LAST in memory else velocity(z, t)
    memory[LAST] = v = velocity(z + h * last, t_next)
    return z + h * v


SOLVERS["uni_inv"] = uni_inv


def way_down(name: str) -> str:
    """The solver that goes down again what the one of this name went up: its own kind, but Euler after Uni-Inv."""
    return "euler" if name == "uni_inv" else name


def times(name: str, grid: Sequence[float]) -> list[float]:
    """The times at which the solver of this name evaluates a velocity along a grid, either way, in their order."""
    seen: list[float] = []
    memory: Any = {}

    def standing(z: Any, t: float) -> Any:
        seen.append(t)
        return 0.0

    step: Any = SOLVERS[name]  # of a number as of a tensor
    for t, t_next in pairwise(grid):
        step(standing, 0.0, t, t_next, memory)
    return seen


class Watch:
    """Notes the first state that is not finite, and waits for the device only when it is asked."""

    def __init__(self) -> None:
        self._left: Tensor | None = None
        """NEVER less the first bad step, on the device; 0 without one."""
        self._times: list[float] = []
        self._checked = 0

    def add(self, z: Tensor, t: float) -> None:
        """Note the state that the step from time t reached."""
        left = torch.where(torch.isfinite(z).all(), 0, NEVER - len(self._times))
        self._left = left if self._left is None else torch.maximum(self._left, left)
        self._times.append(t)

    def check(self) -> None:
        """Read what was noted; raise FloatingPointError with the first bad step, its t and the likely cause."""
        if self._left is None or self._checked == len(self._times):
            return
        if left := int(self._left):
            first = NEVER - left
            raise NumericalError(
                f"step {first + 1} (t = {self._times[first]:.4f}) gave NaN or Inf; the likely cause is a model trained "
                "in bfloat16 that runs in float16 (set runtime.dtype=bfloat16 or float32), else damaged weights or too "
                "high a guidance scale"
            )
        self._checked = len(self._times)


NEVER = 2**31 - 1
"""More steps than anybody takes."""


def solve(
    velocity: Velocity,
    z: Tensor,
    grid: Sequence[float],
    solver: Solver = euler,
    project: Project | None = None,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """The state at grid[-1] of dz/dt = u(z, t) from z at grid[0], any shape; one time in the grid returns z.

    `project(i, t_next, z)` replaces the state after step i, and so may the callback. The solver remembers in `memory`,
    and nothing of what it knew before. Raises FloatingPointError when a state is not finite.
    """
    watch, total, memory = Watch(), len(grid) - 1, {} if memory is None else memory
    memory.pop(LAST, None)
    for i, (t, t_next) in enumerate(pairwise(grid)):
        z = solver(velocity, z, t, t_next, memory)
        if project is not None:
            z = project(i, t_next, z)
        watch.add(z, t)
        z = heard(callback, Step(i, total, t, z, watch.check, t_next))
    watch.check()
    return z


def heard(callback: Callback, step: Step) -> Tensor:
    """The state after a step that a callback heard of: the step's own, or that which the callback gives for it."""
    given = None if callback is None else callback(step)
    return step.z if given is None else given
