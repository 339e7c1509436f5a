"""What an evaluation leaves beside its jobs: rows.jsonl, table.csv, table.json, table.txt, index.html and run.yaml."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import RenderableType

from flowedit.evaluation.gather import Evaluation
from flowedit.evaluation.methods import PER_CLIP, Method
from flowedit.evaluation.report.page import Page, write_page
from flowedit.evaluation.results import rows, tables
from flowedit.evaluation.results.rows import Row
from flowedit.evaluation.results.summary import summaries
from flowedit.machine import versions
from flowedit.pipeline.outputs import staging, write_yaml
from flowedit.pipeline.record import plain
from flowedit.types import Monitor

FILES = ("rows.jsonl", "table.csv", "table.json", "table.txt", "index.html", "run.yaml")

COLUMNS = ("kind", "method", "metric", "mean", "low", "high", "n", "failed")


def write(
    out: Path,
    title: str,
    facts: Mapping[str, str],
    found: Evaluation,
    chosen: Sequence[Method],
    names: Sequence[str],
    about: Mapping[str, Any],
    monitor: Monitor,
    by_kind: bool = False,
    also: Sequence[RenderableType] = (),
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write `FILES` and the `extra` ones, each appearing whole.

    `names` are all methods in order, `about` opens run.yaml, `also` are more tables at the end of table.txt.
    """
    more = dict(extra or {})
    runs = {method.name: method_settings(method) for method in chosen}
    made = {"versions": versions(), "methods": runs}
    with staging(str(out), "evaluate", (*FILES, *more)) as stage:
        rows.write(found.rows, stage.folder / "rows.jsonl")
        lines = table(found.rows, names, by_kind)
        with (stage.folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(lines)
        (stage.folder / "table.json").write_text(rows.dumps(lines, indent=1) + "\n", encoding="utf-8")
        tables.show([*tables.tables(found.rows, names, by_kind), *also], stage.folder / "table.txt")
        for name, data in more.items():
            (stage.folder / name).write_bytes(data)
        write_yaml(stage.folder / "run.yaml", {**about, **made})
        texts = {name: _yaml({"settings": run, "versions": made["versions"]}) for name, run in runs.items()}
        write_page(
            Page(title, facts, found.rows, names, found.exhibits, texts, by_kind), stage.folder / "index.html", monitor
        )
        stage.commit()


def table(found: Sequence[Row], names: Sequence[str], by_kind: bool = False) -> list[dict[str, Any]]:
    """One line for each kind, method and metric; an interval that is not known, or a mean of nothing, is None."""
    lines = []
    for summary in summaries(found, names, by_kind):
        for method in summary.methods:
            for metric in summary.metrics:
                cell, lost = summary.cells.get((method, metric)), summary.failed.get((method, metric), 0)
                if cell is None and not lost:
                    continue
                values = (None, None, None, 0) if cell is None else (cell.mean, cell.low, cell.high, cell.n)
                numbers = [None if value is not None and value != value else value for value in values]
                lines.append(dict(zip(COLUMNS, (summary.kind or "all", method, metric, *numbers, lost), strict=True)))
    return lines


def method_settings(method: Method) -> dict[str, Any]:
    """A method's settings without what each clip brings."""
    settings: dict[str, Any] = plain(asdict(method.settings))
    for key in (*PER_CLIP, "out"):
        settings.pop(key)
    return settings


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=100)
