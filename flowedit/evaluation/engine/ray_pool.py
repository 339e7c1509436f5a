"""Jobs on Ray: one actor a GPU, or a share of the CPUs; a cluster of our own, or one that is there."""

import logging
import os
import socket
from pathlib import Path
from typing import Any

from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.worker import DIED, Report, attempt
from flowedit.evaluation.options import EngineOptions
from flowedit.machine import cores
from flowedit.messages import DownloadError, InputError


class Worker:
    """An actor: what its jobs load stays loaded."""

    def attempt(self, job: Job, root: Path) -> tuple[dict[str, Any] | None, str | None]:
        """As `pools.attempt`."""
        return attempt(job, root)


class RayPool:
    """An actor a slot, replaced if it dies. On several machines all must see `root` under the same path."""

    def __init__(self, options: EngineOptions, most: int, device: str, threads: int | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody's network is used for it
        try:
            import ray
        except ImportError as error:
            raise InputError("engine=ray needs Ray: pip install 'flowedit[ray]'") from error
        self._ray, self._began = ray, not ray.is_initialized()
        share = threads or cores()
        if self._began:
            own = options.address is None
            # A cluster of our own has as many CPUs as its workers were promised; of another one nothing is asked.
            cpus = max(cores(), share * (options.workers or 1)) if own else None
            try:
                _reach(options.address)
                ray.init(
                    address=options.address or "local",
                    num_cpus=cpus,
                    include_dashboard=False if own else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except OSError as error:
                raise DownloadError(f"no Ray cluster at {options.address!r}: start one, or leave it out") from error
        have = ray.cluster_resources()
        cpu = device == "cpu" or (device == "auto" and not have.get("GPU"))  # the head may lack what its workers have
        room = int(have.get("CPU", 1) // share) if cpu else int(have.get("GPU", 0))
        if room < 1:
            raise InputError(f"the Ray cluster has no {'CPU' if cpu else 'GPU'} to run on: it has {dict(have)}")
        self.size = max(1, min(options.workers or room, room, most))
        self._actor = ray.remote(num_cpus=share if cpu else 0, num_gpus=0 if cpu else 1)(Worker)
        self._actors: dict[int, Any] = {}
        self._busy: dict[Any, int] = {}

    def start(self, slot: int, job: Job, root: Path) -> None:
        if slot not in self._actors:
            self._actors[slot] = self._actor.remote()
        self._busy[self._actors[slot].attempt.remote(job, root)] = slot

    def wait(self) -> list[Report]:
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        reports = []
        for reference in ready:
            slot = self._busy.pop(reference)
            try:
                reports.append(Report(slot, *self._ray.get(reference)))
            except self._ray.exceptions.RayTaskError as error:  # before the job began: it could not be read there
                reports.append(Report(slot, None, " ".join(str(error.cause or error).split())[-500:]))
            except self._ray.exceptions.RayError:
                self._actors.pop(slot)
                reports.append(Report(slot, None, DIED))
        return reports

    def close(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        if self._began:
            self._ray.shutdown()


def _reach(address: str | None, seconds: float = 5.0) -> None:
    """Raise OSError for a HOST:PORT where nobody listens: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), seconds).close()
