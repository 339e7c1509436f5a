"""All scores of an evaluation: what is scored already is kept, edits of one clip are scored beside each other."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from flowedit.evaluation.cycle import back_job
from flowedit.evaluation.engine import drive
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.pools import Pool
from flowedit.evaluation.engine.store import Store
from flowedit.evaluation.model_job import ModelSpec, model_job
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import PlannedEdit, metrics
from flowedit.evaluation.results.summary import UNEDITED
from flowedit.evaluation.score_job import FIVE_STRIDE, ScoreSpec, score_id, score_job
from flowedit.machine import digest_file
from flowedit.media import probe, reader
from flowedit.messages import listed, one_line
from flowedit.metrics.catalogue import METRICS
from flowedit.pipeline.outputs import shown
from flowedit.types import Monitor


@dataclass(frozen=True)
class Found:
    """The metrics `names` of one edit: their result, or why there is none."""

    names: tuple[str, ...]
    result: Mapping[str, Any] | None
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """One run of an evaluation: what is asked for, where results are kept, who works, on which device, who hears.

    `look` probes a clip.
    """

    options: EvaluationOptions
    store: Store
    pool: Pool
    monitor: Monitor
    device: str
    look: probe.Prober
    cancel: Event | None = None

    def carry_out(self, jobs: Sequence[Job], name: str) -> list[drive.Outcome]:
        """The outcomes of these jobs in their order, under the name of their phase."""
        retries = self.options.engine.retries
        return drive.run(jobs, self.pool, self.store, self.monitor, name=name, retries=retries, cancel=self.cancel)


def found(planned: Sequence[PlannedEdit], made: set[PlannedEdit], run: Run) -> dict[PlannedEdit, list[Found]]:
    """The scores of every edit that is there: a file of others, the clip itself, or one of ours that is `made`."""
    if run.options.do == "edit":
        return {}
    there = [p for p in planned if p.failure is None and (p.file is not None or p in made)]
    names = metrics(run.options)
    asked = [name for name in names if METRICS[name].model is not None]
    seen = [name for name in names if METRICS[name].model is None and not METRICS[name].back]
    back = [name for name in names if METRICS[name].back]
    of: dict[PlannedEdit, list[Found]] = {p: [] for p in there}
    for scored in (_by_model(there, asked, run), _by_frames(there, seen, run), _by_cycle(there, back, run)):
        for p, each in scored.items():
            of[p].append(each)
    lost = [name for name in names if "pairs" in METRICS[name].needs]
    single = {p.sample.name for p in there if _of_one_frame(p, run.look)}
    if single and lost and not run.options.metrics:
        which = f"{len(single)} clips are" if len(single) > 1 else f"{single.pop()} is"
        run.monitor.notice(f"{which} of one frame: not scored by {listed(lost)}, which need two or more")
    return of


def _by_model(there: Sequence[PlannedEdit], names: Sequence[str], run: Run) -> dict[PlannedEdit, Found]:
    """What the backbone in use says; edits of others alone ask no backbone, unless a metric of it is named."""
    named, scored, jobs = bool(run.options.metrics), dict[PlannedEdit, Found](), dict[PlannedEdit, Job]()
    ours = {(p.sample.name, p.sample.edit): p for p in reversed(there) if p.job is not None}
    for p in there:
        first = ours.get((p.sample.name, p.sample.edit), p)
        own = _wanted(p, names, run)
        if first.settings is None or not own or (first.job is None and not named):
            continue
        threads = first.settings.runtime.threads or (1 if first.job is None else first.job.threads)
        edit = None if p.method == UNEDITED else _file(p, run.store)
        try:
            id = "" if edit is None else p.job.id if p.job is not None else digest_file(edit)
            spec = ModelSpec(first.settings, edit, own)
            job = model_job(spec, id, p.label, threads, fetch=named or run.options.do != "score")
        except (OSError, ValueError) as error:
            scored[p] = Found(own, None, one_line(error))
            continue
        if job is not None:
            jobs[p] = job
    _forget_failures(run.store, (job.id for job in jobs.values()))
    if jobs:
        outcomes = run.carry_out(list(jobs.values()), "target")
        for (p, job), outcome in zip(jobs.items(), outcomes, strict=True):
            scored[p] = Found(job.spec.metrics, outcome.result, outcome.failure)
    return scored


def _by_cycle(there: Sequence[PlannedEdit], names: Sequence[str], run: Run) -> dict[PlannedEdit, Found]:
    """What the frames of our edits say when they are edited back; the clip unedited and others' edits are not."""
    scored: dict[PlannedEdit, Found] = {}
    jobs: dict[PlannedEdit, Job] = {}
    for p in there if names else ():
        if p.job is None or p.settings is None:
            continue
        try:
            jobs[p] = back_job(p.settings, _file(p, run.store), p.label, p.job.threads, run.monitor.notice)
        except (OSError, ValueError) as error:
            scored[p] = Found(tuple(names), None, one_line(error))
    outcomes = run.carry_out(list(jobs.values()), "cycle") if jobs else []
    files = {}
    for (p, job), outcome in zip(jobs.items(), outcomes, strict=True):
        if outcome.result is None:
            scored[p] = Found(tuple(names), None, outcome.failure)
        else:
            files[p] = shown(run.store.folder(job.id)), job.id
    return scored | (_by_frames(list(files), names, run, files) if files else {})


