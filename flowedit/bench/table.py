"""Rows to tables: means with intervals, paired differences, and which class became which."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.table import Table

from flowedit.bench.run import Failure, Found, Row
from flowedit.bench.score import METRICS
from flowedit.metrics.intervals import Interval, interval, paired, paired_share, share

HEADS = {  # metric → heading, decimals
    "object_accuracy": ("object accuracy ↑", 2),
    "background_psnr": ("background PSNR ↑", 2),
    "truth_psnr": ("truth PSNR ↑", 2),
    "truth_lpips": ("truth LPIPS (bundled) ↓", 3),
    "mask_iou": ("mask IoU ↑", 2),
    "motion_error": ("motion error ↓", 3),
    "network_evaluations": ("network evaluations", 0),
}
LINE = 80
"""The least width of a table, so that its title stays in one or two lines."""
SHARES = ("object_accuracy",)
"""Metrics of zeros and ones."""


def results(rows: Sequence[Row], kind: str) -> Table:
    """Mean and 95 % interval of every metric and method on one kind of edit, between its floor and its ceiling."""
    columns = [metric for metric in HEADS if any((row.kind, row.metric) == (kind, metric) for row in rows)]
    modes = list(dict.fromkeys(row.mode for row in rows if row.kind == kind))
    scenes = len({row.seed for row in rows if row.kind == kind})
    table = _table(f"{kind}, scenes: {scenes} (mean and 95 % interval)", columns)
    table.add_row("floor", *(_cell(rows, kind, modes[0], f"{metric}_floor", metric) for metric in columns))
    for mode in modes:
        table.add_row(mode, *(_cell(rows, kind, mode, metric, metric) for metric in columns))
    table.add_row("ceiling", *(_cell(rows, kind, modes[0], f"{metric}_ceiling", metric) for metric in columns))
    return table


def differences(rows: Sequence[Row], kind: str) -> Table | None:
    """Each method less the first one, over the same scenes; None for a single method."""
    modes = list(dict.fromkeys(row.mode for row in rows if row.kind == kind))
    if len(modes) < 2:
        return None
    columns = [metric for metric in METRICS if _values(rows, kind, modes[0], metric)]
    table = _table(f"{kind}: paired differences from {modes[0]}", columns)
    for mode in modes[1:]:
        table.add_row(mode, *(_difference(rows, kind, modes[0], mode, metric) for metric in columns))
    return table


def confusion(found: Sequence[Found], mode: str) -> Table | None:
    """Rows: what an object should have become; columns: what it is nearest to. None where no class was edited."""
    pairs = Counter((f.right, f.nearest) for f in found if f.mode == mode and f.kind.startswith("replace"))
    if not pairs:
        return None
    names = sorted({name for pair in pairs for name in pair})
    title = f"{mode}, each replaced object: it should have become (rows), and is nearest to (columns)"
    table = Table(title=title, box=box.SIMPLE, title_justify="left", min_width=LINE)
    for name in ("", *names):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for right in names:
        table.add_row(right, *(str(pairs[right, near] or "·") for near in names))
    return table


def failed(failures: Sequence[Failure]) -> Table:
    """Each edit that gave no value, with its reason."""
    table = Table(title=f"{len(failures)} failed", box=box.SIMPLE, title_justify="left")
    for name in Failure._fields:
        table.add_column(name)
    for failure in failures:
        table.add_row(*map(str, failure))
    return table


def cell(value: Interval, decimals: int, sign: str = "") -> str:
    """`18.26 ±0.83` for an interval that is symmetric, `0.90 [0.70, 0.97]` for any other, the mean alone without."""
    middle = f"{value.mean:{sign}.{decimals}f}"
    if value.low != value.low or value.low == value.high:
        return middle
    below, above = value.mean - value.low, value.high - value.mean
    if abs(above - below) < 1e-9:
        return f"{middle} ±{above:.{decimals}f}"
    return f"{middle} [{value.low:{sign}.{decimals}f}, {value.high:{sign}.{decimals}f}]"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left", min_width=LINE)
    table.add_column("", overflow="fold")
    for metric in columns:
        table.add_column(HEADS[metric][0], justify="right")
    return table


def _cell(rows: Sequence[Row], kind: str, mode: str, metric: str, head: str) -> str:
    values = list(_values(rows, kind, mode, metric).values())
    return cell(share(values) if head in SHARES else interval(values), HEADS[head][1]) if values else "–"


def _difference(rows: Sequence[Row], kind: str, base: str, mode: str, metric: str) -> str:
    first, second = (_values(rows, kind, m, metric) for m in (base, mode))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return "–"
    apart = paired_share if metric in SHARES else paired
    return cell(apart([first[s] for s in seeds], [second[s] for s in seeds]), HEADS[metric][1], sign="+")


def _values(rows: Sequence[Row], kind: str, mode: str, metric: str) -> dict[int, float]:
    return {row.seed: row.value for row in rows if (row.kind, row.mode, row.metric) == (kind, mode, metric)}
