"""Tables of LaTeX: whole, escaped, the best in bold, with the intervals that the other tables have."""

import re

import pytest

from flowedit.evaluation.results import latex
from flowedit.evaluation.results.intervals import Interval
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.metrics.catalogue import METRICS

VALUES = {"ours_&_co": (20.0, 22.0), "100% {x}": (18.0, 19.0)}


def rows():
    made = [
        Row(f"clip{i}", "edit", "a_b", method, "psnr", value)
        for method, both in VALUES.items()
        for i, value in enumerate(both)
    ]
    made += [Row(f"clip{i}", "edit", "a_b", "unedited", "psnr", float("inf")) for i in range(2)]
    return [*made, Row("clip0", "edit", "a_b", "lost", JOB, None, "no frames")]


def lines_of(text):
    return [line for line in text.splitlines() if line.endswith(r" \\")]


def test_a_table_is_whole_and_bold_is_the_best_with_its_interval():
    text = latex.tables(rows(), [*VALUES, "lost"])
    assert text.count("\\begin{") == text.count("\\end{") == 2
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert lines_of(text) == [
        r"method & PSNR $\uparrow$ \\",
        r"ours\_\&\_co & \textbf{21.00} {\scriptsize $\pm$12.71} \\",  # t = 12.706 for two clips, s / sqrt(n) = 1
        r"100\% \{x\} & 18.50 {\scriptsize $\pm$6.35} \\",
        r"lost & failed \\",
        r"\textit{unedited} & $\infty$ \\",
    ]
    assert r"\caption{Scores of a\_b, 2 edits (mean over clips and 95 \% interval)}" in text


@pytest.mark.parametrize(
    ("value", "best", "text"),
    [
        (Interval(-1.5, float("nan"), float("nan"), 1), False, "$-$1.50"),
        (Interval(0.9, 0.7, 0.97, 9), True, r"\textbf{0.90} {\scriptsize [0.70, 0.97]}"),
        (Interval(float("-inf"), float("nan"), float("nan"), 2), False, r"$-\infty$"),
    ],
)
def test_cells(value, best, text):
    assert latex.cell(value, 2, best) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a_b % & # $ {x}", r"a\_b \% \& \# \$ \{x\}"),
        ("a^b~c\\d", r"a\textasciicircum{}b\textasciitilde{}c\textbackslash{}d"),
        ("<a>|b", "$<$a$>$$|$b"),  # which are other signs in the encoding that LaTeX begins with
        ("--x ''y'' ,,z", "-{}-x '{}'y'{}' ,{},z"),  # two of a kind would become one sign
        ('?`!` "q"', r"?\`{}!\`{} ''q''"),
        ("äÉçñ Œuvre Łódź ß", r"\"{a}\'{E}\c{c}\~{n} \OE{}uvre \L{}\'{o}d\'{z} \ss{}"),
        ("a\tb\n\nc\u00a0d", "a b c d"),  # an empty line would end a cell
        ("漢\x07ŋ«", "????"),
    ],
)
def test_any_text_is_printed_as_it_is_whatever_the_encodings(text, printed):
    """All that stands here was compiled by pdfTeX, with its first encoding of fonts and with T1."""
    assert latex.escaped(text) == printed
    assert printed.isascii()


@pytest.mark.parametrize("name", ["[opt]", "*star"])
def test_a_line_that_begins_with_a_bracket_or_a_star_is_no_part_of_the_rule_above_it(name):
    values = [Row("clip0", "edit", "a", method, "psnr", 20.0) for method in ("a", name)]
    assert f"{{}}{name} & " in latex.tables(values, ["a", name])


def test_every_heading_of_a_metric_is_ascii_in_latex():
    from flowedit.metrics.catalogue import METRICS

    for metric in METRICS.values():
        text = latex.escaped(metric.heading)
        assert text.isascii(), metric.heading
        assert "?" not in text, metric.heading


def test_many_metrics_become_tables_that_can_be_read():
    metrics = list(METRICS)[: 2 * latex.WIDEST + 1]
    text = latex.tables([Row("clip", "edit", "k", "ours", metric, 1.0) for metric in metrics], ["ours"])
    heads = [line.count(" & ") for line in lines_of(text) if line.startswith("method")]
    assert sum(heads) == len(metrics)
    assert max(heads) <= latex.WIDEST
    assert max(heads) - min(heads) <= 1
    assert [f", part {k} of 3}}" in text for k in (1, 2, 3)] == [True] * 3
