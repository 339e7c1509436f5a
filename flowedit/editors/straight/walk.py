"""What the editors that go straight from the source share: the walk of one state, or of several side by side."""

from collections.abc import Callable
from itertools import pairwise

from flowedit.editors.common import mask_at
from flowedit.editors.spec import EditorInputs
from flowedit.flow.solvers import Watch, heard
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE, Step

Flows = Callable[[int, float, Tensor], Tensor]
"""V = flow(i, t, z): the flows of step i at time t from the states z, (K, C, F, H, W) to the same or fewer rows."""

Settle = Callable[[int, Tensor], Tensor]
"""What takes the place of the states that step i reached, (K, C, F, H, W) to the same or fewer rows."""


def walk(inputs: EditorInputs, flow: Flows, beside: int = 0, settle: Settle = lambda i, z: z) -> Tensor:
    """Z += (t_next - t) M V(i, t, Z) along the grid from Z = X_src; the state is a clean latent (1, C, F, H, W).

    `beside` more states start with it; the edit is the last row of all. Where a flow or `settle` gives fewer rows, the
    first states end there. The mask is asked for after the step's flow; with `preserve`, sites with M < 0.5 are set
    back to X_src. A grid of one time returns the source. Raises FloatingPointError on NaN or Inf. Source: FlowEdit
    (Kulikov et al. 2024), algorithm 1, whose V is u_tgt(P, t) - u_src(Q, t); the mask: FlowDirector (arXiv 2506.05046).
    """
    x, grid, watch, total = inputs.x_src, inputs.grid, Watch(), len(inputs.grid) - 1
    z, others = x, x.expand(beside, *x.shape[1:])
    for i, (t, t_next) in enumerate(pairwise(grid)):
        states = torch.cat([others, z]) if len(others) else z
        v = flow(i, t, states)
        mask = mask_at(inputs.mask, i)
        states = states[-len(v) :] + (t_next - t) * (v if mask is None else mask * v)
        if mask is not None and inputs.preserve:
            states = torch.where(mask >= INSIDE, states, x)
        states = settle(i, states)
        z = states[-1:]
        watch.add(z, t)
        if beside:
            inputs.memory["beside"] = states[:-1]
        z = heard(inputs.callback, Step(i, total, t, z, watch.check, t_next))
        others = inputs.memory["beside"] if beside else others
    watch.check()
    return z
