"""Many edits from Python: one clip by several methods, and a dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Literal, Unpack

from flowedit.backbones.options import BackboneOptions
from flowedit.config.compose import OPTIONS
from flowedit.declare import options_of
from flowedit.evaluation import compare as comparisons
from flowedit.evaluation import evaluate as evaluations
from flowedit.evaluation.files import Results
from flowedit.evaluation.options import EvaluationOptions, evaluation
from flowedit.evaluation.plan import comparison
from flowedit.media.formats.forms import BitDepth, Codec, Format
from flowedit.messages import InputError
from flowedit.pipeline.api import LoggingMonitor, flattened, path_of
from flowedit.pipeline.keywords import MethodOptions, Place, shows
from flowedit.types import Monitor

OWN = tuple(options_of(EvaluationOptions))
CLIP = tuple(name for name, option in OPTIONS.items() if option.role == "clip")
LISTS = ("modes", "also", "sweep", "metrics", "kinds", "edits")
ALONE = ("dataset", "do", "edits", "protocol", "first_seed", "scenes", "kinds", "shadows", "engine")
"""Options of an evaluation that one clip has not."""


class _ComparedOptions(MethodOptions, total=False):
    modes: Sequence[str]
    also: Sequence[str]
    sweep: Sequence[str]
    metrics: Sequence[str]
    evaluations: int | Literal["own", "equal"]
    flow: Literal["dis", "raft"]
    out: Place | None
    save: str | Sequence[str] | None
    log: str | Sequence[str] | None
    frames: int | None
    start: int
    fps: str | float | None
    format: Format
    codec: Codec
    crf: int | None
    bit_depth: BitDepth
    runtime: Mapping[str, Any]
    backbone: Place | Mapping[str, Any] | BackboneOptions


class _EvaluatedOptions(_ComparedOptions, total=False):
    do: Literal["edit", "score", "both"]
    edits: Sequence[str]
    protocol: Literal["all", "five"]
    first_seed: int
    scenes: int
    shadows: bool
    kinds: Sequence[str]
    engine: str


@shows(_ComparedOptions)
def compare(
    clip: Place,
    *,
    score_mask: Place | None = None,
    monitor: Monitor | None = None,
    cancel: Event | None = None,
    **options: Unpack[_ComparedOptions],
) -> Results:
    """One clip, or an edit's YAML file, by several methods at equal cost: `compare("clip.mp4", source=..., ...)`.

    `modes` are the methods ("all" for every one), `also` more of them as texts of overrides, `sweep` values that each
    takes (`["seed=0,1,2"]`); the other options are those of `flowedit.edit`
    and hold for all. The result names the folder, whose index.html shows it all, and holds the scores as rows.
    `cancel`, once set, ends it: edits that are done are kept and shown, the others are rows that say so.
    Raises flowedit.Error, in one line, before a model is loaded; flowedit.Cancelled where no edit was done.
    """
    if lost := [key for key in options if key in ALONE]:
        raise InputError(f"compare has no {', '.join(lost)}: it edits one clip (flowedit.evaluate has it)")
    own, clips, shared = _parted(options)
    scored = None if score_mask is None else Path(path_of(score_mask, "score_mask", "a video, an image or a folder"))
    sample = comparisons.one_clip(Path(path_of(clip, "the clip", "a video file")), clips, scored)
    settings, _ = evaluation(own, (), "compare")
    return comparisons.compare(settings, comparison(settings, shared, ()), sample, LoggingMonitor(monitor), cancel)


@shows(_EvaluatedOptions)
def evaluate(dataset: Place, *, monitor: Monitor | None = None, **options: Unpack[_EvaluatedOptions]) -> Results:
    """Every edit of a dataset by several methods, scored: `evaluate("edits.yaml", modes=["inversion_free"])`.

    `dataset` is a YAML list of edits, a folder in FiVE-Bench's layout, or "pocket". What is done is not done again.
    Options, result and errors are as in `compare`.
    """
    own, clips, shared = _parted(
        {**options, "dataset": path_of(dataset, "the dataset", "a list or a folder, or pocket")}
    )
    if clips:
        raise InputError(f"{', '.join(clips)}: each clip of a dataset brings its own")
    settings, _ = evaluation(own)
    return evaluations.evaluate(settings, comparison(settings, shared, ()), LoggingMonitor(monitor))


def _parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Options of the evaluation, of the clip, and those that hold for every method."""
    flat, objects = flattened(options)
    if objects:
        raise InputError(f"{', '.join(objects)}: give a name or a dictionary, as several methods share it")
    if "mode" in flat:
        raise InputError("mode: several methods are compared, name them in modes=[...]")
    own = {
        key: [value] if key in LISTS and isinstance(value, str) else value for key, value in flat.items() if key in OWN
    }
    clips = {key: value for key, value in flat.items() if key in CLIP and key not in own}
    return own, clips, {key: value for key, value in flat.items() if key not in (*own, *clips)}
