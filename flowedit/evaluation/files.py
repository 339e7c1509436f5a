"""What an evaluation leaves beside its jobs: rows.jsonl, table.csv, .json, .tex and .txt, index.html and run.yaml."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from rich.console import RenderableType

from flowedit.config.mode_lines import mode_lines
from flowedit.editors.spec import EDITORS
from flowedit.evaluation.gather import Evaluation
from flowedit.evaluation.methods import PER_CLIP, Method, hurried, set_apart
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison
from flowedit.evaluation.report.page import MethodNote, Page, write_page
from flowedit.evaluation.results import latex, rows, tables
from flowedit.evaluation.results.rows import Row, failures
from flowedit.evaluation.results.summary import summaries
from flowedit.machine import versions
from flowedit.pipeline import outputs
from flowedit.pipeline.outputs import staging
from flowedit.pipeline.plan import network_evaluations
from flowedit.pipeline.record import plain
from flowedit.types import Monitor

FILES = ("rows.jsonl", "table.csv", "table.json", "table.tex", "table.txt", "index.html", "run.yaml")

COLUMNS = ("kind", "method", "metric", "mean", "low", "high", "n", "failed")


@dataclass(frozen=True)
class Results:
    """What `evaluate` and `compare` give: the folder, the rows, and the methods in order.

    `by_kind` asks the tables for FiVE's mean over the kinds of edit; `notes` stand below them.
    """

    folder: Path
    rows: tuple[Row, ...] = field(repr=False)
    names: tuple[str, ...]
    by_kind: bool = field(repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def page(self) -> Path:
        """The page with the videos and the scores."""
        return self.folder / "index.html"

    @property
    def failed(self) -> bool:
        """Whether any edit or score has a reason instead of a value."""
        return bool(failures(self.rows))


def check_place(out: Path, inputs: Iterable[str] = ()) -> None:
    """Raise OSError, before any work, for a folder where `write` would be refused, or replace one of `inputs`."""
    outputs.check_place(str(out), FILES, inputs, "evaluate")


def facts(options: EvaluationOptions, methods: Sequence[Method]) -> dict[str, str]:
    """What opens a page beside its title; equal network evaluations as their number, that of a clip's one window."""
    values = {"date": date.today().isoformat()}
    if options.evaluations != "own":
        led = next((method.budget for method in methods if isinstance(method.budget, Method)), None)
        cost = "" if led is None else f", {network_evaluations(led.settings)} at most"
        values["network evaluations"] = f"{options.evaluations}{cost}"
    if options.protocol == "five":
        values["protocol"] = "FiVE-Bench: every 8th frame"
    return values


PLAIN = "Edits are scored as the model made them, nothing of the source is blended back (composite=false)."


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What to bear in mind of the methods' edits, which have few steps, and which are left out, a sentence each."""
    plain = any(method.settings.composite is False for method in comparison.methods)
    return ((PLAIN,) if plain else ()) + (
        *set_apart(comparison.methods),
        *hurried(comparison.methods),
        *comparison.told,
    )


NO_MASK = "No mask: the whole picture may change."


def method_notes(comparison: Comparison) -> tuple[MethodNote, ...]:
    """Each mode and preset once: what it is, with its paper, what it is good at, and whether it has no mask."""
    of: dict[str, list[str]] = {}
    for method in comparison.methods:
        of.setdefault(method.mode, []).append(method.name)
    notes = []
    for mode, names in of.items():
        bare = [name for name in names if name in comparison.unmasked]
        which = (
            NO_MASK if len(bare) == len(names) else NO_MASK.replace(":", f" of {', '.join(bare)}:", 1) if bare else ""
        )
        lines = mode_lines(mode)
        what = lines.what or (EDITORS[mode].about if mode in EDITORS else "")
        notes += [MethodNote(mode, what, lines.good_at, which)] if what else []
    return tuple(notes)


def about(options: EvaluationOptions) -> dict[str, Any]:
    """The options of an evaluation for run.yaml, as plain values."""
    return {key: value for key, value in plain(asdict(options)).items() if key not in ("out", "dataset")}


def write(
    out: Path,
    title: str,
    lines: Mapping[str, str],
    evaluation: Evaluation,
    comparison: Comparison,
    names: Sequence[str],
    header: Mapping[str, Any],
    monitor: Monitor,
    by_kind: bool = False,
    also: Sequence[RenderableType] = (),
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write `FILES` and the `extra` ones, each appearing whole.

    `lines` open the page and `header` opens run.yaml; `names` are all methods in order; `also` are more tables, at the
    end of table.txt.
    """
    more, said = dict(extra or {}), notes(comparison)
    runs = {method.name: method_settings(method) for method in comparison.methods}
    made = {"versions": versions(), "methods": runs}
    with staging(str(out), "evaluate", (*FILES, *more), kind="evaluate") as stage:
        rows.write(evaluation.rows, stage.folder / "rows.jsonl")
        points, swept = comparison.points, comparison.swept
        cells = [
            {**line, **points.get(line["method"], dict.fromkeys(swept, ""))}
            for line in table(evaluation.rows, names, by_kind)
        ]
        with (stage.folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, (*COLUMNS, *swept))
            writer.writeheader()
            writer.writerows(cells)
        (stage.folder / "table.json").write_text(rows.dumps(cells, indent=1) + "\n", encoding="utf-8")
        (stage.folder / "table.tex").write_text(latex.tables(evaluation.rows, names, by_kind), encoding="utf-8")
        tables.show([*tables.tables(evaluation.rows, names, by_kind, said), *also], stage.folder / "table.txt")
        for name, data in more.items():
            (stage.folder / name).write_bytes(data)
        stage.told({**header, **made})
        texts = {name: _yaml({"settings": run, "versions": made["versions"]}) for name, run in runs.items()}
        page = Page(title, lines, evaluation.rows, names, evaluation.exhibits, texts, by_kind, said)
        page = replace(page, about=method_notes(comparison), lattices=comparison.lattices)
        write_page(page, stage.folder / "index.html", monitor, out)
        stage.commit()


def table(found: Sequence[Row], names: Sequence[str], by_kind: bool = False) -> list[dict[str, Any]]:
    """One line for each kind, method and metric; an interval that is not known, or a mean of nothing, is None."""
    lines = []
    for summary in summaries(found, names, by_kind):
        for method in summary.methods:
            for metric in summary.metrics:
                cell, lost = summary.cells.get((method, metric)), summary.lost(method, metric)
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
