"""Results as LaTeX: one table each for all edits and for each kind, with booktabs, the best in bold, and intervals."""

import re
from collections.abc import Sequence

from flowedit.evaluation.results.intervals import Interval
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.evaluation.results.summary import REFERENCES, Summary, summaries
from flowedit.evaluation.results.tables import count_line
from flowedit.metrics.catalogue import METRICS

HEAD = """\
% Needs \\usepackage{booktabs} and \\usepackage{graphicx}. Bold is the best of its column; slanted lines are no
% methods. Behind a mean stands its 95 % interval over clips.
"""

PLAIN = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
PLAIN |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
SIGNS = {
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "∪": r"$\cup$",
    "∩": r"$\cap$",
    "∞": r"$\infty$",
    "–": "--",
    "²": "$^2$",
    "³": "$^3$",
}


def escaped(text: str) -> str:
    """Any text as LaTeX prints it; a sign that plain LaTeX may lack becomes a question mark."""
    made = "".join(PLAIN.get(sign) or SIGNS.get(sign) or sign for sign in text)
    return re.sub(r"[^\x20-\x7e\u00a0-\u017f]", "?", made)


def tables(rows: Sequence[Row], methods: Sequence[str], by_kind: bool = False) -> str:
    """Every summary of the rows as a table of LaTeX, methods as lines and metrics as columns; `by_kind` as there."""
    made = [summary for summary in summaries(rows, methods, by_kind) if summary.metrics]
    return HEAD + "\n".join(table(summary) for summary in made)


def table(summary: Summary) -> str:
    """One summary: a table environment as wide as the text."""
    heads = ["method", *(METRICS[metric].heading for metric in summary.metrics)]
    before = [name for name in summary.methods if name in REFERENCES]
    ours = [name for name in summary.methods if name not in REFERENCES]
    lines = [_line(summary, name) for name in ours]
    if before:
        lines += [r"\midrule", *(_line(summary, name) for name in before)]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            f"\\caption{{{escaped(summary.kind or 'all')}, {escaped(count_line(summary))}}}",
            r"\resizebox{\linewidth}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * len(summary.metrics)}}}",
            r"\toprule",
            " & ".join(map(escaped, heads)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def _line(summary: Summary, method: str) -> str:
    name = escaped(method)
    entries = [_entry(summary, method, metric) for metric in summary.metrics]
    return " & ".join([f"\\textit{{{name}}}" if method in REFERENCES else name, *entries]) + r" \\"


def _entry(summary: Summary, method: str, metric: str) -> str:
    value = summary.cells.get((method, metric))
    if value is None:
        lost = summary.failures.get((method, metric), 0) or summary.failures.get((method, JOB), 0)
        return "failed" if lost else "--"
    best = (method, metric) in summary.best
    return cell(value, METRICS[metric].decimals, best)


def cell(value: Interval, decimals: int, best: bool) -> str:
    r"""`\textbf{18.26} {\scriptsize $\pm$0.83}`, or `[0.70, 0.97]` where that is not symmetric; or the mean alone."""
    if value.mean in (float("inf"), float("-inf")):
        middle = r"$\infty$" if value.mean > 0 else r"$-\infty$"
    else:
        middle = _number(value.mean, decimals)
    told = f"\\textbf{{{middle}}}" if best else middle
    if value.low != value.low or value.low == value.high:
        return told
    below, above = value.mean - value.low, value.high - value.mean
    if abs(above - below) < 1e-9:
        return f"{told} {{\\scriptsize $\\pm${above:.{decimals}f}}}"
    low, high = _number(value.low, decimals), _number(value.high, decimals)
    return f"{told} {{\\scriptsize [{low}, {high}]}}"


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return f"$-${text[1:]}" if text.startswith("-") else text
