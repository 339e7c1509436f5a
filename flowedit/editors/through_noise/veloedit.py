"""VeloEdit: where the target's velocity is near to the one that leads to the source, that one is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.declare import option
from flowedit.editors.common import TINY, blend, mask_at
from flowedit.editors.spec import EDITORS, EditorInputs, EditorSpec, ModeOptions
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import solve
from flowedit.tensors import Tensor, torch
from flowedit.types import Callback, Mask, Noise, Velocity


def veloedit(
    x_src: Tensor,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    similarity: float = 0.8,
    source_share: float = 0.0,
    led_steps: int = 1,
    mask: Mask = None,
    preserve: bool = False,
    callback: Callback = None,
) -> Tensor:
    """Down from (1 - t0) X_src + t0 eps by w = v where s >= `similarity`, else a v + (1 - a) u; u = u_tgt(z, t).

    v = (z - X_src) / t leads to the source, s = |v| / (|v| + |u - v|) of each number by itself, a is `source_share`.
    After the first `led_steps` w is u. x_src (1, C, F, H, W) float32; the result likewise. With similarity 0 or a = 1
    in all steps it ends at X_src on any grid. Outside the mask the state is (1 - t) X_src + t eps after each step, as
    in random_noise; `preserve` counts sites with M < 0.5 as outside. A grid of one time returns the source. Raises
    FloatingPointError on NaN or Inf. Source: VeloEdit (Li et al. 2026, arXiv 2603.13388) and its code; its models
    see the clip beside the prompt and start at t0 = 1.
    """
    if len(grid) == 1:
        return x_src
    eps = noise(0, 0)

    def led(z: Tensor, t: float) -> Tensor:
        u = target(z, t)
        if grid.index(t) >= led_steps:
            return u
        v = (z - x_src) / t
        near = (v.abs() + TINY) / (v.abs() + TINY + (u - v).abs())
        return torch.where(near >= similarity, v, torch.lerp(u, v, source_share))

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        return blend(z, interpolate(x_src, eps, t), mask_at(mask, step, preserve), grid, step)

    return solve(led, interpolate(x_src, eps, grid[0]), grid, project=keep_outside, callback=callback)


@dataclass(frozen=True, kw_only=True)
class VeloEditOptions(ModeOptions):
    """The options of `veloedit`."""

    similarity: float = option(
        "how near the target's velocity must be to that which leads to the source, to be replaced by it",
        least=0,
        most=1,
    )
    source_share: float = option(
        "share of the source's velocity elsewhere: more keeps more of the source", least=0, most=1
    )
    led_share: float = option("share of the steps, from the first, that are led so", least=0, most=1)


def _run(inputs: EditorInputs, options: VeloEditOptions) -> Tensor:
    return veloedit(
        inputs.x_src,
        inputs.velocities["target"],
        inputs.grid,
        inputs.noise,
        similarity=options.similarity,
        source_share=options.source_share,
        led_steps=int(options.led_share * (len(inputs.grid) - 1) + 0.5),
        mask=inputs.mask,
        preserve=inputs.preserve,
        callback=inputs.callback,
    )


EDITORS.add(
    "veloedit",
    EditorSpec(
        about="down from noise, led to the source where the target's velocity is near to that (VeloEdit)",
        options=VeloEditOptions,
        run=_run,
        sides=("target",),
        recalls=lambda options, steps: (),
    ),
)
