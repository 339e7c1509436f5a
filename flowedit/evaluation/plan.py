"""What an evaluation will do: every sample of a dataset by every method, each a job, a file of others, or a reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowedit.config import compose
from flowedit.config.schema import Settings
from flowedit.evaluation.datasets.sample import Dataset, Sample
from flowedit.evaluation.edit_job import edit_job
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.methods import (
    PER_CLIP,
    Lost,
    Method,
    able,
    cannot,
    equalise,
    left_out,
    methods,
    once,
    twins,
    unfit_parts,
)
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.results.summary import REFERENCES, UNEDITED
from flowedit.evaluation.sweeps.lattice import Lattice, lattices, points, swept
from flowedit.media.probe import Prober, probe
from flowedit.messages import FileMissingError, InputError, MachineError, one_line
from flowedit.metrics import catalogue, scoring
from flowedit.pipeline.checks import check
from flowedit.pipeline.plan import Brief, brief
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.prompts.captions import Captions
from flowedit.pipeline.source import open_clip
from flowedit.types import QUIET, Monitor

RESOLVED = ("source", *instruction.MADE, "caption")
"""What an instruction brings to a sample."""


@dataclass(frozen=True)
class Comparison:
    """The methods of an evaluation, none where only the edits of others are scored; `base` is what holds for all."""

    methods: tuple[Method, ...]
    base: Method
    even: bool = True
    """Whether its methods are meant to cost the same, so that users hear where they do not."""
    lost: Lost = field(default_factory=dict)
    """The methods that all brought in and that cannot take the settings, with the reason."""
    lattices: tuple[Lattice, ...] = ()
    """Where a sweep's methods stand beside each other."""
    repeats: Mapping[str, str] = field(default_factory=dict)
    """Methods of a sweep that repeat another one, by name, and what users hear of it."""
    told: tuple[str, ...] = ()
    """What users hear of the methods that are left out, and of those without a mask."""
    swept: tuple[str, ...] = ()
    """The keys that a sweep varies."""
    unmasked: tuple[str, ...] = ()
    """Methods none of whose edits has a mask."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its methods."""
        return tuple(method.name for method in self.methods)

    @property
    def points(self) -> dict[str, dict[str, str]]:
        """By method, the value of each swept key."""
        given = {each.name: dict(text.partition("=")[::2] for text in each.overrides) for each in self.methods}
        return {
            each.name: {key: str(given[each.name].get(key, each.flags.get(key, ""))) for key in self.swept}
            for each in self.methods
        }

    @property
    def device(self) -> str:
        """Where it all runs."""
        return self.base.settings.runtime.device


@dataclass(frozen=True, eq=False)
class PlannedEdit:
    """One edit of one sample by one method: its job, or the file that another method made; or why there is neither.

    `settings` say which frames it shows, and the backbone in use.
    """

    sample: Sample
    method: str
    settings: Settings | None = None
    job: Job | None = None
    file: Path | None = None
    failure: str | None = None

    @property
    def label(self) -> str:
        """Its clip, edit and method, for messages."""
        return f"{self.sample.name}, {self.sample.edit}, {self.method}"


def comparison(options: EvaluationOptions, flags: Mapping[str, Any], overrides: Sequence[str]) -> Comparison:
    """The methods that the options name; `flags` and `overrides` hold for all.

    Edits are scored as the model made them, with nothing of the source composited back, unless `composite` is set.
    Raises ValueError as `methods` does, and for names that are there twice or that references have.
    """
    refused = dict.fromkeys((key for key in PER_CLIP if key != "caption"), "each clip brings its own")
    sweep = swept(options.sweep, flags)
    given = {"composite": False, **flags}
    chosen, lost = methods(options.chosen_modes, options.also, given, overrides, refused, points(sweep))
    chosen, repeats = once(chosen, sweep)
    names = [*(method.name for method in chosen), *(text.partition("=")[0] for text in options.edits)]
    if not names:
        raise InputError("nothing to evaluate: name modes, or the edits of another method (--edits NAME=DIR)")
    if bad := {name for name in names if names.count(name) > 1 or name in REFERENCES}:
        raise InputError(f"method {', '.join(sorted(bad))} is there twice, or named like a reference: rename it")
    for name, place in options.others.items():
        if not Path(place).is_dir():
            raise FileMissingError(f"edits of {name}: {place!r} is not a folder: give that of its edits")
    base = Method("base", compose.compose(flags, overrides), dict(flags), tuple(overrides))
    placed = lattices([method.name for method in chosen], sweep)
    return Comparison(tuple(chosen), base, lost=lost, lattices=placed, repeats=repeats, swept=tuple(sweep))


