"""All options of an edit as the page's accordion shows them, made of their declarations alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flowedit.app.forms import choices
from flowedit.app.limits import closed
from flowedit.config.compose import GROUPS, compose, options, walked
from flowedit.config.mode_lines import mode_lines
from flowedit.config.options import Declared, declared, kinds_of
from flowedit.config.schema import Settings
from flowedit.config.sections import section_of
from flowedit.editors.spec import EDITORS
from flowedit.messages import Error

NAMES = tuple(f"{group}.{name}" for group in GROUPS for name in ("name", "preset"))
"""Keys that say which choice of a group was made: the group itself says it."""

METHOD = "the method"

ON_PAGE = (
    "clip", "source", "target", "instruction", "source_words", "target_words", "quality", "strength", "seed",
    "start", "frames", "backbone",
)  # fmt: skip
"""Options that have a place of their own on the page; all others stand in the accordion, each once."""


def entries(allow: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What the accordion shows, in its order: a mapping an option, but for those that are closed from outside.

    `kind` is choice (with its `choices`), flag, whole, number (with `least` and `most` or None) or text; `modes` are
    the methods that have it, None for all; `typed` and `range` say in words what may be typed.
    """
    open_ = [(each, modes) for each, modes in _declared() if each.key not in ON_PAGE and closed(each, allow) is None]
    return [_entry(each, modes) for each, modes in open_]


def _declared() -> Iterator[tuple[Declared, list[str] | None]]:
    common = [each for each in declared(Settings) if each.key not in NAMES and not each.key.startswith("quality.")]
    for each in common:
        if not each.key.startswith("backbone."):
            yield each, None
    known = {each.key for each in common}
    owners: dict[tuple[str, str], list[str]] = {}  # editors may declare one key in words of their own
    found: dict[tuple[str, str], Declared] = {}
    for name, spec in EDITORS.items():
        for each in declared(spec.options, "mode."):
            if each.key not in known and each.key not in NAMES:
                owners.setdefault((each.key, repr(each)), []).append(name)
                found.setdefault((each.key, repr(each)), each)
    for key, each in found.items():
        yield each, owners[key]


def _entry(each: Declared, modes: list[str] | None) -> dict[str, Any]:
    option, names = each.option, _choices(each)
    kinds = [kind for kind in kinds_of(each.kind) if kind is not type(None)]
    numeric = len(kinds) == 1 and kinds[0] in (int, float)
    kind = "choice" if names else ("whole" if kinds[0] is int else "number") if numeric else "text"
    bounds = {"least": option.least, "most": option.most} if numeric else {}
    about = {name: mode_lines(name).good_at for name in names} if each.key == "mode" else {}
    return {
        "key": each.key,
        "section": METHOD if each.key.partition(".")[0] in ("mode", "edit_strength") else section_of(each.key),
        "help": option.help,
        "typed": each.typed,
        "range": option.range,
        "kind": kind,
        "choices": names,
        "about": about,
        "modes": modes,
        **bounds,
    }


def _choices(each: Declared) -> list[str]:
    """The names that may be chosen, as they are typed; none where something else may be typed beside them."""
    return [_text(name) for name in choices(each) or ()]


def default_texts(chosen: Mapping[str, Any]) -> dict[str, str]:
    """What each option is where only `chosen` is set, as it would be typed: {} for what does not compose."""
    try:
        settings = compose({key: value for key, value in chosen.items() if value not in (None, "")})
    except Error:
        return {}
    values = asdict(settings)
    texts = {key: _text(_at(values, key)) for key in walked(values)}
    names = {
        group: str(of.get("preset") or of["name"])
        for group in GROUPS
        if isinstance(of := values.get(group), dict) and of.get("name")
    }
    return {key: text for key, text in (texts | names).items() if key not in NAMES}


def names(group: str) -> list[str]:
    """The choices of a group of conf/ by name, those first that take no thought."""
    found = [name for name in options(group) if name != "folder"]
    return sorted(found, key=("auto", "draft", "fast", "balanced", "best").index) if group == "quality" else found


def editor_of(mode: str) -> str:
    """The editor behind a mode, a preset's own."""
    return str(compose({"mode": mode}).mode.name)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(_text(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
