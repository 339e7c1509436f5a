"""Frames to edited latents: encode, embed, and the editor that the settings name, with its grid and averaging."""

import time
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.editors import averaging, corrections, inversion, inversion_free, random_noise
from flowedit.flow import noise, schedule, solvers, windows
from flowedit.language.words import NOTHING
from flowedit.messages import InputError, NumericalError
from flowedit.pipeline import region
from flowedit.pipeline.plan import objects, own_scales, target_scales
from flowedit.pipeline.record import Job
from flowedit.pipeline.source import windows_of
from flowedit.types import Backbone, Conditioning, Frames, Geometry, Mask, Monitor, Step, Velocity

CHECK_SECONDS = 2.0
"""How often the loop looks for a NaN; each look waits for the device."""


def make_grid(settings: Settings, backbone: Backbone) -> list[float]:
    """The times that are run: the whole grid of `steps`, cut to its strength.

    The model's own grid is its knots in trailing spacing, or shifted, where its checkpoint says so (`Backbone.shift`).
    """
    mode, knots, steps = settings.mode, backbone.knots, settings.steps
    if mode.grid == "given":
        if mode.times is None:
            raise InputError("mode.grid=given needs mode.times, such as mode.times=[1,0.9,0.7,0]")
        grid = schedule.given(mode.times)
    elif mode.grid == "shifted":
        grid = schedule.shifted(knots, steps, mode.shift)
    elif mode.grid == "uniform":
        grid = schedule.uniform(knots, steps)
    elif backbone.spec.shift != 1.0:
        grid = schedule.shifted(knots, steps, backbone.spec.shift)
    else:
        grid = schedule.model(knots, steps)
    return schedule.start(grid, settings.strength)


@torch.no_grad()
def encode(job: Job, frames: Frames) -> Tensor:
    """Frames uint8 (F, H, W, 3) of a valid geometry to the source latent (1, C, f, h, w), on the host.

    Raises FloatingPointError for NaN or Inf.
    """
    with job.meter.phase("encode"):
        job.monitor.phase("encode", len(frames))
        x_src = job.backbone.encode(frames, job.monitor.advance)
        if not x_src.isfinite().all():
            raise NumericalError(f"the VAE of {job.backbone.spec.name} gave NaN or Inf: its weights may be damaged")
    return x_src