def at_budget(options: EvaluationOptions, comparison: Comparison) -> Comparison:
    """The comparison with its methods at the network evaluations that are asked for.

    Raises ValueError for what `metrics` and `equalise` refuse.
    """
    metrics(options)
    ours = list(comparison.methods)
    if options.evaluations == "own" or not ours:
        return comparison
    ours, lost = equalise(ours, None if options.evaluations == "equal" else options.evaluations)
    return replace(comparison, methods=tuple(ours), lost={**comparison.lost, **lost})


def willing(comparison: Comparison, sample: Sample, look: Prober) -> Comparison:
    """The comparison with the methods that can edit this sample; raises ValueError for one that was named and cannot.

    `look` probes a clip.
    """

    def checked(method: Method) -> Method:
        settled = method.on({**sample.flags, "clip": str(sample.clip.absolute())})
        check(settled, open_clip(settled, look(Path(str(settled.clip)))))
        return method

    ours, lost = able(comparison.methods, checked)
    return replace(comparison, methods=tuple(ours), lost={**comparison.lost, **lost})


def metrics(options: EvaluationOptions) -> tuple[str, ...]:
    """The metrics that are asked for; raises ValueError for one that is unknown, or that the protocol cannot score."""
    five = options.protocol == "five"
    names = options.metrics or (catalogue.five_names() if five else catalogue.default_names())
    scoring.check(names)
    if five and (pairs := [name for name in names if "pairs" in catalogue.METRICS[name].needs]):
        raise InputError(f"{', '.join(pairs)}: needs neighbouring frames, and protocol=five scores every 8th frame")
    return tuple(names)


def complete(dataset: Dataset, chosen: Sequence[Method], monitor: Monitor, ask: bool = True) -> Dataset:
    """The dataset with the prompts of what is given as an instruction, the same for every method.

    Told are parts of the target that a method does not take as they are given. Without `ask` no vision-language model
    is run, and plain prompts stand where it would be. Raises ConnectionError for such a model that cannot be had; an
    instruction that cannot be carried out is the problem of its sample.
    """
    with Captions(monitor, ask) as captions:
        samples = tuple(_completed(sample, chosen, captions) for sample in dataset.samples)
    told = (text for sample in samples if sample.problem is None for text in unfit_parts(chosen, sample.flags))
    for text in dict.fromkeys(told):
        monitor.notice(text)
    return replace(dataset, samples=samples)


def _completed(sample: Sample, chosen: Sequence[Method], captions: Captions) -> Sample:
    if sample.problem is not None or sample.flags.get("instruction") is None:
        return sample
    flags = {**sample.flags, "clip": str(sample.clip.absolute())}
    try:
        settings = chosen[0].on(flags) if chosen else compose.compose(flags)
        made = instruction.complete(settings, QUIET, captions)
    except ConnectionError:
        raise
    except (ValueError, OSError) as error:
        return replace(sample, problem=one_line(error))
    return replace(sample, flags={**sample.flags, **{key: getattr(made, key) for key in RESOLVED}})


