"""The page's plots: reproducible, few, in the page's colours, and no noise as large as a difference."""

import re

import pytest
from test_report import ROWS, Checked, rows_of

from flowedit.evaluation.report import plots
from flowedit.evaluation.results.summary import summaries


def test_plots_are_the_same_bytes_twice_and_need_two_timed_methods():
    (summary,) = summaries(ROWS, ["one", "two"])
    one, two = (plots.quality_against_seconds(summary) for _ in range(2))
    assert one == two
    assert [plot.label for plot in one] == ["LPIPS (bundled)"]  # an infinite mean has no place
    assert one[0].words.endswith("one: 0.250 at 4.0 s; two: 0.125 at 2.0 s.")
    assert "#0" not in re.sub(r"(href=\"|url\()#\S+", "", one[0].svg)  # every colour is the page's
    Checked(one[0].svg)
    (alone,) = summaries([row for row in ROWS if row.method == "one" or row.metric != "seconds"], ["one", "two"])
    assert plots.quality_against_seconds(alone) == []


@pytest.mark.parametrize(("apart", "span"), [(0.00045, 0.01), (0.2, 0.2)])
def test_a_plot_does_not_magnify_what_tables_do_not_print(apart, span):
    values = {("one", "warp_ssim"): 0.5, ("two", "warp_ssim"): 0.5 + apart}
    (summary,) = summaries(rows_of(values | {(m, "seconds"): 50.0 for m in ("one", "two")}), ["one", "two"])
    (plot,) = plots.quality_against_seconds(summary)
    ticks = [float(text) for text in re.findall(r"<text[^>]*>(0\.\d+)</text>", plot.svg)]
    assert 0.7 * span < max(ticks) - min(ticks) < 1.32 * span


def test_at_most_four_plots_and_the_preferred_first():
    metrics = ["psnr", "lpips_bundled", "truth_lpips", "clip_t", "warp_ssim", "background_psnr", "seconds"]
    rows = rows_of({(method, metric): 1.0 for method in ("one", "two") for metric in metrics})
    (summary,) = summaries(rows, ["one", "two"])
    labels = [plot.label for plot in plots.quality_against_seconds(summary)]
    assert labels == ["background PSNR", "truth LPIPS (bundled)", "warp SSIM", "CLIP-T"]
    more = rows_of({(method, "target_preference"): 1.0 for method in ("one", "two")})
    made = plots.quality_against_seconds(summaries([*rows, *more], ["one", "two"])[0])
    assert [plot.label for plot in made] == ["target preference", *labels[:3]]
    told = [plot.label for plot in made if "rewards leaving the clip alone" in plot.better]
    assert told == ["background PSNR", "warp SSIM"]


@pytest.mark.parametrize(
    ("seconds", "fills"), [((1.0, 4.0), (0, 4.48)), ((3.0, 3.2), (2.84, 3.36)), ((2.0, 2.0), (1.9, 2.1))]
)
def test_seconds_that_are_nearly_alike_fill_the_axis(seconds, fills):
    assert plots._around(*seconds) == pytest.approx(fills)
