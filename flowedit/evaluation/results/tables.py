"""Rows as tables of a terminal: means with intervals, paired differences, one edit by several methods, failures."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from flowedit.evaluation.results.intervals import Interval
from flowedit.evaluation.results.rows import JOB, Row, failures
from flowedit.evaluation.results.summary import REFERENCES, Summary, remark, summaries
from flowedit.metrics.catalogue import METRICS, is_cost, label

WIDTH = 160
"""Columns where there is no terminal."""

NAMED = 3
"""Up to so many edits of one failure are named, more are counted."""

LINE = 80
"""The least width of a table, so that its title stays in one or two lines."""

PADDING = 3
"""Columns of a terminal between two of a table."""

MANY = 6
"""The most metrics that are always columns."""


@dataclass(frozen=True)
class TableBlocks:
    """A table whose columns stand in blocks below each other where they are too many for the width.

    `columns` are a heading and a cell for each of the `names`, which begin the lines of every block. No word is cut or
    broken, unless a column alone is wider than there is room.
    """

    title: str
    names: Sequence[str]
    columns: Sequence[tuple[str, Sequence[Text]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The blocks, the title above the first of them."""
        wide = [_longest(heading, *(cell.plain for cell in cells)) for heading, cells in self.columns]
        names = min(max(map(len, self.names), default=0), options.max_width // 2)
        room = max(options.max_width - names - 2 * PADDING, 1)
        blocks: list[list[int]] = [[]]
        for place, width in enumerate(wide):
            used = sum(wide[other] + PADDING for other in blocks[-1])
            if blocks[-1] and used + width > room:
                blocks.append([])
            blocks[-1].append(place)
        for number, block in enumerate(blocks):
            title = None if number else self.title
            table = Table(title=title, box=box.SIMPLE, title_justify="left", min_width=min(LINE, options.max_width))
            table.add_column("", overflow="fold", min_width=names)
            for place in block:
                table.add_column(self.columns[place][0], justify="right", overflow="fold", min_width=wide[place])
            for line, name in enumerate(self.names):
                table.add_row(name, *(self.columns[place][1][line] for place in block))
            yield table


def tables(
    rows: Sequence[Row], methods: Sequence[str], by_kind: bool = False, notes: Sequence[str] = ()
) -> Iterator[RenderableType]:
    """Results and paired differences, all together and by kind, what to bear in mind of them, then the failures.

    `by_kind` as in `summaries`.
    """
    made = [summary for summary in summaries(rows, methods, by_kind) if summary.metrics]
    for summary in made:
        yield results(summary)
        if summary.differences:
            yield differences(summary)
    for text in (*(remark(summary) for summary in made[:1]), *notes):
        if text:
            yield Text(f"{text}\n")
    if lost := failures(rows):
        yield failed(lost)


def show(made: Sequence[RenderableType], path: Path | None = None) -> None:
    """Print tables as wide as the terminal, or `WIDTH` columns where there is none; into a file with `path`."""
    if path is None:
        _print(made, Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False, highlight=False))
        return
    with path.open("w", encoding="utf-8") as file:
        _print(made, Console(file=file, width=WIDTH, markup=False, emoji=False, highlight=False))


def _print(made: Sequence[RenderableType], console: Console) -> None:
    """Names and reasons come from data: nothing in them is markup."""
    for table in made:
        console.print(table)


def results(summary: Summary) -> TableBlocks:
    """Mean and 95 % interval of every metric and method; the best of a column is bold, references are dim."""
    title = f"{summary.kind or 'all'}, {count_line(summary)}"

    def entry(method: str, metric: str) -> Text:
        cell_of = summary.cells.get((method, metric))
        text = "–" if cell_of is None else cell(cell_of, METRICS[metric].decimals)
        if lost := summary.failures.get((method, metric), 0):
            text += f" ({lost} failed)"
        dim = method in REFERENCES
        return Text(text, "bold" if (method, metric) in summary.best else "dim" if dim else "")

    return _laid_out(title, summary.methods, summary.metrics, entry)


