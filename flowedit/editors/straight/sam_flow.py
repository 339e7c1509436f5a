"""SAM-Flow: the state is anchored to the source anew after each step, by a mask that only grows."""

from dataclasses import dataclass
from itertools import pairwise

from flowedit.declare import option
from flowedit.editors.common import mask_at
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, as_it_is, both_sides
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import Watch, heard
from flowedit.masks.shapes import grow
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE, Step


@dataclass(frozen=True, kw_only=True)
class SAMFlowOptions(ModeOptions):
    """The options of `sam_flow`."""

    slack: float = option("how far the state goes along outside the mask", least=0, most=1)
    ring: float = option(
        "how far a ring reaches beyond the mask in the first step, in shorter sides of the latent", least=0, most=1
    )
    ring_end: float = option("and after the last; linear between", least=0, most=1)
    ring_weight: float = option("how far the state goes along in the ring", least=0, most=1)
    ring_blend: float = option("share of that which stays in the ring of the result", least=0, most=1)


def sam_flow(inputs: EditorInputs, options: SAMFlowOptions) -> Tensor:
    """Z = X_src + W (Z_full - X_src), Z_full += h mean_d [u_tgt(Q_d + Z - X_src, t) - u_src(Q_d, t)].

    W is the maximum so far of slack + (1 - slack) S, S = M + w R (1 - M): M the step's mask, 1 in its core (M >= 0.5),
    R the ring of sites within `ring` of the core. The result keeps the core at Z, the ring at X_src + b S^ (Z_full -
    X_src), S^ the maximum so far of S, and the source outside, to the bit. `preserve` keeps the core alone. (1, C, F,
    H, W) to the same; equal prompts and scales return the source to the bit; a grid of one time returns it. Raises
    FloatingPointError on NaN or Inf. Source: SAM-Flow (arXiv 2606.06228) and its code, whose maps come from passes of
    their own, at one noise, on the source and on a FlowEdit result made before. Ours come from the step's own
    velocities, which costs nothing more; how a map becomes M is the house's, not its sigmoid.
    """
    x, grid, total, memory = inputs.x_src, inputs.grid, len(inputs.grid) - 1, inputs.memory
    source, target = inputs.velocities["source"], inputs.velocities["target"]
    z, watch, side = x, Watch(), min(x.shape[3:])
    for i, (t, t_next) in enumerate(pairwise(grid)):
        q = interpolate(x, torch.cat([inputs.noise(i, draw) for draw in range(inputs.draws)]), t)
        u_src, u_tgt = source(q, t), target(q + (z - x), t)
        full = memory.get("full", x) + (t_next - t) * inputs.average(u_tgt - u_src)
        mask = mask_at(inputs.mask, i)
        mask = torch.ones_like(x[:, :1]) if mask is None else mask.to(x.dtype)
        core = (mask >= INSIDE).to(x.dtype)
        reach = options.ring + (options.ring_end - options.ring) * i / total
        ring = grow(core, reach * side) - core
        soft = torch.maximum(mask, core)
        soft = soft + options.ring_weight * ring * (1.0 - soft)
        found = {"soft": soft, "core": core, "ring": ring}
        seen = {name: torch.maximum(memory.get(name, each), each) for name, each in found.items()}
        memory.update(seen, full=full)
        z = x + (options.slack + (1.0 - options.slack) * seen["soft"]) * (full - x)
        if i == total - 1:
            beyond = x + options.ring_blend * seen["soft"] * (full - x)
            z = torch.where(seen["core"] > 0, z, torch.where(seen["ring"] > 0, beyond, x))
        if inputs.preserve:
            z = torch.where(seen["core"] > 0, z, x)
        watch.add(z, t)
        z = heard(inputs.callback, Step(i, total, t, z, watch.check, t_next))
    watch.check()
    return z


def _cost(options: SAMFlowOptions, counts: Counts) -> int:
    return counts.draws * both_sides(options, counts)


EDITORS.add(
    "sam_flow",
    EditorSpec(
        about="anchored to the source anew after each step, by a mask that only grows (SAM-Flow)",
        options=SAMFlowOptions,
        run=sam_flow,
        draws=True,
        cost=_cost,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        difference="heard",
        needs_mask=True,
    ),
)
