"""Results as typed rows, one value or one failure each, and the same rows as lines of JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowedit.messages import InputError

JOB = "edit"
"""The `metric` of a row that says why a whole edit, and so every score of it, is missing."""


class Row(NamedTuple):
    """One metric of one edit by one method: a value, or the reason why there is none."""

    clip: str
    edit: str
    kind: str
    method: str
    metric: str
    value: float | None
    failure: str | None = None


def failures(rows: Iterable[Row]) -> list[Row]:
    """The rows that hold a reason instead of a value."""
    return [row for row in rows if row.failure is not None]


def values(rows: Iterable[Row], method: str, metric: str) -> dict[tuple[str, str], float]:
    """(clip, edit) → value, in the order of the rows."""
    return {
        (row.clip, row.edit): row.value
        for row in rows
        if row.method == method and row.metric == metric and row.value is not None
    }


def dumps(data: Any, indent: int | None = None) -> str:
    """JSON, keys in their order; infinity, as PSNR of equal frames has it, is written 1e999, which every reader takes.

    Raises ValueError for NaN: what is not known is a failure with its reason, never a number.
    """
    text = json.dumps(_finite(data), ensure_ascii=True, indent=indent)
    return text.replace(f"{json.dumps(INFINITE)}", "1e999").replace(f"{json.dumps('-' + INFINITE)}", "-1e999")


INFINITE = "\0infinity\0"
"""What stands for it until the text is made; no name or prompt holds such characters."""


def write(rows: Sequence[Row], path: Path) -> None:
    """One JSON object a line."""
    path.write_text("".join(dumps(row._asdict()) + "\n" for row in rows), encoding="utf-8")


def read(path: Path) -> list[Row]:
    """The rows of a file that `write` left."""
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and math.isnan(data):
        raise InputError("a value is NaN, which is not a result")
    if isinstance(data, float) and math.isinf(data):
        return INFINITE if data > 0 else "-" + INFINITE
    return data
