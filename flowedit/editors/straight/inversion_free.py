"""Inversion-free: steer the source along the difference of two velocities, without going up to noise first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from flowedit.declare import option
from flowedit.editors.averaging import Average, mean
from flowedit.editors.common import blend, counted, mask_at
from flowedit.editors.corrections import Correction, Decoupling, amplified, decoupled, direction_aware, in_turn
from flowedit.editors.spec import EDITORS, Counts, EditorInputs, EditorSpec, ModeOptions, along_the_path
from flowedit.flow.noise import antithetic, correlated
from flowedit.flow.rectify import interpolate
from flowedit.flow.solvers import Watch, euler, heard, solve
from flowedit.messages import InputError
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE, Callback, Mask, Noise, Pair, Side, Step, Velocity


def inversion_free(
    x_src: Tensor,
    source: Velocity,
    target: Velocity,
    grid: Sequence[float],
    noise: Noise,
    *,
    draws: int = 1,
    single_draw_steps: int = 0,
    fixed_noise_steps: int = 0,
    target_only_steps: int = 0,
    coupling: float = 1.0,
    average: Average = mean,
    correct: Correction | None = None,
    mask: Mask = None,
    decouple: Decoupling | None = None,
    preserve: bool = False,
    pair: Pair | None = None,
    callback: Callback = None,
) -> Tensor:
    """Z += M [(t_next - t) c(avg_d V_d) - pull(D)], V_d = u_tgt(P_d, t) - u_src(Q_d, t), P = Q + k(t) (Z - X_src).

    x_src (1, C, F, H, W) float32; the result likewise. k(t) = 1 - t + `coupling` t, so that 1 is FlowEdit's. Every step
    takes `draws` fresh noises, Q_d = (1 - t) X_src + t eps_d, in one batch for each side, but for `single_draw_steps`
    that take one; the last `fixed_noise_steps` (all, if fewer are run), after these, take one noise, the same in all of
    them. c is `correct`, given the mean source velocity too; pull is `decouple` of D = P - Q - t mean_d V_d, Z before
    the step; M = 0 keeps the source. `preserve` then sets sites with M < 0.5 back to X_src. After these steps the last
    `target_only_steps` follow the target alone, from z = P for one more eps; there, outside the mask, the state is (1 -
    t) X_src + t eps. `pair` gives both velocities of a step at once, in place of `source` and `target`; with it, sites
    with M = 0 are set back to X_src after each step. A grid of one time returns the source. Raises ValueError for
    counts out of range, FloatingPointError on NaN or Inf. Source: FlowEdit (Kulikov et al. 2024), algorithm 1;
    coupling: DVRF (arXiv 2509.05342), whose 0 is DDS; mask: FlowDirector (arXiv 2506.05046); fixed noise, correction
    before mask, and Euler before decoupling: its second version (CVPR 2026); that averaging with its guidance comes
    before the correction is inferred; that the mask multiplies the decoupling too is ours.
    """
    total = len(grid) - 1
    if draws < 1:
        raise InputError(f"draws {draws} must be at least 1")
    if fixed_noise_steps < 0:
        raise InputError(f"mode.fixed_noise_steps {fixed_noise_steps} must be at least 0")
    if not 0 <= target_only_steps <= total:
        raise InputError(f"mode.target_only_steps {target_only_steps} is outside 0 to {total}, the steps that are run")
    z, watch, paired = x_src, Watch(), total - target_only_steps
    settled = max(0, paired - fixed_noise_steps)
    for i in range(paired):
        t, t_next = grid[i], grid[i + 1]
        many = i < settled - single_draw_steps
        eps = torch.cat([noise(i, d) for d in range(draws if many else 1)]) if i < settled else noise(settled, 0)
        q = interpolate(x_src, eps, t)
        # In this order of operations: z - x_src is exactly zero where nothing was edited, and then p is q.
        change = coupled(z - x_src, t, coupling)
        p = q + change
        u_src, u_tgt = pair(q, p, t, i) if pair is not None else (source(q, t), target(p, t))
        flows = u_tgt - u_src
        flow = average(flows) if many else flows
        if correct is not None:
            flow = correct(flow, mean(u_src))
        m = mask_at(mask, i)
        z = z + (t_next - t) * (flow if m is None else m * flow)
        if decouple is not None:
            pull = decouple(change - t * mean(flows))
            z = z - (pull if m is None else m * pull)
        if m is not None and (preserve or pair is not None):
            z = torch.where(m >= INSIDE if preserve else m > 0, z, x_src)
        watch.add(z, t)
        z = heard(callback, Step(i, total, t, z, watch.check, t_next))
    watch.check()
    if target_only_steps == 0:
        return z

    eps = noise(paired, 0)
    z = interpolate(x_src, eps, grid[paired]) + coupled(z - x_src, grid[paired], coupling)

    rest = grid[paired:]

    def keep_outside(step: int, t: float, z: Tensor) -> Tensor:
        return blend(z, interpolate(x_src, eps, t), mask_at(mask, paired + step, preserve), rest, step)

    return solve(target, z, rest, euler, keep_outside, counted(callback, paired, total))


def coupled(change: Tensor, t: float, coupling: float) -> Tensor:
    """P - Q = (1 - t + c t) (Z - X_src), any shape: c = 1 is FlowEdit's, 0 noises Z as X_src is noised (DDS)."""
    return change if coupling == 1.0 else (1.0 - t + coupling * t) * change


