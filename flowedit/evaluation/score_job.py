"""The scores of all edits of one clip as a job: source and edits read side by side, a few frames at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flowedit import machine
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.machine import IMAGES, digest, digest_file, versions
from flowedit.media.footage import Footage, open_footage
from flowedit.media.mask_file import read_mask_frames
from flowedit.media.pixels import resize
from flowedit.messages import InputError, one_line
from flowedit.metrics.part import Once, Questions, Stretch, Tools
from flowedit.metrics.scoring import Scorer
from flowedit.types import Monitor

CHUNK, PIXELS = 16, 1_000_000
"""The most frames and pixels of a clip in memory at once; with all that is made of them some hundred bytes a pixel."""

FIVE_STRIDE = 8
"""FiVE-Bench scores every 8th frame (Li et al. 2025)."""


@dataclass(frozen=True)
class ScoreSpec:
    """What edits are compared with: `indices` are the source's frames that they show, None for all.

    Of these every `stride`th is scored. `mask` says what may change, where its value is above `mask_above`. `edits`
    are the files, each under the id of its scores.
    """

    source: Path
    indices: tuple[int, ...] | None
    mask: Path | None
    mask_above: int
    truth: Path | None
    target: str
    questions: Questions | None
    metrics: tuple[str, ...]
    stride: int
    flow: Literal["dis", "raft"]
    device: str
    edits: tuple[tuple[str, Path], ...] = ()


def score_id(spec: ScoreSpec, edit: str) -> str:
    """The id of one edit's scores; `edit` is the id of the job that makes it, or the hash of its bytes."""
    questions = (
        None if spec.questions is None else [spec.questions.source, spec.questions.target, spec.questions.choice]
    )
    files = [None if file is None else digest_file(file) for file in (spec.source, _there(spec.mask), spec.truth)]
    frames = None if spec.indices is None else list(spec.indices)
    how = [spec.mask_above, spec.target, questions, list(spec.metrics), spec.stride, spec.flow]
    return digest("score", versions(), edit, *files, frames, *how)


def _there(mask: Path | None) -> Path | None:
    """A mask that is missing costs the metrics that need one, and no others."""
    return mask if mask is not None and mask.exists() else None


def score_job(spec: ScoreSpec, edits: Sequence[tuple[str, Path]], label: str) -> Job:
    """One job for the scores of several edits, (id, file) each, of one clip: what the source needs is done once."""
    return Job(digest("scores", *(id for id, _ in edits)), label, work, replace(spec, edits=tuple(edits)))


def work(spec: ScoreSpec, folder: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """Score the edits; by id `values`, `failures` and `notices`, or `failure` where an edit cannot be read.

    A metric that fails is a reason instead of a value, and the others stand.
    """
    shelf.drop("editor")  # the networks of metrics are large themselves
    source = open_footage(spec.source)
    indices = list(range(source.count)) if spec.indices is None else list(spec.indices)
    size = max(1, min(CHUNK, PIXELS // (source.size[0] * source.size[1]), len(indices) // 4))
    found: dict[str, dict[str, Any]] = {}
    running: list[RunningScore] = []
    for id, path in spec.edits:
        try:
            running.append(RunningScore(id, path, spec, source, indices, size))
        except (ValueError, OSError) as error:
            found[id] = {"failure": one_line(error)}
    frames = max((each.frames for each in running), key=lambda each: len(each.edit), default=None)
    beside: dict[str, SideStream] = {}
    told: list[str] = []
    if frames is not None:
        beside["mask"] = SideStream(_masks(spec, source, frames, size, told.append))
        beside["truth"] = SideStream(_truths(spec, source, frames, size))
        monitor.phase("score", len(frames.source))
    for before in () if frames is None else source.read(frames.source, size):
        mask, truth, once = beside["mask"].next(), beside["truth"].next(), Once()
        for each in running:
            each.add(before, mask, truth, once)
        monitor.advance(len(before))
    # What has no mask because its file is bad says so, and not that it has none.
    reasons = {LACKING[name]: part.reason for name, part in beside.items() if part.reason}
    return {"scores": found | {each.id: each.result(reasons, told) for each in running}}


class RunningScore:
    """One edit that is being scored; raises ValueError or OSError if it cannot be opened."""

    def __init__(
        self, id: str, path: Path, spec: ScoreSpec, source: Footage, indices: Sequence[int], size: int
    ) -> None:
        edit = open_footage(path)
        whole = edit.count == source.count != len(indices)  # made of the whole clip, of which a part is scored
        count = len(indices) if whole else min(len(indices), edit.count)
        self.id, self.notices, self._size, self._failure = id, list[str](), source.size, ""
        if edit.count != len(indices) and not whole:
            told = f"the edit has {edit.count} frames and its clip {len(indices)}: the first {count} are scored"
            self.notices.append(told)
        if edit.size != source.size:
            self.notices.append(f"the edit is {_size(edit)} and its clip {_size(source)}: it is resized to be scored")
        own = range(0, count, spec.stride)
        places = tuple(indices[i] for i in own)
        self.frames = FrameChoice(places, places if whole else tuple(own), source.count, len(indices))
        tools = Tools(
            target=spec.target,
            questions=spec.questions,
            flow=spec.flow,
            device=machine.find_device(spec.device),
            total=len(own),
        )
        self._scorer = Scorer(spec.metrics, tools)
        self._chunks = edit.read(self.frames.edit, size)

    def add(self, source: np.ndarray, mask: np.ndarray | None, truth: np.ndarray | None, beside: Once) -> None:
        """The next frames, beside the source's, where this edit has some."""
        if self._failure:
            return
        try:
            after = next(self._chunks, None)
            if after is not None:
                n = len(after)
                others = (None if shown is None else shown[:n] for shown in (mask, truth))
                self._scorer.add(Stretch(source[:n], resize(after, self._size), *others), beside)
        except (ValueError, OSError) as error:
            self._failure = one_line(error)

    def result(self, reasons: dict[str, str], told: list[str]) -> dict[str, Any]:
        """What came of it, with the notices `told`; `reasons` stand for what a metric without mask or truth says."""
        if self._failure:
            return {"failure": self._failure}
        scores = self._scorer.scores()
        failures = {name: reasons.get(reason, reason) for name, reason in scores.failures.items()}
        return {"values": scores.values, "failures": failures, "notices": [*self.notices, *told]}


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
            self._chunks, self.reason = None, one_line(error)
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
