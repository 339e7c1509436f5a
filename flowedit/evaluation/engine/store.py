"""The folder of finished jobs: which are done, and one run in it at a time."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flowedit.evaluation.engine.job import RESULT
from flowedit.evaluation.results.rows import dumps
from flowedit.machine import PARTIAL, read_json, whole_folder
from flowedit.messages import BusyError, FileError, FileTakenError, InputError

JOBS = ".jobs"
"""Hidden: its names are hashes."""


class Store:
    """`<out>/.jobs/<id>/result.json` and the files beside it."""

    def __init__(self, out: Path) -> None:
        self.root = out.absolute() / JOBS

    def folder(self, id: str) -> Path:
        """Where a job's files are, once it is done."""
        return self.root / id

    def result(self, id: str) -> dict[str, Any] | None:
        """What a finished job left, or None."""
        path = self.folder(id) / RESULT
        if not path.exists():
            return None
        try:
            data = read_json(path)
        except InputError:
            data = None
        if not isinstance(data, dict):
            raise InputError(f"{str(path)!r} is damaged: remove its folder, and the job runs again")
        return data

    def keep(self, id: str, label: str, result: Mapping[str, Any]) -> None:
        """Keep a result that another job found, as if a job of its own had."""
        with suppress(FileTakenError), whole_folder(self.folder(id)) as stage:
            (stage / RESULT).write_text(dumps({"id": id, "label": label, **result}, indent=1), encoding="utf-8")

    def forget(self, id: str) -> None:
        """Let a finished job run again."""
        (self.folder(id) / RESULT).unlink()
        shutil.rmtree(self.folder(id))


@contextmanager
def open_store(out: Path) -> Iterator[Store]:
    """A store for one run: locked against another one, and without what a killed run left unfinished.

    Raises BlockingIOError if another run works there, OSError if it cannot be written.
    """
    store = Store(out)
    try:
        store.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.root / ".lock")
        lock.acquire(timeout=0)  # a killed process loses its lock with its life
    except Timeout as error:
        raise BusyError(f"another run works in {str(out)!r}: wait for it, or choose another --out") from error
    except OSError as error:
        raise FileError(f"out {str(out)!r} cannot be written: {error.strerror}") from error
    try:
        _sweep(store)
        yield store
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {str(out)!r}, and the same command goes on") from None
    finally:
        _sweep(store)
        lock.release()


def _sweep(store: Store) -> None:
    """What jobs left that were killed, or whose worker was."""
    for left in store.root.glob(f".*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
