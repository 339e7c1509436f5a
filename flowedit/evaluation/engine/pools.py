"""Where jobs run: in this process, or in several; Ray's pool has a file of its own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from flowedit import machine
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.evaluation.engine.worker import DIED, Report, attempt
from flowedit.evaluation.options import EngineOptions
from flowedit.machine import cores
from flowedit.messages import Cancelled
from flowedit.types import QUIET, Monitor


class Pool(Protocol):
    """`size` slots; each takes one job at a time."""

    size: int

    def start(self, slot: int, job: Job, root: Path) -> None:
        """Begin a job on a free slot; results go to root/<id>."""

    def wait(self) -> list[Report]:
        """The reports of at least one busy slot; its worker is replaced if it died."""

    def close(self) -> None:
        """End all workers, whatever they do."""


@contextmanager
def open_pool(
    options: EngineOptions,
    most: int,
    device: str = "cpu",
    threads: int | None = 1,
    monitor: Monitor = QUIET,
    cancel: threading.Event | None = None,
) -> Iterator[Pool]:
    """The pool that the options name, of at most `most` workers; ended, with all that it runs, after the block.

    `device` is where jobs run, as runtime.device says it: on the CPU there is a worker a core by default, on GPUs one
    a GPU, each with a GPU of its own. `monitor` hears the phases of jobs that run in this process, which end once
    `cancel` is set. Raises ValueError for a device that is not there.
    """
    if options.name == "ray":
        from flowedit.evaluation.engine.ray_pool import RayPool

        pool: Pool = RayPool(options, most, device, threads)
    else:
        gpus = _gpus(device)
        workers = min(options.workers or (len(gpus) if gpus else cores()), max(most, 1))
        pool = Here(monitor, cancel) if workers == 1 else Processes(workers, gpus)
    try:
        yield pool
    finally:
        pool.close()


class Here:
    """Jobs one after the other in this process."""

    size = 1

    def __init__(self, monitor: Monitor = QUIET, cancel: threading.Event | None = None) -> None:
        self._cancel = cancel
        self._monitor, self._report, self._said = monitor, Report(0, None, None), set[str]()
        self._shelf = Shelf()

    def start(self, slot: int, job: Job, root: Path) -> None:
        heard = LabelMonitor(job.label, self._monitor, self._said, self._cancel)
        self._report = Report(slot, *attempt(job, root, self._shelf, heard))

    def wait(self) -> list[Report]:
        return [self._report]

    def close(self) -> None: ...


class LabelMonitor:
    """A monitor whose phases bear a job's label; a notice is heard once, whatever the number of jobs."""

    def __init__(self, label: str, monitor: Monitor, said: set[str], cancel: threading.Event | None = None) -> None:
        self._label, self._monitor, self._said, self._cancel = label, monitor, said, cancel

    def _look(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("the run was stopped")

    def phase(self, name: str, total: int) -> None:
        self._look()
        self._monitor.phase(f"{self._label}: {name}", total)

    def advance(self, count: int = 1) -> None:
        self._look()
        self._monitor.advance(count)

    def notice(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._monitor.notice(text)


class Processes:
    """A process a slot, started anew if it dies; each loads what its jobs need once."""

    def __init__(self, size: int, gpus: Sequence[str] = ()) -> None:
        self.size, self._gpus = min(size, MOST), list(gpus)
        self._context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads' locks
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self._busy: set[int] = set()

    def start(self, slot: int, job: Job, root: Path) -> None:
        if slot not in self._workers:
            here, there = self._context.Pipe()
            gpu = self._gpus[slot % len(self._gpus)] if self._gpus else None
            process = self._context.Process(target=_serve, args=(there, gpu), daemon=True)
            process.start()
            there.close()
            self._workers[slot] = process, here
        self._busy.add(slot)
        with suppress(OSError):  # it died while it was idle: `wait` will find that
            self._workers[slot][1].send((job, root))

    def wait(self) -> list[Report]:
        connections = {self._workers[slot][1]: slot for slot in self._busy}
        reports = []
        for ready in wait(list(connections)):
            assert isinstance(ready, Connection)
            slot = connections[ready]
            try:
                reports.append(Report(slot, *ready.recv()))
            except (EOFError, OSError):
                self._workers.pop(slot)[0].join()
                ready.close()
                reports.append(Report(slot, None, DIED))
            self._busy.discard(slot)
        return reports

    def close(self) -> None:
        for process, connection in self._workers.values():
            connection.close()
            process.kill()
        for process, _ in self._workers.values():
            process.join()


KEEP = "as it is"
"""All GPUs stay visible to a worker whose jobs name theirs."""

MOST = 61
"""Windows waits for no more processes than this."""


def _serve(connection: Connection, gpu: str | None) -> None:
    """A worker's life: jobs in, results out, until the other side closes; Ctrl-C is left to it.

    It does not outlive the process that started it, however that one ends: another run may begin in the same folder.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()
    if gpu not in (None, KEEP):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA is first asked
    shelf = Shelf()
    while True:
        try:
            job, root = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(attempt(job, root, shelf))


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _gpus(device: str) -> list[str]:
    """What CUDA_VISIBLE_DEVICES is for a worker on each GPU; none on the CPU."""
    if machine.find_device(device).type != "cuda":
        return []
    if ":" in device:
        return [KEEP]
    import torch

    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return shown.split(",") if shown else [str(index) for index in range(torch.cuda.device_count())]
