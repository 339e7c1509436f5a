"""FlowDC: what of a step leads away from the edit's own direction is weakened in the first steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, as_it_is, both_sides
from flowedit.editors.straight.walk import walk
from flowedit.flow.rectify import interpolate
from flowedit.tensors import Tensor, torch
from flowedit.types import Velocity

LOOK = 1_000_000
"""Where the noises of the look ahead are counted from: no step and no draw has these numbers."""


@dataclass(frozen=True, kw_only=True)
class FlowDCOptions(ModeOptions):
    """The options of `flowdc`."""

    decay_steps: int = option(
        "first steps whose part across the edit's direction is weakened", typed="N", least=0, counts_steps=True
    )
    across: float = option(
        "what is left of that part in the first of them", least=0, most=1, needs="mode.decay_steps>0"
    )
    across_end: float = option(
        "what is left of it in the last of them; linear between", least=0, most=1,
        needs="mode.decay_steps>0",
    )  # fmt: skip
    look_step: int = option(
        "the step at whose noise the first direction is looked for", typed="N", least=0, counts_steps=True,
        needs="mode.decay_steps>0",
    )  # fmt: skip
    look_draws: int = option("noises averaged in that look", typed="N", least=1, most=100, needs="mode.decay_steps>0")
    side_by_side_steps: int = option(
        "first steps in which the parts of the target run side by side", typed="N", least=0, most=1000,
        needs="target_parts and mode.decay_steps>0",
    )  # fmt: skip


def flowdc(inputs: EditorInputs, options: FlowDCOptions) -> Tensor:
    """FlowEdit whose flow V is V_in + lambda (V - V_in) in the first `decay_steps`, V_in its part in a span.

    The span is that of D = Z - X_src, one direction of the whole latent; in the first step, where D = 0, of the mean of
    `look_draws` flows at X_src and the noise of `look_step`; a mask of words reads their maps too, beside the first
    step's. lambda goes from `across` linearly to `across_end`, which it has in the last of these steps.
    With `target_parts` P_1 < P_2 < ... < P_k = target (cumulative), all run side by side from X_src with one noise for
    `side_by_side_steps`, and V_j is split by the span of D_1 ... D_j (Gram-Schmidt); then the target goes on alone.
    (1, C, F, H, W) to the same; equal prompts and scales return the source to the bit; a grid of one time returns it.
    Raises FloatingPointError on NaN or Inf. Source: FlowDC (arXiv 2512.11395); its code divides D by 1 - t, which
    no span sees. That the mask multiplies what is left is ours.
    """
    x, source, target = inputs.x_src, inputs.velocities["source"], inputs.velocities["target"]
    decay = min(options.decay_steps, len(inputs.grid) - 1)
    beside = min(options.side_by_side_steps, decay)
    ways = (*(inputs.parts if beside else ()), target)

    def flow(i: int, t: float, states: Tensor) -> Tensor:
        running = ways if i < beside else ways[-1:]
        # Before the step's own velocities, so that what a mask or a control heard last is the step's.
        looked = _look(inputs, options, running) if i == 0 < decay else states
        q = interpolate(x, inputs.noise(i, 0), t)
        u_src, states = source(q, t), states[-len(running) :]
        flows = [u(q + (states[k : k + 1] - x), t) - u_src for k, u in enumerate(running)]
        if i < decay:
            left = options.across + (options.across_end - options.across) * i / max(1, decay - 1)
            directions = looked if i == 0 else states - x
            flows = [weakened(v, directions[: k + 1], left) for k, v in enumerate(flows)]
        return torch.cat(flows)

    return walk(inputs, flow, len(ways) - 1)


def weakened(v: Tensor, ways: Tensor, left: float) -> Tensor:
    """V_in + left (V - V_in), V_in the part of V in the span of the ways: (1, ...), (K, ...) to (1, ...).

    Products go over the whole latent; a way that is zero, or in the span of those before it, adds nothing.
    """
    across, basis = v, _basis(ways)
    for each in basis:
        across = across - (across * each).sum() * each
    return v - (1.0 - left) * across


def _basis(ways: Tensor) -> list[Tensor]:
    """Orthonormal directions (1, ...) of the span of ways (K, ...), zeros where one adds nothing (Gram-Schmidt)."""
    basis: list[Tensor] = []
    for way in ways.split(1):
        rest = way
        for each in basis:
            rest = rest - (rest * each).sum() * each
        norm = rest.norm()
        basis.append(torch.where(norm > 1e-6 * way.norm(), rest / norm.clamp_min(1e-30), torch.zeros_like(rest)))
    return basis


def _look(inputs: EditorInputs, options: FlowDCOptions, ways: Sequence[Velocity]) -> Tensor:
    """mean_d [u_k(Q_d, t) - u_src(Q_d, t)] for each way k, at the time of `look_step`: (K, C, F, H, W)."""
    t = inputs.grid[look_step(options, inputs.grid)]
    found = []
    for draw in range(options.look_draws):
        q = interpolate(inputs.x_src, inputs.noise(LOOK, draw), t)
        u_src = inputs.velocities["source"](q, t)
        found.append(torch.cat([u(q, t) - u_src for u in ways]))
    return torch.stack(found).mean(0)


def look_step(options: FlowDCOptions, grid: Sequence[float]) -> int:
    """The step whose time the look ahead takes: the last, where fewer are run."""
    return min(options.look_step, len(grid) - 2)


def _cost(options: FlowDCOptions, counts: Counts) -> int:
    decay = min(options.decay_steps, counts.steps)
    beside = min(options.side_by_side_steps, decay)
    parts = counts.parts if beside else 0
    steps = both_sides(options, counts) + parts * counts.target(counts.starts[:beside])
    if not decay:
        return steps
    at = [counts.grid[look_step(options, counts.grid)]]
    return steps + options.look_draws * (counts.source(at) + (1 + parts) * counts.target(at))


EDITORS.add(
    "flowdc",
    EditorSpec(
        about="weakens what leads away from the edit's own direction in the first steps (FlowDC)",
        options=FlowDCOptions,
        run=flowdc,
        cost=_cost,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        difference="heard",
        parts="cumulative",
    ),
)
