"""FlowOpt: the noise that the target starts from is bettered pass by pass, from a free edit to a faithful one."""

from dataclasses import dataclass
from itertools import pairwise

from flowedit.declare import option
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.flow.solvers import Watch, heard
from flowedit.tensors import Tensor
from flowedit.types import Step


@dataclass(frozen=True, kw_only=True)
class FlowOptOptions(ModeOptions):
    """The options of `flowopt`."""

    iterations: int = option(
        "times that the noise is bettered: 0 is the free edit, more keep more of the clip", typed="N", least=0, most=32
    )
    step_size: float = option(
        "share of the difference to the clip that the noise takes over each time", least=0, most=1,
        needs="mode.iterations>0",
    )  # fmt: skip
    row: bool = option(
        "write the result of each pass, row_0.mp4 and so on, from free to faithful", needs="mode.iterations>0"
    )


def flowopt(inputs: EditorInputs, options: FlowOptOptions) -> Tensor:
    """z_0 by Uni-Inv from X_src up to t0; f_k the way down from z_k under the target; z_k+1 = z_k - s (f_k - X_src).

    s is `step_size`. The result is f_K, K = `iterations`; `keep(k, f_k)` has every one. Each way down is Euler's.
    Uni-Inv, up under the source prompt: z' = z + h v, v = u_src(z', t_next), z += h v, with v = u_src(X_src, 0) before.
    (1, C, F, H, W) to the same; it takes no mask; a grid of one time returns the source. Raises FloatingPointError on
    NaN or Inf. Source: FlowOpt (arXiv 2510.22010) and its code; Uni-Inv: UniEdit-Flow (arXiv 2504.13109).
    """
    x, grid, steps, memory = inputs.x_src, inputs.grid, len(inputs.grid) - 1, inputs.memory
    if steps == 0:
        return x
    source, target, watch = inputs.velocities["source"], inputs.velocities["target"], Watch()
    total, taken = steps * (options.iterations + 2), 0

    def taken_to(z: Tensor, t: float, t_next: float) -> Tensor:
        nonlocal taken
        watch.add(z, t)
        taken += 1
        return heard(inputs.callback, Step(taken - 1, total, t, z, watch.check, t_next))

    z, memory["velocity"] = x, source(x, 0.0)
    for t, t_next in pairwise(reversed(grid)):
        h = t_next - t
        memory["velocity"] = source(z + h * memory["velocity"], t_next)
        z = taken_to(z + h * memory["velocity"], t, t_next)
    memory.pop("velocity")
    memory["start"] = z
    for k in range(options.iterations + 1):
        z = memory["start"]
        for i, (t, t_next) in enumerate(pairwise(grid)):
            z = z + (t_next - t) * target(z, t)
            if i == steps - 1:  # before the callback, so that an edit which goes on has them
                memory[f"result_{k}"] = z
                memory["start"] = memory["start"] - options.step_size * (z - x)
            z = taken_to(z, t, t_next)
    watch.check()
    if options.row:
        for k in range(options.iterations + 1):
            inputs.keep(k, memory[f"result_{k}"])
    return z


def _cost(options: FlowOptOptions, counts: Counts) -> int:
    up = counts.steps + 1 if counts.steps else 0
    return up * counts.source + (options.iterations + 1) * counts.steps * counts.target


EDITORS.add(
    "flowopt",
    EditorSpec(
        about="the start is bettered pass by pass: a row of results from free to faithful (FlowOpt)",
        options=FlowOptOptions,
        run=flowopt,
        noise=False,
        masked=False,
        cost=_cost,
        passes=lambda options: options.iterations + 2,
        recalls=lambda options, steps: (),
        rises=lambda options, steps: steps,
    ),
)
