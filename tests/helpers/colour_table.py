"""How often the pocket checkpoint gives an object a colour: flowedit/pocket/README.md; minutes on a CPU."""

from collections import Counter
from itertools import count

import flowedit
from flowedit.evaluation.bench.score import nearest
from flowedit.pocket import Vocabulary, choices, edit

EACH = 7
"""Scenes a colour."""


def main() -> None:
    """A line a scene, then how many of each colour came out."""
    editor = flowedit.load("pocket", **{"runtime.device": "cpu"})
    world = Vocabulary(**editor.backbone.spec.world)
    seen, right = Counter(), Counter()
    for seed in count(1):
        scene = edit(seed, "recolour", vocabulary=world)
        old, new = (side.spec.things[0] for side in (scene.source, scene.target))
        if seen[new.tint] == EACH:
            continue
        made = editor.edit_frames(
            scene.source.frames,
            fps=8,
            source=scene.source.caption,
            target=scene.target.caption,
            source_words=", ".join(scene.source_words),
            target_words=", ".join(scene.target_words),
            task="recolour",
            composite=False,
        )
        (choice,) = choices(scene, world)
        found = nearest(made.frames, choice)
        seen[new.tint] += 1
        right[new.tint] += found == choice.right
        print(f"{seed}: {old.phrase} to {new.tint}: {found or 'its own colour'}", flush=True)
        if len(seen) == len(world.tints) - 1 and set(seen.values()) == {EACH}:
            break
    for tint, number in seen.items():
        print(f"{tint}: {right[tint]} of {number}")


if __name__ == "__main__":
    main()