@dataclass(frozen=True, kw_only=True)
class InversionFreeOptions(ModeOptions):
    """The options of `inversion_free`; every piece of FlowDirector is one, off by default."""

    target_only_steps: int = option("last steps that follow the target alone", typed="N", least=0, counts_steps=True)
    fixed_noise_steps: int = option(
        "last steps that all take one and the same noise, in place of fresh draws",
        typed="N",
        least=0,
        most=1000,
        needs="shared_noise",
        counts_steps=True,
    )
    single_draw_steps: int = option(
        "last steps that take one draw, where the others take several; those of the fixed noise come after them",
        typed="N",
        least=0,
        most=1000,
        needs="several_draws",
        counts_steps=True,
    )
    noise: Literal["fresh", "antithetic", "correlated"] = option(
        "of steps and draws: fresh | antithetic (each second one is the negative of that before) | correlated "
        "(the less new noise, the later the step)",
        needs="several_noises",
    )
    coupling: float = option(
        "how far the target's state goes along with the edit: 1 by the whole change, 0 noised as the source is",
        least=0,
        most=1,
    )
    target_negative: Literal["prompt", "source"] = option(
        "what the target's guidance steers away from: prompt (negative_prompt) | source",
        needs="guided_target and own_negative",
    )
    region: bool = option(
        "where there is a mask, evaluate the target inside it alone: the rest stays the source's, to the bit",
        needs="mask",
    )
    region_margin: float = option(
        "how far that region reaches beyond the mask, in shorter sides of the latent",
        least=0,
        most=1,
        expected="0 (not at all) to 1",
        needs="mask and mode.region=true",
    )
    region_refresh: int = option(
        "every so many steps the whole frame is evaluated, to look where the mask's words are now",
        typed="N",
        least=1,
        most=1000,
        needs="attention and mode.region=true",
    )
    direction_aware: bool = option(
        "drop the flow's part along the source velocity, or stress it where it points against it"
    )
    direction_alpha: float = option(
        "how much a part that points against the source velocity is stressed",
        least=-1,
        most=100,
        needs="mode.direction_aware=true",
    )
    direction_patch: int = option(
        "over what directions are compared: 1 a latent site, n a patch of n x n sites",
        typed="N",
        least=1,
        most=1000,
        needs="mode.direction_aware=true",
    )
    amplify: float = option(
        "how much the flow is strengthened where its channels' mean is highest, and more in a longer clip",
        least=0,
        most=100,
    )
    decoupling: float = option(
        "share of the foreseen change that each step takes back inside the mask, to keep the source's motion",
        least=0,
        most=1,
    )
    decoupling_appearance: float = option(
        "how far decoupling spares the mean over time: 1 holds motion alone, 0 all of the source",
        least=0,
        most=1,
        needs="mode.decoupling>0",
    )


