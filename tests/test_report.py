"""The page: what it says, that all of it is escaped and in one file, and what it does when videos are too many."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import write_clip

from flowedit.probe import probe
from flowedit.report import Page, Shown, plots, preview, write_page
from flowedit.report import page as page_module
from flowedit.report.page import changes
from flowedit.rows import JOB, Row
from flowedit.summary import summaries

VOID = {"meta", "input", "br", "hr", "img", "link"}
NASTY = "a \"quoted\" <script>alert('x')</script> & fox"


class Checked(HTMLParser):
    """Raises AssertionError where tags do not nest; keeps every address, element id and table cell."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.addresses, self.ids, self.cells, self.scripts = [], [], [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name.rpartition(":")[2] in ("src", "href", "action")]
        self.ids += [value for name, value in attrs if name == "id"]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append(["", False])
        if tag == "strong" and "td" in self.open:
            self.cells[-1][1] = True

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1][0] += data


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """source.mp4 and three edits of it."""
    folder = tmp_path_factory.mktemp("report clips")
    return {name: write_clip(folder / f"{name}.mp4", sound=False) for name in ("source", "one", "two", "mask")}


def rows_of(values, clip="clip", edit="edit", kind="replace"):
    """(method, metric) → a number, or the reason of a failure."""
    return [
        Row(
            clip,
            edit,
            kind,
            *cell,
            None if isinstance(value, str) else value,
            value if isinstance(value, str) else None,
        )
        for cell, value in values.items()
    ]


ROWS = rows_of(
    {
        ("one", "background_psnr"): math.inf,
        ("two", "background_psnr"): 20.25,
        ("one", "lpips_bundled"): 0.25,
        ("two", "lpips_bundled"): 0.125,
        ("one", "clip_t"): "clip_t needs a checkpoint: the hub <cannot> be reached",
        ("one", "seconds"): 4.0,
        ("two", "seconds"): 2.0,
    }
)


def page_of(clips, rows=ROWS, shown=None, **changed):
    made = Shown(
        "clip", "edit", "replace", "a fox runs", "a panda runs", clips["source"], None,
        {"one": clips["one"], "two": clips["two"]}, {"one": clips["mask"]},
    )  # fmt: skip
    facts = {"dataset": "toys", "date": "1 May"}
    return Page(**{"title": "Toys", "facts": facts, "rows": rows, "methods": ["one", "two"], "shown": shown or [made],
                   "runs": {"one": "steps: 4\n"}} | changed)  # fmt: skip


def written(page, folder):
    write_page(page, folder / "index.html")
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_one_well_formed_file(clips, tmp_path):
    text = written(page_of(clips), tmp_path)
    found = Checked(text)
    assert len(found.ids) == len(set(found.ids))
    videos = [address for address in found.addresses if address.startswith("data:video/mp4;base64,")]
    assert len(videos) == 4
    assert all(address.startswith("#") for address in found.addresses if address not in videos)
    assert {address[1:] for address in found.addresses if address.startswith("#")} <= set(found.ids)
    assert str(clips["source"].parent) not in text
    assert "file://" not in text
    assert not re.findall(r"url\((?!#)|@import|//\w+\.\w+/(?!2000|1999)", re.sub(r"base64,[^\"]*", "", text))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_it_tells_the_best_the_infinite_and_the_failed(clips, tmp_path):
    text = written(page_of(clips), tmp_path)
    found = Checked(text)
    assert {cell for cell, bold in found.cells if bold} == {"∞", "0.125", "2.0"}
    assert [cell for cell, _ in found.cells].count("20.25") == 1  # a single edit has one table
    assert "clip_t needs a checkpoint: the hub &lt;cannot&gt; be reached" in text
    assert "Paired differences" not in text
    assert "inf<" not in text
    assert "nan" not in [cell for cell, _ in found.cells]


def test_means_come_with_intervals_and_kinds_fold(clips, tmp_path):
    rows = [
        row
        for i, kind in enumerate(["replace", "replace", "tint"])
        for row in rows_of(
            {("one", "lpips_bundled"): 0.25 + i / 8, ("two", "lpips_bundled"): 0.5, ("floor", "lpips_bundled"): 0.9},
            clip=str(i),
            kind=kind,
        )
    ]
    text = written(page_of(clips, rows, []), tmp_path)
    found = Checked(text)
    # mean 0.375, s = 1/8, t(2, 0.975) = 4.3027: 4.3027 / 8 / sqrt(3) = 0.3105
    assert [cell for cell, _ in found.cells].count("0.375 ±0.311") == 1
    assert text.count("<details>") == 3  # two kinds and one run
    assert '<tr class="reference">' in text
    # of two replacements 0.3125, s = 1/8/√2, t(1, 0.975) = 12.706; the one tint is a tie
    assert [cell for cell, bold in found.cells if bold] == ["0.375 ±0.311", "0.312 ±0.794"]
    # two minus one: 0.25, 0.125, 0
    assert "Paired differences from one" in text
    assert "+0.125 ±0.311" in [cell for cell, _ in found.cells]


