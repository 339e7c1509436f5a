"""The pocket world: scenes whose true edits are known, and the small checkpoint that was trained on them."""

from flowedit.pocket.render import scene
from flowedit.pocket.truth import KINDS, NOTHING, Choice, Edit, choices, edit
from flowedit.pocket.world import Scene, Spec, Thing, Vocabulary, draw, unknown_words

__all__ = [
    "KINDS",
    "NOTHING",
    "Choice",
    "Edit",
    "Scene",
    "Spec",
    "Thing",
    "Vocabulary",
    "choices",
    "draw",
    "edit",
    "scene",
    "unknown_words",
]
