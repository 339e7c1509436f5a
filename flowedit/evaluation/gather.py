"""An evaluation carried out: edited, scored, and gathered as rows; what fails is a row with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flowedit.backbones.options import BackboneOptions, RuntimeOptions
from flowedit.evaluation.datasets.sample import Sample
from flowedit.evaluation.engine import drive, pools
from flowedit.evaluation.engine.drive import Outcome
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.pools import Pool
from flowedit.evaluation.engine.store import Store
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison, PlannedEdit, metrics
from flowedit.evaluation.report.page import Exhibit
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.evaluation.score_job import FIVE_STRIDE, ScoreSpec, score_job
from flowedit.machine import digest_file
from flowedit.media import probe, reader
from flowedit.metrics import catalogue
from flowedit.types import QUIET, Monitor

"""How a clip is probed; one that remembers opens a clip once for all methods."""


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
) -> Evaluation:
    """Open a pool of workers, `gather` with it, and tell the monitor what users should hear.

    `each` hears the phases of edits that run in this process; `look` probes a clip.
    """
    for text in (
        *(text for method in comparison.methods for text in method.notices),
        *_uneven(planned, options.evaluations == "own"),
    ):
        monitor.notice(text)
    todo = {p.job.id for p in planned if p.job is not None and store.result(p.job.id) is None}
    before = sum(p.job is not None and p.job.id not in todo for p in planned)
    if before:
        monitor.notice(f"{before} edits were made before and are kept; {len(todo)} are to do")
    most = max(len(todo), 1) if options.do == "edit" else len(planned)
    with pools.open_pool(options.engine, most, comparison.device, threads, each) as pool:
        made = gather(planned, options, store, pool, monitor, comparison.device, look)
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


def gather(
    planned: Sequence[PlannedEdit],
    options: EvaluationOptions,
    store: Store,
    pool: Pool,
    monitor: Monitor,
    device: str,
    look: probe.Prober = probe.probe,
) -> Evaluation:
    """Edit what is not edited, score what is not scored, and gather it all; `options.do` leaves a half out.

    Jobs of one backbone follow each other, so that it is loaded once.

    A score in which a metric failed is made again: what failed, a download most often, may be there now.
    """
    ordered = sorted((p for p in planned if p.settings is not None), key=lambda p: repr(_backbone(p)))
    jobs = [p.job for p in ordered if p.job is not None]
    if options.do == "score":
        edited = [Outcome(job, store.result(job.id), NOT_EDITED) for job in jobs]
    else:
        edited = drive.run(jobs, pool, store, monitor, name="edit", retries=options.engine.retries)
    edits = {outcome.job.id: outcome for outcome in edited}
    wanted = () if options.do == "edit" else metrics(options)
    scoring: dict[int, Job] = {}
    lost: dict[int, str] = {}
    for i, p in enumerate(planned if wanted else ()):
        try:
            if made := _scored(p, edits, wanted, options, store, device, look):
                scoring[i] = made
        except (OSError, ValueError) as error:
            lost[i] = " ".join(str(error).split())
    for job in scoring.values():
        if (old := store.result(job.id)) and old["failures"]:
            store.forget(job.id)
    scores = drive.run(list(scoring.values()), pool, store, monitor, name="score", retries=options.engine.retries)
    found = dict(zip(scoring, scores, strict=True))
    rows = [row for i, p in enumerate(planned) for row in _rows(p, edits, found.get(i), lost.get(i))]
    outcomes = [*edited, *scores]
    return Evaluation(tuple(rows), tuple(_exhibits(planned, edits, store)), tuple(_notices(outcomes)))


def _backbone(planned: PlannedEdit) -> tuple[BackboneOptions, RuntimeOptions]:
    assert planned.settings is not None
    return planned.settings.backbone, planned.settings.runtime


def _notices(outcomes: Sequence[Outcome]) -> list[str]:
    """What the jobs had to say, each thing once: with the job, or the number of jobs."""
    said: dict[str, list[str]] = {}
    for outcome in outcomes:
        for text in (outcome.result or {}).get("notices", ()):
            said.setdefault(text, []).append(outcome.job.label)
    return [f"{who[0]}: {text}" if len(who) == 1 else f"{text} ({len(who)} edits)" for text, who in said.items()]


NOT_EDITED = "not edited yet: do=edit, or both"


def _scored(
    planned: PlannedEdit,
    edits: dict[str, Outcome],
    names: tuple[str, ...],
    options: EvaluationOptions,
    store: Store,
    device: str,
    look: probe.Prober,
) -> Job | None:
    """The scoring job of what was edited; None for what was not."""
    sample, job = planned.sample, planned.job
    spec = ScoreSpec(
        source=(sample.frames or sample.video).absolute(),
        indices=None,
        edit=Path(),
        mask=None if sample.mask is None else sample.mask.absolute(),
        mask_above=sample.mask_above,
        truth=None if sample.truth is None else sample.truth.absolute(),
        target=str(sample.flags.get("target", "")),
        questions=sample.questions,
        metrics=names if options.metrics else tuple(name for name in names if _can(sample, name)),
        stride=FIVE_STRIDE if options.protocol == "five" else 1,
        flow=options.flow,
        device=device,
    )
    label = f"{sample.clip}, {sample.edit}, {planned.method}"
    if planned.file is not None:
        return score_job(replace(spec, edit=planned.file.absolute()), digest_file(planned.file), label)
    if job is None or planned.settings is None or edits[job.id].result is None:
        return None
    own = planned.settings
    indices = reader.select(look(Path(str(own.clip))), own.start, own.frames, own.rate).indices
    edit = store.folder(job.id) / "edit.mp4"
    return score_job(replace(spec, edit=edit, indices=tuple(indices)), job.id, label)


def _can(sample: Sample, name: str) -> bool:
    """Whether the sample has what a metric needs; one that was not asked for by name is left out without it."""
    have = {"mask": sample.mask, "truth": sample.truth, "questions": sample.questions}
    return all(have.get(need, True) is not None for need in catalogue.METRICS[name].needs)


def _rows(planned: PlannedEdit, edits: dict[str, Outcome], scored: Outcome | None, lost: str | None) -> list[Row]:
    sample = planned.sample
    edited = None if planned.job is None else edits[planned.job.id]
    key = (sample.clip, sample.edit, sample.kind, planned.method)
    failure = planned.failure or (edited.failure if edited is not None and edited.result is None else None)
    if failure is not None:
        return [Row(*key, JOB, None, failure)]
    costs = {} if edited is None or edited.result is None else edited.result["costs"]
    rows = [Row(*key, name, value) for name, value in costs.items()]
    if lost is not None:
        return [*rows, Row(*key, JOB, None, lost)]
    if scored is None:
        return rows
    names = scored.job.spec.metrics
    if scored.result is None:
        return rows + [Row(*key, name, None, scored.failure) for name in names]
    values, failures = scored.result["values"], scored.result["failures"]
    return rows + [Row(*key, name, values.get(name), failures.get(name)) for name in names]


def _exhibits(planned: Sequence[PlannedEdit], edits: dict[str, Outcome], store: Store) -> list[Exhibit]:
    """What a page shows of each sample, where there is a video to show."""
    exhibits = []
    together: dict[tuple[str, str], list[PlannedEdit]] = {}
    for p in planned:
        together.setdefault((p.sample.clip, p.sample.edit), []).append(p)
    for of in together.values():
        first = of[0].sample
        videos = {p.method: _video(p, edits, store) for p in of}
        masks = {p.method: store.folder(p.job.id) / "mask.mp4" for p in of if p.job is not None}
        exhibits.append(
            Exhibit(
                clip=first.clip,
                edit=first.edit,
                kind=first.kind,
                source=str(first.flags.get("source", "")),
                target=str(first.flags.get("target", "")),
                video=first.video if first.video.is_file() else None,
                truth=first.truth if first.truth is not None and first.truth.is_file() else None,
                edits={name: file for name, file in videos.items() if file is not None},
                masks={name: file for name, file in masks.items() if file.is_file()},
            )
        )
    return exhibits


def _video(planned: PlannedEdit, edits: dict[str, Outcome], store: Store) -> Path | None:
    if planned.file is not None:
        return planned.file if planned.file.is_file() else None  # a page shows no folder of frames
    if planned.job is None or edits[planned.job.id].result is None:
        return None
    return store.folder(planned.job.id) / "edit.mp4"
