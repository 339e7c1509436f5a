"""What a worker does with a job, and what a pool hears of it."""

from pathlib import Path
from typing import Any, NamedTuple

from flowedit.evaluation.engine.job import Job, Shelf, perform
from flowedit.types import QUIET, Monitor

DIED = "its worker died"


class Report(NamedTuple):
    """The end of a slot's job: a result, or a failure, which is DIED if the worker is gone."""

    slot: int
    result: dict[str, Any] | None
    failure: str | None


def attempt(job: Job, root: Path, shelf: Shelf, monitor: Monitor = QUIET) -> tuple[dict[str, Any] | None, str | None]:
    """A job's result, or its failure in one line; the shelf is the worker's own."""
    try:
        return perform(job, root, monitor, shelf), None
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        known = isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)) and text
        return None, text if known else f"{type(error).__name__}: {text}".removesuffix(": ")
