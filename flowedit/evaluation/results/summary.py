"""Rows to what a table or a page shows: means with intervals, paired differences, the best, and what failed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from flowedit.evaluation.results.intervals import Interval, difference, interval, share, share_difference
from flowedit.evaluation.results.rows import JOB, Row, failures, values
from flowedit.metrics.catalogue import METRICS, column_order

Cell = tuple[str, str]
"""(method, metric)."""

FLOOR, UNEDITED, CEILING = "floor", "unedited", "ceiling"

NO_KIND = "no kind"
"""The kind of edits whose dataset names none, beside others that have one."""

REFERENCES = (FLOOR, UNEDITED, CEILING)
"""Methods that are none: what no edit scores, the source as it is, and what the best possible edit scores."""

NO_EDIT = "network_evaluations"
"""A method that never evaluated the network left the clip as it is."""


@dataclass(frozen=True)
class Summary:
    """One kind of edit, or all together (kind ""), by every method; the differences are from the first method.

    Edits of one clip are not independent: they are averaged first, and means and intervals go over clips. `best`
    holds the cells with the best mean of their column, over the edits that all methods have; REFERENCES are shown and
    never compared. `edits` counts the (clip, edit) pairs that have a value, `clips` their clips; `failures` counts
    the values that are missing.
    """

    kind: str
    edits: int
    clips: int
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[Cell, Interval]
    best: frozenset[Cell]
    differences: dict[Cell, Interval]
    failures: dict[Cell, int]

    def lost(self, method: str, metric: str) -> int:
        """How many values of a metric a method lacks: those that failed, and those of edits that failed whole."""
        return self.failures.get((method, metric), 0) + self.failures.get((method, JOB), 0)


def summaries(rows: Sequence[Row], methods: Sequence[str], by_kind: bool = False) -> list[Summary]:
    """All edits together first, then each kind, where there is more than one; the references stand around `methods`.

    `by_kind` opens with FiVE's final score, the mean over the kinds of edit of each kind's mean (Li et al. 2025); a
    method that lacks a kind has none.
    """
    held = {row.method for row in rows}
    before, after = ([name for name in names if name in held] for names in ((FLOOR, UNEDITED), (CEILING,)))
    methods = [*before, *methods, *after]
    kinds = list(dict.fromkeys(row.kind for row in rows))
    whole = [_summary("", rows, methods)] if len(kinds) != 1 else []
    each = [_summary(kind, [row for row in rows if row.kind == kind], methods) for kind in kinds]
    final = [_final(each, rows)] if by_kind and each else []
    if whole:
        each = [replace(summary, kind=summary.kind or NO_KIND) for summary in each]
    return final + whole + each


def _final(each: Sequence[Summary], rows: Sequence[Row]) -> Summary:
    cells: dict[Cell, Interval] = {}
    for cell in dict.fromkeys(cell for summary in each for cell in summary.cells):
        if all(cell in summary.cells for summary in each):
            middle = mean(_mean(summary, cell, rows) for summary in each)
            cells[cell] = Interval(middle, math.nan, math.nan, len(each))
    metrics = tuple(metric for metric in column_order() if any(own == metric for _, own in cells))
    methods = tuple(dict.fromkeys(method for method, _ in cells))
    compared = _editing(methods, cells)
    best = frozenset(cell for metric in metrics for cell in _best(cells, metric, compared))
    edits, clips = len({row[:2] for row in rows}), len({row.clip for row in rows})
    return Summary(f"mean of {len(each)} kinds' means", edits, clips, methods, metrics, cells, best, {}, {})


def _mean(summary: Summary, cell: Cell, rows: Sequence[Row]) -> float:
    """A kind's mean over its edits, each counted alike, as FiVE has it."""
    return mean(values([row for row in rows if row.kind == summary.kind], *cell).values())


def average(metric: str, numbers: Sequence[float]) -> Interval:
    """Mean and interval of one metric: Wilson's for zeros and ones, Student's for all else, none for one clip.

    Raises ValueError for no number.
    """
    return share(numbers) if len(numbers) > 1 and _is_share(metric, numbers) else interval(numbers)


def _is_share(metric: str, *numbers: Sequence[float]) -> bool:
    return METRICS[metric].share and all(set(part) <= {0.0, 1.0} for part in numbers)


