"""What is said on options that have no effect, and the facts that options need."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowedit.config.choices import options as names
from flowedit.config.compose import compose
from flowedit.config.options import declared_by
from flowedit.config.quality import OverruledQuality
from flowedit.config.schema import Settings
from flowedit.language import words
from flowedit.messages import InputError
from flowedit.pipeline.plan import Brief
from flowedit.pipeline.prompts.several import attention_of

if TYPE_CHECKING:
    pass


def facts_of(made: Brief, windows: int | None = None, frames: int | None = None) -> dict[str, tuple[bool, str]]:
    """Facts by the names that options `needs`: whether each holds for this edit, and how it is called.

    `windows`: the most that a shot is run in, where that is known; `frames`: those of the clip.
    """
    settings, editor, sides = made.settings, made.editor, made.sides
    attention = attention_of(made)
    source, target = made.scales["source"], made.scales["target"]
    both, scale = source + target if "source" in editor.sides else target, "a guidance scale other than 1"
    guided = both
    if made.from_source:
        away = "mode.target_negative=prompt" if settings.edit_strength is None else "no edit_strength"
        guided, scale = source, f"a source guidance scale other than 1, or {away}"
    elif settings.target_negative_prompt is not None:
        able = "source" in editor.sides
        guided, away = source if able else (), "no target_negative_prompt"
        scale = f"a source guidance scale other than 1, or {away}" if able else away
    several = "several objects: two words or more that pair up"
    user = settings.marked
    pairs = words.object_words(settings.source_words, settings.target_words)
    fresh = "mode=inversion_free"
    return {
        "attention": (bool(sides), "an attention mask, and so words"),
        "source_maps": ("source" in sides, "an attention mask, words, and a mode that evaluates the source prompt"),
        "maps": (bool(sides) or made.difference, "an attention mask, and so words, or mask=difference"),
        "two_velocities": (editor.difference != "none", "a mode that has both velocities in each step"),
        "mask": (made.masked, "a mask"),
        "user_mask": (user, "a user mask"),
        "several_objects": (made.attended and bool(pairs), several),
        "several_objects_scaled": (made.own_scales, several),
        "common_scale": (not made.own_scales or user, "an object without a scale of its own"),
        "noise": (editor.noise, "a mode that draws noise"),
        "source_velocity": (made.reads_source, "a mode that evaluates the source prompt"),
        "guided_source": (
            "source" in editor.sides and settings.edit_strength is None,
            "a mode that evaluates the source prompt, and no edit_strength",
        ),
        "guided": (any(each != 1 for each in guided), scale),
        "guided_side": (any(each != 1 for each in both), "a guidance scale other than 1"),
        "guided_target": (any(each != 1 for each in target), "a target guidance scale other than 1"),
        "prompt_negative": (not made.from_source, "a target that is steered away from a prompt of its own"),
        "own_negative": (
            settings.edit_strength is None or not made.reads_source,
            "no edit_strength, which steers away from the source",
        ),
        "grid_by_steps": (settings.mode.grid != "given", "a grid that is made, not given"),
        "several_frames": (frames != 1, "a clip of several frames"),
        "several_windows": (settings.window != "whole" and windows != 1, "a clip longer than its window"),
        "source_attention": ("source" in editor.sides, "a mode that evaluates the source prompt"),
        "taken": (attention.takes, "attention.queries, keys or values above 0"),
        "taken_keys": (max(attention.queries, attention.keys) > 0, "attention.queries or attention.keys above 0"),
        "anchored": (attention.anchors, "attention.anchor_words or attention.anchor_sites above 0"),
        "controlled": (attention.active, "a control of attention"),
        "target_words": (bool(words.phrases(settings.target_words)), "target_words"),
        "several_masks": (len(made.objects) > 1, several),
        "instruction": (settings.instruction is not None, "an instruction"),
        "fresh_noise": (editor.draws, fresh),
        "shared_noise": (False, fresh),
        "several_noises": (False, fresh),
        "target_parts": (bool(settings.target_parts), "target_parts"),
        "several_draws": (settings.draws > 1, "several draws"),
        **editor.facts(settings.mode, made.steps, settings.draws),
    }


def of_unused(made: Brief, windows: int | None = None, frames: int | None = None) -> list[str]:
    """A line for every option that differs from its default while what it needs is not there."""
    settings, facts = made.settings, facts_of(made, windows, frames)
    plain = {"averaging": "mean", "draws": 1}  # so that a preset whose averaging came to nothing is told as well
    mode = settings.mode.preset or settings.mode.name
    backbone = settings.backbone.name if settings.backbone.name in names("backbone") else "folder"
    chosen = {"backbone": backbone, "backbone.path": settings.backbone.path, "mode": mode, "task": settings.task}
    usual = compose(chosen | plain | {"mode.grid": settings.mode.grid})  # beside a given one no quality scales steps
    # What mask=NAME sets nobody typed: of the mask only what differs from its own file is told.
    of_mask = usual.mask
    if settings.mask.name != of_mask.name:
        of_mask = compose(chosen | {"mask": settings.mask.name}).mask
    default = replace(usual, mask=replace(of_mask, name=usual.mask.name))
    notices = [*_of_quality(settings, usual, chosen | plain), *_of_edit_strength(made), *_of_parts(made)]
    for key, option in declared_by(settings):
        if option.needs is None or value_at(settings, key) == value_at(default, key):
            continue
        if missing := _missing(option.needs, settings, facts):
            notices.append(f"{key.removesuffix('.name')}={value_at(settings, key)} has no effect: it needs {missing}")
    return notices


def lacking(made: Brief, keys: Container[str]) -> dict[str, str]:
    """Those of the keys that have no effect on this edit, whatever their value, and what they need."""
    facts = facts_of(made)
    found = {key: option.needs for key, option in declared_by(made.settings) if key in keys and option.needs}
    needs = {key: _missing(need, made.settings, facts) for key, need in found.items()}
    return {key: missing for key, missing in needs.items() if missing is not None}


def _of_quality(settings: Settings, usual: Settings, flags: Mapping[str, Any]) -> Iterator[str]:
    """A quality beside steps that are not its own."""
    if settings.mode.grid == "given":
        return
    asked = {"quality": settings.quality.name, "quality.share": settings.quality.share, "strength": settings.strength}
    other = settings.quality != usual.quality and compose({**flags, **asked}).steps != settings.steps
    if other or isinstance(settings.quality, OverruledQuality):
        yield f"quality={settings.quality.name} does not choose the steps: steps={settings.steps} is set"


def _of_edit_strength(made: Brief) -> Iterator[str]:
    """An edit strength of 0 beside steps that never look at the source's state."""
    last = min(getattr(made.settings.mode, "target_only_steps", 0), made.steps)
    if made.settings.edit_strength == 0 and last:
        yield f"edit_strength=0 does not keep the clip: mode.target_only_steps={last} goes by the prompt alone"


