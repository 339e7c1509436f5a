"""Datasets of edits: one small reader a layout, a function that returns a `Dataset`."""

from pathlib import Path

from flowedit.config.edit_file import SUFFIXES
from flowedit.evaluation.datasets import five, listing, pocket
from flowedit.evaluation.datasets.pocket import Scenes
from flowedit.evaluation.datasets.sample import Dataset, Sample
from flowedit.messages import InputError

__all__ = ["Dataset", "Sample", "Scenes", "read"]


def read(name: str | Path, workspace: Path, scenes: Scenes | None = None) -> Dataset:
    """The word `pocket`, a YAML list of edits, or a folder in FiVE-Bench's layout; files it makes go to `workspace`.

    What is wrong with one row alone stands in its `problem`. Raises ValueError or OSError, in one line, for the rest.
    """
    path = Path(name)
    if str(name) == pocket.NAME:
        return pocket.read(scenes or Scenes(), workspace)
    if path.suffix.lower() in SUFFIXES:
        return listing.read(path)
    if path.is_dir() and any(path.glob(five.PROMPTS)):
        return five.read(path, workspace)
    what = "is a folder without edit_prompt/*.json" if path.is_dir() else "is none that is known"
    raise InputError(
        f"dataset {str(name)!r} {what}: give a .yaml list of edits, a folder in FiVE-Bench's layout, or {pocket.NAME}"
    )
