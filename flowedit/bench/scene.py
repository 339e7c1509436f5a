"""One seeded scene and kind of edit by every method, as a job: edited, scored, and kept as small clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from flowedit import __version__
from flowedit.bench.score import Truth, nearest, references, score, truth
from flowedit.cost import network_evaluations
from flowedit.engine import Task, digest, digest_folder
from flowedit.evaluation.edits import resolved
from flowedit.job import Job
from flowedit.methods import Method
from flowedit.pocket import Vocabulary, edit
from flowedit.rows import JOB, Row
from flowedit.run import checkpoint, loaded
from flowedit.settings import Settings
from flowedit.source_clip import native_size
from flowedit.steer import encode, make_grid, steer
from flowedit.types import QUIET, Backbone, Monitor
from flowedit.writer import Writer

FPS = Fraction(8)
SOURCE, TRUTH = "source.mp4", "truth.mp4"


@dataclass(frozen=True)
class SceneSpec:
    """A scene by its seed, a kind of edit, and the methods."""

    seed: int
    kind: str
    methods: tuple[Method, ...]


class Found(NamedTuple):
    """What one edited object should have become, and what it is nearest to."""

    kind: str
    method: str
    right: str
    nearest: str


def scene_tasks(
    methods: Sequence[Method], first_seed: int, scenes: int, kinds: Sequence[str]
) -> list[tuple[SceneSpec, Task]]:
    """The jobs of every kind of edit on the scenes of seeds first_seed ... first_seed + scenes - 1."""
    weights = digest_folder(checkpoint(methods[0].settings))
    how = [[method.name, resolved(method.settings)] for method in methods]
    cost = sum(network_evaluations(method.settings) for method in methods)
    made = []
    for seed in range(first_seed, first_seed + scenes):
        for kind in kinds:
            spec = SceneSpec(seed, kind, tuple(methods))
            id = digest("scene", __version__, seed, kind, how, weights)
            made.append((spec, Task(id, f"{kind}, seed {seed}", work, spec, cost)))
    return made


def work(spec: SceneSpec, folder: Path, monitor: Monitor) -> dict[str, Any]:
    """Every method on one scene; what gives NaN is a row of its own, and the others go on."""
    backbone = loaded(spec.methods[0].settings)
    backbone.ready()
    learned = known(backbone)
    true = edit(spec.seed, spec.kind, native_size(backbone), backbone.trained_frames, learned)

    def through(frames: np.ndarray) -> np.ndarray:
        return _frames(backbone, backbone.encode(frames), len(frames))

    reference = truth(true, learned, through, backbone.frames_per_latent, backbone.latent_size)
    key = str(spec.seed), spec.kind, spec.kind
    rows = [
        Row(*key, method, metric, value)
        for method, values in references(reference).items()
        for metric, value in values.items()
    ]
    found: list[Found] = []
    write_clip(folder / SOURCE, true.source.frames)
    write_clip(folder / TRUTH, true.target.frames)
    for place, method in enumerate(spec.methods):
        try:
            frames, values = _edited(method.settings, backbone, spec.seed, reference)
        except FloatingPointError as error:
            rows.append(Row(*key, method.name, JOB, None, str(error)))
            continue
        rows += [Row(*key, method.name, metric, value) for metric, value in values.items()]
        found += [Found(spec.kind, method.name, c.right, nearest(frames, c)) for c in reference.choices]
        write_clip(folder / clip_name(place), frames)
    return {"prompts": [true.source.caption, true.target.caption], "rows": rows, "found": found}


def clip_name(place: int) -> str:
    """The file of the method at that place of the list."""
    return f"edit-{place}.mp4"


def write_clip(path: Path, frames: np.ndarray) -> None:
    """Frames to be looked at, without loss but for their colours' resolution."""
    with Writer(path, frames.shape[1:3], FPS, crf=0) as writer:
        writer.write(frames)


def known(backbone: Backbone) -> Vocabulary:
    """What a backbone of the pocket world learned; raises ValueError for any other."""
    if backbone.world is None:
        raise ValueError(f"{backbone.name} {STRANGE}")
    return Vocabulary(**backbone.world)


STRANGE = "is no checkpoint of the pocket world: the true edits of its clips are not known"


def _edited(settings: Settings, backbone: Backbone, seed: int, reference: Truth) -> tuple[np.ndarray, dict[str, float]]:
    true = reference.edit
    settings = replace(
        settings,
        source=true.source.caption,
        target=true.target.caption,
        source_words=", ".join(true.source_words),
        target_words=", ".join(true.target_words),
        seed=seed,
    )
    job = Job(settings, backbone, QUIET)
    z, mask = steer(job, encode(job, true.source.frames), make_grid(settings, backbone))
    with job.meter.phase("decode"):
        frames = _frames(backbone, z, len(true.source.frames))
    costs = {
        "network_evaluations": float(job.facts["network_evaluations"]),
        "seconds": round(sum(phase["seconds"] for phase in job.meter.phases.values()), 3),
    }
    return frames, score(frames, mask, reference) | costs


def _frames(backbone: Backbone, z: torch.Tensor, count: int) -> np.ndarray:
    return np.concatenate(list(backbone.decode(z)))[:count]
