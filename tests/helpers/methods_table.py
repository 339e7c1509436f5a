"""The table of all methods in flowedit/evaluation/bench/README.md: `python tests/helpers/methods_table.py DIR ...`.

Each DIR is the --out of a `flowedit bench --modes all` of one kind; hours on a CPU.
"""

import sys
from pathlib import Path

from flowedit.evaluation.results.intervals import difference, interval, share, share_difference
from flowedit.evaluation.results.rows import read, values

BASE = "inversion_free"
METRICS = {
    "object_accuracy": ("accuracy ↑", 2, share, share_difference),
    "background_psnr": ("background, dB ↑", 1, interval, difference),
    "truth_lpips": ("LPIPS ↓", 3, interval, difference),
}


def main(folders: list[str]) -> None:
    """A table a folder: each method's mean, and in brackets its paired difference to `inversion_free`."""
    for folder in folders:
        rows = read(Path(folder) / "rows.jsonl")
        methods = [name for name in dict.fromkeys(row.method for row in rows) if name not in ("floor", "ceiling")]
        kind = next(row.kind for row in rows)
        scenes = len(values(rows, BASE, "object_accuracy"))
        print(f"\n{kind}, {scenes} scenes\n")
        print(f"| method | evaluations | {' | '.join(head for head, *_ in METRICS.values())} |")
        print(f"|---|---|{'---|' * len(METRICS)}")
        for method in ("floor", *methods, "ceiling"):
            cost = values(rows, method, "network_evaluations").values()
            cells = [cell(rows, method, metric) for metric in METRICS]
            print(f"| `{method}` | {sum(cost) / len(cost):.0f} | " if cost else f"| *{method}* | – | ", end="")
            print(f"{' | '.join(cells)} |")


def cell(rows, method: str, metric: str) -> str:
    """Mean, and difference with its interval of 95 %; bold where the interval lies off 0."""
    _, decimals, mean, paired = METRICS[metric]
    own, base = values(rows, method, metric), values(rows, BASE, metric)
    if not own:
        return "–"
    told = f"{mean(list(own.values())).mean:.{decimals}f}"
    both = [key for key in base if key in own]
    if method in (BASE, "floor", "ceiling") or not both:
        return told
    found = paired([base[key] for key in both], [own[key] for key in both])
    text = f"{found.mean:+.{decimals}f} [{found.low:+.{decimals}f}, {found.high:+.{decimals}f}]".replace("-", "−")
    return f"{told} (**{text}**)" if found.low > 0 or found.high < 0 else f"{told} ({text})"


if __name__ == "__main__":
    main(sys.argv[1:])