def plan(
    dataset: Dataset,
    chosen: Sequence[Method],
    options: EvaluationOptions,
    threads: int | None,
    fetch: bool = True,
    look: Prober = probe,
    base: Method | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[PlannedEdit]:
    """Every sample by every method, those of other methods last; what can be refused is, before a model is loaded.

    Before them stands the clip itself, unedited, unless nothing is scored. `base` says which frames of a clip the edits
    of others show where no method of ours does.

    Without `fetch` no checkpoint is downloaded: the jobs of one that is not here have ids that none is found under.
    `look` probes a clip; `say` hears of a download.
    """
    planned = []
    for sample in dataset.samples:
        ours = [_ours(sample, method, threads, fetch, look, say) for method in chosen]
        shown = next((p.settings for p in ours if p.settings is not None), None)
        theirs = [_theirs(sample, name, Path(place), shown, base) for name, place in options.others.items()]
        there = [p for p in (*ours, *theirs) if p.failure is None]
        if there and options.do != "edit":
            planned.append(PlannedEdit(sample, UNEDITED, there[0].settings, file=sample.frames or sample.clip))
        planned += ours + theirs
    return planned


def apart(planned: Sequence[PlannedEdit], comparison: Comparison) -> tuple[list[PlannedEdit], Comparison]:
    """The planned edits and the comparison without the methods that come to another one's jobs.

    What all brought in and what no sample can be edited by goes, too. `told` has the notices, and says which of the
    rest have no mask. In the lattices of a sweep the other one stands in the place of each that goes.
    """
    of = {each.name: [p for p in planned if p.method == each.name] for each in comparison.methods}
    same = twins({name: [p.job.id if p.job else None for p in own] for name, own in of.items()})
    idle = {each.name for each in comparison.methods if not each.asked and all(p.failure for p in of[each.name])}
    idle = idle if len(idle) < len(of) else set()
    lost = {**comparison.lost, **{name: of[name][0].failure or "" for name in idle if of[name]}}
    kept = tuple(each for each in comparison.methods if each.name not in same and each.name not in idle)
    twice = {name: other for name, other in same.items() if name not in comparison.repeats}
    briefs = {each.name: [brief(p.settings) for p in of[each.name] if p.settings is not None] for each in kept}
    bare = tuple(name for name, own in briefs.items() if own and not any(made.masked for made in own))
    return (
        [p for p in planned if p.method not in same and p.method not in idle],
        replace(
            comparison,
            methods=kept,
            lost=lost,
            lattices=tuple(each.with_names(same) for each in comparison.lattices),
            told=(
                *dict.fromkeys(text for name, text in comparison.repeats.items() if name in same),
                *left_out(twice, comparison.methods),
                *cannot(lost),
                *_of_unmasked(bare, briefs),
            ),
            unmasked=bare,
        ),
    )


def _of_unmasked(bare: Sequence[str], briefs: Mapping[str, Sequence[Brief]]) -> list[str]:
    """What users hear of the methods that have no mask, beside others that may have one."""
    if not bare:
        return []
    whose = "" if len(bare) == len(briefs) else f" of {', '.join(bare)}"
    idle = any(
        made.settings.mask.name == "none"
        and made.editor.masked
        and made.settings.source_words + made.settings.target_words
        for name in bare
        for made in briefs[name]
    )
    return [
        f"No mask: the whole picture{whose} may change"
        + (" (--mask attention makes one of the words)." if idle else ".")
    ]


def _ours(
    sample: Sample, method: Method, threads: int | None, fetch: bool, look: Prober, say: Callable[[str], None]
) -> PlannedEdit:
    if sample.problem is not None:
        return PlannedEdit(sample, method.name, failure=sample.problem)
    try:
        settings = method.on({**sample.flags, "clip": str(sample.clip.absolute())})
        check(settings, open_clip(settings, look(sample.clip.absolute())))
        own = settings.runtime.threads or threads
        job = edit_job(settings, PlannedEdit(sample, method.name).label, own, fetch, say)
    except (ConnectionError, MachineError):
        raise  # a checkpoint that cannot be had, or not run here, is no fault of a row
    except (ValueError, OSError) as error:
        return PlannedEdit(sample, method.name, failure=one_line(error))
    return PlannedEdit(sample, method.name, settings, job)


def _theirs(sample: Sample, name: str, folder: Path, shown: Settings | None, base: Method | None) -> PlannedEdit:
    if sample.problem is not None:
        return PlannedEdit(sample, name, failure=sample.problem)
    places = [folder / place for place in sample.edit_places]
    file = next((place for place in places if place.exists()), None)
    if file is None:
        return PlannedEdit(
            sample, name, failure=f"no edit of it in {folder}: {places[0]} or {places[1]} was looked for"
        )
    try:
        if shown is None and base is not None:
            shown = base.on({**sample.flags, "clip": str(sample.clip.absolute())})
    except (ValueError, OSError) as error:
        return PlannedEdit(sample, name, failure=one_line(error))
    return PlannedEdit(sample, name, shown, file=file)
