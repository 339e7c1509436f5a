"""Quality against seconds as inline SVG, one panel a metric, in the page's own colours."""

import math
import re
from dataclasses import dataclass
from io import StringIO
from typing import Any

from flowedit.evaluation.results.summary import REFERENCES, Summary
from flowedit.metrics.catalogue import METRICS, is_cost

PANELS = 4

PREFERRED = (
    ("object_accuracy",),
    ("target_preference",),
    ("background_psnr",),
    ("truth_lpips", "lpips_bundled"),
    ("warp_ssim",),
    ("clip_t",),
)
"""What says most, in this order; of alternatives the first that is there."""

GLYPHS = "●■▲◆▼✚★"

MARKERS = "os^DvP*"

COLOURS = 6
"""The page's style defines --c0 to --c5 for both schemes; with seven shapes, 42 methods differ."""

LEAST = 10
"""The least span of an axis of quality, in units of the last decimal that tables print: less is no difference."""

INK, LINE = "#010203", "#040506"

STYLE: Any = {
    "svg.hashsalt": "flowedit",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
}


@dataclass(frozen=True)
class Plot:
    """One panel: its metric's label, which way is better, the <svg> element, the same in words, and who has no place.

    A method whose mean is infinite, as PSNR of equal frames, is in `absent`.
    """

    label: str
    better: str
    svg: str
    words: str
    absent: tuple[str, ...]


def quality_against_seconds(summary: Summary) -> list[Plot]:
    """At most PANELS plots of mean quality, with its interval, against mean seconds; none for fewer than two methods.

    The same summary gives the same bytes.
    """
    timed = [method for method in summary.methods if method not in REFERENCES and (method, "seconds") in summary.cells]
    found = {}
    for metric in _quality(summary):
        held = [m for m in timed if (m, metric) in summary.cells and math.isfinite(summary.cells[m, metric].mean)]
        if len(held) > 1:
            found[metric] = held
    return [_panel(summary, metric, held, index) for index, (metric, held) in enumerate(list(found.items())[:PANELS])]


def _quality(summary: Summary) -> list[str]:
    there = [m for m in summary.metrics if not is_cost(m) and METRICS[m].better is not None]
    first = [next((m for m in group if m in there), None) for group in PREFERRED]
    chosen = [m for m in first if m is not None]
    alternatives = {m for group in PREFERRED for m in group}
    return [*chosen, *(m for m in there if m not in alternatives)]


def _panel(summary: Summary, metric: str, methods: list[str], index: int) -> Plot:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    head, text, words = METRICS[metric], StringIO(), []
    compared = [method for method in summary.methods if method not in REFERENCES]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 2.7), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for method in methods:
            seconds, value = summary.cells[method, "seconds"].mean, summary.cells[method, metric]
            place = compared.index(method)
            colour = _stand_in(place % COLOURS)
            if summary.clips > 1 and math.isfinite(value.low):
                axes.plot([seconds] * 2, [value.low, value.high], color=colour, linewidth=1.8, alpha=0.55)
            axes.plot([seconds], [value.mean], MARKERS[place % len(MARKERS)], color=colour, markersize=8)
            words.append(f"{method}: {value.mean:.{head.decimals}f} at {seconds:.1f} s")
        axes.set_xlabel("seconds an edit")
        seconds_of = [summary.cells[m, "seconds"].mean for m in methods]
        axes.set_xlim(_around(min(seconds_of), max(seconds_of)))
        axes.margins(y=0.16)
        axes.set_ylim(_widened(axes.get_ylim(), LEAST * 10.0**-head.decimals))
        axes.ticklabel_format(useOffset=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        high = head.better == "higher"
        word, y, side = ("↖ better", 0.985, "top") if high else ("↙ better", 0.015, "bottom")
        axes.text(0.02, y, word, transform=axes.transAxes, fontsize=9, alpha=0.65, verticalalignment=side)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    better = f"{head.better} is better" + ("; rewards leaving the clip alone" if head.rewards_nothing else "")
    told = f"{head.label} against seconds, {better}. {'; '.join(words)}."
    absent = tuple(m for m in compared if m not in methods and (m, metric) in summary.cells)
    return Plot(head.label, better, _inline(text.getvalue(), index), told, absent)


def _around(low: float, high: float) -> tuple[float, float]:
    """An axis of seconds: from 0, but where all are nearly alike, as at equal cost, from near the least of them."""
    if low < high / 2:
        return 0.0, 1.12 * high
    more = max(0.12 * (high - low), 0.05 * high)
    return max(0.0, low - more), high + more


def _widened(limits: tuple[float, float], least: float) -> tuple[float, float]:
    """The same limits, moved apart evenly until they are `least` apart."""
    low, high = limits
    more = max(0.0, least - (high - low)) / 2
    return low - more, high + more


def _stand_in(place: int) -> str:
    """A colour that stands for --c0 to --c5 until the SVG is text."""
    return f"#0708{place:02x}"


def _inline(svg: str, index: int) -> str:
    """The <svg> element alone, as wide as its place, its ids its own on the page, its colours the page's."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="plot{index}-', svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\1plot{index}-", svg)
    svg = svg.replace(INK, "currentColor").replace(LINE, "var(--line)")
    for place in range(COLOURS):
        svg = svg.replace(_stand_in(place), f"var(--c{place})")
    return svg.replace("<svg", '<svg aria-hidden="true"', 1)
