"""A whole bench, as the command line asks for it: run, tabled, written."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flowedit import outputs
from flowedit.backbones import find_device
from flowedit.bench.methods import Method
from flowedit.bench.run import Bench, bench
from flowedit.bench.write import FILES, jsonl, write
from flowedit.pocket import KINDS
from flowedit.types import Monitor

MOST = 61
"""Windows waits for no more processes than this."""


def report(
    methods: Sequence[Method],
    first_seed: int,
    scenes: int,
    kinds: Sequence[str] | None = None,
    *,
    workers: int | None = None,
    json: str | None = None,
    out: str | None = None,
    monitor: Monitor | None = None,
) -> tuple[Path, Bench]:
    """Run `bench`, leave its files in a folder that appears whole; returns both.

    `workers` None is one a core on a CPU, one on a GPU. `json` names one more copy of the rows. Raises ValueError as
    `bench` does, OSError where nothing can be written.
    """
    chosen = tuple(KINDS if kinds is None else kinds)
    if workers is None:
        cpu = find_device(methods[0].settings.runtime.device).type == "cpu"
        workers = max(1, min(_cores(), scenes * len(chosen))) if cpu else 1
    if json is not None:
        _check_copy(Path(json))
    with outputs.staging(out, "bench", FILES) as stage:
        made = bench(methods, first_seed, scenes, chosen, workers=workers, monitor=monitor)
        about = {"first_seed": first_seed, "scenes": scenes, "kinds": list(chosen)}
        write(made, methods, about, stage.folder)
        folder = stage.commit()
    if json is not None:
        Path(json).write_text(jsonl(made), encoding="utf-8")
    return folder, made


def _cores() -> int:
    """The cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    cores = os.cpu_count() or 1
    return min(cores, MOST) if sys.platform == "win32" else cores


def _check_copy(path: Path) -> None:
    """Before hours of edits: the copy's folder is there and open to us."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise OSError(f"json {str(path)!r} cannot be written: give a file in a folder that exists and is writable")
