"""What a component's configuration may say: values of the kinds that its class declares, in sizes that models have."""

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from flowedit.messages import InputError

BOUNDS = (
    (re.compile(r"vocab|token_id|buckets"), 2**20),
    (re.compile(r"layers|blocks_|num_res|depth"), 256),
    (re.compile(r"seq_len"), 2**14),
    (re.compile(r"sample_"), 4096),
    (re.compile(r"rope_theta"), 1e8),
    (re.compile(r""), 2**17),
)
"""The largest number of a setting, by the first pattern that its name holds: far above those of released models."""

MOST_ITEMS = 2**17
"""Of a list."""


def check(config: Mapping[str, Any], where: str, cls: Any = None) -> None:
    """Raise InputError, opened by `where`, for a value of another kind than `cls` declares or an absurd number."""
    hints, defaults = ({}, {}) if cls is None else _declared(cls)
    for name, value in config.items():
        if name.startswith("_"):
            continue
        unset = value is None and defaults.get(name, name) is None  # of "shift_terminal: float = None"
        if not unset and not _fits(value, hints.get(name, Any)):
            raise InputError(f"{where}: {name} {value!r} is not of the kind that its model takes")
        most = next(bound for pattern, bound in BOUNDS if pattern.search(name))
        for number in _numbers(value):
            if not abs(number) <= most:  # NaN too
                raise InputError(f"{where}: {name} {number} is out of all measure: at most {most}")
        default = defaults.get(name)
        if type(value) is int and type(default) is int and value < 1 <= default:
            raise InputError(f"{where}: {name} {value} is not 1 or more")


def _declared(cls: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Types and defaults of the settings of a class, as far as they are declared."""
    import inspect

    parameters = inspect.signature(cls.__init__).parameters
    try:
        hints = typing.get_type_hints(inspect.unwrap(cls.__init__))
    except (NameError, TypeError):
        hints = {}
    return hints, {name: each.default for name, each in parameters.items() if each.default is not each.empty}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a declared type; of a type that JSON has not, whatever it is."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in members)
    if origin in (list, tuple):
        kinds = [each for each in members if each is not ...] or [Any]
        return isinstance(value, (list, tuple)) and all(any(_fits(item, kind) for kind in kinds) for item in value)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float))
    if hint is int:
        return type(value) is int
    if hint is bool:
        return value is None or isinstance(value, bool)  # SDXL's own file says null for no
    if hint is str:
        return isinstance(value, str)
    return hint is Any or not isinstance(hint, type) or isinstance(value, (str, list, dict, int, float, type(None)))


def _numbers(value: Any, deep: int = 0) -> Iterator[float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple)) and deep < 4:
        if len(value) > MOST_ITEMS:
            yield float("inf")
            return
        for each in value:
            yield from _numbers(each, deep + 1)
