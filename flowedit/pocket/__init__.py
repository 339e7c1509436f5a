"""The pocket world: scenes whose true edits are known, and the small checkpoint that was trained on them."""

from flowedit.pocket.render import scene
from flowedit.pocket.truth import KINDS, Edit, edit, renderings
from flowedit.pocket.world import Scene, Spec, Thing, Vocabulary, draw

__all__ = ["KINDS", "Edit", "Scene", "Spec", "Thing", "Vocabulary", "draw", "edit", "renderings", "scene"]
