"""A dataset by several methods, edited and scored; and what a run of it, or of a comparison, would do."""

import functools
import tempfile
from pathlib import Path

from rich import box
from rich.table import Table

from flowedit.evaluation import files, places
from flowedit.evaluation.datasets import catalogue
from flowedit.evaluation.datasets.sample import Dataset, Sample, Scenes
from flowedit.evaluation.engine.store import Store, open_store
from flowedit.evaluation.files import Results
from flowedit.evaluation.gather import carry_out
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison, apart, at_budget, complete, metrics, plan, willing
from flowedit.evaluation.results.summary import UNEDITED
from flowedit.media import probe
from flowedit.messages import InputError
from flowedit.pocket import KINDS
from flowedit.types import QUIET, Monitor


def evaluate(options: EvaluationOptions, comparison: Comparison, monitor: Monitor, point: str | None = None) -> Results:
    """Every edit of a dataset by every method, scored and reported in one folder; done jobs are not run again.

    `point` names a folder inside it for the tables and the page of one point of a sweep; jobs are shared by all.
    Raises ValueError, OSError or ConnectionError, in one line and before a model is loaded, for what holds for all;
    what is wrong with one edit alone is a row.
    """
    comparison = at_budget(options, comparison)
    out = Path(options.out or Path("outputs") / "evaluate" / Path(_named(options)).stem)
    files.check_place(out if point is None else out / point, [_named(options)])
    dataset = complete(_dataset(options, out / "clips"), comparison.methods, monitor)
    threads, look = 1, functools.cache(probe.probe)
    fetch, base = options.do != "score", comparison.base
    planned = plan(dataset, comparison.methods, options, threads, fetch, look, base, monitor.notice)
    planned, comparison = apart(planned, comparison)
    names = (*comparison.names, *options.others)
    place = out if point is None else out / point
    with open_store(out) as store:
        shown = places.layout(planned, place / places.EDITS)
        made = carry_out(planned, options, comparison, store, monitor, threads, look=look, shown=shown)
        header = {"dataset": _named(options), "evaluation": files.about(options)}
        title = f"{dataset.name}: {len(dataset.samples)} edits, {len(names)} methods"
        by_kind = options.protocol == "five"
        files.write(
            place, title, files.facts(options, comparison.methods), made, comparison, names, header, monitor, by_kind
        )
    return Results(place, made.rows, names, by_kind, files.notes(comparison))


def job_table(options: EvaluationOptions, comparison: Comparison, sample: Sample | None = None) -> Table:
    """The jobs that `evaluate`, or `compare` of a sample, would run, their cost, and which are done; nothing is left.

    The cost is that of one window: a clip longer than its window takes it as many times as it has windows, which only
    the backbone can say. Raises as they do.
    """
    comparison = at_budget(options, comparison)
    with tempfile.TemporaryDirectory(prefix="flowedit-") as place:
        dataset = _dataset(options, Path(place)) if sample is None else Dataset(sample.name, (sample,))
        dataset = complete(dataset, comparison.methods, QUIET, ask=False)
        if sample is not None and dataset.samples[0].problem is None:
            comparison = willing(comparison, dataset.samples[0], probe.probe)
        kind = "evaluate" if sample is None else "compare"
        stem = Path(_named(options)).stem if sample is None else sample.name
        store = Store(Path(options.out or Path("outputs") / kind / stem))
        threads = 1 if sample is None else None
        planned = plan(dataset, comparison.methods, options, threads, fetch=False, base=comparison.base)
        planned, comparison = apart([p for p in planned if p.method != UNEDITED], comparison)
        table = Table(box=box.SIMPLE, title_justify="left")
        for name in ("clip", "edit", "method", "network evaluations", "state"):
            table.add_column(name, overflow="fold", justify="right" if name == "network evaluations" else "left")
        left = 0
        for p in planned:
            state, cost = p.failure or "made elsewhere", ""
            if p.job is not None:
                done = store.result(p.job.id) is not None
                state, cost = "done" if done else "to do", str(p.job.cost)
                left += 0 if done else p.job.cost
            table.add_row(p.sample.name, p.sample.edit, p.method, cost, state)
        scored = len(metrics(options)) if options.do != "edit" else 0
        table.title = f"{len(planned)} edits, {left} network evaluations to go (of one window), {scored} metrics each"
        table.caption, table.caption_justify = "\n".join(comparison.told) or None, "left"
    return table


def _named(options: EvaluationOptions) -> str:
    if options.dataset is None:
        raise InputError(f"no dataset: give {catalogue.choices()}")
    return options.dataset


def _dataset(options: EvaluationOptions, workspace: Path) -> Dataset:
    scenes = Scenes(options.first_seed, options.scenes, options.kinds or tuple(KINDS), options.shadows)
    return catalogue.read(_named(options), workspace.absolute(), scenes)
