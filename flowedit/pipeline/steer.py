"""Frames to edited latents: encode, embed, and the editor with its mask, its averaging and its callback."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flowedit.editors.averaging import average_of
from flowedit.editors.common import INSIDE
from flowedit.editors.spec import EditorInputs
from flowedit.flow import noise, windows
from flowedit.messages import NAN_ADVICE, NumericalError
from flowedit.pipeline.plan import Brief
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import region
from flowedit.pipeline.resume import Journal, Steps
from flowedit.types import Backbone, Conditioning, Frames, Mask, Side, Step, Stop, Velocity

CHECK_SECONDS = 2.0
"""How often the loop looks for a NaN; each look waits for the device."""


@dataclass(frozen=True, eq=False)
class Steered:
    """An edited latent (1, C, f, h, w), its soft mask (1, 1, f, h, w) or None, and what the edit of it was.

    `objects` are the soft masks of several objects, kept ones too, (K, 1, f, h, w), or None. `evaluations` are the
    batch rows that went through the network, `reports` what the editor measured, by name.
    """

    z: Tensor
    mask: Tensor | None
    objects: Tensor | None
    evaluations: int
    reports: Mapping[str, float] = field(default_factory=dict)


@torch.no_grad()
def encode(backbone: Backbone, frames: Frames, session: Session) -> Tensor:
    """Frames uint8 (F, H, W, 3) of a valid geometry to the source latent (1, C, f, h, w), on the host.

    Raises NumericalError for NaN or Inf.
    """
    with session.phase("encode", len(frames)):
        x_src = backbone.encode(frames, session.advance)
        if not x_src.isfinite().all():
            raise NumericalError(f"encoding by {backbone.spec.name} gave NaN or Inf: {NAN_ADVICE}")
    return x_src


@torch.no_grad()
def steer(
    brief: Brief,
    backbone: Backbone,
    x_src: Tensor,
    grid: tuple[float, ...],
    places: tuple[windows.Window, ...],
    own: slice,
    session: Session,
    user: Tensor | None = None,
    journal: Journal | None = None,
) -> Steered:
    """The source latent (1, C, f, h, w) through the brief's editor, with the prompts embedded first.

    A clip longer than its window stays on the host, and the network sees it in the windows at `places`. `own` are the
    latent frames that hold the clip's own frames, not those that the model's shape adds: means over time count no
    others. `user` is a user's latent mask (1, 1, f, h, w). With a `journal` the edit goes on after the steps that an
    earlier run of it took, and its own are kept. Raises InputError for words that are not in their prompt,
    NumericalError for NaN or Inf.
    """
    seen = windows.over(backbone, places)
    x_src, user = x_src.to(seen.device), None if user is None else user.to(seen.device)
    with session.phase("embed"):
        prompts, velocities = bind(brief, seen)
    before = seen.evaluations
    with session.meter.phase("edit"), region(brief, seen, prompts, x_src.shape[3:], own, user) as where:
        velocities["target"] = where.guided(velocities["target"])
        recalled = brief.editor.recalls and brief.editor.recalls(brief.settings.mode, len(grid) - 1)
        steps = Steps(
            journal or Journal(),
            session.shot,
            recalled,
            where.state,
            where.restore,
            lambda: seen.evaluations - before,
        )
        z, reports = run_editor(brief, x_src, velocities, grid, where.mask, own, session, steps, where.gather)
    return Steered(z, where.final(), where.objects(), steps.evaluations + seen.evaluations - before, reports)


def bind(brief: Brief, backbone: Backbone) -> tuple[dict[Side, Conditioning], dict[Side, Velocity]]:
    """The embedded prompts and the guided velocities of the sides that the mode evaluates.

    Where the editor steers away from the source prompt, the target's guidance goes from it, at the target's own state
    (FlowAlign, Kim et al. 2025): u(p, src) + g [u(p, tgt) - u(p, src)]. With scales for several objects the target's
    velocity has rows for each (see `Region.guided`).
    """
    settings, editor = brief.settings, brief.editor
    texts: dict[Side, str] = {"target": settings.target or "", "source": settings.source or ""}
    sides: list[Side] = [side for side in texts if side in editor.sides]
    prompts = {side: backbone.embed(texts[side]) for side in sides}
    negatives: dict[Side, Conditioning] = {}
    for side in sides:
        if set(brief.scales[side]) == {1.0}:
            continue
        from_source = side == "target" and editor.negative(settings.mode) == "source"
        negatives[side] = prompts["source"] if from_source else backbone.embed(settings.negative_prompt)
    velocities = {}
    for side in sides:
        scales = brief.scales[side]
        scale = scales[0] if len(scales) == 1 else scales
        velocities[side] = backbone.velocity(prompts[side], scale, negatives.get(side))
    return prompts, velocities


def run_editor(
    brief: Brief,
    x_src: Tensor,
    velocities: Mapping[Side, Velocity],
    grid: tuple[float, ...],
    mask: Mask,
    own: slice,
    session: Session,
    steps: Steps | None = None,
    gather: Callable[[], None] = lambda: None,
) -> tuple[Tensor, dict[str, float]]:
    """The brief's editor on latents (1, C, F, h, w) float32, and what it reports; the clip's own frames at `own`.

    `steps` are kept, and those that are kept already are not taken again; `gather` is called after each.
    """
    settings, editor = brief.settings, brief.editor
    reports: dict[str, float] = {}

    def report(name: str, value: float, text: str) -> None:
        reports[name] = value
        session.say([text])

    session.announce("edit", (len(grid) - 1) * editor.passes(settings.mode))
    steps = steps or Steps(Journal(), session.shot, None)
    listener = Listener(velocities, mask, session, steps, gather, x_src.device)
    inputs = EditorInputs(
        x_src=x_src,
        velocities=listener.velocities,
        grid=grid,
        noise=noise.gaussian(settings.seed, tuple(x_src.shape), x_src.device),
        mask=listener.mask,
        preserve=settings.mask.preserve,
        own=own,
        draws=settings.draws,
        average=average_of(settings.averaging),
        callback=listener.callback(brief),
        report=report,
    )
    try:
        return editor.run(inputs, settings.mode), reports
    except Stop as stop:
        rising = stop.index < editor.rises(settings.mode, len(grid) - 1)
        session.say([f"{stop}, on the way up to noise: nothing is edited yet" if rising else str(stop)])
        session.stopped = True
        return held(stop.z, x_src, listener.last_mask if settings.mask.preserve else None), reports


def held(z: Tensor, x_src: Tensor, mask: Tensor | None) -> Tensor:
    """z where M >= 0.5 and the source elsewhere, as `mask.preserve` leaves a finished edit; z without a mask."""
    return z if mask is None else torch.where(mask >= INSIDE, z, x_src)


class Listener:
    """Hands the caller's callback what an editor's own does not know: each step's mask and last velocities.

    The steps that an earlier run took are passed over: their velocities and masks are zeros, which cost nothing, and
    their states are the kept ones. Without a callback and without such steps velocities and mask are the given ones,
    and nothing is held.
    """

    def __init__(
        self,
        velocities: Mapping[Side, Velocity],
        mask: Mask,
        session: Session,
        steps: Steps,
        gather: Callable[[], None],
        device: torch.device,
    ) -> None:
        self._session, self._steps, self._gather, self._device = session, steps, gather, device
        self.last_mask = None if callable(mask) else mask
        """The mask that the last step had, as far as it was asked for."""
        self._mask: Tensor | None = None
        self._last: dict[Side, Tensor] = {}
        self._over = steps.reached > 0
        if session.callback is None and not self._over:
            self.velocities, self.mask = velocities, mask
        else:
            self.velocities = {side: self._noted(side, velocity) for side, velocity in velocities.items()}
            self.mask = None if mask is None else self._asked(mask)

    def _noted(self, side: Side, velocity: Velocity) -> Velocity:
        def noted(z: Tensor, t: float) -> Tensor:
            if self._over:
                return torch.zeros_like(z)
            self._last[side] = u = velocity(z, t)
            return u

        return noted

    def _asked(self, mask: Tensor | Callable[[int], Tensor]) -> Callable[[int], Tensor]:
        def asked(step: int) -> Tensor:
            if self._over:
                return torch.zeros((1, 1, 1, 1, 1), device=self._device)
            self._mask = self.last_mask = m = mask(step) if callable(mask) else mask
            return m

        return asked

    def callback(self, brief: Brief) -> Callable[[Step], Tensor | None]:
        """Progress, a look for NaN now and then, cancellation, and the caller's callback, which may stop the edit."""
        last, session = time.monotonic(), self._session

        def callback(step: Step) -> Tensor | None:
            nonlocal last
            session.advance()
            if step.index < self._steps.reached:
                self._over = step.index + 1 < self._steps.reached
                return self._steps.again(step)
            self._gather()
            if time.monotonic() - last > CHECK_SECONDS:
                last = time.monotonic()
                step.check()
            self._steps.took(step)
            if session.callback is None:
                return None
            whole = replace(step, mask=self._mask, velocities=dict(self._last), shot=session.shot)
            self._mask = None
            if session.callback(whole):
                step.check()
                raise Stop(brief.editor.clean(brief.settings.mode, whole), step.index, step.total)
            return None

        return callback
