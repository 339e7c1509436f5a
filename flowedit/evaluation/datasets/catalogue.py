"""The layouts of datasets by name. Each is one `Layout`, added by the module that reads it or by a plug-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowedit.declare import Registry
from flowedit.evaluation.datasets.sample import Dataset, Scenes
from flowedit.messages import InputError


@dataclass(frozen=True)
class Layout:
    """How a dataset is recognised and read.

    about: what to give for it, such as "a YAML list of edits". `matches` says of the text that a user gives whether it
    is such a dataset. `read` takes that text, the folder for files that it makes, and the scenes of the pocket world
    that are asked for; what is wrong with one edit alone stands in its `problem`, for the rest it raises ValueError or
    OSError.
    """

    about: str
    matches: Callable[[str], bool]
    read: Callable[[str, Path, Scenes | None], Dataset]


DATASETS: Registry[Layout] = Registry(
    "flowedit.datasets", "dataset", package="flowedit.evaluation.datasets", entry=Layout
)


def read(name: str | Path, workspace: Path, scenes: Scenes | None = None) -> Dataset:
    """The dataset that a path or a name stands for; files that are made for it go to `workspace`.

    A layout whose own name is given comes first, then ours, then those of plug-ins. What is wrong with one row alone
    stands in its `problem`. Raises ValueError or OSError, in one line, for the rest.
    """
    text = str(name)
    for layout in sorted(_names(), key=lambda each: each != text):
        if DATASETS[layout].matches(text):
            return DATASETS[layout].read(text, workspace, scenes)
    lost = "".join(f"; {reason}" for reason in DATASETS.broken.values())
    absent = "there is no file or folder of that name, and it" if not Path(text).exists() else "it"
    raise InputError(f"dataset {text!r}: {absent} is not a dataset that flowedit knows: give {choices()}{lost}")


def choices() -> str:
    """What can be given as a dataset, in one line."""
    *others, last = [DATASETS[name].about for name in _names()]
    return f"{', '.join(others)}, or {last}"


def _names() -> list[str]:
    """Ours first, whatever was imported first."""
    return sorted(DATASETS, key=lambda name: (not DATASETS[name].read.__module__.startswith("flowedit."), name))
