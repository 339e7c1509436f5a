"""What a worker does with a task, and what a pool hears of it."""

from pathlib import Path
from typing import Any, NamedTuple

from flowedit.evaluation.engine.task import Task, perform
from flowedit.types import QUIET, Monitor

DIED = "its worker died"


class Report(NamedTuple):
    """What a slot has to say of its task: a result, or a failure, which is DIED if the worker is gone."""

    slot: int
    result: dict[str, Any] | None
    failure: str | None


def attempt(task: Task, root: Path, monitor: Monitor = QUIET) -> tuple[dict[str, Any] | None, str | None]:
    """A task's result, or its failure in one line."""
    try:
        return perform(task, root, monitor), None
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        known = isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)) and text
        return None, text if known else f"{type(error).__name__}: {text}".removesuffix(": ")
