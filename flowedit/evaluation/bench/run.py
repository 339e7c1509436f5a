"""A whole bench, as the command line asks for it: its scenes as jobs, gathered, tabled, and written."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import RenderableType

from flowedit.evaluation import files
from flowedit.evaluation.bench.scene import (
    EDIT,
    SOURCE,
    STRANGE,
    TRUTH,
    SceneSpec,
    Verdict,
    of_scene,
    scene_jobs,
    task_of,
    true_edit,
    vocabulary_of,
)
from flowedit.evaluation.bench.show import agreement, confusion, examples
from flowedit.evaluation.datasets.sample import Scenes
from flowedit.evaluation.engine import drive, pools
from flowedit.evaluation.engine.drive import Outcome
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.store import Store, open_store
from flowedit.evaluation.gather import Evaluation
from flowedit.evaluation.methods import (
    PER_CLIP,
    Lost,
    Method,
    able,
    cannot,
    equalise,
    hurried,
    left_out,
    methods,
    set_apart,
    twins,
)
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison
from flowedit.evaluation.report.page import Exhibit
from flowedit.evaluation.results import rows, tables
from flowedit.evaluation.results.rows import JOB, Row, failures
from flowedit.evaluation.results.summary import FLOOR
from flowedit.media.footage import open_footage
from flowedit.media.formats.forms import WRITTEN
from flowedit.messages import FileError, InputError
from flowedit.pipeline.api import Editor
from flowedit.pipeline.checks import check_brief, check_editor
from flowedit.pipeline.plan import brief, make_grid
from flowedit.pocket import KINDS
from flowedit.types import Monitor

REFUSED = {
    **dict.fromkeys((*PER_CLIP, "seed", "size", "frames"), "a scene of the bench brings its own"),
    **dict.fromkeys(
        ("composite", "start", "fps", "fit", "cuts", "frame_by_frame", "save", "log", *WRITTEN),
        "a bench reads and writes no clip",
    ),
    "runtime.threads": "each worker of a bench has one thread",
}

UNHEARD = ("dataset", "do", "edits", "sweep", "metrics", "protocol", "flow")
"""Keys of an evaluation that mean nothing here."""

PICTURES, SHOWN = 6, 40
"""How many scenes the picture and the page show."""

OUT = Path("outputs") / "bench"


@dataclass(frozen=True)
class Bench:
    """The results of a bench: rows, the verdict on each edited object, the methods in order, and the folder."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    methods: tuple[str, ...]
    folder: Path

    @property
    def failures(self) -> list[Row]:
        """The edits that gave no value."""
        return failures(self.rows)


def report(
    options: EvaluationOptions,
    flags: Mapping[str, Any],
    overrides: Sequence[str],
    monitor: Monitor,
    json: str | None = None,
) -> Bench:
    """Run every scene that is not done yet, and leave rows, tables, a picture and a page in one folder.

    `flags` and `overrides` hold for all methods; `json` names one more copy of the rows. Each scene runs on one
    thread, so that any number of workers gives the same rows. Raises ValueError for a backbone of another world, an
    unknown kind, or a method that its settings refuse; OSError where nothing can be written.
    """
    if bad := [key for key in UNHEARD if any(text.startswith(f"{key}=") for text in overrides)]:
        raise InputError(f"{bad[0]}: flowedit bench has its own; leave it out")
    chosen, lost = methods(options.chosen_modes, options.also, flags, overrides, REFUSED)
    if not chosen:
        raise InputError("no mode to compare: --modes inversion_free,inversion")
    if options.evaluations != "own":
        chosen, unpaid = equalise(chosen, None if options.evaluations == "equal" else options.evaluations)
        lost |= unpaid
    scenes = Scenes(options.first_seed, options.scenes, options.kinds or tuple(KINDS), options.shadows)
    if json is not None:
        _check_copy(Path(json))
    chosen, unable = _check(chosen, scenes, monitor)
    lost |= unable
    out = OUT if options.out is None else Path(options.out)
    with open_store(out) as store:
        planned = scene_jobs(chosen, scenes)
        same = twins({each.name: [job.id for spec, job in planned if spec.method == each] for each in chosen})
        told = (*left_out(same, chosen), *cannot(lost))
        chosen = [each for each in chosen if each.name not in same]
        for text in (*told, *set_apart(chosen), *hurried(chosen)):
            monitor.notice(text)
        planned = [(spec, job) for spec, job in planned if spec.method is None or spec.method.name not in same]
        jobs = [job for _, job in planned]
        with pools.open_pool(options.engine, len(jobs), chosen[0].settings.runtime.device) as pool:
            outcomes = drive.run(jobs, pool, store, monitor, name="bench", retries=options.engine.retries)
        made = _gathered(planned, outcomes, tuple(method.name for method in chosen), out)
        about: dict[str, Any] = {"first_seed": scenes.first_seed, "scenes": scenes.count, "kinds": list(scenes.kinds)}
        about |= {"shadows": scenes.shadows, "evaluations": options.evaluations, "by_kind": _by_kind(planned)}
        about["failures"] = [row._asdict() for row in made.failures]
        _write(made, about, Comparison(tuple(chosen), chosen[0], told=told), planned, outcomes, store, monitor)
    if json is not None:
        rows.write(made.rows, Path(json))
    return made


def bench_tables(made: Bench) -> Iterator[RenderableType]:
    """The tables, and one confusion matrix a method."""
    yield from tables.tables(made.rows, made.methods)
    yield from _more(made)


