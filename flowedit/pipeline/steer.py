"""Frames to edited latents: encode, embed, and the editor with its mask, its averaging and its callback."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from flowedit.editors.averaging import average_of
from flowedit.editors.region import RegionPass
from flowedit.editors.spec import EditorInputs
from flowedit.flow import noise, windows
from flowedit.flow.guidance import holds
from flowedit.messages import NAN_ADVICE, InputError, NumericalError
from flowedit.networks.control.bound import remembers
from flowedit.pipeline.looks.blocks import settled
from flowedit.pipeline.plan import Brief
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import Region, attending, control_of, has_region, region
from flowedit.pipeline.resume import Journal, Steps
from flowedit.pipeline.velocities import guide, parts_of, unguided, velocities_of
from flowedit.types import (
    INSIDE,
    Backbone,
    Chosen,
    Evaluations,
    Frames,
    Guided,
    Mask,
    Pair,
    RegionBackbone,
    Side,
    Step,
    Stop,
    Velocity,
)

CHECK_SECONDS = 2.0
"""How often the loop looks for a NaN; each look waits for the device."""


@dataclass(frozen=True, eq=False)
class Steered:
    """An edited latent (1, C, f, h, w), its soft mask (1, 1, f, h, w) or None, and what the edit of it was.

    `objects` are the soft masks of several objects, kept ones too, (K, 1, f, h, w), or None. `sent` is what went
    through the network, `reports` what the editor measured, by name; `row` are latents that it kept beside the edit,
    as z, on the host.
    """

    z: Tensor
    mask: Tensor | None
    objects: Tensor | None
    sent: Evaluations
    reports: Mapping[str, float] = field(default_factory=dict)
    row: tuple[Tensor, ...] = ()

    @property
    def evaluations(self) -> int:
        """The batch rows that went through the network."""
        return self.sent.rows


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
        guided = guide(brief, seen)
        prompts = {side: each.prompt for side, each in guided.items()}
        velocities = velocities_of(brief, seen, guided, grid)
        parts = parts_of(brief, seen, guided, grid)
    before, kept = sent(seen), journal or Journal()
    with session.meter.phase("edit"):
        brief = settled(brief, seen, prompts, x_src, own, user, session, kept)
    with session.meter.phase("edit"), region(brief, seen, prompts, x_src.shape[3:], own, user) as where:
        velocities["target"] = where.guided(velocities["target"])
        passes = region_pass(brief, seen, guided, velocities, where, min(x_src.shape[3:]))
        if passes is not None:
            velocities["target"] = passes.target
            where = replace(where, mask=passes.mask, **remembered(where, passes, seen.device))
        pair: Pair | None = None if passes is None else passes.pair
        differ = None
        if where.difference is not None and brief.editor.difference == "told":
            differ = where.difference.add
        elif where.difference is not None:
            velocities = {side: where.difference.heard(side, each) for side, each in velocities.items()}
            pair = None if pair is None else where.difference.pair(pair)
        control = control_of(brief, prompts, where, grid)
        recalls = None if remembers(control) else brief.editor.recalls  # what it holds is too much to keep on disk
        recalled = recalls and recalls(brief.settings.mode, len(grid) - 1)
        steps = Steps(kept, session.shot, recalled, where.state, where.restore, lambda: sent(seen) - before)
        row: dict[int, Tensor] = {}
        heard = (where.gather, pair, where.maps, parts, row, differ)
        with attending(seen, control):
            z, reports = run_editor(brief, x_src, velocities, grid, where.mask, own, session, steps, *heard)
    results = tuple(row[number] for number in sorted(row))
    return Steered(z, where.final(), where.objects(), steps.evaluations + sent(seen) - before, reports, results)


def sent(backbone: Backbone) -> Evaluations:
    """What went through the network so far."""
    return Evaluations(backbone.evaluations, getattr(backbone, "token_evaluations", backbone.evaluations))


def region_pass(
    brief: Brief,
    backbone: Backbone,
    guided: Mapping[Side, Guided],
    velocities: Mapping[Side, Velocity],
    where: Region,
    side: int,
) -> RegionPass | None:
    """The pass that evaluates the target inside the mask, in a latent whose shorter side has `side` sites.

    None where the brief asks for none, and for a backbone that has none.
    """
    if brief.region is None or where.mask is None or not has_region(backbone):
        return None
    margin, refresh = brief.region
    able = cast(RegionBackbone, backbone)
    both = able.pair_velocity(guided["source"], guided["target"])
    plain = able.pair_velocity(unguided(guided["source"]), unguided(guided["target"]))

    def inside(q: Tensor, p: Tensor, t: float, chosen: Sequence[Chosen]) -> tuple[Tensor, Tensor]:
        u_src, rows = (both if holds(brief.interval, t) else plain)(q, p, t, chosen)
        return u_src, where.guided(lambda z, t: rows)(p, t)

    return RegionPass(
        velocities["source"],
        velocities["target"],
        inside,
        able.choose,
        where.mask,
        margin * side,
        refresh,
        where.looks,
    )


def remembered(where: Region, passes: RegionPass, device: torch.device) -> dict[str, Any]:
    """`state` and `restore` of a mask and of the pass inside it."""

    def restore(state: Mapping[str, Tensor]) -> None:
        where.restore(state)
        passes.restore(state, device)

    return {"state": lambda: where.state() | passes.state(), "restore": restore}


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
    pair: Pair | None = None,
    maps: Callable[[], Mapping[str, Tensor]] = dict,
    parts: Sequence[Velocity] = (),
    row: dict[int, Tensor] | None = None,
    differ: Callable[[float, Tensor, Tensor], None] | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The brief's editor on latents (1, C, F, h, w) float32, and what it reports; the clip's own frames at `own`.

    `steps` are kept, and those that are kept already are not taken again; `gather` is called after each. `row` takes
    what the editor keeps beside the edit; `differ` hears what it tells of both velocities.
    """
    settings, editor = brief.settings, brief.editor
    reports: dict[str, float] = {}

    def report(name: str, value: float, text: str) -> None:
        reports[name] = value
        session.say([text])

    def keep(number: int, z: Tensor) -> None:
        if row is not None:
            row[number] = z.cpu()

    session.announce("edit", (len(grid) - 1) * editor.passes(settings.mode))
    steps = steps or Steps(Journal(), session.shot, None)
    listener = Listener(velocities, mask, session, steps, gather, x_src.device, pair, maps)
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
        pair=listener.pair,
        callback=listener.callback(brief),
        report=report,
        memory=steps.memory,
        parts=tuple(listener.passed_over(each) for each in parts),
        keep=keep,
        differ=None if differ is None else listener.told(differ),
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
        pair: Pair | None = None,
        maps: Callable[[], Mapping[str, Tensor]] = dict,
    ) -> None:
        self._maps = maps
        self._session, self._steps, self._gather, self._device = session, steps, gather, device
        self.last_mask = None if callable(mask) else mask
        """The mask that the last step had, as far as it was asked for."""
        self._mask: Tensor | None = None
        self._last: dict[Side, Tensor] = {}
        self._over = steps.reached > 0
        if session.callback is None and session.watch is None and not self._over:
            self.velocities, self.mask, self.pair = velocities, mask, pair
        else:
            self.pair = None if pair is None else self._paired(pair)
            self.velocities = {side: self.noted(side, velocity) for side, velocity in velocities.items()}
            self.mask = None if mask is None else self._asked(mask)

    def noted(self, side: Side, velocity: Velocity) -> Velocity:
        """The velocity, whose last value is this side's."""

        def noted(z: Tensor, t: float) -> Tensor:
            u = passed(z, t)
            if not self._over:
                self._last[side] = u
            return u

        passed = self.passed_over(velocity)
        return noted

    def passed_over(self, velocity: Velocity) -> Velocity:
        """The velocity, which is not evaluated in steps that an earlier run took, and which nobody is shown."""
        return lambda z, t: torch.zeros_like(z) if self._over else velocity(z, t)

    def told(self, differ: Callable[[float, Tensor, Tensor], None]) -> Callable[[float, Tensor, Tensor], None]:
        """`differ`, which hears nothing of steps that an earlier run took."""
        return lambda t, u_src, u_tgt: None if self._over else differ(t, u_src, u_tgt)

    def _paired(self, pair: Pair) -> Pair:
        def paired(q: Tensor, p: Tensor, t: float, step: int) -> tuple[Tensor, Tensor]:
            if self._over:
                return torch.zeros_like(q), torch.zeros_like(p)
            u_src, u_tgt = pair(q, p, t, step)
            self._last |= {"source": u_src, "target": u_tgt}
            return u_src, u_tgt

        return paired

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
            if session.callback is None and session.watch is None:
                return None
            whole = replace(step, mask=self._mask, velocities=dict(self._last), maps=self._maps(), shot=session.shot)
            foreseen = partial(brief.editor.clean, brief.settings.mode, whole)
            whole = replace(whole, clean=foreseen)
            self._mask = None
            if session.watch is not None:
                session.watch(whole)
            answer = None if session.callback is None else session.callback(whole)
            if isinstance(answer, Tensor):
                return self._changed(brief, step, answer)
            if answer:
                step.check()
                raise Stop(foreseen(), step.index, step.total)
            return None

        return callback

    def _changed(self, brief: Brief, step: Step, z: Tensor) -> Tensor:
        """The state that a caller's callback gives in place of the step's; raises InputError for another shape."""
        if brief.editor.recalls is None:
            raise InputError(f"mode={brief.settings.mode.name} takes no state from a callback: return none")
        if z.shape != step.z.shape:
            raise InputError(f"the callback gives a state {tuple(z.shape)}: give {tuple(step.z.shape)}, as it came")
        z = z.to(step.z)
        self._steps.took(replace(step, z=z))
        return z
