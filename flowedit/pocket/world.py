"""The little world the pocket checkpoint was trained on: what can be in a scene, and how a caption says it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from flowedit.messages import InputError

CLASSES = (  # in the order of sprites/atlas.png
    *("fox", "panda", "car", "apple", "frog", "orange", "koala", "turtle"),
    *("penguin", "football", "pear", "cactus", "strawberry", "banana", "lemon", "chick"),
    *("whale", "fish", "dolphin", "bus", "octopus", "grapes", "bear", "pig"),
    *("elephant", "cat", "ladybird", "crab", "carrot", "tractor", "bell", "rocket"),
)
SAME_COLOUR = (
    *(("fox", "orange"), ("panda", "koala"), ("car", "apple"), ("frog", "turtle")),
    *(("lemon", "chick"), ("whale", "fish")),
)
GROUNDS = {
    "grass": "green grass",
    "sand": "yellow sand",
    "sky": "a blue sky",
    "night": "a dark night",
    "snow": "white snow",
    "water": "deep water",
    "road": "a grey road",
    "leaves": "brown leaves",
}
MOTIONS = {
    "right": "moves right",
    "left": "moves left",
    "still": "stands still",
    "bounce": "bounces",
    "up": "moves up",
    "down": "moves down",
    "approach": "comes closer",
    "recede": "goes away",
}
SIZES = {"": 1.0, "tiny": 0.6, "huge": 1.3}
TINTS = {
    "": None,
    "red": (235, 50, 50),
    "blue": (60, 90, 245),
    "green": (40, 190, 70),
    "purple": (160, 60, 225),
}


@dataclass(frozen=True)
class Vocabulary:
    """The part of the world to draw from; a checkpoint names the part it learned."""

    classes: tuple[str, ...] = CLASSES
    grounds: tuple[str, ...] = tuple(GROUNDS)
    motions: tuple[str, ...] = tuple(MOTIONS)
    sizes: tuple[str, ...] = tuple(SIZES)
    tints: tuple[str, ...] = tuple(TINTS)

    def __post_init__(self) -> None:
        """Raise ValueError for a name that the world does not have."""
        for name, known in (
            *(("classes", CLASSES), ("grounds", GROUNDS), ("motions", MOTIONS)),
            *(("sizes", SIZES), ("tints", TINTS)),
        ):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if unknown := [value for value in getattr(self, name) if value not in known]:
                raise InputError(f"{name}: {unknown} not in the pocket world, which has {list(known)}")

    @property
    def words(self) -> frozenset[str]:
        """Every word of the captions that this vocabulary makes."""
        phrases = (*self.classes, *(GROUNDS[g] for g in self.grounds), *(MOTIONS[m] for m in self.motions))
        return frozenset(" ".join((*phrases, *self.sizes, *self.tints, "a an and over nothing")).split())


EVERYTHING = Vocabulary()


def unknown_words(prompt: str, known: Vocabulary) -> list[str]:
    """The words of a prompt, as written and in order, that no caption of the vocabulary has."""
    return [word for word in re.findall(r"[^\W_]+", prompt) if word.lower() not in known.words]


@dataclass(frozen=True)
class Thing:
    """One object; x, y, scale and travel are shares of the frame, (x, y) the middle of its path."""

    kind: str
    motion: str = "still"
    size: str = ""
    tint: str = ""
    x: float = 0.5
    y: float = 0.5
    scale: float = 0.56
    travel: float = 0.3
    shadow: bool = field(default=False, repr=False)
    """Whether it casts a shadow on the ground. No caption says so, and the edit that a `repr` draws is the same."""

    @property
    def words(self) -> str:
        """The words of the object itself: "tiny blue fox"."""
        return " ".join(word for word in (self.size, self.tint, self.kind) if word)

    @property
    def phrase(self) -> str:
        """The object with its article and motion: "a fox moves right"."""
        article = "an" if self.words[0] in "aeiou" else "a"
        return f"{article} {self.words} {MOTIONS[self.motion]}"


@dataclass(frozen=True)
class Spec:
    """A scene in full; equal specs render to equal bytes. `texture` seeds ground texture and light."""

    things: tuple[Thing, ...] = (Thing("fox", "right"),)
    ground: str = "grass"
    texture: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a name that the world does not have."""
        Vocabulary(
            classes=tuple(thing.kind for thing in self.things),
            grounds=(self.ground,),
            motions=tuple(thing.motion for thing in self.things),
            sizes=tuple(thing.size for thing in self.things),
            tints=tuple(thing.tint for thing in self.things),
        )

    @property
    def caption(self) -> str:
        """All that the scene shows: "a fox moves right and a tiny car bounces over green grass"."""
        ground = GROUNDS[self.ground]
        if not self.things:
            return f"nothing over {ground}"
        return f"{' and '.join(thing.phrase for thing in self.things)} over {ground}"


