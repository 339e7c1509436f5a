"""Tasks through a pool of workers: what is done is skipped, what died is tried again, what fails fails alone."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowedit.evaluation.engine.pools import Pool
from flowedit.evaluation.engine.store import Store
from flowedit.evaluation.engine.task import Task
from flowedit.evaluation.engine.worker import DIED
from flowedit.types import Monitor


@dataclass(frozen=True, eq=False)
class Outcome:
    """A task's result, or why there is none; `before` says that an earlier run had made it."""

    task: Task
    result: dict[str, Any] | None
    failure: str | None = None
    before: bool = False


def run(
    tasks: Sequence[Task], pool: Pool, store: Store, monitor: Monitor, *, name: str = "jobs", retries: int = 2
) -> list[Outcome]:
    """Every task once, in any order; outcomes in the order of the tasks.

    A finished task is never run again. A task whose worker dies is given to another one, at most `retries` times; one
    that raises fails with its reason at once, as it would again. Two tasks of one id are one.
    """
    unique = {task.id: task for task in tasks}
    found = {id: Outcome(task, made, before=True) for id, task in unique.items() if (made := store.result(id))}
    waiting = deque(task for id, task in unique.items() if id not in found)
    monitor.phase(name, len(unique))
    if found:
        monitor.advance(len(found))
    busy: dict[int, Task] = {}
    deaths: dict[str, int] = {}
    while waiting or busy:
        for slot in range(pool.size):
            if slot not in busy and waiting:
                busy[slot] = waiting.popleft()
                pool.start(slot, busy[slot], store.root)
        for slot, result, failure in pool.wait():
            task = busy.pop(slot)
            if failure == DIED and (made := store.result(task.id)):
                result, failure = made, None  # it died after its last word
            if failure == DIED:
                deaths[task.id] = deaths.get(task.id, 0) + 1
                if deaths[task.id] <= retries:
                    monitor.notice(f"{task.label}: its worker died; it is tried again")
                    waiting.append(task)
                    continue
                failure = f"its worker died {deaths[task.id]} times, short of memory most likely (fewer workers)"
            found[task.id] = Outcome(task, result, failure)
            monitor.advance()
    return [found[task.id] for task in tasks]
