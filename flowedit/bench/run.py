"""Seeded scenes x kinds of edit x methods: run, in this process or several, and gathered as rows."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from flowedit.bench.methods import Method
from flowedit.bench.score import Truth, nearest, score, truth
from flowedit.job import Job
from flowedit.pocket import KINDS, Vocabulary, edit
from flowedit.run import Quiet, load_backbone
from flowedit.steer import check_editor, make_grid, steer
from flowedit.types import Backbone, Monitor


class Row(NamedTuple):
    """One value."""

    seed: int
    kind: str
    mode: str
    metric: str
    value: float


class Found(NamedTuple):
    """What one edited object was, should have become, and is nearest to."""

    kind: str
    mode: str
    right: str
    nearest: str


@dataclass
class Bench:
    """All rows, what the objects became, and the pictures of some scenes (clips uint8 (F, H, W, 3) by column)."""

    rows: list[Row] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    pictures: list[tuple[str, dict[str, np.ndarray]]] = field(default_factory=list)


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
    kept to be shown. All methods share a backbone of the pocket world. Raises ValueError for another backbone, an
    unknown kind, or a method that its settings refuse.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"unknown kind {unknown[0]!r}: one of {', '.join(KINDS)}")
    if scenes < 1 or first_seed < 0 or workers < 1:
        raise ValueError(f"at least 1 scene and 1 worker from seed 0 up, not {scenes}, {workers}, seed {first_seed}")
    monitor, made = monitor or Quiet(), Bench()
    for method in methods:
        check_editor(method.settings, len(make_grid(method.settings, _load(methods))) - 1)
    places = [(seed, kind) for seed in range(first_seed, first_seed + scenes) for kind in kinds]
    shown = {place for place, _ in zip(_spread(places, len(kinds)), range(pictures), strict=False)}
    jobs = [(methods, seed, kind, (seed, kind) in shown) for seed, kind in places]
    monitor.phase("bench", len(jobs) * len(methods))
    for part in _each(jobs, workers):
        made.rows += part.rows
        made.found += part.found
        made.pictures += part.pictures
        monitor.advance(len(methods))
    return made


def vocabulary(backbone: Backbone) -> Vocabulary:
    """What a backbone of the pocket world learned; raises ValueError for any other."""
    if backbone.world is None:
        raise ValueError(f"{backbone.name} is no checkpoint of the pocket world: its true edits are not known")
    return Vocabulary(**backbone.world)


def _each(jobs: list[Any], workers: int) -> Iterator[Bench]:
    if workers == 1:
        yield from map(_scene, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _deaf) as pool:
        try:
            yield from pool.map(_scene, jobs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _deaf() -> None:
    """A worker leaves Ctrl-C to the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_LOADED: dict[str, Backbone] = {}
"""This process's backbone; a worker loads it once."""


def _load(methods: Sequence[Method]) -> Backbone:
    chosen = {(method.settings.backbone, method.settings.runtime) for method in methods}
    if len(chosen) > 1:
        raise ValueError("one backbone and runtime for all methods of a bench")
    key = repr(chosen)
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load_backbone(methods[0].settings)
        vocabulary(_LOADED[key])
    return _LOADED[key]


def _scene(job: tuple[Sequence[Method], int, str, bool]) -> Bench:
    """One kind of edit on one scene by every method."""
    methods, seed, kind, shown = job
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _scored(methods, seed, kind, shown)
    finally:
        torch.set_num_threads(threads)


def _scored(methods: Sequence[Method], seed: int, kind: str, shown: bool) -> Bench:
    backbone = _load(methods)
    known, size = vocabulary(backbone), (backbone.latent_size[0] * 8, backbone.latent_size[1] * 8)
    true = edit(seed, kind, size, backbone.trained_frames, known)

    def through(frames: np.ndarray) -> np.ndarray:
        return np.concatenate(list(backbone.decode(backbone.encode(frames))))[: len(frames)]

    reference = truth(true, known, through, backbone.frames_per_latent)
    made, columns = Bench(), {"source": true.source.frames}
    for method in methods:
        frames, rows, found = _edited(method, backbone, seed, reference)
        made.rows += rows
        made.found += found
        columns[method.name] = frames
    if shown:
        made.pictures.append((f"{kind}: {true.target.caption}", {**columns, "truth": true.target.frames}))
    return made


def _edited(
    method: Method, backbone: Backbone, seed: int, reference: Truth
) -> tuple[np.ndarray, list[Row], list[Found]]:
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
    z, _, mask = steer(job, true.source.frames, make_grid(settings, backbone))
    frames = np.concatenate(list(backbone.decode(z)))[: len(true.source.frames)]
    values = score(frames, mask, reference) | {"network_evaluations": float(job.facts["network_evaluations"])}
    rows = [Row(seed, true.kind, method.name, metric, value) for metric, value in values.items()]
    found = [Found(true.kind, method.name, c.right, nearest(frames, c)) for c in reference.choices]
    return frames, rows, found


def _spread(places: list[tuple[int, str]], kinds: int) -> Iterator[tuple[int, str]]:
    """The places in an order that takes a new seed and a new kind each time, and then all others."""
    first = [places[i * kinds + i % kinds] for i in range(len(places) // kinds)]
    yield from first
    yield from (place for place in places if place not in set(first))
