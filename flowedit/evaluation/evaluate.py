"""Evaluations as the command line asks for them: a dataset by several methods, or one clip by all modes."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from flowedit.evaluation.compare import write_grid
from flowedit.evaluation.datasets import catalogue, pocket
from flowedit.evaluation.datasets.sample import Dataset, Sample
from flowedit.evaluation.engine import pools
from flowedit.evaluation.engine.store import Store, open_store
from flowedit.evaluation.files import write
from flowedit.evaluation.gather import Evaluation, gather
from flowedit.evaluation.methods import Method, equalise
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison, PlannedEdit, complete, metrics, plan
from flowedit.evaluation.results.rows import Row, failures
from flowedit.messages import InputError
from flowedit.pipeline import run
from flowedit.pipeline.record import plain
from flowedit.pocket import KINDS
from flowedit.types import QUIET, Monitor


@dataclass(frozen=True)
class Results:
    """What a command tells: where all lies, the rows, and the methods in order; `by_kind` asks for FiVE's mean."""

    folder: Path
    rows: tuple[Row, ...]
    names: tuple[str, ...]
    by_kind: bool

    @property
    def failed(self) -> bool:
        """Whether any edit or score has a reason instead of a value."""
        return bool(failures(self.rows))


def evaluate(settings: EvaluationOptions, given: Comparison, monitor: Monitor, point: str | None = None) -> Results:
    """Every edit of a dataset by every method, scored and reported in one folder; done jobs are not run again.

    `point` names a folder inside it for the tables and the page of one point of a sweep; jobs are shared by all.
    Raises ValueError, OSError or ConnectionError, in one line and before a model is loaded, for what holds for all;
    what is wrong with one edit alone is a row.
    """
    chosen, names = _checked(settings, given)
    out = Path(settings.out or Path("outputs") / "evaluate" / Path(_named(settings)).stem)
    found = complete(_dataset(settings, out / "clips"), chosen, monitor)
    threads = 1
    planned = plan(found, chosen, settings, threads, fetch=settings.do != "score")
    with open_store(out) as store:
        made = _run(planned, settings, given, store, monitor, threads)
        facts = _facts(settings)
        about = {"dataset": _named(settings), "evaluation": _about(settings)}
        titled = f"{found.name}: {len(found.samples)} edits, {len(names)} methods"
        by_kind = settings.protocol == "five"
        place = out if point is None else out / point
        write(place, titled, facts, made, chosen, names, about, monitor, by_kind)
    return Results(place, made.rows, names, by_kind)


def compare(settings: EvaluationOptions, given: Comparison, sample: Sample, monitor: Monitor) -> Results:
    """One clip by every method, one after the other with the machine to itself, at equal network evaluations.

    SideStream an evaluation's files it leaves grid.mp4, the source and all edits. Raises as `evaluate` does, and
    ValueError for what is wrong with the clip.
    """
    chosen, names = _checked(settings, given)
    (sample,) = (found := complete(Dataset(sample.clip, (sample,)), chosen, monitor)).samples
    if sample.problem is not None:
        raise InputError(sample.problem)
    run.check(chosen[0].on({**sample.flags, "video": str(sample.video)}))
    settings = replace(settings, engine=replace(settings.engine, workers=settings.engine.workers or 1))
    out = Path(settings.out or Path("outputs") / "compare" / sample.clip)
    planned = plan(found, chosen, settings, None)
    with open_store(out) as store:
        made = _run(planned, settings, given, store, monitor, None, monitor)
        write_grid(planned, made.exhibits[0], out / "grid.mp4", monitor)
        about = {"clip": str(sample.video), "evaluation": _about(settings)}
        facts, titled = _facts(settings), f"{sample.clip}: {len(names)} methods"
        write(out, titled, facts, made, chosen, names, about, monitor)
    return Results(out, made.rows, names, False)


