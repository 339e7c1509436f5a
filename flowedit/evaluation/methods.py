"""What is compared: modes of the configuration, and any of them with overrides."""

import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowedit.config.compose import OPTIONS, compose, prompts, set_by_hand, told
from flowedit.config.compose import options as choices
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS
from flowedit.evaluation.budget import has_fixed_cost, within
from flowedit.evaluation.results.summary import REFERENCES
from flowedit.language import grammar, rewrite
from flowedit.messages import InputError, nearest, one_line
from flowedit.pipeline.notices.unused import lacking, of_unused
from flowedit.pipeline.plan import Brief, brief, intervals, network_evaluations

PER_CLIP = (*(name for name, option in OPTIONS.items() if option.role == "clip"), "caption")
"""Settings that each clip brings, whatever the method."""


@dataclass(frozen=True)
class Method:
    """A name for the rows, and settings that lack only a clip's own; `flags` and `overrides` made them.

    `budget` is the number of network evaluations that decides the steps, or the method whose own number does; None
    for the method's own steps.
    """

    name: str
    settings: Settings
    flags: Mapping[str, Any]
    overrides: tuple[str, ...]
    budget: "int | Method | None" = None
    mode: str = ""
    """The mode or preset that it is of."""
    asked: bool = True
    """Whether a user named it: what all brings in is left out, with a notice, where it cannot do what is asked."""
    before: Settings | None = None
    """Its settings before a budget decided the steps, and what is counted in them."""

    @property
    def notices(self) -> list[str]:
        """Options of this method that have no effect."""
        return [f"{self.name}: {text}" for text in of_unused(self.filled)]

    def lacking(self, keys: Container[str]) -> dict[str, str]:
        """Those of the keys that have no effect on any of its edits, and what they need."""
        return lacking(self.filled, keys)

    @property
    def filled(self) -> Brief:
        """The brief of an edit that has all that a clip can bring."""
        count = len(self.settings.object_guidance_scales or ".")
        source, target = (", ".join([*(f"{side}{i}" for i in range(count)), "kept"]) for side in "ab")
        filled = replace(
            self.settings, source="a", target="a", target_parts=("b", "c"), source_words=source, target_words=target
        )
        return brief(filled)

    def on(self, flags: Mapping[str, Any]) -> Settings:
        """The settings of one edit; the flags are a clip's own, and those of the method win.

        Raises ValueError as `compose` does.
        """
        settings = self._own(flags)
        if self.budget is None:
            return settings
        most = self.budget if isinstance(self.budget, int) else network_evaluations(self.budget._own(flags))
        return within(settings, most, self.by_hand(flags))

    def by_hand(self, flags: Mapping[str, Any] | None = None) -> set[str]:
        """The keys that a user or a clip set, which no budget changes."""
        return set_by_hand(self.overrides, {**(flags or {}), **self.flags}.items())

    def _own(self, flags: Mapping[str, Any]) -> Settings:
        """Before any budget. Prompts of the method's own task, and a seed, which scenes bring, need no composing."""
        taken = "seed" in self.flags or any(text.startswith("seed=") for text in self.overrides)
        seed = {} if taken or type(flags.get("seed")) is not int else {"seed": flags["seed"]}
        other = any(key not in (*PER_CLIP, *seed) for key in flags) or told(flags) != self.settings.task
        settings = compose({**flags, **self.flags}, self.overrides) if other else self.before or self.settings
        own = {key: value for key, value in flags.items() if key in PER_CLIP}
        if "target_parts" in own or own.get("instruction") is not None:
            own["target_parts"] = parts_for(self, own)
        return replace(settings, **seed, **own)


def parts_for(method: Method, flags: Mapping[str, Any]) -> tuple[str, ...] | None:
    """A clip's parts of the target as the method takes them: those that were given, or the instruction's; else None.

    Given ones whose last is the target grow to it, and are for a method that takes such; others are a change each.
    """
    kind, source, instruction = EDITORS[method.settings.mode.name].parts, flags.get("source"), flags.get("instruction")
    if kind == "none":
        return None
    given = prompts(flags.get("target_parts"))
    grows = given is not None and given[-1] == str(flags.get("target") or "").strip()
    if given and (grows == (kind == "cumulative") or (len(given) == 1 and not grows)):
        return given
    if instruction is None or not source:
        return None
    return rewrite.parts(grammar.parse(str(instruction)), str(source), cumulative=kind == "cumulative") or None