def _check(chosen: Sequence[Method], scenes: Scenes, monitor: Monitor) -> tuple[list[Method], Lost]:
    """Refuse what a bench cannot run before it runs, by each kind of edit, and notice the options without effect.

    What cannot make one of the kinds is left out of all, or refused if it was named: means are of the same scenes.
    """
    first = chosen[0].settings
    if len({method.settings.loaded for method in chosen}) > 1:
        raise InputError("all methods of a bench share one backbone and runtime: set them once, and not in --also")
    if first.backbone.repository is not None and first.backbone.path is None:
        raise InputError(f"{first.backbone.name} {STRANGE}")  # before a download
    backbone = Editor(settings=first).backbone
    vocabulary_of(backbone)

    seed = scenes.first_seed  # the scenes of one kind differ in nothing that is looked at here
    true = {kind: true_edit(seed, kind, backbone) for kind in scenes.kinds}

    def checked(method: Method) -> Method:
        for kind in scenes.kinds:
            made = brief(of_scene(method.on(task_of(kind)), true[kind], seed))
            try:
                check_brief(made)
                check_editor(made, len(make_grid(made.settings, backbone)) - 1)
            except InputError as error:
                raise InputError(f"kind {kind}: {error}") from error
        return method

    ours, lost = able(chosen, checked)
    for text in (text for method in ours for text in method.notices):
        monitor.notice(text)
    return ours, lost


def _gathered(
    planned: Sequence[tuple[SceneSpec, Job]], outcomes: Sequence[Outcome], names: tuple[str, ...], out: Path
) -> Bench:
    made: list[Row] = []
    verdicts: list[Verdict] = []
    for (spec, _), outcome in zip(planned, outcomes, strict=True):
        key = str(spec.seed), spec.kind, spec.kind
        name = spec.method.name if spec.method else FLOOR
        if outcome.result is None:
            made.append(Row(*key, name, JOB, None, outcome.failure))
            continue
        for known, values in outcome.result["values"].items():
            own = spec.method.name if spec.method else known  # another run may have made it under another name
            made += [Row(*key, own, metric, value) for metric, value in values.items()]
        verdicts += [Verdict(spec.kind, name, *each) for each in outcome.result.get("verdicts", ())]
    return Bench(tuple(made), tuple(verdicts), names, out)


def _by_kind(planned: Sequence[tuple[SceneSpec, Job]]) -> dict[str, dict[str, dict[str, Any]]]:
    """By kind of edit and method the settings that differ from the method's own: its task brings some."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for spec, _ in planned:
        if spec.method is not None and spec.method.name not in found.setdefault(spec.kind, {}):
            own = files.method_settings(spec.method)
            here = files.method_settings(replace(spec.method, settings=spec.settings))
            found[spec.kind][spec.method.name] = {key: here[key] for key in here if here[key] != own.get(key)}
    return {kind: {name: changed for name, changed in of.items() if changed} for kind, of in found.items()}


def _write(
    made: Bench,
    about: Mapping[str, Any],
    comparison: Comparison,
    planned: Sequence[tuple[SceneSpec, Job]],
    outcomes: Sequence[Outcome],
    store: Store,
    monitor: Monitor,
) -> None:
    seen = _spread(_exhibits(planned, outcomes, store), len(about["kinds"]))[:SHOWN]
    extra = {}
    if pictured := seen[:PICTURES]:
        _, png = cv2.imencode(".png", examples([_columns(each) for each in pictured])[..., ::-1])
        extra["examples.png"] = png.tobytes()
    facts = {"scenes": str(about["scenes"]), "kinds": ", ".join(about["kinds"]), "date": date.today().isoformat()}
    files.write(
        made.folder,
        "PocketBench",
        facts,
        Evaluation(made.rows, tuple(seen)),
        comparison,
        made.methods,
        about,
        monitor,
        also=list(_more(made)),
        extra=extra,
    )


def _exhibits(planned: Sequence[tuple[SceneSpec, Job]], outcomes: Sequence[Outcome], store: Store) -> list[Exhibit]:
    """What a page shows of each scene that was made."""
    exhibits: dict[tuple[int, str], Exhibit] = {}
    for (spec, job), outcome in zip(planned, outcomes, strict=True):
        folder, key = store.folder(job.id), (spec.seed, spec.kind)
        if outcome.result is None:
            continue
        if spec.method is None:
            before, after = outcome.result["prompts"]
            files = folder / SOURCE, folder / TRUTH
            exhibits[key] = Exhibit(str(spec.seed), spec.kind, spec.kind, before, after, *files, {}, {})
        elif key in exhibits:
            exhibits[key] = replace(exhibits[key], edits={**exhibits[key].edits, spec.method.name: folder / EDIT})
    return list(exhibits.values())


def _columns(each: Exhibit) -> tuple[str, dict[str, np.ndarray]]:
    """A scene of the picture: its title, and its clips by column."""
    files = {"source": each.clip, **each.edits, "truth": each.truth}
    clips = {}
    for name, path in files.items():
        assert path is not None
        footage = open_footage(path)
        clips[name] = np.concatenate(list(footage.read(range(footage.count))))
    return f"{each.kind}: {each.target}", clips


def _more(made: Bench) -> Iterator[RenderableType]:
    """What a bench shows beside its tables."""
    if text := agreement(made.rows, made.methods):
        yield text
    for name in made.methods:
        if matrix := confusion(made.verdicts, name):
            yield matrix


def _spread(exhibits: Sequence[Exhibit], kinds: int) -> list[Exhibit]:
    """The scenes in an order that takes a new seed and a new kind each time, and then all others."""
    first = [exhibits[i * kinds + i % kinds] for i in range(len(exhibits) // kinds)]
    return first + [each for each in exhibits if each not in first]


def _check_copy(path: Path) -> None:
    """Before hours of edits: the copy's folder is there and open to us."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise FileError(f"json {str(path)!r} cannot be written: give a file in a folder that exists and is writable")
