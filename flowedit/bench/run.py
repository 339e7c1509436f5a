"""Seeded scenes x kinds of edit x methods: run, in this process or several, and gathered as rows."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from flowedit.bench.methods import Method
from flowedit.bench.score import Truth, nearest, score, truth
from flowedit.job import Job
from flowedit.pocket import KINDS, Vocabulary, edit
from flowedit.run import Quiet, load_backbone
from flowedit.source_clip import native_size
from flowedit.steer import check_editor, encode, make_grid, steer
from flowedit.types import Backbone, Monitor

TRAINING_SEEDS = 10_000_000_000
"""Training draws its scenes from here upwards, a bench below."""


class Row(NamedTuple):
    """One value."""

    seed: int
    kind: str
    mode: str
    metric: str
    value: float


class Found(NamedTuple):
    """What one edited object should have become, and what it is nearest to."""

    kind: str
    mode: str
    right: str
    nearest: str


class Failure(NamedTuple):
    """One edit that gave no value, and why."""

    seed: int
    kind: str
    mode: str
    reason: str


@dataclass
class Bench:
    """All rows, what the objects became, the pictures of some scenes (title, clips by column), and what failed."""

    rows: list[Row] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    pictures: list[tuple[str, dict[str, np.ndarray]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def bench(
    methods: Sequence[Method],
    first_seed: int,
    scenes: int,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    workers: int = 1,
    pictures: int = 6,
    monitor: Monitor | None = None,
) -> Bench:
    """Every kind of edit on the scenes of seeds first_seed ... first_seed + scenes - 1, by every method.

    Each worker is a process with one thread, so that any number of them gives the same rows; `pictures` scenes are
    kept to be shown. An edit that gives NaN is a failure of its own, the others go on. Raises ValueError for a
    backbone of another world, an unknown kind, or a method that its settings refuse; MemoryError if a worker dies.
    """
    monitor, made = monitor or Quiet(), Bench()
    _check(first_seed, scenes, kinds, workers)
    backbone = _load(methods)
    for method in methods:
        check_editor(method.settings, len(make_grid(method.settings, backbone)) - 1)
        for text in method.notices:
            monitor.notice(text)
    places = [(seed, kind) for seed in range(first_seed, first_seed + scenes) for kind in kinds]
    shown = {place for place, _ in zip(_spread(places, len(kinds)), range(pictures), strict=False)}
    jobs = [(methods, seed, kind, (seed, kind) in shown) for seed, kind in places]
    monitor.phase("bench", len(jobs) * len(methods))
    for part in _each(jobs, workers):
        made.rows += part.rows
        made.found += part.found
        made.pictures += part.pictures
        made.failures += part.failures
        monitor.advance(len(methods))
    return made


def _check(first_seed: int, scenes: int, kinds: Sequence[str], workers: int) -> None:
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"unknown kind {unknown[0]!r}: one of {', '.join(KINDS)}")
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError(f"kinds {', '.join(kinds) or 'none'}: name at least one, and each once")
    for name, value in (("scenes", scenes), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} {value}: at least 1")
    if not 0 <= first_seed <= TRAINING_SEEDS - scenes:
        raise ValueError(f"first_seed {first_seed}: 0 to {TRAINING_SEEDS} less the scenes; training drew those above")


def known(backbone: Backbone) -> Vocabulary:
    """What a backbone of the pocket world learned; raises ValueError for any other."""
    if backbone.world is None:
        raise ValueError(f"{backbone.name} {STRANGE}")
    return Vocabulary(**backbone.world)


STRANGE = "is no checkpoint of the pocket world: the true edits of its clips are not known"


def _each(jobs: list[Any], workers: int) -> Iterator[Bench]:
    if workers == 1:
        yield from map(_scene, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _quiet_worker) as pool:
        try:
            yield from pool.map(_scene, jobs)
        except BrokenProcessPool as error:
            raise MemoryError("a worker of the bench died, short of memory most likely: fewer --workers") from error
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()  # an interrupted bench does not finish the scenes it has begun
            raise


def _quiet_worker() -> None:
    """A worker leaves Ctrl-C to the process that started it, and keeps to its one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


_LOADED: dict[str, Backbone] = {}
"""This process's backbone; a worker loads it once."""


def _load(methods: Sequence[Method]) -> Backbone:
    chosen = {(method.settings.backbone, method.settings.runtime) for method in methods}
    if len(chosen) > 1:
        raise ValueError("one backbone and runtime for all methods of a bench")
    settings, key = methods[0].settings, repr(chosen)
    if settings.backbone.repository is not None and settings.backbone.path is None:
        raise ValueError(f"{settings.backbone.name} {STRANGE}")  # before a download
    if key not in _LOADED:
        _LOADED.clear()
        loaded = load_backbone(settings)
        known(loaded)
        _LOADED[key] = loaded
    return _LOADED[key]


def _scene(job: tuple[Sequence[Method], int, str, bool]) -> Bench:
    """One kind of edit on one scene by every method, on one thread."""
    methods, seed, kind, shown = job
    backbone, threads = _load(methods), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _scored(methods, backbone, seed, kind, shown)
    finally:
        torch.set_num_threads(threads)


def _scored(methods: Sequence[Method], backbone: Backbone, seed: int, kind: str, shown: bool) -> Bench:
    learned = known(backbone)
    true = edit(seed, kind, native_size(backbone), backbone.trained_frames, learned)

    def through(frames: np.ndarray) -> np.ndarray:
        return _frames(backbone, backbone.encode(frames), len(frames))

    reference = truth(true, learned, through, backbone.frames_per_latent, backbone.latent_size)
    made, columns = Bench(), {"source": true.source.frames}
    for method in methods:
        try:
            columns[method.name] = _edited(method, backbone, seed, reference, made)
        except FloatingPointError as error:
            made.failures.append(Failure(seed, kind, method.name, str(error)))
            columns[method.name] = np.zeros_like(true.source.frames)
    if shown:
        made.pictures.append((f"{kind}: {true.target.caption}", {**columns, "truth": true.target.frames}))
    return made


def _edited(method: Method, backbone: Backbone, seed: int, reference: Truth, made: Bench) -> np.ndarray:
    true = reference.edit
    settings = replace(
        method.settings,
        source=true.source.caption,
        target=true.target.caption,
        source_words=", ".join(true.source_words),
        target_words=", ".join(true.target_words),
        seed=seed,
    )
    job = Job(settings, backbone, Quiet())
    z, mask = steer(job, encode(job, true.source.frames), make_grid(settings, backbone))
    frames = _frames(backbone, z, len(true.source.frames))
    values = score(frames, mask, reference) | {"network_evaluations": float(job.facts["network_evaluations"])}
    made.rows += [Row(seed, true.kind, method.name, metric, value) for metric, value in values.items()]
    made.found += [Found(true.kind, method.name, c.right, nearest(frames, c)) for c in reference.choices]
    return frames


def _frames(backbone: Backbone, z: torch.Tensor, count: int) -> np.ndarray:
    return np.concatenate(list(backbone.decode(z)))[:count]


def _spread(places: list[tuple[int, str]], kinds: int) -> Iterator[tuple[int, str]]:
    """The places in an order that takes a new seed and a new kind each time, and then all others."""
    first = [places[i * kinds + i % kinds] for i in range(len(places) // kinds)]
    yield from first
    yield from (place for place in places if place not in set(first))