def unfit_parts(chosen: Sequence[Method], flags: Mapping[str, Any]) -> list[str]:
    """What users hear of the parts of the target that a clip brings and that are not as a method takes them."""
    given = prompts(flags.get("target_parts"))
    takes = {
        "alone": "a prompt for each change alone",
        "cumulative": "prompts with one change more each, the last of them the target",
    }
    told = []
    for method in chosen if given else ():
        made, kind = parts_for(method, flags), EDITORS[method.settings.mode.name].parts
        instead = "and has none" if made is None else "which the instruction gives it"
        if kind != "none" and made != given:
            told.append(f"{method.name} leaves target_parts out: it takes {takes[kind]}, {instead}")
    return told


ALL = "all"
"""In place of a mode: every mode and preset that there is, after those that are named."""

FIRST = ("inversion_free", "inversion", "random_noise")
"""The modes that are compared where none is named; of all they come first."""

Lost = dict[str, str]
"""The methods that cannot do what is asked, by name, and why."""


def methods(
    modes: Sequence[str],
    also: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    refused: Mapping[str, str] | None = None,
    points: Sequence[Sequence[str]] = ((),),
) -> tuple[list[Method], Lost]:
    """One method a mode, and one for each text of overrides in `also`, on the first mode unless it names another.

    `flags` and `overrides` hold for all; the name of one in `also` is its mode and what it sets beside it; `refused`
    maps keys to the reason why they cannot be set. Every method is made once for each of the `points` of a sweep,
    which are more overrides. The mode `all` stands for every other mode and preset: of these, those that cannot take
    the settings are lost, with the reason. Raises ValueError for any other such mode, for an unknown key or value, and
    for two methods of one name.
    """
    given = dict(flags or {})
    texts = [shlex.split(text) for text in also]
    for pairs in (overrides, *points):
        _refuse(pairs, {"mode": "choose with --modes", "mode.name": "choose with --modes"})
    for pairs in (overrides, *texts, *points):
        _refuse(pairs, refused or {})
    named = [mode for mode in modes if mode != ALL]
    known = choices("mode")
    for mode in named:
        if mode not in known and nearest(mode, [*known, ALL]) == nearest(ALL, [ALL]):
            raise InputError(f"unknown mode {mode!r}{nearest(ALL, [ALL])} That is every mode and preset")
    made: list[Method] = []
    lost: Lost = {}
    for mode in named:
        made += [_method(" ".join([mode, *point]), mode, given, [*overrides, *point]) for point in points]
    for mode in _others(named) if ALL in modes else ():
        try:
            own = [_method(" ".join([mode, *point]), mode, given, [*overrides, *point]) for point in points]
        except ValueError as error:
            lost[mode] = one_line(error)
            continue
        made += [replace(method, asked=False) for method in own]
    modes = named or [method.mode for method in made[:1]]
    for pairs in texts:
        chosen = [pair.partition("=")[2] for pair in pairs if pair.startswith("mode=")]
        rest = [pair for pair in pairs if not pair.startswith("mode=")]
        _refuse(rest, {"mode.name": "write mode="})
        if not chosen and not modes:
            raise InputError(f"{' '.join(pairs)!r} names no mode: begin with one, such as mode=inversion_free")
        mode = chosen[-1] if chosen else modes[0]
        for point in points:
            made.append(_method(" ".join([mode, *rest, *point]), mode, given, [*overrides, *rest, *point]))
    names = [method.name for method in made]
    if twice := {name for name in names if names.count(name) > 1 or name in REFERENCES}:
        raise InputError(f"method {', '.join(sorted(twice))} is named more than once: give each a name of its own")
    if not made and lost:
        raise InputError(next(iter(lost.values())))
    return made, lost


def _others(named: Sequence[str]) -> list[str]:
    known = choices("mode")
    return [mode for mode in dict.fromkeys([*(name for name in FIRST if name in known), *known]) if mode not in named]


def equalise(chosen: Sequence[Method], budget: int | None = None) -> tuple[list[Method], Lost]:
    """The methods at one number of network evaluations, by default what the first one takes at its own steps.

    The first whose cost its steps decide, if there is one: any other keeps its own cost. Those that nobody named and
    that the budget does not pay one step of are lost, with the reason. Raises ValueError for any other such method,
    and for a given grid, whose steps stand.
    """
    leads = (method for method in chosen if not has_fixed_cost(method.settings, method.by_hand()))
    first = next(leads, chosen[0])
    most = network_evaluations(first.settings) if budget is None else budget
    like = first if budget is None else budget

    def paid(method: Method) -> Method:
        settings = within(method.settings, most, method.by_hand())
        return replace(method, budget=like, settings=settings, before=method.settings)

    return able(chosen, paid)


