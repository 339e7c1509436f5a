"""Options dataclasses from plain values: types and ranges are checked here, once for all options."""

import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from typing import Any, Literal

from flowedit.declare import Option, options_of
from flowedit.messages import InputError, nearest


def build(cls: Any, values: Mapping[str, Any], prefix: str = "", classes: Mapping[str, Any] | None = None) -> Any:
    """An options dataclass from plain values, types and ranges checked.

    `classes` takes the place of the declared class of a nested field, by its name. Raises InputError with the key, the
    value and what it takes.
    """
    made: dict[str, Any] = {}
    for name, declared in options_of(cls).items():
        key = prefix + name
        if name not in values:
            if _required(cls, name):
                raise InputError(f"{key} is missing: give {typed(hint_of(cls, name))}")
            continue
        value, hint = values[name], (classes or {}).get(name) or hint_of(cls, name)
        if is_dataclass(hint):
            made[name] = build(hint, value, key + ".")
        else:
            made[name] = _of_type(key, value, hint)
            check_range(key, made[name], declared)
    return cls(**made)


def check_range(key: str, value: Any, declared: Option) -> None:
    """Raise InputError for a value outside its option's range."""
    if (expected := declared.refusal(value)) is not None:
        shown = list(value) if isinstance(value, tuple) else value
        raise InputError(f"{key} {shown} is out of range: {expected}")


def check_ranges(options: Any, prefix: str = "") -> None:
    """Raise InputError for the first value of an options object, or of one inside it, that is out of range."""
    for name, declared in options_of(type(options)).items():
        value = getattr(options, name)
        if is_dataclass(value):
            check_ranges(value, f"{prefix}{name}.")
        else:
            check_range(prefix + name, value, declared)


def declared_by(options: Any, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """The dotted keys and declarations of an options object, those of objects inside it too."""
    for name, declaration in options_of(type(options)).items():
        value = getattr(options, name)
        yield prefix + name, declaration
        if is_dataclass(value):
            yield from declared_by(value, f"{prefix}{name}.")


@dataclass(frozen=True)
class Declared:
    """One option by its whole key, such as mask.pool: its declaration and the type of its values."""

    key: str
    option: Option
    kind: Any

    @property
    def typed(self) -> str:
        """What is typed for it, as `--help` shows it."""
        return self.option.typed or typed(self.kind)


def declared(cls: Any, prefix: str = "") -> Iterator[Declared]:
    """Every option of a dataclass, those of nested dataclasses by dotted keys after their group's own."""
    for name, option in options_of(cls).items():
        hint = hint_of(cls, name)
        yield Declared(prefix + name, option, hint)
        if is_dataclass(hint):
            yield from declared(hint, f"{prefix}{name}.")


def hint_of(cls: Any, name: str) -> Any:
    """The type of a dataclass's field; a name that its module imports late is imported now."""
    owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    annotation = inspect.get_annotations(owner)[name]
    if not isinstance(annotation, str):
        return annotation
    module = sys.modules[owner.__module__]
    return eval(annotation, dict(vars(module)), _Late(module))  # our own annotations, no data


class _Late(dict[str, Any]):
    """Names of a module, those that its `__getattr__` gives too."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module

    def __missing__(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise KeyError(name) from None


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def typed(hint: Any) -> str:
    """What is typed for a value of this type: N, X, TEXT, {crop,pad}, A,B."""
    words = []
    for kind in kinds_of(hint):
        if kind is type(None):
            continue
        if typing.get_origin(kind) is Literal:
            words.append("{" + ",".join(map(str, typing.get_args(kind))) + "}")
        elif typing.get_origin(kind) is tuple:
            words.append("X,X" if float in typing.get_args(kind) else "N,N" if int in typing.get_args(kind) else "A,B")
        else:
            words.append(
                {int: "N", float: "X", bool: "{true,false}"}.get(kind, "NAME" if is_dataclass(kind) else "TEXT")
            )
    return "|".join(words)


def _required(cls: Any, name: str) -> bool:
    field = cls.__dataclass_fields__[name]
    return field.default is MISSING and field.default_factory is MISSING


def _of_type(key: str, value: Any, hint: Any) -> Any:
    kinds = kinds_of(hint)
    for kind in kinds:
        good, converted = _fits(value, kind)
        if good:
            return converted
    names = [name for kind in kinds if typing.get_origin(kind) is Literal for name in map(str, typing.get_args(kind))]
    near = nearest(value, names) if isinstance(value, str) else ""
    raise InputError(f"{key} {value!r} is not {' or '.join(map(_named, kinds))}{near}")


def _fits(value: Any, kind: Any) -> tuple[bool, Any]:
    if kind is type(None):
        return value is None, None
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind) and not isinstance(value, bool), value
    if typing.get_origin(kind) is tuple:
        member = typing.get_args(kind)[0]
        one = isinstance(value, str) if member is str else isinstance(value, (int, float)) and value is not True
        items = [value] if one and value is not False else value
        if not isinstance(items, (list, tuple)):
            return False, None
        pairs = [_fits(item, member) for item in items]
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
