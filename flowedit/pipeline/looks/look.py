"""One look at an edit's mask before the edit: one evaluation of each side a window and shot, at the first time."""

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
    """The maps that the first step of this edit makes its mask from; nothing is edited and nothing written.

    Raises InputError for an edit that has no mask of words or of the difference, as `refuse` says, and as an edit does.
    """
    session = Session(backbone.device, LookMonitor(monitor), None, cancel)
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
    plan, made, seen = prepared.plan, prepared.plan.brief, dict[str, Tensor]()
    user, own = user_of(prepared, shot), own_latents(plan.spec, shot.geometry)

    def keep(step: Step) -> None:
        seen.update({name: maps.float().cpu() for name, maps in step.maps.items()})

    evaluated = made.editor.evaluated(made.settings.mode, made.steps) if made.editor.evaluated else made.editor.sides
    looking = replace(
        made.editor, run=_first_step(evaluated), passes=lambda options: 1, rises=lambda options, steps: 0, recalls=None
    )
    session.callback = keep
    steer(replace(made, editor=looking, region=None), backbone, x_src, plan.grid, shot.windows, own, session, user)
    if not all(maps.isfinite().all() for maps in seen.values()):
        raise NumericalError(f"a look by {plan.spec.name} gave NaN or Inf: {NAN_ADVICE}")
    shown = {name: tuple(places) for name, places in shown_of(made).items() if name in seen}
    return ShotMaps(
        maps={name: seen[name] for name in shown},
        shown=shown,
        user=user,
        own=(own.start, own.stop),
        frames=shot.geometry.source_frames,
        fit=shot.fit,
    )


def _first_step(sides: Sequence[Side]) -> Callable[[EditorInputs, Any], Tensor]:
    """An editor that evaluates these sides once, asks for the mask, and changes nothing.

    It sees q = (1 - t) x_src + t eps at the grid's first t, for each draw. That is what the first step of an edit sees
    that goes straight or starts from noise; one that inverts the clip first sees it inverted there, not noised.
    """

    def run(inputs: EditorInputs, options: Any) -> Tensor:
        x, t = inputs.x_src, inputs.grid[0]
        q = torch.cat([(1 - t) * x + t * inputs.noise(0, draw) for draw in range(inputs.draws)])
        for side in (each for each in ("source", "target") if each in sides):
            inputs.velocities[side](q, t)
        mask = mask_at(inputs.mask, 0)
        assert inputs.callback is not None
        inputs.callback(Step(0, 1, t, x, lambda: None, mask=mask))
        return x

    return run


class LookMonitor:
    """Passes on what an edit tells its monitor, the one step of a look as a phase of its own."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def phase(self, name: str, total: int) -> None:
        """The look is one step, whatever the edit has."""
        self._monitor.phase(*(("look", 1) if name == "edit" else (name, total)))

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        self._monitor.advance(count)

    def notice(self, text: str) -> None:
        """A line for the user."""
        self._monitor.notice(text)
