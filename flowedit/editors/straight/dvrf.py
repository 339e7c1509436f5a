"""DVRF: the edit's state is coupled to the source's more and more, with a step size and a pull of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.spec import EDITORS, EditorInputs, EditorSpec, ModeOptions, as_it_is, both_sides
from flowedit.editors.straight.walk import walk
from flowedit.flow.rectify import interpolate
from flowedit.tensors import Tensor


@dataclass(frozen=True, kw_only=True)
class DVRFOptions(ModeOptions):
    """The options of `dvrf`."""

    coupling_end: float = option(
        "what the coupling grows to, from 0: 1 goes along by the whole change, as FlowEdit does", least=0, most=1
    )
    pull: bool = option("take (1 - coupling) of the whole change back with each step: the full gradient")
    rate: Literal["hump", "grid"] = option("how far a step goes: hump (its own step sizes) | grid (by the times)")


def dvrf(inputs: EditorInputs, options: DVRFOptions) -> Tensor:
    """Z -= a_i M [u_tgt(P, t) - u_src(Q, t) + (1 - c_i) (Z - X_src)], P = Q + (1 - t + c_i t) (Z - X_src).

    Q = (1 - t) X_src + t eps with fresh noise, c_i = `coupling_end` i / n in step i of n. a_i is t - t_next with
    rate=grid, else `rates`. Without `pull` the last term is not there. (1, C, F, H, W) to the same; equal prompts and
    scales return the source to the bit; a grid of one time returns it. Raises FloatingPointError on NaN or Inf. Source:
    DVRF (arXiv 2509.05342), equations 6 and 8, and its code; that the mask multiplies the step is ours.
    """
    x, source, target = inputs.x_src, inputs.velocities["source"], inputs.velocities["target"]
    total = len(inputs.grid) - 1
    sizes = rates(inputs.grid) if options.rate == "hump" else None

    def flow(i: int, t: float, z: Tensor) -> Tensor:
        coupling = options.coupling_end * i / total
        q = interpolate(x, inputs.noise(i, 0), t)
        u_src = source(q, t)  # first: a control of attention shows it to the target
        v = target(q + (1.0 - t + coupling * t) * (z - x), t) - u_src
        if options.pull:
            v = v + (1.0 - coupling) * (z - x)
        return v if sizes is None else sizes[i] / (t - inputs.grid[i + 1]) * v

    return walk(inputs, flow)


def rates(grid: Sequence[float]) -> list[float]:
    """a_i = 2.2 [(g / 1.6 - g / 4) b(x_i) + g / 4 x_i], x_i = i / (1.56 n - 1), in step i of n.

    b(x) is x^9 (1 - x)^7 over its largest value; g is the last gap between times before 0, over 1.6. Source: DVRF's
    code, for 50 steps; its n + 28 is 1.56 n here, so that fewer steps have the same shape. A grid of one step has the
    step of its times.
    """
    n = len(grid) - 1
    if n < 2:
        return [grid[i] - grid[i + 1] for i in range(n)]
    gap = (grid[-3] - grid[-2]) / 1.6
    peak = (9 / 16) ** 9 * (7 / 16) ** 7
    places = [i / (1.56 * n - 1) for i in range(n)]
    humps = [x**9 * (1 - x) ** 7 / peak for x in places]
    return [2.2 * ((gap / 1.6 - gap / 4) * hump + gap / 4 * x) for x, hump in zip(places, humps, strict=True)]


EDITORS.add(
    "dvrf",
    EditorSpec(
        about="coupled to the source more and more, with a pull back to it (Delta Velocity Rectified Flow)",
        options=DVRFOptions,
        run=dvrf,
        cost=both_sides,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        difference="heard",
    ),
)