@dataclass(frozen=True)
class Scene:
    """A rendered spec: frames uint8 (F, H, W, 3), masks float32 (N, F, H, W), the visible share of each object.

    shadows: float32 (N, F, H, W), the visible share of each object's shadow, which no object covers; 0 without one.
    """

    spec: Spec
    frames: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    shadows: np.ndarray = field(repr=False)

    @property
    def caption(self) -> str:
        """The scene's caption."""
        return self.spec.caption

    @property
    def words(self) -> tuple[str, ...]:
        """The words of each object, in the order of the masks."""
        return tuple(thing.words for thing in self.spec.things)


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one named stream of a seed; drawing from one leaves all others as they are."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def draw(seed: int, vocabulary: Vocabulary = EVERYTHING, things: int | None = None, *, shadows: bool = False) -> Spec:
    """Draw a spec: 65 % one object, 30 % two of different classes, 5 % none, unless `things` says how many.

    With `shadows` each object of the same spec casts one.
    """
    rng = stream(seed, "scene")
    count = int(rng.choice(3, p=(0.05, 0.65, 0.30)))
    count = count if things is None else things
    kinds = [str(kind) for kind in stream(seed, "classes").permutation(vocabulary.classes)[:count]]
    if len(kinds) < count:
        raise InputError(f"{count} objects of different classes need as many classes, got {vocabulary.classes}")
    ground = str(stream(seed, "ground").choice(vocabulary.grounds))
    texture = int(stream(seed, "texture").integers(2**31))
    drawn = (_thing(seed, i, kinds, vocabulary) for i in range(count))
    return Spec(tuple(replace(thing, shadow=shadows) for thing in drawn), ground, texture)


def _thing(seed: int, index: int, kinds: list[str], vocabulary: Vocabulary) -> Thing:
    rng, two = stream(seed, f"thing {index}"), len(kinds) > 1
    u = rng.random(7)
    x, y = 0.5 + 0.26 * (u[0] - 0.5), 0.5 + 0.26 * (u[1] - 0.5)
    return Thing(
        kind=kinds[index],
        motion=vocabulary.motions[int(u[2] * len(vocabulary.motions))],
        size=_sometimes(u[3], 0.2, vocabulary.sizes),
        tint=_sometimes(u[4], 0.15, vocabulary.tints),
        x=round(0.27 + 0.46 * index + 0.2 * (x - 0.5) if two else x, 4),
        y=round(y, 4),
        scale=round((0.46 if two else 0.56) * (0.94 + 0.12 * u[5]), 4),
        travel=0.16 if two else 0.3,
    )


def _sometimes(u: float, chance: float, words: tuple[str, ...]) -> str:
    """Return, with the given chance, one of the words that are not empty."""
    said = [word for word in words if word]
    if not said or ("" in words and u >= chance):
        return ""
    return said[int(u / (chance if "" in words else 1.0) * len(said))]
