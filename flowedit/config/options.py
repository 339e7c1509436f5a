"""A dataclass of options from plain values: types are checked here."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from flowedit.messages import InputError


def build(cls: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """A settings dataclass from plain values, types checked; raises ValueError with the key and what it takes."""
    hints = typing.get_type_hints(cls)
    made: dict[str, Any] = {}
    for field in fields(cls):
        if field.name not in values:
            continue
        value, hint = values[field.name], hints[field.name]
        key = prefix + field.name
        made[field.name] = build(hint, value, key + ".") if is_dataclass(hint) else _checked(key, value, hint)
    return cls(**made)


def _checked(key: str, value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for kind in kinds:
        good, converted = _fits(value, kind)
        if good:
            return converted
    raise InputError(f"{key} {value!r} is not {' or '.join(map(_named, kinds))}")


def _fits(value: Any, kind: Any) -> tuple[bool, Any]:
    if kind is type(None):
        return value is None, None
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind) and not isinstance(value, bool), value
    if typing.get_origin(kind) is tuple:
        items = [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if not isinstance(items, (list, tuple)):
            return False, None
        pairs = [_fits(item, typing.get_args(kind)[0]) for item in items]
        return all(good for good, _ in pairs), tuple(v for _, v in pairs)
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        return number, float(value) if number else None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, kind), value


def _named(kind: Any) -> str:
    if kind is type(None):
        return "null"
    if typing.get_origin(kind) is Literal:
        names = list(map(str, typing.get_args(kind)))
        return names[0] if len(names) == 1 else "one of " + ", ".join(names)
    if typing.get_origin(kind) is tuple:
        return "a list of texts" if str in typing.get_args(kind) else "a list of numbers"
    return {float: "a number", int: "a whole number", bool: "true or false"}.get(kind, "text")
