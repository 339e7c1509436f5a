"""Rows to what a table or a page shows: means with intervals, paired differences, the best, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from flowedit.metrics.heads import HEADS
from flowedit.metrics.intervals import Interval, interval, paired, paired_share, share
from flowedit.rows import JOB, Row, failures, values

Cell = tuple[str, str]
"""(method, metric)."""

FLOOR, CEILING = "floor", "ceiling"
NO_KIND = "no kind"
"""The kind of edits whose dataset names none, beside others that have one."""
REFERENCES = (FLOOR, CEILING)
"""Methods that are none: what no edit scores, and what the best possible one does."""


@dataclass(frozen=True)
class Summary:
    """One kind of edit, or all together (kind ""), by every method; the differences are from the first method.

    `best` holds the cells with the best mean of their column, where there is more than one method; REFERENCES are
    shown and never compared. `failed` counts failures, `edits` the (clip, edit) pairs.
    """

    kind: str
    edits: int
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[Cell, Interval]
    best: frozenset[Cell]
    paired: dict[Cell, Interval]
    failed: dict[Cell, int]


def summaries(rows: Sequence[Row], methods: Sequence[str]) -> list[Summary]:
    """All edits together first, then each kind, where there is more than one; the references stand around `methods`."""
    held = {row.method for row in rows}
    methods = [*(name for name in (FLOOR,) if name in held), *methods, *(name for name in (CEILING,) if name in held)]
    kinds = list(dict.fromkeys(row.kind for row in rows))
    whole = [_summary("", rows, methods)] if len(kinds) != 1 else []
    each = [_summary(kind, [row for row in rows if row.kind == kind], methods) for kind in kinds]
    if whole:
        each = [replace(summary, kind=summary.kind or NO_KIND) for summary in each]
    return whole + each


def kind_means(rows: Sequence[Row], methods: Sequence[str]) -> dict[Cell, float]:
    """FiVE's final score: the mean over the kinds of edit of each kind's mean over its edits (Li et al. 2025)."""
    found: dict[Cell, float] = {}
    for method in methods:
        for metric in _metrics(rows):
            by_kind: dict[str, list[float]] = {}
            for row in rows:
                if (row.method, row.metric) == (method, metric) and row.value is not None:
                    by_kind.setdefault(row.kind, []).append(row.value)
            if by_kind:
                found[method, metric] = mean(mean(part) for part in by_kind.values())
    return found


def average(metric: str, numbers: Sequence[float]) -> Interval:
    """Mean and interval of one metric: Wilson's for shares, Student's for all else; raises ValueError for none."""
    return share(numbers) if HEADS[metric].share else interval(numbers)


def _summary(kind: str, rows: Sequence[Row], methods: Sequence[str]) -> Summary:
    metrics = _metrics(rows)
    found = {(method, metric): values(rows, method, metric) for method in methods for metric in metrics}
    cells = {cell: average(cell[1], list(had.values())) for cell, had in found.items() if had}
    apart, compared = {}, [method for method in methods if method not in REFERENCES]
    for method, metric in list(cells):
        first, own = found[compared[0], metric], found[method, metric]
        both = [key for key in first if key in own]
        if method in compared[1:] and len(both) > 1:
            compare = paired_share if HEADS[metric].share else paired
            between = compare([first[k] for k in both], [own[k] for k in both])
            if between.mean == between.mean:  # inf in one edit and -inf in another have no mean
                apart[method, metric] = between
    failed: dict[Cell, int] = {}
    for row in failures(rows):
        failed[row.method, row.metric] = failed.get((row.method, row.metric), 0) + 1
    return Summary(
        kind=kind,
        edits=len({(row.clip, row.edit) for row in rows}),
        methods=tuple(methods),
        metrics=metrics,
        cells=cells,
        best=frozenset(cell for metric in metrics for cell in _best(cells, metric, compared)),
        paired=apart,
        failed=failed,
    )


def _metrics(rows: Sequence[Row]) -> tuple[str, ...]:
    """The metrics that rows hold, in the order of `HEADS`; a failed edit is none."""
    held = {row.metric for row in rows} - {JOB}
    return tuple(metric for metric in HEADS if metric in held)


def _best(cells: dict[Cell, Interval], metric: str, methods: Sequence[str]) -> list[Cell]:
    means = {(method, metric): cells[method, metric].mean for method in methods if (method, metric) in cells}
    better = HEADS[metric].better
    if better is None or len(means) < 2 or len(set(means.values())) == 1:
        return []
    best = max(means.values()) if better == "higher" else min(means.values())
    return [cell for cell, value in means.items() if value == best]
