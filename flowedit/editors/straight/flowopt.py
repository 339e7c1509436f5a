"""FlowOpt: the noise that the target starts from is bettered pass by pass, from a free edit to a faithful one."""

from dataclasses import dataclass
from functools import partial

from flowedit.declare import option
from flowedit.editors.common import counted
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions
from flowedit.editors.through_noise.ways import rises
from flowedit.flow.solvers import LAST, euler, solve, times, uni_inv
from flowedit.tensors import Tensor


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
    source, target = inputs.velocities["source"], inputs.velocities["target"]
    total = steps * (options.iterations + 2)

    def bettered(k: int, i: int, t_next: float, z: Tensor) -> Tensor:
        if i == steps - 1:  # before the callback, so that an edit which goes on has them
            memory[f"result_{k}"] = z
            memory["start"] = memory["start"] - options.step_size * (z - x)
        return z

    z = solve(source, x, list(reversed(grid)), uni_inv, None, counted(inputs.callback, 0, total), memory)
    memory.pop(LAST)
    memory["start"] = z
    for k in range(options.iterations + 1):
        heard = counted(inputs.callback, steps * (k + 1), total)
        z = solve(target, memory["start"], grid, euler, partial(bettered, k), heard)
    if options.row:
        for k in range(options.iterations + 1):
            inputs.keep(k, memory[f"result_{k}"])
    return z


def _cost(options: FlowOptOptions, counts: Counts) -> int:
    return counts.source(times("uni_inv", counts.rising)) + (options.iterations + 1) * counts.target(counts.starts)


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
        rises=rises,
        solver=lambda options: "uni_inv",
    ),
)
