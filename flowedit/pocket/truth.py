"""Edits whose true outcome is known: source and target scene differ in the named things and in nothing else."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flowedit.messages import InputError
from flowedit.pocket.render import scene
from flowedit.pocket.world import EVERYTHING, GROUNDS, Scene, Spec, Thing, Vocabulary, draw, stream

KINDS = {  # kind of edit → how many objects the source scene has
    "replace": 1,
    "replace_one_of_two": 2,
    "replace_beside_kept": 2,
    "replace_both": 2,
    "recolour": 1,
    "resize": 1,
    "remove": 1,
    "add": 1,
    "ground": 1,
}


KEPT = "replace_beside_kept"
"""As "replace_one_of_two" on the same scenes, and the words name the object that stays as well, alike on both sides."""

NOTHING = "nothing"
"""The name of an object's absence."""


@dataclass(frozen=True)
class Edit:
    """A source, its true edit, the words that differ, and the mask float32 (F, H, W) of what may change.

    What may change is what the edited objects cover, before or after, and their shadows.
    """

    kind: str
    source: Scene
    target: Scene
    source_words: tuple[str, ...]
    target_words: tuple[str, ...]
    edited: tuple[int, ...]
    mask: np.ndarray

    @cached_property
    def without(self) -> dict[int, np.ndarray]:
        """For each edited object that the target still has, the target's frames (F, H, W, 3) without it."""
        things = self.target.spec.things
        specs = {i: _gone(self.target.spec, i) for i in self.edited if i < len(things)}
        return {i: _frames({NOTHING: spec}, self)[NOTHING] for i, spec in specs.items()}


def edit(
    what: int | Spec,
    kind: str,
    size: tuple[int, int] = (128, 128),
    frames: int = 9,
    vocabulary: Vocabulary = EVERYTHING,
    *,
    shadows: bool = False,
) -> Edit:
    """Edit a spec, or one drawn from a seed with as many objects as `kind` needs; see `KINDS`.

    With `shadows` the objects of a drawn spec cast one: what goes takes its own along, and what comes brings one.
    """
    if kind not in KINDS:
        raise InputError(f"no edit called {kind!r}; there are {list(KINDS)}")
    seed = zlib.crc32(repr(what).encode()) if isinstance(what, Spec) else what
    before = what if isinstance(what, Spec) else draw(what, vocabulary, things=KINDS[kind], shadows=shadows)
    if len(before.things) < KINDS[kind]:
        raise InputError(f"{kind!r} needs {KINDS[kind]} objects, the scene has {len(before.things)}")
    scenes_of = "replace_one_of_two" if kind == KEPT else kind
    after, edited = _changed(before, kind, vocabulary, stream(seed, "edit", scenes_of))
    source, target = scene(before, size, frames), scene(after, size, frames)
    (source_words, shown), (target_words, wanted) = (_named(side, kind, edited) for side in (source, target))
    cast = (side.shadows[[i for i in edited if i < len(side.shadows)]].sum(0) for side in (source, target))
    mask = np.clip(np.maximum(shown, wanted) + np.maximum(*cast), 0, 1)
    return Edit(kind, source, target, source_words, target_words, edited, mask)


@dataclass(frozen=True)
class Choice:
    """What one edited object could have become: name → frames (F, H, W, 3) of the whole target, all else equal.

    `right` names the true one; `where` float32 (F, H, W) is the share of each pixel that the edited object covers,
    before or after.
    """

    right: str
    frames: dict[str, np.ndarray]
    where: np.ndarray


def choices(true: Edit, vocabulary: Vocabulary = EVERYTHING) -> tuple[Choice, ...]:
    """One choice for each edited object, or for the ground, among all that the vocabulary has in that pose.

    The classes where the class is edited, with `NOTHING` where an object goes or comes; else tints, sizes, grounds.
    """
    before, after = true.source.spec, true.target.spec
    if true.kind == "ground":
        specs = {name: replace(after, ground=name) for name in vocabulary.grounds}
        return (Choice(after.ground, _frames(specs, true), true.mask),)
    own = {"recolour": ("tint", vocabulary.tints), "resize": ("size", vocabulary.sizes)}
    field, names = own.get(true.kind, ("kind", vocabulary.classes))
    result = []
    for index in true.edited:
        full = after if index < len(after.things) else before
        specs = {name: _with(full, index, _as(full.things[index], field, name)) for name in names}
        right = getattr(full.things[index], field)
        if true.kind in ("add", "remove"):
            specs[NOTHING] = _gone(full, index)
            right = NOTHING if true.kind == "remove" else right
        covers = [side.masks[index] for side in (true.source, true.target) if index < len(side.masks)]
        result.append(Choice(right, _frames(specs, true), np.clip(np.max(covers, 0), 0, 1)))
    return tuple(result)


def _frames(specs: dict[str, Spec], true: Edit) -> dict[str, np.ndarray]:
    frames, height, width, _ = true.target.frames.shape
    return {name: scene(spec, (height, width), frames).frames for name, spec in specs.items()}


def _changed(spec: Spec, kind: str, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[Spec, tuple[int, ...]]:
    """Return the edited spec and the indices of the objects that differ, in whichever side has them."""

    def other(known: tuple[str, ...], *taken: str) -> str:
        left = [value for value in known if value not in taken]
        if not left:
            raise InputError(f"{kind!r} needs one more choice than {list(known)}")
        return str(rng.choice(left))

    things = spec.things
    last = len(things) - 1
    if kind == "ground":
        return replace(spec, ground=other(vocabulary.grounds, spec.ground)), ()
    if kind == "remove":
        return replace(spec, things=things[:last]), (last,)
    if kind == "add":
        free = 0.77 if things[0].x < 0.5 else 0.23
        new = Thing(other(vocabulary.classes, *(t.kind for t in things)), other(vocabulary.motions), x=free)
        return replace(spec, things=(*things, replace(new, scale=0.44, travel=0.16, shadow=things[0].shadow))), (
            len(things),
        )
    if kind == "recolour":
        return _with(spec, 0, replace(things[0], tint=other(vocabulary.tints, things[0].tint, ""))), (0,)
    if kind == "resize":
        return _with(spec, 0, replace(things[0], size=other(vocabulary.sizes, things[0].size, ""))), (0,)
    edited = (0, 1) if kind == "replace_both" else (int(rng.integers(len(things))),)
    taken = [thing.kind for thing in things]
    for index in edited:
        taken.append(other(vocabulary.classes, *taken))
        spec = _with(spec, index, replace(things[index], kind=taken[-1]))
    return spec, edited


def _named(side: Scene, kind: str, edited: tuple[int, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return one side's words for what is edited, and the share of every pixel that it covers, (F, H, W)."""
    if kind == "ground":
        return (GROUNDS[side.spec.ground],), 1 - side.masks.sum(0)
    present = [index for index in edited if index < len(side.masks)]
    named = range(len(side.masks)) if kind == KEPT else present
    return tuple(side.words[index] for index in named), side.masks[present].sum(0)


def _gone(spec: Spec, index: int) -> Spec:
    return replace(spec, things=(*spec.things[:index], *spec.things[index + 1 :]))


def _as(thing: Thing, field: str, name: str) -> Thing:
    if field == "tint":
        return replace(thing, tint=name)
    return replace(thing, size=name) if field == "size" else replace(thing, kind=name)


def _with(spec: Spec, index: int, thing: Thing) -> Spec:
    return replace(spec, things=(*spec.things[:index], thing, *spec.things[index + 1 :]))
