"""The scores of one edit as a job: source and edit read side by side, a few frames at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowedit import __version__, backbones
from flowedit.clip import resize
from flowedit.engine import Task, digest, digest_file
from flowedit.footage import Footage, open_footage, read_mask_frames
from flowedit.metrics.part import Frames, Questions, Tools
from flowedit.metrics.score import score
from flowedit.types import Monitor

CHUNK = 16
"""The most frames of a clip in memory at once."""

FIVE_STRIDE = 8
"""FiVE-Bench scores every 8th frame (Li et al. 2025)."""


@dataclass(frozen=True)
class ScoreSpec:
    """What is compared, frame by frame: `indices` are the source's frames that the edit shows, None for all.

    Of these every `stride`th is scored. `mask` says what may change, where its value is above `mask_above`.
    """

    source: Path
    indices: tuple[int, ...] | None
    edit: Path
    mask: Path | None
    mask_above: int
    truth: Path | None
    target: str
    questions: Questions | None
    metrics: tuple[str, ...]
    stride: int
    flow: Literal["dis", "raft"]
    device: str


def score_task(spec: ScoreSpec, edit: str, label: str) -> Task:
    """The job of one edit's scores; `edit` is the id of the job that makes it, or the hash of its bytes."""
    questions = (
        None if spec.questions is None else [spec.questions.source, spec.questions.target, spec.questions.choice]
    )
    files = [None if file is None else digest_file(file) for file in (spec.source, spec.mask, spec.truth)]
    frames = None if spec.indices is None else list(spec.indices)
    how = [spec.mask_above, spec.target, questions, list(spec.metrics), spec.stride, spec.flow]
    return Task(digest("score", __version__, edit, *files, frames, *how), f"{label}: scores", work, spec)


def work(spec: ScoreSpec, folder: Path, monitor: Monitor) -> dict[str, Any]:
    """Score one edit; a metric that fails is told with its reason, and the others stand."""
    source, edit = open_footage(spec.source), open_footage(spec.edit)
    indices = list(range(source.count)) if spec.indices is None else list(spec.indices)
    count, notices = min(len(indices), edit.count), []
    if edit.count != len(indices):
        notices.append(f"the edit has {edit.count} frames and its clip {len(indices)}: the first {count} are scored")
    if edit.size != source.size:
        notices.append(f"the edit is {_size(edit)} and its clip {_size(source)}: it is resized to be scored")
    places = range(0, count, spec.stride)
    tools = Tools(
        target=spec.target,
        questions=spec.questions,
        flow=spec.flow,
        device=backbones.find_device(spec.device),
        total=len(places),
    )
    found = score(spec.metrics, _parts(spec, source, edit, [indices[i] for i in places], list(places)), tools)
    return {"values": found.values, "failures": found.failures, "notices": notices}


def _parts(spec: ScoreSpec, source: Footage, edit: Footage, theirs: list[int], own: list[int]) -> Iterator[Frames]:
    """Chunks of the frames at `theirs` in the source and at `own` in the edit; two chunks are never half a clip."""
    size = max(1, min(CHUNK, len(own) // 4))
    sources, edits = source.read(theirs, size), edit.read(own, size)
    masks = _masks(spec, source, theirs, size)
    truths = None if spec.truth is None else open_footage(spec.truth).read(own, size)
    for before, after in zip(sources, edits, strict=True):
        true = None if truths is None else resize(next(truths), source.size)
        yield Frames(before, resize(after, source.size), None if masks is None else next(masks), true)


def _masks(spec: ScoreSpec, source: Footage, indices: list[int], size: int) -> Iterator[np.ndarray] | None:
    if spec.mask is None:
        return None
    return read_mask_frames(spec.mask, indices, source.size, source.count, spec.mask_above, size)


def _size(footage: Footage) -> str:
    return f"{footage.size[1]}x{footage.size[0]}"
