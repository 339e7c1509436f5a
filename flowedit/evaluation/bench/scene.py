"""One seeded scene and kind of edit by every method, as a job: edited, scored, and kept as small clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from flowedit.config.schema import Settings
from flowedit.evaluation.bench.score import Truth, nearest, references, score, truth
from flowedit.evaluation.datasets.sample import Scenes
from flowedit.evaluation.edit_job import editor_of, job_settings, weights
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.evaluation.methods import Method
from flowedit.evaluation.model_job import view
from flowedit.evaluation.results.summary import CEILING, FLOOR
from flowedit.machine import digest, versions
from flowedit.media.writer import Writer
from flowedit.messages import InputError
from flowedit.metrics.preference import preference
from flowedit.pipeline.api import Editor
from flowedit.pipeline.plan import native_size, network_evaluations
from flowedit.pocket import Edit, Vocabulary, edit
from flowedit.types import Backbone, Monitor, Side

FPS = Fraction(8)

TASKS = {"remove": "remove", "add": "add", "recolour": "recolour"}
"""Kinds of edit that are another task than to replace."""

SOURCE, TRUTH, EDIT = "source.mp4", "truth.mp4", "edit.mp4"


@dataclass(frozen=True)
class SceneSpec:
    """A scene by its seed, a kind of edit, and a method; None is the scene itself, with its references."""

    seed: int
    kind: str
    method: Method | None
    settings: Settings
    shadows: bool = False


class Verdict(NamedTuple):
    """The name that one edited object should have become, and the name that it is nearest to."""

    kind: str
    method: str
    right: str
    nearest: str


def task_of(kind: str) -> dict[str, str]:
    """What a kind of edit brings to the settings of a method."""
    return {"task": TASKS.get(kind, "replace")}


def true_edit(seed: int, kind: str, backbone: Backbone, shadows: bool = False) -> Edit:
    """The scene of a seed and its true edit, in the backbone's size and what it learned."""
    size, frames, learned = native_size(backbone.spec), backbone.spec.trained_frames, vocabulary_of(backbone)
    return edit(seed, kind, size, frames, learned, shadows=shadows)


def of_scene(settings: Settings, true: Edit, seed: int) -> Settings:
    """The settings with the captions, words, seed and size of a scene."""
    return replace(
        settings,
        source=true.source.caption,
        target=true.target.caption,
        source_words=", ".join(true.source_words),
        target_words=", ".join(true.target_words),
        seed=seed,
        size=f"{true.source.frames.shape[2]}x{true.source.frames.shape[1]}",
        composite=False,
        cuts="none",
    )


def scene_jobs(methods: Sequence[Method], scenes: Scenes) -> list[tuple[SceneSpec, Job]]:
    """The jobs of every kind of edit on the scenes of seeds first_seed ... first_seed + count - 1.

    First the scene's own, with what its references score, then one for each method.
    """
    checkpoint = weights(methods[0].settings)
    runtime = job_settings(methods[0].settings)["runtime"]
    jobs = []
    settled = {(kind, m.name): m.on(task_of(kind)) for kind in scenes.kinds for m in methods}
    for seed in range(scenes.first_seed, scenes.first_seed + scenes.count):
        for kind in scenes.kinds:
            for method in (None, *methods):
                settings = methods[0].settings if method is None else settled[kind, method.name]
                spec = SceneSpec(seed, kind, method, settings, scenes.shadows)
                how = runtime if method is None else job_settings(settings)
                id = digest("bench scene", versions(), seed, kind, scenes.shadows, how, checkpoint)
                label = f"{kind}, seed {seed}" + (f", {method.name}" if method else "")
                cost = 0 if method is None else network_evaluations(settings)
                shares = seed, kind  # its truth, which takes longer than an edit
                jobs.append((spec, Job(id, label, work, spec, cost, shares=shares)))
    return jobs


def work(spec: SceneSpec, folder: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """One method on one scene, or the scene's references: values by name, what the objects became, and a clip.

    Raises FloatingPointError for an edit that gives NaN.
    """
    editor = editor_of(spec.settings, shelf)
    editor.backbone.ready()
    # the methods of a scene follow each other
    key = spec.seed, spec.kind, spec.shadows, editor.backbone
    reference = shelf.keep("truth", key, lambda: _truth(spec, editor.backbone))
    true = reference.edit
    if spec.method is None:
        write_clip(folder / SOURCE, true.source.frames)
        write_clip(folder / TRUTH, true.target.frames)
        limits = references(reference)
        limits[FLOOR] |= _preferred(editor.backbone, true.source.frames, reference)
        limits[CEILING] |= _preferred(editor.backbone, true.target.frames, reference)
        return {"prompts": [true.source.caption, true.target.caption], "values": limits}
    frames, values = _edited(spec.settings, editor, spec.seed, reference)
    values |= _preferred(editor.backbone, frames, reference)
    write_clip(folder / EDIT, frames)
    verdicts = [[choice.right, nearest(frames, choice)] for choice in reference.choices]
    return {"values": {spec.method.name: values}, "verdicts": verdicts}


@torch.no_grad()
def _preferred(backbone: Backbone, frames: np.ndarray, reference: Truth) -> dict[str, float]:
    """What the backbone says of the frames under both captions, with the same noise for every edit of a scene."""
    captions: dict[Side, str] = {"source": reference.edit.source.caption, "target": reference.edit.target.caption}
    return {"target_preference": preference(view(backbone, backbone.encode(frames), captions))}


def _truth(spec: SceneSpec, backbone: Backbone) -> Truth:
    def through(frames: np.ndarray) -> np.ndarray:
        return _frames(backbone, backbone.encode(frames), len(frames))

    learned, true = vocabulary_of(backbone), true_edit(spec.seed, spec.kind, backbone, spec.shadows)
    return truth(true, learned, through, backbone.spec.frames_per_latent, backbone.spec.latent_size)


def write_clip(path: Path, frames: np.ndarray) -> None:
    """Frames to be looked at, without loss but for their colours' resolution."""
    with Writer(path, frames.shape[1:3], FPS, crf=0) as writer:
        writer.write(frames)


def vocabulary_of(backbone: Backbone) -> Vocabulary:
    """What a backbone of the pocket world learned; raises ValueError for any other."""
    if backbone.spec.world is None:
        raise InputError(f"{backbone.spec.name} {STRANGE}")
    return Vocabulary(**backbone.spec.world)


STRANGE = "is no checkpoint of the pocket world: the true edits of its clips are not known"


def _edited(settings: Settings, editor: Editor, seed: int, reference: Truth) -> tuple[np.ndarray, dict[str, float]]:
    true = reference.edit
    settings = of_scene(settings, true, seed)
    result = editor.edit_frames(true.source.frames, fps=FPS, settings=settings)
    costs = {
        "network_evaluations": float(result.run["network_evaluations"]),
        "token_evaluations": float(result.run["token_evaluations"]),
        "seconds": round(sum(phase["seconds"] for phase in result.run["phases"].values()), 3),
    }
    return result.frames, score(result.frames, result.latent_mask, reference) | costs


def _frames(backbone: Backbone, z: torch.Tensor, count: int) -> np.ndarray:
    return np.concatenate(list(backbone.decode(z)))[:count]
