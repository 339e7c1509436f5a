"""DNAEdit: align a noise with the source on the way up, and go down by the target and a moving reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.common import counted
from flowedit.editors.spec import EDITORS, EditorInputs, EditorSpec, ModeOptions, both_sides
from flowedit.editors.through_noise.ways import at, beside, recalls, rises, up
from flowedit.flow.solvers import Memory, solve
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Velocity

REFERENCE, NOISE = "reference", "noise"


def dnaedit(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    eta: float = 0.8,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
    memory: Memory | None = None,
) -> Tensor:
    """Up: z^p = z + (t' - t) / (1 - t) (eps - z), v = u_src(z^p, t'), z' = z + (t' - t) v, eps' = z + (1 - t) v.

    Down: w = u_tgt(z + d, t), ref += h (w - v), z += h [eta w + (1 - eta) (z - ref) / t], with v and d = z^p - z' of
    the way up at t; ref begins at X_src, eps at noise(0, 0). With eta = 1 equal prompts give the source back, exactly,
    on any grid. x_src (1, C, F, H, W) float32; the result likewise. `memory` holds eps and ref. Outside the mask the
    way down follows the way up, as in inversion. A grid of one time returns the source. Raises FloatingPointError on
    NaN or Inf.
    Source: DNAEdit (Xie et al. 2025, arXiv 2506.01430), direct noise alignment and mobile velocity guidance; there z' =
    z^p - D (t' - t) and eps' = eps - D (1 - t) for D = (z^p - z) / (t' - t) - v, which are these.
    """
    steps, memory = len(grid) - 1, {} if memory is None else memory
    memory.clear()

    def aligned(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
        eps = memory[NOISE] if NOISE in memory else noise(0, 0)
        v = velocity(toward(z, eps, t, t_next), t_next)
        memory[NOISE] = z + (1.0 - t) * v
        return z + (t_next - t) * v

    top, path = up(source, x_src, grid, aligned, callback, 2 * steps, memory)

    def guided(velocity: Velocity, z: Tensor, t: float, t_next: float, memory: Memory) -> Tensor:
        i, h = grid.index(t), t_next - t
        state, v, eps = alignment(path, grid, i, z, noise)
        d = toward(at(path, i + 1, z), eps, t_next, t) - state
        w = velocity(z + d, t)
        memory[REFERENCE] = ref = memory.get(REFERENCE, x_src) + h * (w - v)
        return z + h * (eta * w + (1.0 - eta) * (z - ref) / t)

    return solve(
        target, top, grid, guided, beside(path, mask, preserve, grid), counted(callback, steps, 2 * steps), memory
    )


def toward(z: Tensor, eps: Tensor, t: float, t_next: float) -> Tensor:
    """z^p = z + (t_next - t) / (1 - t) (eps - z): on the line from z at t to eps at 1; any shape."""
    return z + (t_next - t) / (1.0 - t) * (eps - z)


def alignment(
    path: Sequence[Tensor], grid: Sequence[float], i: int, like: Tensor, noise: Noise
) -> tuple[Tensor, Tensor, Tensor]:
    """(z', v, eps) of the step of the way up that ended at grid[i], from its states: all else follows from them."""

    def velocity(j: int) -> tuple[Tensor, Tensor, Tensor]:
        lower, upper = at(path, j + 1, like), at(path, j, like)
        return lower, upper, (upper - lower) / (grid[j] - grid[j + 1])

    _, state, v = velocity(i)
    if i + 2 == len(grid):
        return state, v, noise(0, 0)
    lower, _, v_before = velocity(i + 1)
    return state, v, lower + (1.0 - grid[i + 2]) * v_before


@dataclass(frozen=True, kw_only=True)
class DNAEditOptions(ModeOptions):
    """The options of `dnaedit`."""

    target_share: float = option(
        "share of the target's velocity in a step down (eta); the rest goes straight to a reference that moves along",
        least=0,
        most=1,
    )


def _run(inputs: EditorInputs, options: DNAEditOptions) -> Tensor:
    return dnaedit(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        inputs.noise,
        eta=options.target_share,
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
        memory=inputs.memory,
    )


EDITORS.add(
    "dnaedit",
    EditorSpec(
        about="aligns a noise with the source on the way up, goes down beside a moving reference (DNAEdit)",
        options=DNAEditOptions,
        run=_run,
        cost=both_sides,
        passes=lambda options: 2,
        recalls=recalls,
        rises=rises,
        solver=lambda options: "uni_inv",
    ),
)
