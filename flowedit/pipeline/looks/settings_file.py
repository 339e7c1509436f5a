"""The settings of an edit as a text in its own file; and read back from there, or from run.yaml."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from flowedit.config import compose, edit_file
from flowedit.config.names import RENAMED
from flowedit.config.schema import Settings
from flowedit.machine import parsed_json
from flowedit.media import probe
from flowedit.messages import Error, InputError
from flowedit.pipeline.prompts import instruction
from flowedit.types import QUIET
from flowedit.upscaling.asked import is_path
from flowedit.upscaling.catalogue import UPSCALERS

LONGEST, MOST, LONGEST_VALUE = 2**16, 500, 10_000
"""Of what a video may hold: bytes of its text, settings, and characters of one of them."""

CHOICES = edit_file.GROUPS
"""Groups of options of which a file may name a choice: mode, quality, task, mask, averaging, attention."""

NEVER = (*(name for name in edit_file.DROPPED if name != "upscale"), "user_mask")
"""What no file gives: places, and what is chosen on the machine that edits; of the backbone it holds the name alone."""

WITHOUT = {
    "user_mask": "was made with a user_mask, which it does not hold: give the mask again",
    "upscale": "was upscaled by a file of weights, which it does not hold: give --upscale again",
}
"""What an edit may be made with that its file cannot hold, and what is said of it."""

MADE_BY_INSTRUCTION = ("target", "target_parts", "source_words", "also_words", "target_words")

FROM_TEXT = {"mode": "random_noise", "strength": "1"}
"""What a clip from text alone begins with, in place of an edit's defaults."""


def settings_text(settings: Settings, from_text: bool = False) -> str:
    """The settings that differ from the defaults, as JSON without a path, a machine or a time.

    `from_text`: the clip was made from text alone. What an instruction made, it makes again, and is left out.
    """
    typed = settings if settings.instruction is None else replace(settings, **_made_again(settings))
    told: dict[str, Any] = {"flowedit": import_module("flowedit").__version__, "settings": differing(typed, from_text)}
    if from_text:
        told["made"] = "from text"
    lost = {"user_mask": settings.user_mask is not None, "upscale": settings.upscale not in (None, *UPSCALERS)}
    if without := [name for name in WITHOUT if lost[name]]:
        told["without"] = without
    return json.dumps(told, ensure_ascii=False)


def differing(settings: Settings, from_text: bool = False) -> dict[str, Any]:
    """The options by their dotted names, as plain values, of which these settings are made again.

    Groups by the names of their choices, and what differs from what these make; the backbone only where it has a name.
    """
    named = settings.backbone.name if settings.backbone.path is None else None
    backbone = named if named in _backbones() else "folder"
    begin = {"backbone": backbone, **(FROM_TEXT if from_text else {})}
    flat, found = _flat(asdict(settings)), dict[str, Any]()
    for _ in range(len(CHOICES) + 3):  # a mode brings choices of its own, and steps that are set hold a quality off
        made = compose.compose(begin | found)
        other = {key: each for key, each in _flat(asdict(made)).items() if key in flat and flat[key] != each}
        choice = next((key for key in CHOICES if _choice(settings, key) not in (_choice(made, key), None)), None)
        values = {key: "null" if flat[key] is None else flat[key] for key in other if _free(key, flat[key])}
        if choice is None and not values:
            break
        found |= values if choice is None else {choice: _choice(settings, choice)}
    shown = {} if backbone == "folder" else {"backbone": backbone}
    return shown | {key: str(each) if each == float("inf") else each for key, each in found.items()}