def _by_frames(
    there: Sequence[PlannedEdit],
    names: Sequence[str],
    run: Run,
    files: Mapping[PlannedEdit, tuple[Path, str]] | None = None,
) -> dict[PlannedEdit, Found]:
    """What the frames say, edits of one clip beside each other; `files`, with their ids, take the edits' place."""
    store = run.store
    specs: dict[PlannedEdit, tuple[ScoreSpec, str]] = {}
    files_of: dict[PlannedEdit, Path] = {}
    scored: dict[PlannedEdit, Found] = {}
    for p in there if names else ():
        own = _wanted(p, names, run)
        try:
            file = _file(p, store) if files is None else files[p][0]
            id = files[p][1] if files is not None else p.job.id if p.job is not None else digest_file(file)
            spec = _spec(p, own, run)
            specs[p], files_of[p] = (spec, score_id(spec, id)), file
        except (OSError, ValueError) as error:
            scored[p] = Found(own, None, one_line(error))
    _forget_failures(store, (id for _, id in specs.values()))
    groups: dict[ScoreSpec, list[PlannedEdit]] = {}
    for p, (spec, id) in specs.items():
        if store.result(id) is None:
            groups.setdefault(spec, []).append(p)
    jobs, lost = [_job(group, specs, files_of) for group in groups.values()], dict[str, str]()
    outcomes = run.carry_out(jobs, "score")
    # what ends a job is most often of one edit, which is not to cost the others their scores
    again = [
        score_job(outcome.job.spec, [each], outcome.job.label)
        for outcome in outcomes
        if outcome.result is None and len(outcome.job.spec.edits) > 1
        for each in outcome.job.spec.edits
    ]
    if again:
        outcomes += run.carry_out(again, "score")
    for outcome in outcomes:
        lost |= _keep(outcome, store)
    for p, (spec, id) in specs.items():
        result = store.result(id)
        scored[p] = Found(spec.metrics, result, None if result else lost.get(id))
    return scored


def _job(
    group: Sequence[PlannedEdit],
    specs: Mapping[PlannedEdit, tuple[ScoreSpec, str]],
    files: Mapping[PlannedEdit, Path],
) -> Job:
    edits = {specs[p][1]: files[p] for p in group}
    label = group[0].label if len(edits) == 1 else f"{group[0].sample.name}, {group[0].sample.edit}"
    return score_job(specs[group[0]][0], list(edits.items()), f"{label}: scores")


def _keep(outcome: drive.Outcome, store: Store) -> dict[str, str]:
    """Keep each edit's result by itself; what has none, with its reason."""
    lost = {}
    for id, _ in outcome.job.spec.edits:
        result = None if outcome.result is None else outcome.result["scores"][id]
        if result is None or "failure" in result:
            lost[id] = outcome.failure or (result or {})["failure"]
        else:
            store.keep(id, outcome.job.label, result)
    if outcome.result is not None:
        store.forget(outcome.job.id)
    return lost


def _spec(planned: PlannedEdit, names: tuple[str, ...], run: Run) -> ScoreSpec:
    sample = planned.sample
    return ScoreSpec(
        source=(sample.frames or sample.clip).absolute(),
        indices=_indices(planned, run.look),
        mask=None if sample.mask is None else sample.mask.absolute(),
        mask_above=sample.mask_above,
        truth=None if sample.truth is None else sample.truth.absolute(),
        target=str(sample.flags.get("target", "")),
        questions=sample.questions,
        metrics=names,
        stride=FIVE_STRIDE if run.options.protocol == "five" else 1,
        flow=run.options.flow,
        device=run.device,
    )


def _indices(planned: PlannedEdit, look: probe.Prober) -> tuple[int, ...] | None:
    """The source's frames that are scored: those that are edited, of ours and of others' alike."""
    own = planned.settings
    if own is None or not planned.sample.clip.exists():
        return None
    info = look(Path(str(own.clip)))
    return tuple(reader.select(info, own.start, own.frames, own.rate).indices)


def _file(planned: PlannedEdit, store: Store) -> Path:
    if planned.file is not None:
        return planned.file.absolute()
    assert planned.job is not None
    return shown(store.folder(planned.job.id))


def _wanted(planned: PlannedEdit, names: Sequence[str], run: Run) -> tuple[str, ...]:
    """The metrics whose needs the sample has; all of them where they were asked for by name."""
    sample, flags, named = planned.sample, planned.sample.flags, bool(run.options.metrics)
    have = {
        "mask": sample.mask,
        "truth": sample.truth,
        "questions": sample.questions,
        "pairs": None if _of_one_frame(planned, run.look) else True,
        "target": (flags.get("source") and flags.get("target")) or None,
    }
    needs = {name: METRICS[name].needs for name in names}
    return tuple(name for name in names if named or all(have.get(need, True) is not None for need in needs[name]))


def _of_one_frame(planned: PlannedEdit, look: probe.Prober) -> bool:
    """Whether one frame is scored, so that nothing can be said of motion; False for a clip that cannot be read."""
    with suppress(OSError, ValueError):
        return len(_indices(planned, look) or ()) == 1
    return False


def _forget_failures(store: Store, ids: Iterable[str]) -> None:
    for id in set(ids):
        if (old := store.result(id)) and old["failures"]:
            store.forget(id)