FEW = 4
"""Fewer steps than these say little of a method."""


def hurried(chosen: Sequence[Method]) -> list[str]:
    """What users hear of the methods of whose steps their budget pays fewer than `FEW`."""
    steps = {method.name: intervals(method.settings) for method in chosen if method.budget is not None}
    few = [f"{name} ({count})" for name, count in steps.items() if 0 < count < FEW]
    told = (
        f"So few network evaluations leave {', '.join(few)} fewer than {FEW} steps: "
        f"{'their edits do' if len(few) > 1 else 'its edit does'} not show what the method can do."
    )
    return [told] if few else []


def set_apart(chosen: Sequence[Method]) -> list[str]:
    """What users hear of the methods that no budget brings to the cost of the others."""
    costs = {
        method.name: network_evaluations(method.settings)
        for method in chosen
        if method.budget is not None and has_fixed_cost(method.settings, method.by_hand())
    }
    return [
        f"{name} takes {cost} network evaluations whatever its steps, and keeps its own."
        for name, cost in costs.items()
    ]


def able(chosen: Sequence[Method], turn: Callable[[Method], Method]) -> tuple[list[Method], Lost]:
    """What `turn` makes of each method, and those that nobody named and that it refuses, with the reason.

    Raises ValueError as `turn` does for a method that was named, and where nothing is left.
    """
    made: list[Method] = []
    lost: Lost = {}
    for method in chosen:
        try:
            made.append(turn(method))
        except ValueError as error:
            if method.asked:
                raise
            lost[method.name] = one_line(error)
    if not made and lost:
        raise InputError(next(iter(lost.values())))
    return made, lost


def once(chosen: Sequence[Method], sweep: Mapping[str, Sequence[str]]) -> tuple[list[Method], dict[str, str]]:
    """The methods of a sweep, keys without effect on one at their first value; and what users hear, by methods' names.

    So all values of such a key come to the same jobs, of which `twins` leaves one. The names are those of methods that
    stand at another value than they say.
    """
    made, told = [], {}
    for method in chosen:
        vain = method.lacking(sweep)
        first = {f"{key}={value}": f"{key}={sweep[key][0]}" for key in vain for value in sweep[key]}
        own = tuple(first.get(pair, pair) for pair in method.overrides)
        if own == method.overrides:
            made.append(method)
            continue
        made.append(replace(method, settings=compose(method.flags, own), overrides=own))
        reasons = ", ".join(f"{key} has no effect (it needs {missing})" for key, missing in vain.items())
        told[method.name] = f"{method.mode}: {reasons}: one edit stands for all its values"
    return made, told


def cannot(lost: Mapping[str, str]) -> list[str]:
    """What users hear of the methods that all left out."""
    return [f"{name} is left out: {reason}" for name, reason in lost.items()]


def twins(ids: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    """Methods all of whose jobs are those of one before them, by name, and that one; None is no job.

    Other steps than another method's come to nothing where all take the same number of network evaluations.
    """
    first: dict[tuple[str | None, ...], str] = {}
    found = {}
    for name, jobs in ids.items():
        other = first.setdefault(tuple(jobs), name)
        if other != name and jobs and None not in jobs:
            found[name] = other
    return found


def left_out(found: Mapping[str, str], chosen: Iterable[Method]) -> list[str]:
    """What users hear of `twins`, and of those whose steps they set while their cost decides them."""
    ruled = {method.name for method in chosen if method.budget is not None and "steps" in method.by_hand()}
    why = " (the network evaluations decide the steps: --evaluations own keeps those that you set)"
    return [
        f"{name} comes to the same edits as {other}, and is left out{why if name in ruled else ''}"
        for name, other in found.items()
    ]


def _method(name: str, mode: str, flags: Mapping[str, Any], overrides: Sequence[str]) -> Method:
    whole = {**flags, "mode": mode}
    return Method(name, compose(whole, overrides), whole, tuple(overrides), mode=mode)


def _refuse(overrides: Iterable[str], reasons: Mapping[str, str]) -> None:
    for key in (pair.partition("=")[0] for pair in overrides):
        if key in reasons:
            raise InputError(f"{key}: {reasons[key]}")