def settings_from(path: str | os.PathLike[str], *, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The settings of an earlier edit, from its edit.mp4, edit.png or run.yaml: `edit(clip, **settings_from(path))`.

    Options by name, those that differ from the defaults; of a clip that was made from text those of `generate`, with
    the text as `prompt`. The file is data from anywhere: places and what is chosen on a machine (out, user_mask,
    runtime ...) are never taken from it, of a backbone only a name that is known here, and unknown keys are left out.
    `say` hears what was left out, in one line. Raises FileError for a file that cannot be read, InputError for one that
    holds no settings, or such as no edit can have.
    """
    path = Path(path)
    run = path.suffix.lower() in edit_file.SUFFIXES
    values, from_text, without = _of_run(path) if run else _of_video(path)
    begin = FROM_TEXT if from_text else {}
    good, left = _known(path, values, begin)
    try:
        made = compose.compose({"backbone": "folder", **begin, **good})
        if run:  # which holds all of them
            typed = made if made.instruction is None else replace(made, **_made_again(made))
            good = {key: good[key] for key in ("backbone",) if key in good} | differing(typed, from_text)
    except InputError as error:
        raise InputError(f"{str(path)!r} holds settings of which no edit can be made: {error}") from error
    if left:
        shown = ", ".join(repr(each[:40]) for each in left[:8]) + (f" and {len(left) - 8} more" if left[8:] else "")
        say(f"{path.name}: left out, unknown here or not for a file to say: {shown}")
    for name in without:
        say(f"{path.name} {WITHOUT[name]}")
    if from_text:
        good["prompt"] = good.pop("target", "")
    return good


def _of_video(path: Path) -> tuple[dict[str, Any], bool, list[str]]:
    """Settings as a video or a PNG holds them, whether it was made from text, and what of WITHOUT it lacks."""
    text = probe.comment(path)
    if text is None or not text.lstrip().startswith("{"):
        raise InputError(
            f"{str(path)!r} holds no settings: give the edit.mp4, edit.png or run.yaml of an edit by flowedit"
        )
    told = parsed_json(text.encode(errors="replace"), f"the comment of {str(path)!r}", LONGEST)
    values = told.get("settings") if isinstance(told, dict) and "flowedit" in told else None
    if not isinstance(values, dict) or len(values) > MOST:
        raise InputError(f"{str(path)!r} holds no settings of flowedit: give an edit.mp4, an edit.png or a run.yaml")
    without = told.get("without")
    lacks = [name for name in WITHOUT if isinstance(without, list) and name in without]
    return values, told.get("made") == "from text", lacks


def _of_run(path: Path) -> tuple[dict[str, Any], bool, list[str]]:
    """The same of a run.yaml, in which all settings stand, of whatever version."""
    told = edit_file.load(path)
    settings = told.get("settings") if isinstance(told, dict) else None
    if not isinstance(settings, dict):
        raise InputError(f"{str(path)!r} holds no settings: give the run.yaml that lies beside an edit")
    flat = {RENAMED.get(key, key): each for key, each in _flat(settings).items()}
    values = {key: each for key, each in flat.items() if key.partition(".")[0] not in NEVER}
    for group in CHOICES:
        name = values.pop(f"{group}.name", None)
        if (name := values.pop(f"{group}.preset", None) or name) is not None:
            values[group] = name
    if flat.get("backbone.path") is None and (name := flat.get("backbone.name")) is not None:
        values["backbone"] = name
    from_text = told.get("clip") is None and settings.get("source") is None and values.get("mode") == "random_noise"
    without = [] if flat.get("user_mask") is None else ["user_mask"]
    upscaler = values.get("upscale")
    if isinstance(upscaler, str) and upscaler not in UPSCALERS and is_path(upscaler):
        del values["upscale"]
        without.append("upscale")
    return values, from_text, without


def _known(path: Path, values: Mapping[str, Any], begin: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of a file's settings those that may be taken, and the keys of the others; InputError for a value of no kind."""
    names = {group: compose.options(group) for group in CHOICES} | {"backbone": _backbones()}
    chosen = {key: each for key, each in values.items() if key in names and each in names[key]}
    keys = set(_flat(asdict(compose.compose({**begin, **chosen}))))
    good, left = dict[str, Any](chosen), []
    for key, value in values.items():
        if key in good:
            continue
        if key in names or key not in keys or not _free(key, value):
            left.append(key)
        elif value is not None:
            _check(path, key, value)
            good[key] = value
    return good, left


def _check(path: Path, key: str, value: Any) -> None:
    """Raise InputError for a value that is neither text where text belongs, nor a number, a truth value or a name.

    What a text of another kind says would reach Hydra's grammar, which reads the environment.
    """
    members = value if isinstance(value, list) else [value]
    prose = compose.WRITTEN.get(key, "value") != "value"
    texts = [each for each in members if isinstance(each, str)]
    good = all(isinstance(each, (bool, int, float, str)) for each in members)
    good = good and (prose or all(edit_file.PLAIN.fullmatch(each) for each in texts))
    if not good or len(repr(value)) > LONGEST_VALUE:
        raise InputError(f"{str(path)!r}: {key} {repr(value)[:60]} is no value that a setting has")


def _made_again(settings: Settings) -> dict[str, Any]:
    """What the instruction makes of the rest, emptied: the source too, where it is made of the instruction alone."""
    whole = replace(settings, caption=None)
    for keys in (("source", *MADE_BY_INSTRUCTION), MADE_BY_INSTRUCTION):
        emptied: dict[str, Any] = {key: "" if key.endswith("words") else None for key in keys}
        with suppress(Error):
            if instruction.complete(replace(whole, **emptied), QUIET) == whole:
                return emptied
    return {}


def _choice(settings: Settings, group: str) -> str | None:
    """The name of a group's choice; None for one that is not there to be chosen."""
    if group == "task":
        return settings.task
    chosen = getattr(settings, group)
    name = getattr(chosen, "preset", None) or chosen.name
    return name if name in compose.options(group) else None


def _free(key: str, value: Any) -> bool:
    """Whether a file may set this key by itself: an upscaler by its name alone."""
    head, _, name = key.partition(".")
    if key == "upscale" and value is not None:
        return isinstance(value, str) and value in UPSCALERS
    return head not in (*NEVER, "task") and name not in ("name", "preset")


def _backbones() -> list[str]:
    return [name for name in compose.options("backbone") if name != "folder"]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted keys, tuples as lists."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found
