"""The options of an edit as a page and a program see them: from their declarations alone."""

import typing
from collections.abc import Sequence
from typing import Any, Literal

from flowedit.app.labels import section, title
from flowedit.app.limits import check_backbone, closed, default_mode, known_options
from flowedit.config import compose
from flowedit.config.options import Declared, kinds_of


def forms(mode: str = "", allow: Sequence[str] = (), backbone: str = "") -> list[dict[str, Any]]:
    """Every option of an edit in the order of its declaration: what it is called, help, typed, range, choices, default.

    `closed` says why one cannot be set from outside, and is null for all others. Defaults are those of this mode and
    backbone. Raises InputError for an unknown mode or backbone.
    """
    known = known_options(mode)
    if backbone:
        check_backbone(backbone)
    chosen = tuple(f"{group}={name}" for group, name in (("mode", mode), ("backbone", backbone)) if name)
    values = compose.composed(chosen)
    own = [each for each in known.values() if each.key not in ("mode.name", "mode.preset")]
    return [form(each, allow) | {"default": _default(each.key, values, mode)} for each in own]


def form(each: Declared, allow: Sequence[str] = ()) -> dict[str, Any]:
    """What is told of one option, but for its default; see `forms`."""
    return {
        "key": each.key,
        "title": title(each.key),
        "section": section(each.key),
        "help": each.option.help,
        "typed": each.typed,
        "range": each.option.range,
        "least": each.option.least,
        "most": each.option.most,
        "choices": choices(each),
        "needs": each.option.needs,
        "written": each.option.written,
        "role": each.option.role,
        "kinds": [_kind(kind) for kind in kinds_of(each.kind)],
        "closed": closed(each, allow),
    }


def choices(each: Declared) -> list[Any] | None:
    """The valid names of an option; None where it takes other values too."""
    if each.key in compose.GROUPS:
        return [name for name in compose.options(each.key) if name != "folder"]
    names: list[Any] = []
    for kind in (kind for kind in kinds_of(each.kind) if kind is not type(None)):
        if typing.get_origin(kind) is Literal:
            names += typing.get_args(kind)
        elif kind is bool:
            names += [True, False]
        else:
            return None
    return names or None


def _kind(kind: Any) -> str:
    """A type by a name that a page can choose a field by."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        return "choice"
    if origin is tuple:
        return "list"
    return {int: "whole", float: "number", bool: "truth", str: "text", type(None): "null"}.get(kind, "group")


def _default(key: str, values: dict[str, Any], mode: str) -> Any:
    """What holds where nothing is set: of a group the name of its choice."""
    if key == "mode":
        return mode or default_mode()
    if key in compose.GROUPS:
        from flowedit.config.defaults import default_of

        return default_of(key)[0] if key != "task" else "auto"
    place: Any = values
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place if not isinstance(place, dict) else None
