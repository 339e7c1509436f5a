"""What a bench leaves: rows.jsonl, table.txt, examples.png and run.yaml."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console, RenderableType

from flowedit.bench.methods import PER_SCENE, Method
from flowedit.bench.picture import examples
from flowedit.bench.run import Bench
from flowedit.bench.table import confusion, differences, results
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


def jsonl(made: Bench) -> str:
    """One JSON object a line: seed, kind, mode, metric, value."""
    return "".join(json.dumps(row._asdict()) + "\n" for row in made.rows)


def write(made: Bench, methods: Sequence[Method], about: dict[str, Any], folder: Path) -> str:
    """Write `FILES` into a folder, and return table.txt's text; `about` opens run.yaml."""
    text = StringIO()
    console = Console(file=text, width=WIDTH)
    for table in tables(made):
        console.print(table)
    (folder / "rows.jsonl").write_text(jsonl(made), encoding="utf-8")
    (folder / "table.txt").write_text(text.getvalue(), encoding="utf-8")
    if made.pictures:
        cv2.imwrite(str(folder / "examples.png"), examples(made.pictures)[..., ::-1])
    settings = {}
    for method in methods:
        shared = {key: value for key, value in plain(asdict(method.settings)).items() if key not in PER_SCENE}
        settings[method.name] = shared
    write_yaml(folder / "run.yaml", {**about, "methods": settings, "versions": versions()})
    return text.getvalue()