def _run(inputs: EditorInputs, options: InversionFreeOptions) -> Tensor:
    directed = [direction_aware(options.direction_alpha, options.direction_patch)] if options.direction_aware else []
    correct = in_turn(*directed, *([amplified(options.amplify)] if options.amplify else []))
    pull = decoupled(options.decoupling, options.decoupling_appearance, inputs.own) if options.decoupling else None
    noises = {
        "fresh": lambda: inputs.noise,
        "antithetic": lambda: antithetic(inputs.noise, inputs.draws, _parts(options, len(inputs.grid) - 1).several),
        "correlated": lambda: correlated(inputs.noise, inputs.grid),
    }
    return inversion_free(
        inputs.x_src,
        inputs.velocities["source"],
        inputs.velocities["target"],
        inputs.grid,
        noises[options.noise](),
        draws=inputs.draws,
        single_draw_steps=options.single_draw_steps,
        fixed_noise_steps=options.fixed_noise_steps,
        target_only_steps=options.target_only_steps,
        coupling=options.coupling,
        average=inputs.average,
        correct=correct,
        mask=inputs.mask,
        decouple=pull,
        preserve=inputs.preserve,
        pair=inputs.pair,
        callback=inputs.callback,
    )


class _Parts(NamedTuple):
    """How many steps take several draws, one fresh draw, the one fixed noise, and the target alone, in this order."""

    several: int
    single: int
    fixed: int
    last: int


def _parts(options: InversionFreeOptions, steps: int) -> _Parts:
    last = min(options.target_only_steps, steps)
    fixed = min(options.fixed_noise_steps, steps - last)
    single = min(options.single_draw_steps, steps - last - fixed)
    return _Parts(steps - last - fixed - single, single, fixed, last)


def _cost(options: InversionFreeOptions, counts: Counts) -> int:
    parts, times = _parts(options, counts.steps), counts.starts
    paired = counts.steps - parts.last
    several, once = times[: parts.several], times[parts.several : paired]
    rows = counts.draws * (counts.source(several) + counts.target(several))
    return rows + counts.source(once) + counts.target(once) + counts.target(times[paired:])


def _evaluated(options: InversionFreeOptions, steps: int) -> tuple[Side, ...]:
    return ("target",) if 0 < options.target_only_steps == steps else ("source", "target")


def _check(options: InversionFreeOptions, steps: int) -> None:
    if not 0 <= options.target_only_steps <= steps:
        raise InputError(
            f"mode.target_only_steps {options.target_only_steps} is outside 0 to {steps}, the steps that are run"
        )


def _facts(options: InversionFreeOptions, steps: int, draws: int) -> Mapping[str, tuple[bool, str]]:
    parts = _parts(options, steps)
    fresh = parts.several + parts.single
    noises = fresh + (parts.fixed > 0) + (parts.last > 0)
    if options.noise != "correlated":  # which goes from step to step
        noises += (draws - 1) * parts.several
    return {
        "several_noises": (noises > 1, "two fresh noises, in steps that follow each other or in draws"),
        "fresh_noise": (fresh > 0, "steps with fresh noise, more than mode.fixed_noise_steps"),
        "shared_noise": (draws > 1 or parts.fixed > 1, "two steps that share the noise, or several draws"),
    }


def _clean(options: InversionFreeOptions, step: Step) -> Tensor:
    """Z is a clean latent until the steps that follow the target alone."""
    return step.z if step.index < step.total - options.target_only_steps else along_the_path(options, step)


EDITORS.add(
    "inversion_free",
    EditorSpec(
        about="straight from the source along the difference of two velocities (FlowEdit; FlowDirector's pieces)",
        options=InversionFreeOptions,
        instants="decoupling",  # which looks at the clip that a velocity foresees
        run=_run,
        draws=True,
        cost=_cost,
        evaluated=_evaluated,
        negative=lambda options: options.target_negative,
        check=_check,
        facts=_facts,
        clean=_clean,
        recalls=lambda options, steps: (),
        difference="heard",
        region=lambda options: (options.region_margin, options.region_refresh) if options.region else None,
    ),
)
