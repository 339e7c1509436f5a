"""A whole bench, as the command line asks for it: run, tabled, written."""

import os
from collections.abc import Sequence
from pathlib import Path

from flowedit import outputs
from flowedit.backbones import find_device
from flowedit.bench.methods import Method
from flowedit.bench.run import bench
from flowedit.bench.write import FILES, jsonl, write
from flowedit.pocket import KINDS
from flowedit.types import Monitor


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
) -> tuple[Path, str]:
    """Run `bench`, leave its files in a folder that appears whole, and return the folder and the tables' text.

    `workers` None is one a core on a CPU, one on a GPU. `json` names one more copy of the rows. Raises ValueError as
    `bench` does, OSError where nothing can be written.
    """
    chosen = tuple(KINDS if kinds is None else kinds)
    if workers is None:
        cpu = find_device(methods[0].settings.runtime.device).type == "cpu"
        workers = min(os.cpu_count() or 1, scenes * len(chosen)) if cpu else 1
    if json is not None and not Path(json).absolute().parent.is_dir():
        raise FileNotFoundError(f"json {json!r} cannot be written: its folder does not exist")
    with outputs.staging(out, "bench", FILES) as stage:
        made = bench(methods, first_seed, scenes, chosen, workers=workers, monitor=monitor)
        about = {"first_seed": first_seed, "scenes": scenes, "kinds": list(chosen)}
        text = write(made, methods, about, stage.folder)
        if json is not None:
            part = Path(json).with_name(Path(json).name + ".part")
            part.write_text(jsonl(made), encoding="utf-8")
            os.replace(part, json)
        return stage.commit(), text
