"""What a bench leaves: rows.jsonl, table.txt, examples.png and run.yaml."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console, RenderableType

from flowedit.bench.methods import PER_FILE, PER_SCENE, Method
from flowedit.bench.picture import examples
from flowedit.bench.run import Bench
from flowedit.bench.table import confusion, differences, failed, results
from flowedit.job import plain, versions
from flowedit.outputs import write_yaml

FILES = ("rows.jsonl", "table.txt", "examples.png", "run.yaml")
WIDTH = 160


def tables(made: Bench) -> Iterator[RenderableType]:
    """Results and paired differences of every kind, then one confusion matrix a method."""
    for kind in dict.fromkeys(row.kind for row in made.rows):
        yield results(made.rows, kind)
        if apart := differences(made.rows, kind):
            yield apart
    for mode in dict.fromkeys(row.mode for row in made.rows):
        if matrix := confusion(made.found, mode):
            yield matrix
    if made.failures:
        yield failed(made.failures)


def show(made: Bench, console: Console | None = None) -> None:
    """Print the tables, as wide as the terminal, or `WIDTH` columns where there is none."""
    if console is None:
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in tables(made):
        console.print(table)


def jsonl(made: Bench) -> str:
    """One JSON object a line: seed, kind, mode, metric, value."""
    return "".join(json.dumps(row._asdict()) + "\n" for row in made.rows)


def write(made: Bench, methods: Sequence[Method], about: dict[str, Any], folder: Path) -> None:
    """Write `FILES` into a folder; `about` opens run.yaml."""
    text = StringIO()
    show(made, Console(file=text, width=WIDTH))
    (folder / "rows.jsonl").write_text(jsonl(made), encoding="utf-8")
    (folder / "table.txt").write_text(text.getvalue(), encoding="utf-8")
    _, png = cv2.imencode(".png", examples(made.pictures)[..., ::-1])
    (folder / "examples.png").write_bytes(png.tobytes())
    settings = {method.name: plain(asdict(method.settings)) for method in methods}
    for values in settings.values():
        for key in (*PER_SCENE, *PER_FILE):
            values.pop(key)
    failures = [failure._asdict() for failure in made.failures]
    write_yaml(folder / "run.yaml", {**about, "failures": failures, "methods": settings, "versions": versions()})