def job_table(settings: EvaluationOptions, given: Comparison, sample: Sample | None = None) -> Table:
    """The jobs that `evaluate`, or `compare` of a sample, would run, their cost, and which are done; nothing is left.

    The cost is one window's: a clip longer than its window takes it as many times as it has windows, which only the
    backbone can say.
    Raises as they do.
    """
    chosen, _ = _checked(settings, given)
    with tempfile.TemporaryDirectory(prefix="flowedit-") as place:
        found = _dataset(settings, Path(place)) if sample is None else Dataset(sample.clip, (sample,))
        found = complete(found, chosen, QUIET, ask=False)
        kind = "evaluate" if sample is None else "compare"
        stem = Path(_named(settings)).stem if sample is None else sample.clip
        store = Store(Path(settings.out or Path("outputs") / kind / stem))
        planned = plan(found, chosen, settings, 1 if sample is None else None, fetch=False)
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
            table.add_row(p.sample.clip, p.sample.edit, p.method, cost, state)
        scored = len(metrics(settings)) if settings.do != "edit" else 0
        table.title = f"{len(planned)} edits, {left} network evaluations to go (of one window), {scored} metrics each"
    return table


def _checked(settings: EvaluationOptions, given: Comparison) -> tuple[list[Method], tuple[str, ...]]:
    """The methods at the evaluations that are asked for, and all names; raises ValueError for what cannot be."""
    metrics(settings)
    chosen = list(given.methods)
    if settings.evaluations != "own" and chosen:
        chosen = equalise(chosen, None if settings.evaluations == "equal" else settings.evaluations)
    return chosen, (*(method.name for method in chosen), *settings.others)


def _named(settings: EvaluationOptions) -> str:
    if settings.dataset is None:
        raise InputError(f"no dataset: give {catalogue.choices()}")
    return settings.dataset


def _dataset(settings: EvaluationOptions, workspace: Path) -> Dataset:
    scenes = pocket.Scenes(settings.first_seed, settings.scenes, settings.kinds or tuple(KINDS))
    return catalogue.read(_named(settings), workspace.absolute(), scenes)


def _run(
    planned: Sequence[PlannedEdit],
    settings: EvaluationOptions,
    given: Comparison,
    store: Store,
    monitor: Monitor,
    threads: int | None,
    each: Monitor = QUIET,
) -> Evaluation:
    for text in (
        *(text for method in given.methods for text in method.notices),
        *_uneven(planned, settings.evaluations == "own"),
    ):
        monitor.notice(text)
    todo = {p.job.id for p in planned if p.job is not None and store.result(p.job.id) is None}
    before = sum(p.job is not None and p.job.id not in todo for p in planned)
    if before:
        monitor.notice(f"{before} edits were made before and are kept; {len(todo)} are to do")
    most = max(len(todo), 1) if settings.do == "edit" else len(planned)
    with pools.open_pool(settings.engine, most, given.device, threads, each) as pool:
        made = gather(planned, settings, store, pool, monitor, given.device)
    for text in made.notices:
        if each is QUIET:  # otherwise they were heard while the edits ran
            monitor.notice(text)
    return made


def _uneven(planned: Sequence[PlannedEdit], own: bool) -> list[str]:
    """A notice if methods take different numbers of network evaluations for an edit, at their `own` steps or not."""
    costs: dict[tuple[str, str], dict[str, int]] = {}
    for p in planned:
        if p.job is not None:
            costs.setdefault((p.sample.clip, p.sample.edit), {})[p.method] = p.job.cost
    for of in costs.values():
        if max(of.values()) > 1.1 * min(of.values()):
            told = ", ".join(f"{name} {cost}" for name, cost in of.items())
            how = "--evaluations equal makes them alike" if own else "as near as whole steps bring them"
            return [f"network evaluations differ, {told}: {how}"]
    return []


def _facts(settings: EvaluationOptions) -> dict[str, str]:
    facts = {"date": date.today().isoformat()}
    if settings.evaluations != "own":
        facts["network evaluations"] = f"{settings.evaluations}"
    if settings.protocol == "five":
        facts["protocol"] = "FiVE-Bench: every 8th frame"
    return facts


def _about(settings: EvaluationOptions) -> dict[str, Any]:
    return {key: value for key, value in plain(asdict(settings)).items() if key not in ("out", "dataset")}
