"""All options of an edit as the page's accordion shows them, made of their declarations alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flowedit.app.forms import form
from flowedit.app.labels import method, offered
from flowedit.config.compose import GROUPS, compose, options, walked
from flowedit.config.mode_lines import mode_lines
from flowedit.config.options import Declared, declared
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS
from flowedit.messages import Error

NAMES = tuple(f"{group}.{name}" for group in GROUPS for name in ("name", "preset"))
"""Keys that say which choice of a group was made: the group itself says it."""

ON_PAGE = (
    "clip", "source", "target", "instruction", "source_words", "target_words", "quality", "strength", "seed",
    "start", "frames", "backbone",
)  # fmt: skip
"""Options that have a place of their own on the page; all others stand in the accordion, each once."""


def entries(allow: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What the accordion shows, in its order: a mapping an option, but for those that are closed from outside.

    `kind` is choice (with its `choices`), flag, whole, number (with `least` and `most` or None) or text; `modes` are
    the methods that have it, None for all; `typed` and `range` say in words what may be typed, `titles` and `about` of
    a choice of methods what each is. All of it is what `forms` tells of the option.
    """
    shown = [(each, modes) for each, modes in _declared() if each.key not in ON_PAGE and offered(each, allow)]
    return [_entry(form(each, allow), modes) for each, modes in shown]


def _declared() -> Iterator[tuple[Declared, list[str] | None]]:
    common = list(declared(Settings))
    yield from ((each, None) for each in common)
    known = {each.key for each in common}
    owners: dict[tuple[str, str], list[str]] = {}  # editors may declare one key in words of their own
    found: dict[tuple[str, str], Declared] = {}
    for name, spec in EDITORS.items():
        for each in declared(spec.options, "mode."):
            if each.key not in known:
                owners.setdefault((each.key, repr(each)), []).append(name)
                found.setdefault((each.key, repr(each)), each)
    for key, each in found.items():
        yield each, owners[key]


def _entry(told: Mapping[str, Any], modes: list[str] | None) -> dict[str, Any]:
    names = [_text(name) for name in told["choices"] or ()]
    kinds = [kind for kind in told["kinds"] if kind != "null"]
    numeric = kinds in (["whole"], ["number"])
    bounds = {key: told[key] for key in ("least", "most")} if numeric else {}
    about = {name: mode_lines(name).good_at for name in names} if told["key"] == "mode" else {}
    titles = {name: method(name) for name in names} if told["key"] == "mode" else {}
    shown = {key: told[key] for key in ("key", "title", "section", "help", "typed", "range")}
    kind = "choice" if names else kinds[0] if numeric else "text"
    return {**shown, "kind": kind, "choices": names, "titles": titles, "about": about, "modes": modes, **bounds}


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


def methods() -> list[tuple[str, str]]:
    """Every method, as (what it is called on the page, its name)."""
    return [(method(name), name) for name in names("mode")]


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
