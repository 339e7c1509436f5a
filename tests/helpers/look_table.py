"""How near a look's mask comes to the edit's, by its times: python tests/helpers/look_table.py [SCENES]."""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

import flowedit
from flowedit.media.writer import Writer
from flowedit.pocket import scene
from flowedit.pocket.world import Spec, Thing

CASES = (
    *(("fox", "right", "grass", "panda"), ("apple", "left", "sand", "car"), ("koala", "still", "sky", "turtle")),
    *(
        ("orange", "bounce", "night", "fox"),
        ("turtle", "approach", "grass", "apple"),
        ("panda", "left", "sand", "orange"),
    ),
    *(("car", "right", "night", "frog"), ("frog", "up", "sky", "koala")),
)
LOOKS = ([0.0], [0.25], [0.5], [0.75], [0.25, 0.75], [0.2, 0.5, 0.8], [0.1, 0.3, 0.6, 0.8], [k / 10 for k in range(10)])


def row(editor: flowedit.Editor, folder: Path, number: int) -> list[tuple[float, float]]:
    """(IoU with the edit's mask, share of the clip) of each look, and last of the edit's own mask."""
    kind, motion, ground, other = CASES[number]
    made = scene(Spec((Thing(kind, motion, x=0.45, scale=0.5),), ground, texture=number), (128, 128), 9)
    clip = folder / f"{number}.mp4"
    with Writer(clip, (128, 128), Fraction(8), crf=4) as writer:
        writer.write(made.frames)
    words = {"source_words": kind, "target_words": other}
    asked = {"source": made.caption, "target": made.caption.replace(kind, other), **words}
    own = editor.edit(clip, out=folder / f"edit{number}", **asked).latent_mask > 0.5
    masks = [editor.look_at_mask(clip, **asked, **{"mask.look_at": look}).latents() for look in LOOKS]
    seen = [next(each) > 0.5 for each in masks] + [own]
    return [(float((mask & own).sum() / (mask | own).sum()), float(mask.float().mean())) for mask in seen]


def main(scenes: int) -> None:
    """Print a line for each look."""
    editor = flowedit.load("pocket")
    with tempfile.TemporaryDirectory() as folder:
        found = np.array([row(editor, Path(folder), number) for number in range(scenes)])
    for name, (ious, shares) in zip([*map(str, LOOKS), "the edit"], found.transpose(1, 2, 0), strict=True):
        print(f"{name:52} IoU {ious.mean():.2f}, at least {ious.min():.2f}; {shares.mean():.0%} of the clip")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else len(CASES))
