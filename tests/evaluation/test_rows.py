"""Rows, their JSON, and what is read off them: means, intervals, the best, paired differences."""

import io
import json
import math
import re

import pytest
from rich.console import Console

from flowedit.evaluation.files import table
from flowedit.evaluation.results import rows
from flowedit.evaluation.results.intervals import Interval, interval, share
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.evaluation.results.summary import CEILING, FLOOR, UNEDITED, Summary, remark, summaries
from flowedit.evaluation.results.tables import cell, is_tall, results
from flowedit.metrics.catalogue import METRICS


def made(method, metric, values, kind="replace"):
    return [Row(str(i), "edit", kind, method, metric, value) for i, value in enumerate(values)]


def test_rows_come_back_from_their_file(tmp_path):
    held = [
        Row("a", "e", "k", "m", "psnr", math.inf),
        Row("a", "e", "k", "m", "ssim", None, 'it said ": Infinity" and ü'),
        Row("a", "e", "k", "m", "mse", 0.1 + 0.2),
    ]
    assert json.loads(rows.dumps([["psnr", math.inf], -math.inf])) == [["psnr", math.inf], -math.inf]
    rows.write(held, tmp_path / "rows.jsonl")
    assert rows.read(tmp_path / "rows.jsonl") == held
    for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_is_not_known_is_no_number():
    with pytest.raises(ValueError, match="NaN"):
        rows.dumps({"a": [1.0, {"b": math.nan}]})


def test_a_summary_has_means_the_best_and_paired_differences():
    held = [
        *made("a", "psnr", [20.0, 22.0]),
        *made("b", "psnr", [21.0, 24.0]),
        *made("a", "lpips_bundled", [0.2, 0.4]),
        *made("b", "lpips_bundled", [0.3, 0.4]),
        Row("0", "edit", "replace", "b", "ssim", None, "no"),
        *made("a", "seconds", [3.0, 3.0]),
        *made("b", "seconds", [3.0, 3.0]),
    ]
    (found,) = summaries(held, ["a", "b"])
    assert found.kind == "replace"
    assert found.cells["b", "psnr"].mean == 22.5
    assert found.best == {("b", "psnr"), ("a", "lpips_bundled")}  # equal seconds have no best
    assert found.differences["b", "psnr"].mean == 1.5
    assert ("a", "psnr") not in found.differences
    assert found.failures == {("b", "ssim"): 1}


def test_only_edits_that_both_methods_have_are_paired():
    held = [*made("a", "psnr", [20.0, 22.0, 24.0]), *made("b", "psnr", [21.0, 23.0])]
    (found,) = summaries(held, ["a", "b"])
    assert found.differences["b", "psnr"].n == 2


def test_references_stand_around_the_methods_and_are_never_the_best():
    held = [
        *made("a", "psnr", [20.0, 21.0]),
        *made("b", "psnr", [19.0, 18.0]),
        *made(CEILING, "psnr", [30.0, 30.0]),
        *made(FLOOR, "psnr", [10.0, 10.0]),
    ]
    (found,) = summaries(held, ["a", "b"])
    assert found.methods == (FLOOR, "a", "b", CEILING)
    assert found.best == {("a", "psnr")}
    assert set(found.differences) == {("b", "psnr")}


def test_infinite_psnr_is_a_mean_without_an_interval_and_no_difference():
    held = [*made("a", "psnr", [math.inf, 20.0]), *made("b", "psnr", [math.inf, 21.0])]
    (found,) = summaries(held, ["a", "b"])
    assert found.cells["a", "psnr"].mean == math.inf
    assert math.isnan(found.cells["a", "psnr"].low)
    assert found.differences["b", "psnr"].mean == 0.5


def test_the_final_score_of_five_weighs_kinds_alike_and_lacks_none():
    held = [*made("a", "psnr", [10.0] * 9, "colour"), *made("a", "psnr", [20.0], "removal")]
    held += made("b", "psnr", [30.0], "colour")
    final, every, colour, removal = summaries(held, ["a", "b"], by_kind=True)
    assert final.kind == "mean of 2 kinds' means"
    assert {cell: value.mean for cell, value in final.cells.items()} == {("a", "psnr"): 15.0}
    assert (every.kind, every.edits, every.clips) == ("", 9, 9)  # clips of one name in two kinds are one
    assert (colour.edits, removal.edits) == (9, 1)


def test_edits_of_one_clip_are_one_observation():
    held = [
        Row(clip, f"e{i}", "k", "a", "psnr", value) for clip, value in (("x", 10.0), ("y", 20.0)) for i in range(50)
    ]
    held += [
        Row(clip, f"e{i}", "k", "b", "psnr", value) for clip, value in (("x", 11.0), ("y", 21.0)) for i in range(50)
    ]
    (found,) = summaries(held, ["a", "b"])
    assert (found.cells["a", "psnr"].mean, found.cells["a", "psnr"].n) == (15, 2)
    assert (found.differences["b", "psnr"].mean, found.differences["b", "psnr"].n) == (1, 2)
    assert (found.edits, found.clips) == (100, 2)
    shares = [Row("x", f"e{i}", "k", "a", "object_accuracy", value) for i, value in enumerate((1.0, 0.0))]
    assert summaries(shares, ["a"])[0].cells["a", "object_accuracy"].mean == 0.5