def test_an_edit_that_failed_says_why_in_its_place(clips, tmp_path):
    shown = Shown("clip", "edit", "", "a", "b", clips["source"], clips["two"], {"one": clips["one"]}, {})
    rows = [row for row in ROWS if row.method == "one"] + rows_of({("two", JOB): "out of memory"})
    text = written(page_of(clips, rows, [shown]), tmp_path)
    found = Checked(text)
    assert "no edit: out of memory" in text
    assert "the edit of two: out of memory" in text
    assert "▲" not in text
    assert "■ twofailed" in [cell for cell, _ in found.cells]
    assert ">truth</figcaption>" in re.sub(r"\s+", "", text)


def test_all_text_is_escaped(clips, tmp_path):
    shown = Shown(NASTY, NASTY, NASTY, NASTY, f"{NASTY} moves", clips["source"], None, {NASTY: clips["one"]}, {})
    rows = [
        *rows_of({(NASTY, "psnr"): 1.0, (NASTY, "seconds"): 1.0, (NASTY, "ssim"): NASTY}, NASTY, NASTY, NASTY),
        *rows_of({("two", "psnr"): 1.5, ("two", "seconds"): 2.0}, NASTY, NASTY, NASTY),
    ]
    page = page_of(clips, rows, [shown], title=NASTY, facts={NASTY: NASTY}, methods=[NASTY, "two"], runs={NASTY: NASTY})
    found = Checked(written(page, tmp_path))
    assert found.scripts == 1  # the page's own


def test_videos_beyond_the_budget_are_linked(clips, tmp_path, monkeypatch):
    first = page_of(clips).shown[0]
    page = page_of(clips, shown=[first, first])
    whole = written(page, tmp_path)
    monkeypatch.setattr(page_module, "BUDGET", len(whole.encode()) - 1)
    text = written(page, tmp_path)
    assert len(text.encode()) <= page_module.BUDGET
    videos = [address for address in Checked(text).addresses if not address.startswith("#")]
    assert sum(address.startswith("data:") for address in videos) == 4
    linked = [address for address in videos if not address.startswith("data:")]
    assert len(linked) == 4
    assert all(" " not in address and not address.startswith("/") for address in linked)
    assert "report%20clips" in linked[0]
    assert (tmp_path / linked[0].replace("%20", " ")).samefile(clips["source"])
    assert "4 further videos are not in it but linked" in text
    assert "further videos" not in whole


def test_a_video_that_cannot_be_read_takes_nothing_else_along(clips, tmp_path):
    gone = Shown("clip", "edit", "", "a", "b", tmp_path / "gone.mp4", None, {"one": clips["one"]}, {})
    text = written(page_of(clips, shown=[gone]), tmp_path)
    assert "gone.mp4 does not exist" in text
    assert str(tmp_path) not in text
    assert len([a for a in Checked(text).addresses if a.startswith("data:video")]) == 1


def test_a_page_of_nothing_is_a_page(tmp_path):
    Checked(written(Page("empty", {}, [], [], [], {}), tmp_path))


def test_a_page_that_cannot_be_written_leaves_nothing(clips, tmp_path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OSError, match=r"page .*index\.html' cannot be written"):
        write_page(page_of(clips), tmp_path / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


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


def test_at_most_four_plots_and_the_preferred_first():
    metrics = ["psnr", "lpips_bundled", "truth_lpips", "clip_t", "warp_ssim", "background_psnr", "seconds"]
    rows = rows_of({(method, metric): 1.0 for method in ("one", "two") for metric in metrics})
    (summary,) = summaries(rows, ["one", "two"])
    labels = [plot.label for plot in plots.quality_against_seconds(summary)]
    assert labels == ["background PSNR", "truth LPIPS (bundled)", "warp SSIM", "CLIP-T"]


@pytest.mark.parametrize(
    ("source", "target", "gone", "new"),
    [
        ("a black cup, still", "a red cup still", ["black"], ["red"]),
        ("A fox runs", "a fox runs", [], []),
        ("a fox", "a fox in snow", [], ["in snow"]),
        ("", "a fox", [], ["a fox"]),
    ],
)
def test_changed_words(source, target, gone, new):
    left, right = changes(source, target)
    assert "".join(text for text, _ in left) == source
    assert "".join(text for text, _ in right) == target
    assert [text for text, changed in left if changed] == gone
    assert [text for text, changed in right if changed] == new


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (320, 320)), ((64, 96), (192, 288)), ((360, 640), (320, 568)), ((160, 90), (160, 90))],
)
def test_the_size_of_a_copy(tmp_path, size, shown):
    assert preview.size(probe(write_clip(tmp_path / "a.mp4", 1, size, sound=False))) == shown


def test_a_long_clip_is_cut_and_the_page_says_so(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "FRAMES", 5)
    text = written(page_of(clips), tmp_path)
    assert "The first 5 of 12 frames are here." in text
    film = preview.embedded(Path(clips["one"]))
    assert (film.frames, film.total, film.fps) == (5, 12, 10.0)
