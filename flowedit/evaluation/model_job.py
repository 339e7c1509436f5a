"""What the backbone in use says of an edit, as a job: it is encoded again, and looked at under both prompts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.evaluation.edit_job import editor_of, job_settings, weights
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.flow import noise, windows
from flowedit.machine import digest, digest_file, versions
from flowedit.media import reader
from flowedit.media.probe import probe
from flowedit.messages import first_line
from flowedit.metrics.catalogue import METRICS
from flowedit.metrics.part import ERRORS, ModelView
from flowedit.pipeline.plan import brief, make_plan
from flowedit.pipeline.record import Session
from flowedit.pipeline.source import Clip, cut_places, open_clip, working_frames
from flowedit.pipeline.steer import encode
from flowedit.types import Backbone, Monitor, Side

SEED = 0
"""Of the noise, whatever the seed of an edit: edits are compared under one noise."""

OWN = (
    "backbone",
    "runtime",
    "source",
    "target",
    "size",
    "frames",
    "start",
    "fps",
    "cuts",
    "frame_by_frame",
    "fit",
    "window",
)
"""Settings that the values depend on."""


@dataclass(frozen=True)
class ModelSpec:
    """An edit of the clip that the settings name; the clip itself where it is None."""

    settings: Settings
    edit: Path | None
    metrics: tuple[str, ...]


def model_job(spec: ModelSpec, edit: str, label: str, threads: int | None, fetch: bool) -> Job | None:
    """The job of one edit's values; `edit` is the id of the job that makes it, or the hash of its bytes.

    None where the backbone is not here, and not to be fetched. Raises as `edit_job`.
    """
    settings = spec.settings
    assert settings.clip is not None
    checkpoint = weights(settings, fetch)
    if checkpoint is None:
        return None
    values = job_settings(settings)
    own = [[values[name] for name in (*OWN, "window_overlap")], digest_file(Path(settings.clip))]
    id = digest("model", versions(), own, edit, checkpoint, list(spec.metrics), threads)
    return Job(id, f"{label}: target", work, spec, threads=threads)


def work(spec: ModelSpec, folder: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """The metrics of one edit; one that fails is a reason instead of a value, and the others stand."""
    backbone = editor_of(spec.settings, shelf).backbone
    session = Session(backbone.device, monitor)
    sums = dict.fromkeys(spec.metrics, 0.0)
    failures: dict[str, str] = {}
    count = 0
    for seen, frames in _views(spec, backbone, session):  # one shot's latent at a time
        count += frames
        for name in (name for name in spec.metrics if name not in failures):
            model = METRICS[name].model
            assert model is not None
            try:
                with torch.no_grad():
                    sums[name] += frames * model(seen)
            except ERRORS as error:
                failures[name] = first_line(error)
    values = {name: value / count for name, value in sums.items() if name not in failures}
    return {"values": values, "failures": failures, "notices": []}


def view(backbone: Backbone, x: Tensor, prompts: Mapping[Side, str]) -> ModelView:
    """What a backbone sees of a latent x (1, C, F, h, w) under both prompts, with one noise for all edits of a clip."""
    x = x.to(backbone.device)
    velocities = {side: backbone.velocity(backbone.embed(text)) for side, text in prompts.items()}
    return ModelView(x, velocities, noise.gaussian(SEED, tuple(x.shape), x.device), backbone.knots)


def _views(spec: ModelSpec, backbone: Backbone, session: Session) -> Iterator[tuple[ModelView, int]]:
    """What the backbone sees of each shot, and the shot's frames; shots are those of the source."""
    settings = spec.settings
    source = open_clip(settings)
    cuts = cut_places(settings, source, session)
    clip = source if spec.edit is None else _whole(spec.edit)
    count = len(clip.selection.indices)
    plan = make_plan(brief(settings), backbone, clip, [cut for cut in cuts if cut < count])
    prompts: dict[Side, str] = {"source": settings.source or "", "target": settings.target or ""}
    for shot in plan.shots:
        with torch.no_grad():
            x = encode(backbone, working_frames(clip, shot), session)
            seen = view(windows.over(backbone, shot.windows), x, prompts)
        yield seen, shot.geometry.source_frames


def _whole(path: Path) -> Clip:
    video = probe(path)
    return Clip(video, reader.select(video, 0, None, None))