def test_the_best_is_so_on_the_edits_that_all_have():
    held = [*made("a", "psnr", [20.0, 10.0]), *made("b", "psnr", [19.0])]
    (found,) = summaries(held, ["a", "b"])
    assert found.cells["b", "psnr"].mean > found.cells["a", "psnr"].mean
    assert found.best == {("a", "psnr")}


def test_a_failed_edit_is_a_row_and_no_metric():
    held = [*made("a", "psnr", [10.0]), Row("9", "edit", "replace", "a", JOB, None, "no clip")]
    (found,) = summaries(held, ["a"])
    assert found.metrics == ("psnr",)
    assert found.failures == {("a", JOB): 1}
    assert rows.failures(held) == [held[1]]


def test_an_edit_that_failed_whole_counts_as_failed_in_each_line_of_its_method():
    held = [
        *made("a", "psnr", [10.0, 12.0]),
        *made("b", "psnr", [14.0]),
        Row("1", "edit", "replace", "b", JOB, None, "no"),
    ]
    held.append(Row("0", "edit", "replace", "c", JOB, None, "no"))
    columns = ("method", "mean", "n", "failed")
    lines = [tuple(line[name] for name in columns) for line in table(held, ["a", "b", "c"])]
    assert lines == [("a", 11.0, 2, 0), ("b", 14.0, 1, 1), ("c", None, 0, 1)]


def test_cells_print_the_interval_that_was_computed():
    assert cell(Interval(18.264, 17.434, 19.094, 9), 2) == "18.26 ±0.83"
    assert cell(share([1.0] * 10), 2) == "1.00 [0.72, 1.00]"
    assert cell(Interval(0.5, float("nan"), float("nan"), 1), 2) == "0.50"
    assert cell(Interval(-0.1, -0.2, 0.0, 5), 2, "+") == "-0.10 ±0.10"
    assert cell(Interval(math.inf, math.nan, math.nan, 3), 2) == "∞"


def test_metrics_are_lines_where_they_are_many_and_more_than_the_methods():
    assert not is_tall(["a"], ["m"] * 6)
    assert is_tall(["a"], ["m"] * 7)
    assert not is_tall(["a"] * 9, ["m"] * 8)


def test_doing_nothing_is_never_best_and_what_rewards_it_is_named():
    held = [
        *made(UNEDITED, "psnr", [math.inf, math.inf]),
        *made("idle", "psnr", [43.0, 44.0]),  # strength 0: the clip but for the codec
        *made("idle", "network_evaluations", [0.0, 0.0]),
        *made("copy", "psnr", [math.inf, math.inf]),  # another's, who gave the clip back
        *made("a", "psnr", [20.0, 22.0]),
        *made("a", "network_evaluations", [6.0, 6.0]),
        *made("b", "psnr", [21.0, 24.0]),
        *made("b", "target_preference", [3.0, 4.0]),
        *made("a", "target_preference", [5.0, 6.0]),
        *made("idle", "target_preference", [-30.0, 60.0]),
    ]
    (found,) = summaries(held, ["idle", "copy", "a", "b"])
    assert found.methods == (UNEDITED, "idle", "copy", "a", "b")
    assert found.best == {("b", "psnr"), ("a", "target_preference")}
    assert remark(found) == (
        "These reward leaving the clip alone (the line unedited shows how much): PSNR. "
        "Whether the edit is there: target preference."
    )
    (alone,) = summaries(made("a", "target_preference", [5.0]), ["a"])
    assert remark(alone) == ""


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("count", [2, 27])
def test_a_table_of_many_methods_and_metrics_breaks_no_name_and_cuts_none(width, count):
    methods = [f"flowdirector_v{i}" for i in range(count)]
    metrics = [name for name in METRICS if METRICS[name].group != "cost"]
    cells = {(method, metric): interval([1.25 + i]) for i, method in enumerate(methods) for metric in metrics}
    summary = Summary("", 1, 1, tuple(methods), tuple(metrics), cells, frozenset(), {}, {})
    out = io.StringIO()
    Console(file=out, width=width).print(results(summary))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for name in methods:
        assert re.search(rf"(?<!\S){name}(?!\S)", text)
    for metric in metrics:
        assert all(re.search(rf"(?<!\S){re.escape(word)}(?!\S)", text) for word in METRICS[metric].heading.split())
    assert "…" not in text
    shown = re.findall(r"\d+\.\d+", text)
    assert len(shown) == len(methods) * sum(METRICS[metric].decimals > 0 for metric in metrics)
