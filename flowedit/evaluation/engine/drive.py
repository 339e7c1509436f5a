"""Jobs through a pool of workers: what is done is skipped, what died is tried again, what fails fails alone."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.pools import Pool
from flowedit.evaluation.engine.store import Store
from flowedit.evaluation.engine.worker import DIED
from flowedit.types import Monitor


@dataclass(frozen=True, eq=False)
class Outcome:
    """A job's result, or why there is none; `before` says that an earlier run had made it."""

    job: Job
    result: dict[str, Any] | None
    failure: str | None = None
    before: bool = False


STOPPED = "stopped before it was done"
"""The failure of a job that was waiting, or at work in this process, when its run was stopped."""


def run(
    jobs: Sequence[Job],
    pool: Pool,
    store: Store,
    monitor: Monitor,
    *,
    name: str = "jobs",
    retries: int = 2,
    cancel: Event | None = None,
) -> list[Outcome]:
    """Every job once, in any order; outcomes in the order of the jobs.

    A finished job is never run again. A job whose worker dies is given to another one, at most `retries` times; one
    that raises fails with its reason at once, as it would again. Two jobs of one id are one. Once `cancel` is set
    no more begin: those that are not done fail as STOPPED.
    """
    unique = {job.id: job for job in jobs}
    found = {id: Outcome(job, made, before=True) for id, job in unique.items() if (made := store.result(id))}
    waiting = deque(job for id, job in unique.items() if id not in found)
    monitor.phase(name, len(unique))
    if found:
        monitor.advance(len(found))
    busy: dict[int, Job] = {}
    last: dict[int, Job] = {}
    deaths: dict[str, int] = {}
    while waiting or busy:
        if cancel is not None and cancel.is_set():
            found |= {job.id: Outcome(job, None, STOPPED) for job in waiting}
            waiting.clear()
            if not busy:
                break
        for slot in range(pool.size):
            if slot not in busy and waiting:
                others = {job.shares for other, job in busy.items() if other != slot}
                busy[slot] = last[slot] = _next(waiting, last.get(slot), others)
                pool.start(slot, busy[slot], store.root)
        for slot, result, failure in pool.wait():
            job = busy.pop(slot)
            if failure == DIED and (made := store.result(job.id)):
                result, failure = made, None  # it died after its last word
            if failure == DIED:
                deaths[job.id] = deaths.get(job.id, 0) + 1
                if deaths[job.id] <= retries:
                    monitor.notice(f"{job.label}: its worker died; it is tried again")
                    waiting.append(job)
                    continue
                failure = f"its worker died {deaths[job.id]} times, short of memory most likely (fewer workers)"
            if result is None and cancel is not None and cancel.is_set():
                failure = STOPPED
            found[job.id] = Outcome(job, result, failure)
            monitor.advance()
    return [found[job.id] for job in jobs]


def _next(waiting: deque[Job], last: Job | None, others: set[Hashable]) -> Job:
    """Take out the first job that shares with the worker's last one, else with none at work, else the very first."""
    mine = (job for job in waiting if last is not None and job.shares is not None and job.shares == last.shares)
    free = (job for job in waiting if job.shares is None or job.shares not in others)
    job = next(mine, None) or next(free, waiting[0])
    waiting.remove(job)
    return job
