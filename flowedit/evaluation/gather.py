"""A dataset by several methods: planned, edited, scored, and gathered as rows; what fails is a row with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flowedit import backbones, engine, run, video
from flowedit.datasets import Dataset, Pair
from flowedit.engine import Outcome, Pool, Store, Task, digest_file
from flowedit.evaluation.edits import edit_task
from flowedit.evaluation.scores import FIVE_STRIDE, ScoreSpec, score_task
from flowedit.evaluation_settings import EvaluationSettings
from flowedit.methods import Method
from flowedit.metrics import catalogue, score
from flowedit.report import Shown
from flowedit.rows import JOB, Row
from flowedit.settings import Settings
from flowedit.types import Monitor


@dataclass(frozen=True, eq=False)
class Planned:
    """One edit of one pair by one method: its job, or the file that another method made; or why there is neither."""

    pair: Pair
    method: str
    settings: Settings | None = None
    task: Task | None = None
    made: Path | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """Rows in the order of the dataset, what a page shows of each edit, and what users should hear."""

    rows: tuple[Row, ...]
    shown: tuple[Shown, ...]
    notices: tuple[str, ...] = field(default=())


def metrics(settings: EvaluationSettings) -> tuple[str, ...]:
    """The metrics that are asked for; raises ValueError for one that is unknown, or that the protocol cannot score."""
    five = settings.protocol == "five"
    names = settings.metrics or (catalogue.FIVE if five else catalogue.DEFAULT)
    score.check(names)
    if five and (pairs := [name for name in names if "pairs" in catalogue.METRICS[name].needs]):
        raise ValueError(f"{', '.join(pairs)}: needs neighbouring frames, and protocol=five scores every 8th frame")
    return tuple(names)


def plan(
    dataset: Dataset, chosen: Sequence[Method], settings: EvaluationSettings, threads: int | None
) -> list[Planned]:
    """Every pair by every method, those of other methods last; what can be refused is, before a model is loaded."""
    planned = []
    for pair in dataset.pairs:
        ours = [_ours(pair, method, threads) for method in chosen]
        planned += ours + [_theirs(pair, name, Path(place)) for name, place in settings.others.items()]
    return planned


def gather(
    planned: Sequence[Planned],
    settings: EvaluationSettings,
    store: Store,
    pool: Pool,
    monitor: Monitor,
    device: str = "auto",
) -> Evaluated:
    """Edit what is not edited, score what is not scored, and gather it all; `settings.do` leaves a half out.

    A score in which a metric failed is made again: what failed, a download most often, may be there now.
    """
    tasks = [p.task for p in planned if p.task is not None]
    if settings.do == "score":
        edited = [Outcome(task, store.result(task.id), NOT_EDITED) for task in tasks]
    else:
        edited = engine.run(tasks, pool, store, monitor, name="edit", retries=settings.engine.retries)
    edits = {outcome.task.id: outcome for outcome in edited}
    wanted = () if settings.do == "edit" else metrics(settings)
    scoring = {
        i: made
        for i, p in enumerate(planned)
        if wanted and (made := _scored(p, edits, wanted, settings, store, device))
    }
    for task in scoring.values():
        if (old := store.result(task.id)) and old["failures"]:
            store.forget(task.id)
    scores = engine.run(list(scoring.values()), pool, store, monitor, name="score", retries=settings.engine.retries)
    found = dict(zip(scoring, scores, strict=True))
    rows = [row for i, p in enumerate(planned) for row in _rows(p, edits, found.get(i))]
    outcomes = [*edited, *scores]
    return Evaluated(tuple(rows), tuple(_shown(planned, edits, store)), tuple(_notices(outcomes)))


def _notices(outcomes: Sequence[Outcome]) -> list[str]:
    """What the jobs had to say, each thing once: with the job, or the number of jobs."""
    said: dict[str, list[str]] = {}
    for outcome in outcomes:
        for text in (outcome.result or {}).get("notices", ()):
            said.setdefault(text, []).append(outcome.task.label)
    return [f"{who[0]}: {text}" if len(who) == 1 else f"{text} ({len(who)} edits)" for text, who in said.items()]


NOT_EDITED = "not edited yet: do=edit, or both"


def _ours(pair: Pair, method: Method, threads: int | None) -> Planned:
    if pair.problem is not None:
        return Planned(pair, method.name, failure=pair.problem)
    try:
        settings = method.on({**pair.flags, "video": str(pair.video.absolute())})
        run.check(settings)
        own = settings.runtime.threads or threads
        task = edit_task(settings, f"{pair.clip}, {pair.edit}, {method.name}", own)
    except ConnectionError:
        raise  # a checkpoint that cannot be had is no fault of a row
    except (ValueError, OSError) as error:
        return Planned(pair, method.name, failure=" ".join(str(error).split()))
    return Planned(pair, method.name, settings, task)


def _theirs(pair: Pair, name: str, folder: Path) -> Planned:
    if pair.problem is not None:
        return Planned(pair, name, failure=pair.problem)
    places = [folder / place for place in pair.made_by_others]
    made = next((place for place in places if place.exists()), None)
    if made is None:
        return Planned(pair, name, failure=f"no edit of it in {folder}: {places[0]} or {places[1]} was looked for")
    return Planned(pair, name, made=made)


def _scored(
    planned: Planned,
    edits: dict[str, Outcome],
    names: tuple[str, ...],
    settings: EvaluationSettings,
    store: Store,
    device: str,
) -> Task | None:
    """The scoring job of what was edited; None for what was not."""
    pair, task = planned.pair, planned.task
    spec = ScoreSpec(
        source=(pair.frames or pair.video).absolute(),
        indices=None,
        edit=Path(),
        mask=None if pair.mask is None else pair.mask.absolute(),
        mask_above=pair.mask_above,
        truth=None if pair.truth is None else pair.truth.absolute(),
        target=str(pair.flags.get("target", "")),
        questions=pair.questions,
        metrics=names if settings.metrics else tuple(name for name in names if _can(pair, name)),
        stride=FIVE_STRIDE if settings.protocol == "five" else 1,
        flow=settings.flow,
        device=device,
    )
    label = f"{pair.clip}, {pair.edit}, {planned.method}"
    if planned.made is not None:
        return score_task(replace(spec, edit=planned.made.absolute()), digest_file(planned.made), label)
    if task is None or planned.settings is None or edits[task.id].result is None:
        return None
    own = planned.settings
    indices = video.select(video.probe(str(own.video)), own.start, own.frames, own.rate).indices
    edit = store.folder(task.id) / "edit.mp4"
    return score_task(replace(spec, edit=edit, indices=tuple(indices)), task.id, label)


def _can(pair: Pair, name: str) -> bool:
    """Whether the pair has what a metric needs; one that was not asked for by name is left out without it."""
    have = {"mask": pair.mask, "truth": pair.truth, "questions": pair.questions}
    return all(have.get(need, True) is not None for need in catalogue.METRICS[name].needs)


def _rows(planned: Planned, edits: dict[str, Outcome], scored: Outcome | None) -> list[Row]:
    pair = planned.pair
    edited = None if planned.task is None else edits[planned.task.id]
    key = (pair.clip, pair.edit, pair.kind, planned.method)
    failure = planned.failure or (edited.failure if edited is not None and edited.result is None else None)
    if failure is not None:
        return [Row(*key, JOB, None, failure)]
    costs = {} if edited is None or edited.result is None else edited.result["costs"]
    rows = [Row(*key, name, value) for name, value in costs.items()]
    if scored is None:
        return rows
    names = scored.task.spec.metrics
    if scored.result is None:
        return rows + [Row(*key, name, None, scored.failure) for name in names]
    values, failures = scored.result["values"], scored.result["failures"]
    return rows + [Row(*key, name, values.get(name), failures.get(name)) for name in names]


def _shown(planned: Sequence[Planned], edits: dict[str, Outcome], store: Store) -> list[Shown]:
    """What a page shows of each pair, where there is a video to show."""
    shown = []
    together: dict[tuple[str, str], list[Planned]] = {}
    for p in planned:
        together.setdefault((p.pair.clip, p.pair.edit), []).append(p)
    for of in together.values():
        first = of[0].pair
        videos = {p.method: _video(p, edits, store) for p in of}
        masks = {p.method: store.folder(p.task.id) / "mask.mp4" for p in of if p.task is not None}
        shown.append(
            Shown(
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
    return shown


def _video(planned: Planned, edits: dict[str, Outcome], store: Store) -> Path | None:
    if planned.made is not None:
        return planned.made if planned.made.is_file() else None  # a page shows no folder of frames
    if planned.task is None or edits[planned.task.id].result is None:
        return None
    return store.folder(planned.task.id) / "edit.mp4"


def on_cpu(chosen: Sequence[Method]) -> bool:
    """Whether the methods run on the CPU; raises ValueError for a device that is not there."""
    return all(backbones.find_device(method.settings.runtime.device).type == "cpu" for method in chosen)
