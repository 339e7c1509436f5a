"""The whole study of a clip or a prompt: what is looked at, in which order, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.config.schema import Settings
from flowedit.flow import noise
from flowedit.inspection import coding, sight
from flowedit.inspection.coding import CodingStudy
from flowedit.inspection.reading import PromptStudy, read_prompt
from flowedit.inspection.shapes import ShapeRow, rows
from flowedit.inspection.sight import SightStudy, Suggestion
from flowedit.language import words
from flowedit.media import mask_file
from flowedit.messages import NAN_ADVICE, InputError, NumericalError
from flowedit.pipeline.looks.blocks import Looking
from flowedit.pipeline.plan import asked_size, brief, make_grid, make_plan, native_size, own_latents
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import user_latent
from flowedit.pipeline.source import Clip, Shot, open_clip, working_frames, working_mask
from flowedit.pipeline.velocities import plain
from flowedit.types import Backbone, Conditioning, Geometry, Guided

STEPS = 12
"""Euler steps of a clip that is made where none is given."""


@dataclass(frozen=True, eq=False)
class Study:
    """What went through the model; what is None was not there to be looked at, and `notes` say why."""

    title: str
    backbone: str
    shapes: tuple[ShapeRow, ...]
    prompt: PromptStudy | None
    coding: CodingStudy | None
    sight: SightStudy | None
    suggestion: Suggestion | None
    frame: np.ndarray | None
    """The frame (H, W, 3) whose attention is shown."""
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Its numbers for JSON."""
        found = self.suggestion
        return {
            "title": self.title,
            "backbone": self.backbone,
            "shapes": {row.what: row.shape for row in self.shapes},
            "prompt": None if self.prompt is None else self.prompt.plain(),
            "autoencoder": None if self.coding is None else self.coding.plain(),
            "attention": None if self.sight is None else self.sight.plain(),
            "suggestion": None
            if found is None
            else {"option": found.option, "block": found.block, "why": found.why, "scores": list(found.scores)},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Subject:
    """What goes through the network: a latent (1, C, F, h, w), its geometry, its own frames and the one shown.

    `place` is the latent frame that is shown, `mask` (1, 1, F, h, w) where the object is, or None.
    """

    x: Tensor
    geometry: Geometry
    own: slice
    place: int
    frame: np.ndarray | None
    mask: Tensor | None
    coding: CodingStudy | None
    source: tuple[int, ...] | None = None
    """(F, H, W) of the clip as it is read."""


@torch.no_grad()
def study(
    settings: Settings, backbone: Backbone, session: Session, mask: Path | None = None, alone: bool = False
) -> Study:
    """The study of the settings' clip, prompt (`source`) and words; `mask` says where the object is.

    `alone`: nothing but the attention, for a suggestion. Raises InputError for neither clip nor prompt, words that are
    not in the prompt, and a backbone whose networks are not seen.
    """
    if not isinstance(backbone, Adapter):
        raise InputError(f"{backbone.spec.name} comes from a plug-in that does not show its networks: take another one")
    if settings.clip is None and settings.source is None:
        raise InputError('nothing to inspect: give a clip, or --prompt "what it shows"')
    if alone and not (settings.source and settings.source_words):
        raise InputError('a block is suggested for an object: give --prompt "a fox runs" --source-words fox')
    prompt, notes = settings.source, list(backbone.spec.notices)
    if (boundary := backbone.architecture.boundary) is not None:
        notes.append(f"two networks of one shape: one from t = {boundary:g} up, the other below")
    read, embedded = None, None
    if prompt is not None:
        with session.phase("read the prompt", 0):
            spans = backbone.spans(prompt)
            objects = objects_of(settings.source_words, prompt, spans)
            read = None if alone else read_prompt(backbone.text, prompt, settings.source_words)
            embedded = backbone.embed(prompt)
            other = backbone.embed(settings.target or "")
    else:
        notes.append("no prompt: its words, and their attention, are left out (--prompt TEXT)")
    subject = _clip(settings, backbone, session, mask, notes, alone) if settings.clip else None
    if subject is None:
        assert embedded is not None
        subject = _made(settings, backbone, embedded, other, session)
        notes.append("no clip: the autoencoder is left out; attention is shown in a clip made of the prompt")
    seen, found = None, None
    if embedded is not None and prompt is not None:
        named = {} if read is None else dict(zip(read.words, read.tokens, strict=True))
        with session.phase("look", 0):
            at = subject.x.to(backbone.device), subject.place, subject.own, settings.seed, subject.mask
            seen = sight.see(backbone, embedded, {**objects, **named}, *at)
            if objects:
                found = _suggested(settings, backbone, embedded, other, objects, seen, subject)
            else:
                notes.append("no object named: no block is suggested (--source-words fox)")
    table = rows(
        backbone,
        subject.geometry,
        subject.source,
        None if read is None else len(read.pieces),
        None if read is None else read.width,
    )
    return Study(
        title=Path(settings.clip).name if settings.clip else prompt or "",
        backbone=backbone.spec.name,
        shapes=tuple(table),
        prompt=read,
        coding=subject.coding,
        sight=seen,
        suggestion=found,
        frame=subject.frame,
        notes=tuple(notes),
    )


def objects_of(named: str, prompt: str, spans: Sequence[tuple[int, int]]) -> dict[str, list[int]]:
    """The tokens of each phrase of the object's words; raises InputError for one that is not in the prompt."""
    return {phrase: words.token_indices(prompt, phrase, spans, "source_words") for phrase in words.phrases(named)}


def _clip(
    settings: Settings, backbone: Adapter, session: Session, mask: Path | None, notes: list[str], alone: bool
) -> Subject:
    """The settings' clip, at most as many frames of it as the backbone was trained on; `alone`: to a latent only."""
    clip, most = open_clip(settings), backbone.spec.trained_frames
    if (whole := len(clip.selection.indices)) > most:
        settings = replace(settings, frames=most)
        clip = open_clip(settings, clip.video)
        notes.append(f"the first {most} of {whole} frames, as many as the model was trained on")
    plan = make_plan(brief(replace(settings, target=None, source_words="", target_words="")), backbone, clip, ())
    shot, spec = plan.shots[0], backbone.spec
    frames = working_frames(clip, shot)
    with session.phase("encode" if alone else "encode and decode", 0):
        coded, x = (None, backbone.encode(frames)) if alone else coding.code(backbone, frames)
    if not x.isfinite().all():
        raise NumericalError(f"encoding by {spec.name} gave NaN or Inf: {NAN_ADVICE}")
    place = spec.leading_latents + coding.latent_of(len(frames) // 2, spec.frames_per_latent)
    where = None if mask is None else _mask(mask, clip, shot, backbone, notes)
    shown, source = (None if coded is None else coded.before), (shot.geometry.source_frames, *clip.size)
    return Subject(x, shot.geometry, own_latents(spec, shot.geometry), place, shown, where, coded, source)


def _mask(path: Path, clip: Clip, shot: Shot, backbone: Backbone, notes: list[str]) -> Tensor:
    found, texts = mask_file.read_mask(path, clip.video, clip.selection.indices)
    notes += texts
    return user_latent(working_mask(shot, found), backbone.spec, shot.geometry)


def _made(
    settings: Settings, backbone: Adapter, prompt: Conditioning, empty: Conditioning, session: Session
) -> Subject:
    """A clip that the model makes of the prompt, by STEPS Euler steps from noise."""
    spec, scale = backbone.spec, settings.target_guidance_scale
    size = asked_size(settings, spec) or native_size(spec)
    geometry = backbone.geometry(settings.frames or spec.trained_frames, size)
    grid = make_grid(replace(settings, steps=STEPS, strength=1.0), backbone, geometry)
    own = own_latents(spec, geometry)
    shape = (1, geometry.latent[0], geometry.latent[1], *geometry.latent[2:])
    alone = spec.guidance == "embedded" and not settings.negative_prompt.strip()
    guided = Guided(prompt, scale, None if alone else backbone.embed(settings.negative_prompt))
    velocity = plain(backbone, guided, grid)
    z = noise.gaussian(settings.seed, shape, backbone.device)(0, 0)
    session.announce("make a clip", len(grid) - 1)
    for t, t_next in pairwise(grid):
        z = z + (t_next - t) * velocity(z, t)
        session.advance()
    if not z.isfinite().all():
        raise NumericalError(f"a clip by {spec.name} gave NaN or Inf: {NAN_ADVICE}")
    middle = geometry.source_frames // 2
    frames = np.concatenate(list(backbone.decode(z)))
    place = spec.leading_latents + coding.latent_of(middle, spec.frames_per_latent)
    return Subject(z, geometry, own, place, frames[middle], None, None)


def _suggested(
    settings: Settings,
    backbone: Adapter,
    prompt: Conditioning,
    other: Conditioning,
    objects: Mapping[str, Sequence[int]],
    seen: SightStudy,
    subject: Subject,
) -> Suggestion:
    """By the mask where there is one; else as `mask.blocks=auto`, of the edit, or of the prompt and the empty one."""
    named = ", ".join(objects)
    if seen.auc is not None and np.isfinite(seen.auc).all():
        return sight.by_mask(seen, named, [seen.words.index(each) for each in objects])
    looks = [Looking(prompt, list(objects.values()), range(len(objects)))]
    if settings.target and settings.target_words:
        there = objects_of(settings.target_words, settings.target, other.spans)
        looks.append(Looking(other, list(there.values()), range(len(there))))
    x = subject.x.to(backbone.device)
    return sight.by_agreement(
        backbone, looks, (prompt, other), x, subject.own, named, settings.seed, settings.mask.normalise
    )
