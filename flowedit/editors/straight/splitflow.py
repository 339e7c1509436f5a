"""SplitFlow: an edit of several changes goes along each change by itself first, then along all of them at once."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, as_it_is
from flowedit.editors.straight.walk import walk
from flowedit.flow.rectify import interpolate
from flowedit.tensors import F, Tensor, torch


@dataclass(frozen=True, kw_only=True)
class SplitFlowOptions(ModeOptions):
    """The options of `splitflow`."""

    split_steps: int = option(
        "first steps in which each part of the target goes its own way", typed="N", least=0, counts_steps=True,
        needs="target_parts",
    )  # fmt: skip
    merge: Literal["average", "projected", "aggregated"] = option(
        "how the parts become one: average | projected (onto the whole target's way, then averaged) | aggregated "
        "(projected, and one step that weighs the parts by how far they agree)",
        needs="target_parts and mode.split_steps>0",
    )


def splitflow(inputs: EditorInputs, options: SplitFlowOptions) -> Tensor:
    """FlowEdit from Z_i = X_src for each part i of the target, then from what they become, along the whole target.

    While split: Z_i += h M [u_i(Q + Z_i - X_src, t) - u_src(Q, t)], Q = (1 - t) X_src + t eps, one eps for all; and so
    Z_full under the whole target. Then Z = mean_i Z_i (`average`); or Z = mean_i <Z_i, e> e, e = Z_full / |Z_full|,
    the products over the channels of a site (`projected`: LTP). `aggregated` (VFA) adds one step along sum_i w_i g_i,
    g_i = u_i(Q + proj_i - X_src, t) - u_src(Q, t), w = softmax_i(sum_{j != i} cos(g_i, g_j)) at each site. All after
    that is FlowEdit. Without parts, all is. (1, C, F, H, W) to the same; a grid of one time returns the source; equal
    prompts and scales return it to the bit with `average`, else to rounding. Raises FloatingPointError on NaN or Inf.
    Source: SplitFlow (arXiv 2510.25970), of which no code was seen: that VFA takes one step, and that the mask
    multiplies every flow, is ours.
    """
    x, count = inputs.x_src, len(inputs.parts)
    source, target = inputs.velocities["source"], inputs.velocities["target"]
    split = min(options.split_steps, len(inputs.grid) - 1) if count else 0

    def flow(i: int, t: float, states: Tensor) -> Tensor:
        q = interpolate(x, inputs.noise(i, 0), t)
        u_src, own, z = source(q, t), states[:-1], states[-1:]
        flows = [u(q + (own[k : k + 1] - x), t) - u_src for k, u in enumerate(inputs.parts[: len(own)])]
        if flows and i == split:
            return aggregated(torch.cat(flows))
        if flows and options.merge == "average":
            return torch.cat([*flows, torch.zeros_like(z)])
        return torch.cat([*flows, target(q + (z - x), t) - u_src])

    def settle(i: int, states: Tensor) -> Tensor:
        if i >= split:
            return states
        own, z = states[:-1], states[-1:]
        if i == split - 1 and options.merge != "average":
            own = projected(own, z)
        if i == split - 1 or options.merge == "average":
            z = x + (own - x).mean(0, keepdim=True)  # the source to the bit where no part moved
        return z if i == split - 1 and options.merge != "aggregated" else torch.cat([own, z])

    return walk(inputs, flow, count if split else 0, settle)


def projected(states: Tensor, whole: Tensor) -> Tensor:
    """<Z_i, e> e, e = Z / |Z| over the channels of a site: (K, C, F, H, W), (1, C, F, H, W) to the first; LTP."""
    along = F.normalize(whole, dim=1)
    return (states * along).sum(1, keepdim=True) * along


def aggregated(flows: Tensor) -> Tensor:
    """sum_i w_i g_i, w = softmax_i(sum_{j != i} cos(g_i, g_j)), cos over channels: (K, C, F, H, W) to (1, ...); VFA."""
    unit = F.normalize(flows, dim=1)
    alike = (unit * unit.sum(0, keepdim=True)).sum(1, keepdim=True) - unit.square().sum(1, keepdim=True)
    return (alike.softmax(0) * flows).sum(0, keepdim=True)


def _cost(options: SplitFlowOptions, counts: Counts) -> int:
    split = min(options.split_steps, counts.steps) if counts.parts else 0
    weighed = 1 if options.merge == "aggregated" and 0 < split < counts.steps else 0
    times = counts.starts
    whole = times[split + weighed :] if options.merge == "average" else [*times[:split], *times[split + weighed :]]
    parts = counts.parts * counts.target(times[: split + weighed])
    return counts.source(times) + counts.target(whole) + parts


EDITORS.add(
    "splitflow",
    EditorSpec(
        about="several changes, each on its own way first, then all at once (SplitFlow)",
        options=SplitFlowOptions,
        run=splitflow,
        cost=_cost,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        parts="alone",
    ),
)
