"""A page's tables: means and paired differences as text, and what a heading means where its name does not tell."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flowedit.evaluation.results.intervals import Interval
from flowedit.evaluation.results.rows import JOB
from flowedit.evaluation.results.summary import CEILING, FLOOR, REFERENCES, UNEDITED, Cell, Summary
from flowedit.evaluation.results.tables import cell, is_tall
from flowedit.metrics.catalogue import METRICS, is_cost

REFERENCE_TITLES = {
    FLOOR: "What no edit scores: the source as it is.",
    UNEDITED: "The source as it is: what leaving the clip alone scores.",
    CEILING: "What the best possible edit scores: the true edited clip, through the model's autoencoder.",
}
"""One sentence on each reference."""


class Head(NamedTuple):
    """A metric's heading; `title` says what it means, or is empty."""

    text: str
    title: str


class Value(NamedTuple):
    """One cell of a table as text; `failed` says how many values are missing from it."""

    mean: str
    spread: str
    best: bool
    failed: str


class Line(NamedTuple):
    """A method's values; `failed` says how many of its edits left nothing to score, `title` what a reference is."""

    method: str
    reference: bool
    title: str
    failed: str
    values: list[Value]


class Table(NamedTuple):
    """Methods as lines and metrics as columns, or the other way round where it is `tall`."""

    heads: list[Head]
    lines: list[Line]
    tall: bool


def means(summary: Summary) -> Table:
    """Every metric by every method; intervals where there is more than one clip."""
    return _table(summary, summary.methods, summary.cells, summary.best, "")


def differences(summary: Summary) -> Table | None:
    """Each method less the first one, without costs; None where nothing can be compared."""
    paired = {key: value for key, value in summary.differences.items() if not is_cost(key[1]) and summary.clips > 1}
    methods = [name for name in summary.methods if any(name == method for method, _ in paired)]
    return _table(summary, methods, paired, frozenset(), "+") if methods else None


def _table(
    summary: Summary, methods: Sequence[str], cells: Mapping[Cell, Interval], best: frozenset[Cell], sign: str
) -> Table:
    metrics = [metric for metric in summary.metrics if not sign or any((name, metric) in cells for name in methods)]
    many, failed = summary.edits > 1, {} if sign else summary.failures
    lines = []
    for name in methods:
        values = []
        for metric in metrics:
            value, gone = cells.get((name, metric)), failed.get((name, metric), 0)
            text = "" if value is None else cell(value, METRICS[metric].decimals, sign).replace("-", "−")
            mean, _, spread = text.partition(" ")
            told = "" if not gone else f"{gone} failed" if many else "failed"
            values.append(Value(mean, spread if summary.clips > 1 else "", (name, metric) in best, told))
        gone = failed.get((name, JOB), 0)
        told = "" if not gone else f"{gone} {'edit' if gone == 1 else 'edits'} failed" if many else "failed"
        reference = name in REFERENCES
        lines.append(Line(name, reference, REFERENCE_TITLES[name] if reference else "", told, values))
    # an arrow stays with its word
    heads = [METRICS[metric].heading.replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓") for metric in metrics]
    titles = [METRICS[metric].about for metric in metrics]
    return Table([Head(*pair) for pair in zip(heads, titles, strict=True)], lines, is_tall(methods, metrics))
