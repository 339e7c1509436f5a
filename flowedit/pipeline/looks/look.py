"""One look at an edit's mask before the edit: each side evaluated once or a few times a window and shot."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.editors.common import mask_at
from flowedit.editors.spec import EditorInputs
from flowedit.messages import NAN_ADVICE, InputError, NumericalError
from flowedit.pipeline.looks.mask_look import MaskLook, ShotMaps
from flowedit.pipeline.plan import Brief, own_latents
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import kept_of, shown_of
from flowedit.pipeline.run import Prepared, prepare, user_of
from flowedit.pipeline.source import Clip, Shot, working_frames
from flowedit.pipeline.steer import encode, steer
from flowedit.types import Backbone, Monitor, Side, Step

PAINT = "or paint the mask and give it as user_mask"


def look_at_clip(
    settings: Settings, backbone: Backbone, clip: Clip, monitor: Monitor, cancel: threading.Event | None = None
) -> MaskLook:
    """The maps that steps of this edit would make their masks from, the clip unedited; nothing is written.

    It evaluates the times of the steps `mask.look_at`, of whom it keeps the mean: so each costs what a step does.

    Raises InputError for an edit that has no mask of words or of the difference, as `refuse` says, and as an edit does.
    """
    session = Session(backbone.device, LookMonitor(monitor, len(settings.mask.look_at)), None, cancel)
    prepared = prepare(settings, backbone, clip, session, starts=False)
    plan = prepared.plan
    refuse(plan.brief)
    shots, encoded = [], []
    for shot in plan.shots:  # first all of them, so that the autoencoder need not come back
        encoded.append(encode(backbone, working_frames(clip, shot), session))
    for number, (shot, x_src) in enumerate(zip(plan.shots, encoded, strict=True), 1):
        session.shot = number
        shots.append(_look(prepared, backbone, shot, x_src, session))
    spec, kept = plan.spec, tuple(kept_of(plan.brief))
    return MaskLook(settings.mask, kept, spec.leading_latents, spec.frames_per_latent, tuple(shots))


def refuse(made: Brief) -> None:
    """Raise InputError for an edit whose mask is not read from the model: without words, without a step."""
    settings = made.settings
    if settings.mask.name == "none":
        raise InputError(f"mask=none has no mask to look at: choose mask=attention, {PAINT}")
    if not made.attended and not made.difference:
        raise InputError(
            "the mask is your own, and replaces that of the words: there is nothing to look at; leave user_mask, box "
            "and point out, or join them (mask.user=join)"
        )
    if not made.sides and not made.difference:
        raise InputError(
            "no words that this mode reads say what is edited: give source_words and target_words (an instruction "
            f"finds them), choose mask=difference, {PAINT}"
        )
    if made.steps == 0:
        raise InputError(f"strength {settings.strength:g} runs no step, so there is no mask: give a larger strength")


def _look(prepared: Prepared, backbone: Backbone, shot: Shot, x_src: Tensor, session: Session) -> ShotMaps:
    plan, made, seen = prepared.plan, prepared.plan.brief, dict[str, list[Tensor]]()
    user, own = user_of(prepared, shot), own_latents(plan.spec, shot.geometry)

    def keep(step: Step) -> None:
        for name, maps in step.maps.items():
            seen.setdefault(name, []).append(maps.float().cpu())

    evaluated = made.editor.evaluated(made.settings.mode, made.steps) if made.editor.evaluated else made.editor.sides
    looking = replace(
        made.editor,
        run=_looks(evaluated, made.settings.mask.look_at),
        passes=lambda options: 1,
        rises=lambda options, steps: 0,
        recalls=None,
    )
    # each look has maps of its own, whose mean tells what most steps will have
    settings = replace(made.settings, mask=replace(made.settings.mask, smooth_steps=0.0))
    session.callback = keep
    brief = replace(made, settings=settings, editor=looking, region=None)
    steer(brief, backbone, x_src, plan.grid, shot.windows, own, session, user)
    # that of the difference is a sum over the steps so far
    mean = {name: each[-1] if name == "difference" else torch.stack(each).mean(0) for name, each in seen.items()}
    if not all(maps.isfinite().all() for maps in mean.values()):
        raise NumericalError(f"a look by {plan.spec.name} gave NaN or Inf: {NAN_ADVICE}")
    shown = {name: tuple(places) for name, places in shown_of(made).items() if name in mean}
    return ShotMaps(
        maps={name: mean[name] for name in shown},
        shown=shown,
        user=user,
        own=(own.start, own.stop),
        frames=shot.geometry.source_frames,
        fit=shot.fit,
    )


def steps_of(shares: Sequence[float], count: int) -> list[int]:
    """The steps at these shares of `count` steps, each once, in their order: floor(share * count)."""
    return sorted({int(share * count) for share in shares})


def _looks(sides: Sequence[Side], shares: Sequence[float]) -> Callable[[EditorInputs, Any], Tensor]:
    """An editor that evaluates these sides at the times of a few steps, asks for the mask, and changes nothing.

    It sees q = (1 - t) x_src + t eps for each draw. In the first step that is what an edit sees that goes straight or
    starts from noise; one that inverts the clip first sees it inverted there, not noised. In later ones the clip is
    unedited still.
    """

    def run(inputs: EditorInputs, options: Any) -> Tensor:
        x, steps = inputs.x_src, steps_of(shares, len(inputs.grid) - 1)
        for index, step in enumerate(steps):
            t = inputs.grid[step]
            q = torch.cat([(1 - t) * x + t * inputs.noise(step, draw) for draw in range(inputs.draws)])
            for side in (each for each in ("source", "target") if each in sides):
                inputs.velocities[side](q, t)
            mask = mask_at(inputs.mask, index)
            assert inputs.callback is not None
            inputs.callback(Step(index, len(steps), t, x, lambda: None, mask=mask))
        return x

    return run


class LookMonitor:
    """Passes on what an edit tells its monitor, the steps of a look as a phase of their own."""

    def __init__(self, monitor: Monitor, steps: int) -> None:
        self._monitor, self._steps = monitor, steps

    def phase(self, name: str, total: int) -> None:
        """The look is of a few steps, whatever the edit has."""
        self._monitor.phase(*(("look", self._steps) if name == "edit" else (name, total)))

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        self._monitor.advance(count)

    def notice(self, text: str) -> None:
        """A line for the user."""
        self._monitor.notice(text)
