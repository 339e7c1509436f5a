"""Solvers of dz/dt = u(z, t) along a grid of times, in either direction: each is one step, `solve` is the loop."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from flowedit.messages import NumericalError
from flowedit.tensors import Tensor, torch
from flowedit.types import Callback, Step, Velocity

Solver = Callable[[Velocity, Tensor, float, float], Tensor]
"""solver(velocity, z, t, t_next): the state at t_next from z at t, any shape."""

Project = Callable[[int, float, Tensor], Tensor]
"""project(i, t_next, z): what takes the place of the state z that step i reached at t_next."""

SOLVERS: dict[str, Solver] = {}


def euler(velocity: Velocity, z: Tensor, t: float, t_next: float) -> Tensor:
    """z + h u(z, t), h = t_next - t; order 1."""
    return z + (t_next - t) * velocity(z, t)


SOLVERS["euler"] = euler


def midpoint(velocity: Velocity, z: Tensor, t: float, t_next: float) -> Tensor:
    """z + h u(z + h/2 u(z, t), t + h/2); order 2, two evaluations (RF-Solver, Wang et al. 2024, is this)."""
    h = t_next - t
    return z + h * velocity(z + 0.5 * h * velocity(z, t), t + 0.5 * h)


SOLVERS["midpoint"] = midpoint


def heun(velocity: Velocity, z: Tensor, t: float, t_next: float) -> Tensor:
    """z + h/2 (u(z, t) + u(z + h u(z, t), t_next)); order 2, Euler into t = 0 (Karras et al. 2022)."""
    h, u = t_next - t, velocity(z, t)
    if t_next == 0.0:
        return z + h * u
    return z + 0.5 * h * (u + velocity(z + h * u, t_next))


SOLVERS["heun"] = heun


def evaluations(name: str, steps: int, down: bool) -> int:
    """Velocities of so many intervals by the solver of this name; Heun takes one into t = 0, on the way down."""
    if name == "euler":
        return steps
    return 2 * steps - (1 if name == "heun" and down and steps else 0)


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
) -> Tensor:
    """The state at grid[-1] of dz/dt = u(z, t) from z at grid[0], any shape; one time in the grid returns z.

    `project(i, t_next, z)` replaces the state after step i, and so may the callback. Raises FloatingPointError when a
    state is not finite.
    """
    watch, total = Watch(), len(grid) - 1
    for i, (t, t_next) in enumerate(pairwise(grid)):
        z = solver(velocity, z, t, t_next)
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
