"""One job: its name by content, what it does, and how it runs in whatever process it lands."""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from flowedit.evaluation.results.rows import dumps
from flowedit.machine import pinned, whole_folder
from flowedit.messages import FileTakenError
from flowedit.types import Monitor

RESULT = "result.json"
"""Written last: a folder without it is no finished job."""

T = TypeVar("T")


class Shelf:
    """What a worker keeps from one job to the next: the last thing of each kind, such as a scene's truth."""

    def __init__(self) -> None:
        self._things: dict[str, tuple[Hashable, Any]] = {}

    def keep(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of that kind and key; where another one lies there, it is put away before this one is made."""
        if kind not in self._things or self._things[kind][0] != key:
            self.drop(kind)
            self._things[kind] = key, make()
        return cast(T, self._things[kind][1])

    def drop(self, kind: str) -> None:
        """Keep nothing of that kind."""
        self._things.pop(kind, None)


Work = Callable[[Any, Path, Monitor, Shelf], dict[str, Any]]
"""work(spec, folder, monitor, shelf) writes its files into the folder and returns plain values for result.json."""


@dataclass(frozen=True, eq=False)
class Job:
    """A job: `id` is a hash of all that its result depends on, `label` names it to people.

    `work` is a function of a module, so that another process finds it; `cost` counts network evaluations; `threads`
    are the CPU threads it runs on, the same wherever it runs, as another number gives other bytes; None is torch's.
    Jobs with the same `shares` take the same costly thing from the shelf: one worker gets them all, if it can.
    """

    id: str
    label: str
    work: Work
    spec: Any
    cost: int = 0
    threads: int | None = 1
    shares: Hashable = None


def perform(job: Job, root: Path, monitor: Monitor, shelf: Shelf) -> dict[str, Any]:
    """Do the work in a hidden folder, write result.json there last, and give it the job's id by one rename."""
    final = root / job.id
    try:
        with whole_folder(final) as stage:
            with pinned(job.threads):
                result = job.work(job.spec, stage, monitor, shelf)
            with (stage / RESULT).open("w", encoding="utf-8") as file:
                file.write(dumps({"id": job.id, "label": job.label, **result}, indent=1))
                file.flush()
                os.fsync(file.fileno())
    except FileTakenError:
        # A worker that was thought dead has finished it meanwhile: the same bytes.
        if not (final / RESULT).is_file():
            raise
    return result
