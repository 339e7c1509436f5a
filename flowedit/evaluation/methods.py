"""What is compared: modes of the configuration, and any of them with overrides."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowedit.config.compose import OPTIONS, compose, prompts, told
from flowedit.config.schema import Settings
from flowedit.evaluation.results.summary import REFERENCES
from flowedit.messages import InputError
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, network_evaluations, within

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

    @property
    def notices(self) -> list[str]:
        """Options of this method that have no effect."""
        count = len(self.settings.object_guidance_scales or ".")
        source, target = (", ".join([*(f"{side}{i}" for i in range(count)), "kept"]) for side in "ab")
        filled = replace(
            self.settings, source="a", target="a", target_parts=("b", "c"), source_words=source, target_words=target
        )
        return [f"{self.name}: {text}" for text in of_unused(brief(filled))]

    def on(self, flags: Mapping[str, Any]) -> Settings:
        """The settings of one edit; the flags are a clip's own, and those of the method win.

        Raises ValueError as `compose` does.
        """
        settings = self._own(flags)
        if self.budget is None:
            return settings
        most = self.budget if isinstance(self.budget, int) else network_evaluations(self.budget._own(flags))
        return within(settings, most)

    def _own(self, flags: Mapping[str, Any]) -> Settings:
        """Before any budget. Prompts of the method's own task, and a seed, which scenes bring, need no composing."""
        taken = "seed" in self.flags or any(text.startswith("seed=") for text in self.overrides)
        seed = {} if taken or type(flags.get("seed")) is not int else {"seed": flags["seed"]}
        other = any(key not in (*PER_CLIP, *seed) for key in flags) or told(flags) != self.settings.task
        settings = compose({**flags, **self.flags}, self.overrides) if other else self.settings
        own = {key: value for key, value in flags.items() if key in PER_CLIP}
        if "target_parts" in own:
            from flowedit.editors.spec import EDITORS  # imports torch, as what made the settings did

            takes = EDITORS[settings.mode.name].parts != "none"  # the clip brings them for the methods that take them
            own["target_parts"] = prompts(own["target_parts"]) if takes else None
        return replace(settings, **seed, **own)


def methods(
    modes: Sequence[str],
    also: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    refused: Mapping[str, str] | None = None,
) -> list[Method]:
    """One method a mode, and one for each text of overrides in `also`, on the first mode unless it names another.

    `flags` and `overrides` hold for all; the name of one in `also` is its mode and what it sets beside it; `refused`
    maps keys to the reason why they cannot be set. Raises ValueError for those, for an unknown mode, key or value,
    and for two methods of one name.
    """
    given = dict(flags or {})
    texts = [shlex.split(text) for text in also]
    _refuse(overrides, {"mode": "choose with --modes", "mode.name": "choose with --modes"})
    made = [_method(mode, mode, given, overrides) for mode in modes]
    for pairs in texts:
        chosen = [pair.partition("=")[2] for pair in pairs if pair.startswith("mode=")]
        rest = [pair for pair in pairs if not pair.startswith("mode=")]
        _refuse(rest, {"mode.name": "write mode="})
        if not chosen and not modes:
            raise InputError(f"{' '.join(pairs)!r} names no mode: begin with one, such as mode=inversion_free")
        mode = chosen[-1] if chosen else modes[0]
        made.append(_method(" ".join([mode, *rest]), mode, given, [*overrides, *rest]))
    names = [method.name for method in made]
    if twice := {name for name in names if names.count(name) > 1 or name in REFERENCES}:
        raise InputError(f"method {', '.join(sorted(twice))} is named more than once: give each a name of its own")
    _refuse([pair for pairs in texts for pair in pairs] + list(overrides), refused or {})
    return made


def equalise(chosen: Sequence[Method], budget: int | None = None) -> list[Method]:
    """The methods at one number of network evaluations, by default what the first one takes at its own steps.

    Raises ValueError for a budget that does not pay one step of a method, and for a given grid, whose steps stand.
    """
    most = network_evaluations(chosen[0].settings) if budget is None else budget
    like = chosen[0] if budget is None else budget
    return [replace(method, budget=like, settings=within(method.settings, most)) for method in chosen]


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


def left_out(found: Mapping[str, str]) -> list[str]:
    """What users hear of `twins`."""
    return [f"{name} comes to the same edits as {other}, and is left out" for name, other in found.items()]


def _method(name: str, mode: str, flags: Mapping[str, Any], overrides: Sequence[str]) -> Method:
    whole = {**flags, "mode": mode}
    return Method(name, compose(whole, overrides), whole, tuple(overrides))


def _refuse(overrides: Iterable[str], reasons: Mapping[str, str]) -> None:
    for key in (pair.partition("=")[0] for pair in overrides):
        if key in reasons:
            raise InputError(f"{key}: {reasons[key]}")
