"""Small checkpoints with random weights, in the layout of the hub's: for tests, and to try the machinery."""

import json
from pathlib import Path

import torch

from flowedit.backbones.checkpoint import quiet
from flowedit.backbones.sheet import Gathered, SampleSize
from flowedit.messages import InputError

KINDS = Gathered(lambda sheet: sheet.recipes)
"""Of all families, by the names that scripts/make_random_backbone.py takes."""


def save_random(folder: Path, kind: str = "2b", *, seed: int = 0, sample: SampleSize = (16, 24)) -> Path:
    """Write a checkpoint folder of about 1 MB that every loader reads and whose output is noise; returns the folder.

    Raises InputError for an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    shape = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = shape.pipeline(sample)
    with quiet():
        pipeline.save_pretrained(folder, safe_serialization=True)
    about = f"random weights in the shape of {shape.model}; what it makes is noise"
    notes = {"trained": False, "about": about, **shape.notes(sample)}
    (folder / "flowedit.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    return folder