@torch.no_grad()
def steer(
    job: Job, x_src: Tensor, grid: list[float], own: slice, user: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The source latent (1, C, f, h, w) through the settings' editor, with the prompts embedded first.

    A clip longer than its window stays on the host, and the network sees it in windows. `own` are the latent frames
    that hold the clip's own frames, not those that the model's shape adds: means over time count no others. `user` is
    a user's latent mask (1, 1, f, h, w).
    Returns the edited latent and the soft mask of the edit or None.
    Raises ValueError for words that are not in their prompt, FloatingPointError for NaN or Inf.
    """
    settings, meter = job.settings, job.meter
    places = windows_of(settings, job.backbone, x_src.shape[2])
    backbone = windows.over(job.backbone, places)
    x_src, user = x_src.to(backbone.device), None if user is None else user.to(backbone.device)
    with meter.phase("embed"):
        job.monitor.phase("embed", 0)
        prompts, velocities = bind(settings, backbone)
    before = backbone.evaluations
    with meter.phase("edit"), region.region(settings, backbone, prompts, x_src.shape[3:], own, user) as where:
        velocities["target"] = where.guided(velocities["target"])
        z = run_editor(settings, x_src, velocities, grid, where.mask, job, own)
    job.add("windows", len(places))
    job.add("network_evaluations", backbone.evaluations - before)
    job.objects = where.objects()
    return z, where.final()


def bind(settings: Settings, backbone: Backbone) -> tuple[dict[str, Conditioning], dict[str, Velocity]]:
    """The embedded prompts and the guided velocities of the sides that the mode evaluates, `source` and `target`.

    With mode.target_negative=source the target's guidance goes from the source prompt, at the target's own state
    (FlowAlign, Kim et al. 2025): u(p, src) + g [u(p, tgt) - u(p, src)]. With scales for several objects the target's
    has rows for each (see `Region.guided`).
    """
    sides = {"target": (settings.target or "", target_scales(settings))}
    if settings.mode.name != "random_noise":
        sides["source"] = (settings.source or "", (settings.source_guidance_scale,))
    prompts = {side: backbone.embed(text) for side, (text, _) in sides.items()}
    negatives = {}
    for side, (_, scales) in sides.items():
        if set(scales) == {1.0}:
            continue
        from_source = side == "target" and settings.mode.target_negative == "source"
        negatives[side] = prompts["source"] if from_source else backbone.embed(settings.negative_prompt)
    return prompts, {
        side: backbone.velocity(prompts[side], scales[0] if len(scales) == 1 else scales, negatives.get(side))
        for side, (_, scales) in sides.items()
    }


def object_facts(settings: Settings, masks: Tensor) -> list[dict[str, Any]]:
    """What run.yaml keeps of each object, with its share of the clip's latent sites; masks (K, 1, F, h, w)."""
    scales = iter(target_scales(settings) if own_scales(settings) else repeat(settings.target_guidance_scale))
    return [
        {
            "source": pair.source or NOTHING,
            "target": pair.target or NOTHING,
            "kept": pair.kept,
            "guidance_scale": None if pair.kept else next(scales),
            "sites": round(float((mask == 1).float().mean()), 4),
        }
        for pair, mask in zip(objects(settings), masks, strict=True)
    ]


def run_editor(
    settings: Settings,
    x_src: Tensor,
    velocities: dict[str, Velocity],
    grid: list[float],
    mask: Mask,
    job: Job,
    own: slice,
) -> Tensor:
    """The settings' editor on latents (1, C, F, h, w) float32, the clip's own frames at `own`."""
    mode, steps = settings.mode, len(grid) - 1
    passes = 1 if mode.name != "inversion" else 3 if mode.reconstruction else 2
    job.monitor.phase("edit", steps * passes)
    source_of_noise = noise.gaussian(settings.seed, tuple(x_src.shape), x_src.device)
    method = solvers.SOLVERS[mode.solver or "euler"]
    shared: dict[str, Any] = {
        "mask": mask,
        "preserve": settings.mask.preserve,
        "callback": _shown(job.monitor),
    }
    if mode.name == "random_noise":
        return random_noise.random_noise(x_src, velocities["target"], grid, source_of_noise, method=method, **shared)
    pair = velocities["source"], velocities["target"]
    if mode.name == "inversion":
        tell = partial(_tell, job) if mode.reconstruction else None
        return inversion.inversion(x_src, *pair, grid, source_of_noise, method=method, reconstruction=tell, **shared)
    return inversion_free.inversion_free(
        x_src,
        *pair,
        grid,
        source_of_noise,
        draws=settings.draws,
        fixed_noise_steps=mode.fixed_noise_steps or 0,
        target_only_steps=mode.target_only_steps or 0,
        average=_average(settings),
        correct=_correction(settings),
        decouple=_decoupling(settings, own),
        **shared,
    )


def _tell(job: Job, error: float) -> None:
    job.fact("reconstruction_error", max(error, job.facts.get("reconstruction_error", 0.0)))  # of the worst scene
    job.notice(f"the inversion gives the source back to within {error:.4g}, root mean square in the latent")


def _average(settings: Settings) -> averaging.Average:
    how = settings.guidance
    if how.name == "mean":
        return averaging.mean
    return averaging.differential(how.baseline or "", how.baseline_size or 0, how.weight or 0.0)


def _correction(settings: Settings) -> corrections.Correction | None:
    mode = settings.mode
    if not mode.direction_aware:
        return None
    return corrections.direction_aware(mode.direction_alpha or 0.0, mode.direction_patch or 1)


def _decoupling(settings: Settings, own: slice) -> corrections.Decoupling | None:
    mode = settings.mode
    return corrections.decoupled(mode.decoupling, mode.decoupling_appearance or 0.0, own) if mode.decoupling else None


def own_latents(backbone: Backbone, geometry: Geometry) -> slice:
    """The latent frames that hold the clip's own frames, without leading ones and those of padding."""
    last = 1 + -(-(geometry.source_frames - 1) // backbone.spec.frames_per_latent)
    return slice(backbone.spec.leading_latents, backbone.spec.leading_latents + last)


def check_editor(settings: Settings, steps: int) -> None:
    if settings.mode.name != "inversion_free":
        return
    if settings.guidance.name == "differential":
        averaging.require_baseline(settings.guidance.baseline_size or 0, settings.draws)
    last = settings.mode.target_only_steps or 0
    blind = set(region.watched(settings)) == {"source"} or not all(pair.target for pair in objects(settings))
    if 0 < last == steps and blind:
        raise InputError(
            f"mode.target_only_steps {last} are all the steps: the source prompt is never evaluated and source_words "
            "give no mask; give target_words, or fewer such steps"
        )
    if not 0 <= last <= steps:
        raise InputError(f"mode.target_only_steps {last} is outside 0 to {steps}, the steps that are run")


def _shown(monitor: Monitor) -> Callable[[Step], None]:
    last = time.monotonic()

    def callback(step: Step) -> None:
        nonlocal last
        monitor.advance()
        if time.monotonic() - last > CHECK_SECONDS:
            last = time.monotonic()
            step.check()

    return callback