def _of_parts(made: Brief) -> Iterator[str]:
    """An editor that splits the target, without anything to split it by; and a single part, which splits nothing."""
    name, given = made.settings.mode.preset or made.settings.mode.name, made.settings.target_parts or ()
    if made.editor.parts == "alone" and not given:
        yield f"mode={name} goes by the target alone: give target_parts, or an instruction of two changes"
    if made.editor.parts == "alone" and len(given) == 1:
        yield f"target_parts {given[0]!r} is one part alone: give a prompt for each change of the target"
    if made.editor.parts == "cumulative" and given and not made.parts:
        yield "target_parts holds the target alone: give prompts that come to it by one change more each"


def _missing(needs: str, settings: Settings, facts: Mapping[str, tuple[bool, str]]) -> str | None:
    """The first of the needs, joined by "and", that does not hold, as a user reads it."""
    for need in needs.split(" and "):
        if found := re.fullmatch(r"([\w.]+)(=|>)(\S+)", need):
            key, sign, wanted = found.groups()
            value = value_at(settings, key)
            good = value is not None and value > float(wanted) if sign == ">" else str(value).lower() == wanted
            if not good:
                return need.replace(">", " above ")
        elif need not in facts:
            raise InputError(f"an option needs {need!r}, which is no fact: one of {', '.join(facts)}, or KEY=VALUE")
        elif not facts[need][0]:
            return facts[need][1]
    return None


def value_at(settings: Settings, key: str) -> Any:
    """The value of a dotted key; None for one that these settings have not, such as another mode's."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
