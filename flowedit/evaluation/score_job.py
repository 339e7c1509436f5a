"""The scores of one edit as a job: source and edit read side by side, a few frames at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowedit import machine
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.machine import digest, digest_file, versions
from flowedit.media.footage import IMAGES, Footage, open_footage
from flowedit.media.mask_file import read_mask_frames
from flowedit.media.pixels import resize
from flowedit.messages import InputError
from flowedit.metrics.part import Questions, Stretch, Tools
from flowedit.metrics.scoring import score
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


def score_job(spec: ScoreSpec, edit: str, label: str) -> Job:
    """The job of one edit's scores; `edit` is the id of the job that makes it, or the hash of its bytes."""
    questions = (
        None if spec.questions is None else [spec.questions.source, spec.questions.target, spec.questions.choice]
    )
    files = [None if file is None else digest_file(file) for file in (spec.source, spec.mask, spec.truth)]
    frames = None if spec.indices is None else list(spec.indices)
    how = [spec.mask_above, spec.target, questions, list(spec.metrics), spec.stride, spec.flow]
    return Job(digest("score", versions(), edit, *files, frames, *how), f"{label}: scores", work, spec)


def work(spec: ScoreSpec, folder: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """Score one edit; a metric that fails is a reason instead of a value, and the others stand."""
    shelf.drop("editor")  # the networks of metrics are large themselves
    source, edit = open_footage(spec.source), open_footage(spec.edit)
    indices = list(range(source.count)) if spec.indices is None else list(spec.indices)
    count = min(len(indices), edit.count)
    notices: list[str] = []
    if edit.count != len(indices):
        notices.append(f"the edit has {edit.count} frames and its clip {len(indices)}: the first {count} are scored")
    if edit.size != source.size:
        notices.append(f"the edit is {_size(edit)} and its clip {_size(source)}: it is resized to be scored")
    own = list(range(0, count, spec.stride))
    frames = FrameChoice(tuple(indices[i] for i in own), tuple(own), source.count, len(indices))
    tools = Tools(
        target=spec.target,
        questions=spec.questions,
        flow=spec.flow,
        device=machine.find_device(spec.device),
        total=len(own),
    )
    size = max(1, min(CHUNK, len(own) // 4))  # two chunks are never half a clip
    beside = {
        "mask": SideStream(_masks(spec, source, frames, size, notices.append)),
        "truth": SideStream(_truths(spec, source, frames, size)),
    }
    parts = (
        Stretch(before, resize(after, source.size), beside["mask"].next(), beside["truth"].next())
        for before, after in zip(source.read(frames.source, size), edit.read(frames.edit, size), strict=True)
    )
    scores = score(spec.metrics, parts, tools)
    # What has no mask because its file is bad says so, and not that it has none.
    reasons = {LACKING[name]: part.reason for name, part in beside.items() if part.reason}
    failures = {name: reasons.get(reason, reason) for name, reason in scores.failures.items()}
    return {"values": scores.values, "failures": failures, "notices": notices}


LACKING = {"mask": "needs a mask", "truth": "needs the true edit"}
"""What a metric says that has none."""


@dataclass(frozen=True)
class FrameChoice:
    """The frames that are scored, by their place in the source and in the edit, and how many each has in all."""

    source: tuple[int, ...]
    edit: tuple[int, ...]
    in_source: int
    in_edit: int

    def of(self, count: int, what: str) -> tuple[int, ...]:
        """Their places in something of `count` frames; raises ValueError if it fits neither source nor edit."""
        if count not in (self.in_source, self.in_edit):
            fitting = " or ".join(map(str, sorted({self.in_source, self.in_edit})))
            raise InputError(f"the {what} has {count} frames: {fitting} would fit the clip or its edit")
        return self.source if count == self.in_source else self.edit


class SideStream:
    """Chunks that are read beside the frames; after a fault there are none, and `reason` says why."""

    def __init__(self, chunks: Iterator[np.ndarray] | None) -> None:
        self._chunks, self.reason = chunks, ""

    def next(self) -> np.ndarray | None:
        """The next chunk, or None."""
        if self._chunks is None:
            return None
        try:
            return next(self._chunks)
        except (ValueError, OSError) as error:
            self._chunks, self.reason = None, " ".join(str(error).split())
            return None


Say = Callable[[str], None]


def _masks(spec: ScoreSpec, source: Footage, frames: FrameChoice, size: int, say: Say) -> Iterator[np.ndarray] | None:
    if spec.mask is None:
        return None
    return _read_masks(spec.mask, spec.mask_above, source, frames, size, say)


def _read_masks(
    path: Path, above: int, source: Footage, frames: FrameChoice, size: int, say: Say
) -> Iterator[np.ndarray]:
    """As a generator, so that its faults come with the first chunk."""
    count = 1 if path.is_file() and path.suffix.lower() in IMAGES else open_footage(path).count
    places = frames.source if count == 1 else frames.of(count, f"mask {path}")
    yield from read_mask_frames(path, places, source.size, count, above, size, say)


def _truths(spec: ScoreSpec, source: Footage, frames: FrameChoice, size: int) -> Iterator[np.ndarray] | None:
    return None if spec.truth is None else _read_truths(spec.truth, source, frames, size)


def _read_truths(path: Path, source: Footage, frames: FrameChoice, size: int) -> Iterator[np.ndarray]:
    truth = open_footage(path)
    for chunk in truth.read(frames.of(truth.count, f"truth {path}"), size):
        yield resize(chunk, source.size)


def _size(footage: Footage) -> str:
    return f"{footage.size[1]}x{footage.size[0]}"
