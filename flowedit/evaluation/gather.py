"""An evaluation carried out: edited, scored, and gathered as rows; what fails is a row with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from flowedit.evaluation import places, scores
from flowedit.evaluation.engine import drive, pools
from flowedit.evaluation.engine.drive import Outcome
from flowedit.evaluation.engine.pools import Pool
from flowedit.evaluation.engine.store import Store
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison, PlannedEdit
from flowedit.evaluation.report.page import Exhibit
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.evaluation.results.summary import UNEDITED
from flowedit.evaluation.scores import Found
from flowedit.media import probe
from flowedit.pipeline.outputs import shown as shown_in
from flowedit.types import QUIET, Monitor


@dataclass(frozen=True)
class Evaluation:
    """Rows in the order of the dataset, what a page shows of each edit, and what users should hear."""

    rows: tuple[Row, ...]
    exhibits: tuple[Exhibit, ...]
    notices: tuple[str, ...] = field(default=())


def carry_out(
    planned: Sequence[PlannedEdit],
    options: EvaluationOptions,
    comparison: Comparison,
    store: Store,
    monitor: Monitor,
    threads: int | None,
    each: Monitor = QUIET,
    look: probe.Prober = probe.probe,
    shown: Mapping[PlannedEdit, Path] | None = None,
    cancel: Event | None = None,
) -> Evaluation:
    """Open a pool of workers, `gather` with it, and tell the monitor what users should hear.

    `each` hears the phases of edits that run in this process; `look` probes a clip; `shown` is the folder that a user
    finds each edit in. Once `cancel` is set no more begins, and what is done is gathered.
    """
    for text in (
        *comparison.told,
        *(text for method in comparison.methods for text in method.notices),
        *(_uneven(planned, options.evaluations == "own") if comparison.even else ()),
    ):
        monitor.notice(text)
    todo = {p.job.id for p in planned if p.job is not None and store.result(p.job.id) is None}
    before = sum(p.job is not None and p.job.id not in todo for p in planned)
    if before:
        monitor.notice(f"{before} edits were made before and are kept; {len(todo)} are to do")
    most = max(len(todo), 1) if options.do == "edit" else len(planned)
    with pools.open_pool(options.engine, most, comparison.device, threads, each, cancel) as pool:
        made = gather(planned, options, store, pool, monitor, comparison.device, look, shown, cancel)
    for text in made.notices:
        if each is QUIET:  # otherwise they were heard while the edits ran
            monitor.notice(text)
    return made


def _uneven(planned: Sequence[PlannedEdit], own: bool) -> list[str]:
    """A notice if methods take different numbers of network evaluations for an edit, at their `own` steps or not."""
    costs: dict[tuple[str, str], dict[str, int]] = {}
    for p in planned:
        if p.job is not None:
            costs.setdefault((p.sample.name, p.sample.edit), {})[p.method] = p.job.cost
    for of in costs.values():
        if max(of.values()) > 1.1 * min(of.values()):
            told = ", ".join(f"{name} {cost}" for name, cost in of.items())
            how = "--evaluations equal makes them alike" if own else "as near as whole steps bring them"
            return [f"network evaluations differ, {told}: {how}"]
    return []


def gather(
    planned: Sequence[PlannedEdit],
    options: EvaluationOptions,
    store: Store,
    pool: Pool,
    monitor: Monitor,
    device: str,
    look: probe.Prober = probe.probe,
    shown: Mapping[PlannedEdit, Path] | None = None,
    cancel: Event | None = None,
) -> Evaluation:
    """Edit what is not edited, score what is not scored, and gather it all; `options.do` leaves a half out.

    Jobs of one backbone follow each other, so that it is loaded once. A score in which a metric failed is made again:
    what failed, a download most often, may be there now.
    """
    ordered = sorted((p for p in planned if p.job is not None), key=lambda p: repr(_backbone(p)))
    jobs = [p.job for p in ordered if p.job is not None]
    if options.do == "score":
        edited = [Outcome(job, store.result(job.id), NOT_EDITED) for job in jobs]
    else:
        edited = drive.run(jobs, pool, store, monitor, name="edit", retries=options.engine.retries, cancel=cancel)
    edits = {outcome.job.id: outcome for outcome in edited}
    folders = {p: store.folder(p.job.id) for p in ordered if p.job is not None and edits[p.job.id].result is not None}
    if shown is not None:
        places.publish({folders[p]: shown[p] for p in folders})
    found = scores.found(planned, set(folders), scores.Run(options, store, pool, monitor, device, look, cancel))
    rows = [row for p in planned for row in _rows(p, edits, found.get(p, []))]
    said: list[tuple[str, Mapping[str, Any]]] = [(outcome.job.label, outcome.result or {}) for outcome in edited]
    said += [(p.label, each.result or {}) for p, of in found.items() for each in of if p.method != UNEDITED]
    seen = {p: (shown or folders)[p] for p in folders}
    return Evaluation(tuple(rows), tuple(_exhibits(planned, seen)), tuple(_notices(said)))


def _backbone(planned: PlannedEdit) -> object:
    assert planned.settings is not None
    return planned.settings.loaded


def _notices(said: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What the jobs had to say, each thing once: with the job, or the number of jobs."""
    told: dict[str, list[str]] = {}
    for label, result in said:
        for text in result.get("notices", ()):
            told.setdefault(text, []).append(label)
    return [f"{who[0]}: {text}" if len(who) == 1 else f"{text} ({len(who)} edits)" for text, who in told.items()]


NOT_EDITED = "not edited yet: do=edit, or both"


def _rows(planned: PlannedEdit, edits: dict[str, Outcome], found: Sequence[Found]) -> list[Row]:
    sample = planned.sample
    edited = None if planned.job is None else edits[planned.job.id]
    key = (sample.name, sample.edit, sample.kind, planned.method)
    failure = planned.failure or (edited.failure if edited is not None and edited.result is None else None)
    if failure is not None:
        return [Row(*key, JOB, None, failure)]
    costs = {} if edited is None or edited.result is None else edited.result["costs"]
    rows = [Row(*key, name, value) for name, value in costs.items()]
    for each in found:
        if each.result is None:
            rows += [Row(*key, name, None, each.failure) for name in each.names]
            continue
        values, failures = each.result["values"], each.result["failures"]
        rows += [Row(*key, name, values.get(name), failures.get(name)) for name in each.names]
    return rows


def _exhibits(planned: Sequence[PlannedEdit], seen: Mapping[PlannedEdit, Path]) -> list[Exhibit]:
    """What a page shows of each sample, where there is a video to show; `seen` is the folder of each of our edits."""
    exhibits = []
    together: dict[tuple[str, str], list[PlannedEdit]] = {}
    for p in planned:
        together.setdefault((p.sample.name, p.sample.edit), []).append(p)
    for every in together.values():
        first, of = every[0].sample, [p for p in every if p.method != UNEDITED]
        videos = {p.method: shown_in(seen[p]) if p in seen else p.file for p in of}
        masks = {p.method: shown_in(seen[p], "mask") for p in of if p in seen}
        exhibits.append(
            Exhibit(
                name=first.name,
                edit=first.edit,
                kind=first.kind,
                source=str(first.flags.get("source", "")),
                target=str(first.flags.get("target", "")),
                clip=first.clip if first.clip.exists() else None,
                truth=first.truth if first.truth is not None and first.truth.is_file() else None,
                # a page shows no folder of frames
                edits={name: file for name, file in videos.items() if file is not None and file.is_file()},
                masks={name: file for name, file in masks.items() if file.is_file()},
            )
        )
    return exhibits
