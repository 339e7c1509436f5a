"""What a dataset is to the engine: samples of a video and an edit, each with all that scoring it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.config.edit_file import inside
from flowedit.media.footage import frame_files
from flowedit.messages import InputError, nearest
from flowedit.pocket import KINDS

if TYPE_CHECKING:
    from flowedit.metrics.part import Questions


TRAINING_SEEDS = 10_000_000_000
"""Training draws its scenes from here upwards, a bench below."""


@dataclass(frozen=True)
class Scenes:
    """`count` scenes from `first_seed` on, each edited in every one of `kinds`; `shadows`: whether objects cast one."""

    first_seed: int = 0
    count: int = 20
    kinds: tuple[str, ...] = tuple(KINDS)
    shadows: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown kind, none or one twice, for no scene, and for a seed of the training."""
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(f"unknown kind {kind!r}: one of {', '.join(KINDS)}{nearest(kind, KINDS)}")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError(f"kinds {', '.join(self.kinds) or 'none'}: name at least one, and each once")
        if self.count < 1:
            raise InputError(f"scenes {self.count}: at least 1")
        if not 0 <= self.first_seed <= TRAINING_SEEDS - self.count:
            raise InputError(
                f"first_seed {self.first_seed}: 0 to {TRAINING_SEEDS} less the scenes; training drew those above"
            )


@dataclass(frozen=True)
class Sample:
    """One edit of one clip; (name, edit) is unique in its dataset, and both are safe as names of files."""

    name: str
    """The clip's."""
    edit: str
    kind: str
    clip: Path
    """The file that is edited."""
    frames: Path | None
    """Where the source's frames are scored from, if not from `clip`."""
    flags: Mapping[str, Any]
    """For `config.compose`: prompts, words and what else the row sets; values are text or plain numbers."""
    mask: Path | None
    """What may change, for scoring: an image, a video or a folder of frames, True where a value is > `mask_above`."""
    truth: Path | None
    """The true edit, a video or a folder of frames."""
    questions: Questions | None
    edit_places: tuple[str, ...]
    """Relative places where another method's edit of this sample may lie: folders of frames, or videos."""
    problem: str | None
    """Why this sample cannot be edited or scored."""
    mask_above: int = 127


@dataclass(frozen=True)
class Dataset:
    """Samples under one name, in the order of their rows; at least one, each (name, edit) once."""

    name: str
    samples: tuple[Sample, ...]


def dataset(name: str, where: str, samples: Iterable[tuple[str, Sample]], apart: str = "") -> Dataset:
    """Samples, each after the place that it came from; raises ValueError for none, and for a (clip, edit) twice.

    `apart` says what to write so that two edits of one clip have two names.
    """
    seen: dict[tuple[str, str], str] = {}
    found = []
    for place, sample in samples:
        if other := seen.get((sample.name, sample.edit)):
            raise InputError(
                f"{place}: clip {sample.name!r} has an edit {sample.edit!r} already, in {other}{apart and f': {apart}'}"
            )
        seen[sample.name, sample.edit] = place
        found.append(sample)
    if not found:
        raise InputError(f"{where} is empty: a dataset has at least one edit")
    return Dataset(name, tuple(found))


def safe(name: str) -> str:
    """A name as a file may have it: letters, digits and . _ - alone, at most 80 of them."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80] or "unnamed"


def own_places(clip: str, edit: str) -> tuple[str, ...]:
    """Where an edit lies in a folder of edits that follows our names."""
    return f"{clip}/{edit}", f"{clip}/{edit}.mp4"


def missing(path: Path | None, what: str, name: str) -> list[str]:
    """A complaint about a file that is not there or a folder without frames; none without a path."""
    if path is None or path.is_file():
        return []
    if not path.is_dir():
        return [f"{what} {name} is missing"]
    return [] if frame_files(path) else [f"{what} {name} has no frames"]


def check_inside(root: Path, path: Path | None, what: str) -> None:
    """Raise ValueError, opened by `what`, for a file of a folder that leaves the dataset's root by a symbolic link."""
    if path is not None and path.is_dir():
        for file in frame_files(path):
            if file.is_symlink():
                inside(root, file.relative_to(root).as_posix(), what, "the dataset's folder")
