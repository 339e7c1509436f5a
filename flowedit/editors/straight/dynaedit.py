"""DynaEdit: noise that is kept more and more, and of several streams of it the one that keeps to the clip."""

from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.averaging import cosine
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, as_it_is, both_sides
from flowedit.editors.straight.walk import walk
from flowedit.flow.noise import correlated
from flowedit.flow.rectify import interpolate
from flowedit.tensors import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class DynaEditOptions(ModeOptions):
    """The options of `dynaedit`."""

    streams: int = option(
        "noises that are tried in the first steps", typed="N", least=1, most=100, needs="mode.select_steps>0"
    )
    select_steps: int = option(
        "first steps that try several; the best goes on alone", typed="N", least=0, counts_steps=True,
        needs="mode.streams>1",
    )  # fmt: skip
    temperature: float = option(
        "of the softmax that weighs them by their likeness to the clip: small for the best alone",
        above=0, most=100, expected="above 0, at most 100", needs="mode.select_steps>0 and mode.streams>1",
    )  # fmt: skip


def dynaedit(inputs: EditorInputs, options: DynaEditOptions) -> Tensor:
    """FlowEdit with aligned noise (ANC), along sum_j w_j V_j in the first `select_steps` (SGA), then along one stream.

    Each of n streams has the noise of `flow/noise.py: correlated`; V_j = u_tgt(Q_j + Z - X_src, t) - u_src(Q_j, t);
    w = softmax_j(cos(X_src, Z - t V_j) / temperature), the cosine over the whole latent. The stream of the largest w in
    the last of these steps goes on. (1, C, F, H, W) to the same; equal prompts and scales return the source to the bit;
    a grid of one time returns it. Raises FloatingPointError on NaN or Inf. Source: DynaEdit (arXiv 2603.17989), read
    in another implementation; that the mask multiplies the flow is ours.
    """
    x, source, target = inputs.x_src, inputs.velocities["source"], inputs.velocities["target"]
    noise = correlated(inputs.noise, inputs.grid)

    def change(i: int, t: float, z: Tensor, stream: int) -> Tensor:
        q = interpolate(x, noise(i, stream), t)
        u_src = source(q, t)  # first: a control of attention shows it to the target
        return target(q + (z - x), t) - u_src

    def flow(i: int, t: float, z: Tensor) -> Tensor:
        if i >= options.select_steps:
            return change(i, t, z, int(inputs.memory["stream"]) if "stream" in inputs.memory else 0)
        flows = torch.cat([change(i, t, z, stream) for stream in range(options.streams)])
        weights = (cosine(z - t * flows, x) / options.temperature).softmax(0)
        inputs.memory["stream"] = weights.argmax().cpu()  # on the host, so that no later step waits for the device
        return (weights.to(flows.dtype).view(-1, 1, 1, 1, 1) * flows).sum(0, keepdim=True)

    return walk(inputs, flow)


def _cost(options: DynaEditOptions, counts: Counts) -> int:
    several = counts.starts[: options.select_steps]
    more = options.streams - 1
    return both_sides(options, counts) + more * (counts.source(several) + counts.target(several))


EDITORS.add(
    "dynaedit",
    EditorSpec(
        about="noise that is kept more and more, and of several streams the one nearest to the clip (DynaEdit)",
        options=DynaEditOptions,
        run=dynaedit,
        cost=_cost,
        clean=as_it_is,
        recalls=lambda options, steps: (),
        difference="heard",
        instants="select_steps",  # streams are told apart by the clip that a velocity foresees
    ),
)
