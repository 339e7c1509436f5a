"""Results as LaTeX: one table each for all edits and for each kind, with booktabs, the best in bold, and intervals."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from flowedit.evaluation.results.intervals import Interval
from flowedit.evaluation.results.rows import Row
from flowedit.evaluation.results.summary import REFERENCES, Summary, summaries
from flowedit.evaluation.results.tables import count_line
from flowedit.metrics.catalogue import METRICS

HEAD = """\
% Needs \\usepackage{booktabs} and \\usepackage{graphicx}. Bold is the best of its column; slanted lines are no
% methods. Behind a mean stands its 95 % interval over clips.
"""

PLAIN = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
PLAIN |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
PLAIN |= {"<": "$<$", ">": "$>$", "|": "$|$"}  # in LaTeX's first encoding of fonts other signs stand there
PLAIN |= {"`": r"\`{}", '"': "''"}
PAIRS = "-',"
"""Signs two of which LaTeX makes one."""
WIDEST = 8
"""Metrics of one table at most: more of them, with their intervals, would be too small to read on a page."""
SIGNS = {
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "·": r"$\cdot$",
    "÷": r"$\div$",
    "∪": r"$\cup$",
    "∩": r"$\cap$",
    "∞": r"$\infty$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "²": "$^2$",
    "³": "$^3$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "‘": "`{}",
    "’": "'{}",
    "“": "``",
    "”": "''",
    "§": r"\S{}",
    "©": r"\copyright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True)
)


def escaped(text: str) -> str:
    """Any text as LaTeX prints it, whatever its encodings; a sign that it may lack becomes a question mark."""
    made = ""
    for before, sign in pairwise(" " + " ".join(text.split())):
        made += "{}" * (sign == before and sign in PAIRS) + _sign(sign)
    return made


def _sign(sign: str) -> str:
    known = PLAIN.get(sign) or SIGNS.get(sign)
    if known or (sign.isascii() and sign.isprintable()):
        return known or sign
    base, accent = unicodedata.normalize("NFD", sign)[:1], unicodedata.normalize("NFD", sign)[1:]
    return f"\\{ACCENTS[accent]}{{{base}}}" if base.isascii() and base.isalpha() and accent in ACCENTS else "?"


def _first(text: str) -> str:
    r"""A line's first cell: after \\ and \midrule a bracket or a star would be taken for a part of these."""
    return f"{{}}{text}" if text[:1] in ("[", "*") else text


def tables(rows: Sequence[Row], methods: Sequence[str], by_kind: bool = False) -> str:
    """Every summary of the rows in tables of LaTeX, methods as lines, WIDEST metrics as columns; `by_kind` as there."""
    made = [part for summary in summaries(rows, methods, by_kind) for part in _parts(summary)]
    return HEAD + "\n".join(table(*part) for part in made)


def _parts(summary: Summary) -> list[tuple[Summary, str]]:
    """A summary cut into tables of about equal width, and what each caption ends with."""
    count = -(-len(summary.metrics) // WIDEST)
    cuts = [len(summary.metrics) * k // count for k in range(count + 1)] if count else []
    parts = [summary.metrics[first:last] for first, last in pairwise(cuts)]
    told = [f", part {k} of {count}" if count > 1 else "" for k in range(1, count + 1)]
    return [(replace(summary, metrics=part), text) for part, text in zip(parts, told, strict=True)]


def table(summary: Summary, part: str = "") -> str:
    """One summary: a table environment as wide as the text; `part` is added to its caption."""
    heads = ["method", *(METRICS[metric].heading for metric in summary.metrics)]
    whose = ", ".join(filter(None, [summary.kind, count_line(summary)]))
    before = [name for name in summary.methods if name in REFERENCES]
    ours = [name for name in summary.methods if name not in REFERENCES]
    lines = [_line(summary, name) for name in ours]
    if before:
        lines += [r"\midrule", *(_line(summary, name) for name in before)]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            f"\\caption{{Scores of {escaped(whose + part)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",  # narrower ones stay as they are
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
    name = _first(escaped(method))
    entries = [_entry(summary, method, metric) for metric in summary.metrics]
    return " & ".join([f"\\textit{{{name}}}" if method in REFERENCES else name, *entries]) + r" \\"


def _entry(summary: Summary, method: str, metric: str) -> str:
    value = summary.cells.get((method, metric))
    if value is None:
        return "failed" if summary.lost(method, metric) else "--"
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
