"""What an edit of an example clip shows, told by the truth: the scene of the pocket world that it is nearest to."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from flowedit.media.footage import open_footage
from flowedit.pocket import Spec, Thing
from flowedit.pocket.render import scene
from flowedit.pocket.truth import edit
from flowedit.pocket.world import GROUNDS, MOTIONS, Vocabulary

LEARNED = Vocabulary(
    classes=("fox", "panda", "car", "apple", "frog", "orange", "koala", "turtle"),
    grounds=("grass", "sand", "sky", "night"),
    motions=("right", "left", "still", "bounce"),
    sizes=("", "tiny", "huge"),
    tints=("", "red", "blue", "green"),
)
SIDE = 64


def source_of(clip: str) -> Spec:
    """The scene that a clip of examples/ shows."""
    known = {
        "fox": Spec((Thing("fox", "right"),), "grass", texture=7),
        "koala": Spec((Thing("koala", "bounce"),), "sand", texture=2),
    }
    return known.get(clip) or edit(316, "replace_one_of_two", vocabulary=LEARNED).source.spec


def spec_of(caption: str, like: Spec) -> Spec:
    """The scene that a caption describes, its objects where those of `like` with the same motion are."""
    ground = next(name for name in LEARNED.grounds if caption.endswith(GROUNDS[name]))
    phrases = caption.removesuffix(f" over {GROUNDS[ground]}").split(" and ")
    things = tuple(_thing(phrase, like) for phrase in phrases if phrase != "nothing")
    return replace(like, things=things, ground=ground)


def _thing(phrase: str, like: Spec) -> Thing:
    words = phrase.split()
    kind = next(word for word in words if word in LEARNED.classes)
    motion = next(name for name in LEARNED.motions if phrase.endswith(MOTIONS[name]))
    size = next((word for word in words if word in ("tiny", "huge")), "")
    tint = next((word for word in words if word in ("red", "blue", "green")), "")
    place = next((thing for thing in like.things if thing.motion == motion), None)
    if place is None:
        return Thing(kind, motion, size=size, tint=tint)
    return replace(place, kind=kind, size=size, tint=tint)


def shown(video: Path, source: Spec, target: Spec) -> tuple[str, float]:
    """The caption of the scene nearest to a video among those that differ in one word from source or target.

    And how far it is ahead of the next one, as a ratio of the mean squared errors where source and target differ.
    """
    footage = open_footage(video)
    frames = np.concatenate(list(footage.read(range(footage.count))))
    frames = np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])
    drawn = {spec.caption: scene(spec, (SIDE, SIDE), len(frames)) for spec in _others(source, target)}
    before, after = drawn[source.caption].frames, drawn[target.caption].frames
    where = np.abs(before.astype(int) - after).max(-1) > 8
    errors = {name: float(((each.frames.astype(float) - frames) ** 2)[where].mean()) for name, each in drawn.items()}
    first, second = sorted(errors, key=errors.__getitem__)[:2]
    return first, errors[second] / errors[first]


def _others(source: Spec, target: Spec) -> list[Spec]:
    """Source and target, and both with another class, size, tint or none of each object that differs."""
    found = [source, target]
    for spec in (source, target):
        for i, thing in enumerate(spec.things):
            if thing in source.things and thing in target.things:
                continue
            changed = [replace(thing, kind=kind) for kind in LEARNED.classes]
            changed += [replace(thing, tint=tint) for tint in LEARNED.tints]
            changed += [replace(thing, size=size) for size in LEARNED.sizes]
            found += [replace(spec, things=(*spec.things[:i], each, *spec.things[i + 1 :])) for each in changed]
            found.append(replace(spec, things=spec.things[:i] + spec.things[i + 1 :]))
    return found