def _by_clip(held: Mapping[tuple[str, str], float]) -> list[float]:
    """The mean of each clip's edits."""
    clips: dict[str, list[float]] = {}
    for (clip, _), value in held.items():
        clips.setdefault(clip, []).append(value)
    return [part[0] if len(part) == 1 else sum(part) / len(part) for part in clips.values()]


def _summary(kind: str, rows: Sequence[Row], methods: Sequence[str]) -> Summary:
    metrics = _metrics(rows)
    found = {(method, metric): values(rows, method, metric) for method in methods for metric in metrics}
    cells = {cell: average(cell[1], _by_clip(had)) for cell, had in found.items() if had}
    apart, compared = {}, [method for method in methods if method not in REFERENCES]
    best: list[Cell] = []
    editing = _editing(methods, cells)
    for metric in metrics:
        held = {method: found[method, metric] for method in editing if found[method, metric]}
        both = [key for key in next(iter(held.values()), {}) if all(key in had for had in held.values())]
        if both:
            common = {(m, metric): interval(_by_clip({key: had[key] for key in both})) for m, had in held.items()}
            best += _best(common, metric, editing)
    for method, metric in list(cells):
        first, own = found[compared[0], metric], found[method, metric]
        both = [key for key in first if key in own]
        pair = [_by_clip({key: had[key] for key in both}) for had in (first, own)]
        if method in compared[1:] and len(pair[0]) > 1:
            between = (share_difference if _is_share(metric, *pair) else difference)(*pair)
            if between.mean == between.mean:  # inf in one edit and -inf in another have no mean
                apart[method, metric] = between
    failed: dict[Cell, int] = {}
    for row in failures(rows):
        failed[row.method, row.metric] = failed.get((row.method, row.metric), 0) + 1
    return Summary(
        kind=kind,
        edits=len({row[:2] for row in rows if row.value is not None}),
        clips=len({row.clip for row in rows if row.value is not None}),
        methods=tuple(methods),
        metrics=metrics,
        cells=cells,
        best=frozenset(best),
        differences=apart,
        failures=failed,
    )


def _editing(methods: Sequence[str], cells: Mapping[Cell, Interval]) -> list[str]:
    """The methods that may be marked best: neither references nor those that left every clip as it is."""
    idle = {method for (method, metric), cell in cells.items() if metric == NO_EDIT and cell.mean == 0}
    idle |= {method for method in methods if _equals_source(method, cells)}
    return [method for method in methods if method not in REFERENCES and method not in idle]


def _equals_source(method: str, cells: Mapping[Cell, Interval]) -> bool:
    """Whether every measure against the source is, as it is printed, that of the clip unedited: a copy of it."""
    alike = [metric for own, metric in cells if own == method and METRICS[metric].group == "source"]
    alike = [metric for metric in alike if (UNEDITED, metric) in cells]
    pairs = [(cells[method, m].mean, cells[UNEDITED, m].mean, METRICS[m].decimals) for m in alike]
    return bool(pairs) and all(round(a, decimals) == round(b, decimals) for a, b, decimals in pairs)


def remark(summary: Summary) -> str:
    """Which of the metrics reward leaving the clip alone, in a sentence; empty where none does."""
    names = [METRICS[metric].label for metric in summary.metrics if METRICS[metric].rewards_nothing]
    if not names or not summary.cells:
        return ""
    shown = " (the line unedited shows how much)" if UNEDITED in summary.methods else ""
    asked = [METRICS[m].label for m in summary.metrics if METRICS[m].group in ("truth", "prompt") and METRICS[m].better]
    told = f" Whether the edit is there: {', '.join(asked)}." if asked else ""
    return f"These reward leaving the clip alone{shown}: {', '.join(names)}.{told}"


def _metrics(rows: Sequence[Row]) -> tuple[str, ...]:
    """The metrics that rows hold, in the order of the columns; a failed edit is none."""
    held = {row.metric for row in rows} - {JOB}
    return tuple(metric for metric in column_order() if metric in held)


def _best(cells: dict[Cell, Interval], metric: str, methods: Sequence[str]) -> list[Cell]:
    means = {(method, metric): cells[method, metric].mean for method in methods if (method, metric) in cells}
    better = METRICS[metric].better
    means = {cell: round(value, METRICS[metric].decimals) for cell, value in means.items()}  # as it is printed
    if better is None or len(means) < 2 or len(set(means.values())) == 1:
        return []
    best = max(means.values()) if better == "higher" else min(means.values())
    return [cell for cell, value in means.items() if value == best]
