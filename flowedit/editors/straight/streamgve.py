"""StreamGVE's guidance: few large steps, which end at the source where nothing is to change."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from flowedit.declare import option
from flowedit.editors.common import mask_at, stretched
from flowedit.editors.spec import EDITORS, EditorInputs, EditorSpec, ModeOptions, as_it_is, both_sides
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import Watch, heard
from flowedit.tensors import Tensor, torch
from flowedit.types import Step


@dataclass(frozen=True, kw_only=True)
class StreamGVEOptions(ModeOptions):
    """The options of `streamgve`."""

    guide: Literal["mask", "difference"] = option(
        "what says where the clip changes: mask | difference (of the velocities, inside the mask)", needs="mask"
    )


def streamgve(inputs: EditorInputs, options: StreamGVEOptions) -> Tensor:
    """x = P - t v, v = u_tgt(P, t) + (1 - m) [eps - X_src - u_src(Q, t)]: the clip is foreseen anew in each step.

    Q = (1 - t) X_src + t eps, P = (1 - t) x + t eps with x = X_src at first, fresh noise in each step. m is the step's
    mask; without one, or inside it with guide=difference, |u_tgt - u_src| (its mean over channels) between its least
    and its most in the clip. Written as
    x = X_src + (1 - t) (x - X_src) - t (u_tgt - u_src) + t m [eps - X_src - u_src], which is X_src to the bit where
    m = 0 and both prompts are the same. `preserve` sets sites with M < 0.5 back to it. (1, C, F, H, W) to the same; a
    grid of one time returns the source. Raises FloatingPointError on NaN or Inf. Source: StreamGVE (arXiv 2605.21466)
    and its code, for streaming models of 4 to 15 steps without guidance; what it does in their attention, and from
    chunk to chunk, is not here.
    """
    x, grid, total, watch = inputs.x_src, inputs.grid, len(inputs.grid) - 1, Watch()
    source, target = inputs.velocities["source"], inputs.velocities["target"]
    z = x
    for i, (t, t_next) in enumerate(pairwise(grid)):
        eps = inputs.noise(i, 0)
        q = interpolate(x, eps, t)
        change = (1.0 - t) * (z - x)
        u_src, u_tgt = source(q, t), target(q + change, t)
        mask = mask_at(inputs.mask, i, inputs.preserve)
        inside = stretched((u_tgt - u_src).abs().mean(1, keepdim=True)) if mask is None else mask
        if mask is not None and options.guide == "difference":
            inside = mask * stretched((u_tgt - u_src).abs().mean(1, keepdim=True))
        z = x + change - t * (u_tgt - u_src) + t * inside * (eps - x - u_src)
        if mask is not None and inputs.preserve:
            z = torch.where(mask > 0, z, x)
        watch.add(z, t)
        z = heard(inputs.callback, Step(i, total, t, z, watch.check, t_next))
    watch.check()
    return z


EDITORS.add(
    "streamgve",
    EditorSpec(
        about="few large steps that foresee the clip anew, and the source where nothing changes (StreamGVE's guidance)",
        options=StreamGVEOptions,
        run=streamgve,
        cost=both_sides,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        difference="heard",
        instants="mode",  # the clip is foreseen from a time by its velocity
    ),
)
