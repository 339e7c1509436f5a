"""What a worker does with a job, and what a pool hears of it."""

from pathlib import Path
from typing import Any, NamedTuple

from flowedit.evaluation.engine.job import Job, perform
from flowedit.types import QUIET, Monitor

DIED = "its worker died"


class Report(NamedTuple):
    """What a slot has to say of its job: a result, or a failure, which is DIED if the worker is gone."""

    slot: int
    result: dict[str, Any] | None
    failure: str | None


def attempt(job: Job, root: Path, monitor: Monitor = QUIET) -> tuple[dict[str, Any] | None, str | None]:
    """A job's result, or its failure in one line."""
    try:
        return perform(job, root, monitor), None
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        known = isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)) and text
        return None, text if known else f"{type(error).__name__}: {text}".removesuffix(": ")
