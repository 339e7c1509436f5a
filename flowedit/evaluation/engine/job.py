"""One job: its name by content, what it does, and how it runs in whatever process it lands."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flowedit.evaluation.results.rows import dumps
from flowedit.machine import pinned, whole_folder
from flowedit.messages import FileTakenError
from flowedit.types import Monitor

RESULT = "result.json"
"""Written last: a folder without it is no finished job."""

Work = Callable[[Any, Path, Monitor], dict[str, Any]]
"""work(spec, folder, monitor) writes its files into the folder and returns plain values for result.json."""


@dataclass(frozen=True, eq=False)
class Job:
    """A job: `id` is a hash of all that its result depends on, `label` names it to people.

    `work` is a function of a module, so that another process finds it; `cost` counts network evaluations; `threads`
    are the CPU threads it runs on, the same wherever it runs, as another number gives other bytes; None is torch's.
    """

    id: str
    label: str
    work: Work
    spec: Any
    cost: int = 0
    threads: int | None = 1


def digest(*parts: Any) -> str:
    """24 hexadecimal digits of SHA-256 over plain values."""
    return hashlib.sha256(dumps(list(parts)).encode()).hexdigest()[:24]


def digest_file(path: Path) -> str:
    """The hash of a file's bytes, or of all files in a folder of pictures."""
    if path.is_dir():
        return digest(*([file.name, digest_file(file)] for file in sorted(path.iterdir()) if file.is_file()))
    status = path.stat()
    return _of_bytes(str(path), status.st_size, status.st_mtime_ns)


@cache
def _of_bytes(path: str, size: int, time: int) -> str:
    """Cached while size and time stand: one clip is edited by several methods."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(path: Path, whole: int = 64 * 2**20) -> str:
    """The hash of a checkpoint's files: names and bytes; a file above `whole` bytes by its size, ends and time.

    Reading tens of gigabytes would take longer than an edit.
    """
    parts: list[list[str | int]] = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        status, name = file.stat(), file.relative_to(path).as_posix()
        if status.st_size <= whole:
            parts.append([name, digest_file(file)])
        else:
            parts.append([name, status.st_size, status.st_mtime_ns, _ends(file)])
    return digest(*parts)


def _ends(path: Path, size: int = 2**20) -> str:
    with path.open("rb") as file:
        head = file.read(size)
        file.seek(-size, os.SEEK_END)
        return hashlib.sha256(head + file.read(size)).hexdigest()


def perform(job: Job, root: Path, monitor: Monitor) -> dict[str, Any]:
    """Do the work in a hidden folder, write result.json there last, and give it the job's id by one rename."""
    final = root / job.id
    try:
        with whole_folder(final) as stage:
            with pinned(job.threads):
                result = job.work(job.spec, stage, monitor)
            with (stage / RESULT).open("w", encoding="utf-8") as file:
                file.write(dumps({"id": job.id, "label": job.label, **result}, indent=1))
                file.flush()
                os.fsync(file.fileno())
    except FileTakenError:
        # A worker that was thought dead has finished it meanwhile: the same bytes.
        if not (final / RESULT).is_file():
            raise
    return result
