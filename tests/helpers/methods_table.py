"""The tables of all methods in flowedit/evaluation/bench/METHODS.md: `python tests/helpers/methods_table.py DIR ...`.

Each DIR is the --out of a `flowedit bench --modes all`, of one kind of edit or of several; hours on a CPU.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from flowedit.evaluation.results.intervals import difference, interval, share, share_difference
from flowedit.evaluation.results.rows import Row, read, values
from flowedit.evaluation.results.summary import CEILING, FLOOR

BASE = "inversion_free"
METRICS = {
    "object_accuracy": ("accuracy ↑", 2, share, share_difference),
    "background_psnr": ("background, dB ↑", 1, interval, difference),
    "truth_lpips": ("LPIPS ↓", 3, interval, difference),
}


def main(folders: Sequence[str]) -> None:
    """A table for each kind of edit in each folder."""
    for folder in folders:
        rows = read(Path(folder) / "rows.jsonl")
        for kind in dict.fromkeys(row.kind for row in rows):
            print("\n".join(table([row for row in rows if row.kind == kind])))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of one kind: each method's mean, and in brackets its paired difference to `inversion_free`.

    A method that lacks scenes says how many it has: its mean is of these, its difference of those that both have.
    """
    scenes = len({row.clip for row in rows})
    methods = [name for name in dict.fromkeys(row.method for row in rows) if name not in (FLOOR, CEILING)]
    yield f"\n{rows[0].kind}, {scenes} scenes\n"
    yield f"| method | evaluations | {' | '.join(head for head, *_ in METRICS.values())} |"
    yield f"|---|---|{'---|' * len(METRICS)}"
    for method in (FLOOR, *methods, CEILING):
        cost, count = values(rows, method, "network_evaluations").values(), len(values(rows, method, "truth_lpips"))
        name = f"*{method}*" if method in (FLOOR, CEILING) else f"`{method}`"
        lacks = "" if count == scenes else f", {count} of {scenes} scenes"
        cells = [cell(rows, method, metric) for metric in METRICS]
        spent = f"{sum(cost) / len(cost):.0f}" if cost else "–"
        yield f"| {name}{lacks} | {spent} | {' | '.join(cells)} |"


def cell(rows: Sequence[Row], method: str, metric: str) -> str:
    """Mean, and difference with its interval of 95 %; bold where the interval lies off 0."""
    _, decimals, mean, paired = METRICS[metric]
    own, base = values(rows, method, metric), values(rows, BASE, metric)
    if not own:
        return "–"
    told = f"{mean(list(own.values())).mean:.{decimals}f}"
    both = [key for key in base if key in own]
    if method in (BASE, FLOOR, CEILING) or not both:
        return told
    found = paired([base[key] for key in both], [own[key] for key in both])
    if found.low != found.low:  # of one scene
        return f"{told} ({found.mean:+.{decimals}f})".replace("-", "−")
    text = f"{found.mean:+.{decimals}f} [{found.low:+.{decimals}f}, {found.high:+.{decimals}f}]".replace("-", "−")
    return f"{told} (**{text}**)" if found.low > 0 or found.high < 0 else f"{told} ({text})"


if __name__ == "__main__":
    main(sys.argv[1:])