def count_line(summary: Summary) -> str:
    """How many edits, of how many clips, and what their intervals are over."""
    edits = f"{summary.edits} edit{'s' if summary.edits > 1 else ''}"
    clips = f" of {summary.clips} clip{'s' if summary.clips > 1 else ''}" if summary.clips != summary.edits else ""
    return edits + clips + (" (mean over clips and 95 % interval)" if summary.clips > 1 else "")


def differences(summary: Summary) -> TableBlocks:
    """Each method less the first one, over the same edits."""
    first = next(method for method in summary.methods if method not in REFERENCES)
    metrics = [name for name in summary.metrics if any(metric == name for _, metric in summary.differences)]
    metrics = [name for name in metrics if not is_cost(name)]
    methods = [method for method in summary.methods if any(own == method for own, _ in summary.differences)]

    def entry(method: str, metric: str) -> Text:
        found = summary.differences.get((method, metric))
        return Text("–" if found is None else cell(found, METRICS[metric].decimals, sign="+"))

    return _laid_out(f"{summary.kind or 'all'}: paired differences from {first}", methods, metrics, entry)


def failed(lost: Sequence[Row]) -> Table:
    """Each reason once, with what it cost and where: the edits by name, or their number where there are many."""
    table = Table(title=f"{len(lost)} failed", box=box.SIMPLE, title_justify="left")
    for name in ("what", "reason", "methods", "edits"):
        table.add_column(name, overflow="fold")
    reasons: dict[tuple[str, str, str], list[Row]] = {}
    for row in lost:
        where = f"{row.clip}, {row.edit}" if row.metric == JOB else ""  # an edit's reason is its own
        reasons.setdefault((row.failure or "", "edit" if row.metric == JOB else "", where), []).append(row)
    for (reason, what, _), held in reasons.items():
        names = what or ", ".join(dict.fromkeys(label(row.metric) for row in held))
        edits = list(dict.fromkeys(f"{row.clip}, {row.edit}" for row in held))
        shown = "; ".join(edits) if len(edits) <= NAMED else f"{len(edits)} edits"
        table.add_row(names, reason, ", ".join(dict.fromkeys(row.method for row in held)), shown)
    return table


def cell(value: Interval, decimals: int, sign: str = "") -> str:
    """`18.26 ±0.83` for an interval that is symmetric, `0.90 [0.70, 0.97]` for any other, the mean alone without."""
    if value.mean in (float("inf"), float("-inf")):
        return "∞" if value.mean > 0 else "−∞"
    middle = f"{value.mean:{sign}.{decimals}f}"
    if value.low != value.low or value.low == value.high:
        return middle
    below, above = value.mean - value.low, value.high - value.mean
    if abs(above - below) < 1e-9:
        return f"{middle} ±{above:.{decimals}f}"
    return f"{middle} [{value.low:{sign}.{decimals}f}, {value.high:{sign}.{decimals}f}]"


def is_tall(methods: Sequence[str], metrics: Sequence[str]) -> bool:
    """Whether metrics are the lines of a table and methods its columns: where the metrics are many, and the more."""
    return len(metrics) > max(MANY, len(methods))


def _glued(heading: str) -> str:
    """A heading whose arrow stays with its word."""
    return heading.replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓")


def _longest(heading: str, *cells: str) -> int:
    """The width that a column needs: a heading breaks between its words, a cell nowhere."""
    return max(map(len, (*_glued(heading).split(" "), *cells)))


def _laid_out(
    title: str, methods: Sequence[str], metrics: Sequence[str], entry: Callable[[str, str], Text]
) -> TableBlocks:
    """Methods as lines, or as columns where there are many metrics."""
    heads = [METRICS[metric].heading for metric in metrics]
    if is_tall(methods, metrics):
        return TableBlocks(
            title, heads, [(method, [entry(method, metric) for metric in metrics]) for method in methods]
        )
    columns = [
        (head, [entry(method, metric) for method in methods]) for head, metric in zip(heads, metrics, strict=True)
    ]
    return TableBlocks(title, methods, columns)
