"""The page: what it says, that all of it is escaped and in one file, and what it does when videos are too many."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import write_clip

from flowedit.evaluation.report import page as page_module
from flowedit.evaluation.report import preview
from flowedit.evaluation.report.page import BUDGET, Exhibit, Page, changes, with_papers, write_page
from flowedit.evaluation.results.rows import JOB, Row

VOID = {"meta", "input", "br", "hr", "img", "link"}
NASTY = "a \"quoted\" <script>alert('x')</script> & fox"


class Checked(HTMLParser):
    """Raises AssertionError where tags do not nest; keeps every address, element id and table cell."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.addresses, self.ids, self.cells, self.scripts, self.titles = [], [], [], [], 0, {}
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
            self.title = dict(attrs).get("title")
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
            if self.title:
                self.titles[self.cells[-1][0]] = self.title


def plain(text):
    """A page as words, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", "", text).split())


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


def page_of(clips, rows=ROWS, exhibits=None, **changed):
    made = Exhibit(
        "clip", "edit", "replace", "a fox runs", "a panda runs", clips["source"], None,
        {"one": clips["one"], "two": clips["two"]}, {"one": clips["mask"]},
    )  # fmt: skip
    facts = {"dataset": "toys", "date": "1 May"}
    return Page(**{"title": "Toys", "facts": facts, "rows": rows, "methods": ["one", "two"],
                   "exhibits": exhibits or [made], "runs": {"one": "steps: 4\n"}} | changed)  # fmt: skip


def written(page, folder):
    write_page(page, folder / "index.html")
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_one_well_formed_file(clips, tmp_path):
    text = written(page_of(clips), tmp_path)
    found = Checked(text)
    assert len(found.ids) == len(set(found.ids))
    videos = [address for address in found.addresses if address.startswith("data:video/mp4;base64,")]
    assert len(videos) == 4
    files = [address for address in found.addresses if address not in videos and not address.startswith("#")]
    assert len(files) == 4
    assert all(address.endswith(".mp4") and "://" not in address and address[0] != "/" for address in files)
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
    assert '<th scope="row" class="reference"' in text
    # of two replacements 0.3125, s = 1/8/√2, t(1, 0.975) = 12.706; the one tint is a tie
    assert [cell for cell, bold in found.cells if bold] == ["0.375 ±0.311", "0.312 ±0.794"]
    # two minus one: 0.25, 0.125, 0
    assert "Paired differences from one" in text
    assert "+0.125 ±0.311" in [cell for cell, _ in found.cells]


def test_an_edit_that_failed_says_why_in_its_place(clips, tmp_path):
    shown = Exhibit("clip", "edit", "", "a", "b", clips["source"], clips["two"], {"one": clips["one"]}, {})
    rows = [row for row in ROWS if row.method == "one"] + rows_of({("two", JOB): "out of memory"})
    text = written(page_of(clips, rows, [shown]), tmp_path)
    found = Checked(text)
    assert plain(text).count("no edit by two: out of memory") == 1
    assert "▲" not in text
    assert "■ twofailed" in [cell for cell, _ in found.cells]
    assert ">truth<ahref=" in re.sub(r"\s+", "", text)


def test_what_fails_alike_is_said_once(clips, tmp_path):
    shown = Exhibit("clip", "edit", "", "a", "b", clips["source"], None, {}, {})
    rows = rows_of({(name, JOB): "out of memory" for name in ("one", "two")})
    text = written(page_of(clips, rows, [shown]), tmp_path)
    assert plain(text).count("no edit by any method: out of memory") == 1
    assert text.count("<video") == 1
    rows = rows_of({(name, "clip_t"): "no hub" for name in ("one", "two")})
    assert "failed CLIP-T of all methods: no hub" in plain(written(page_of(clips, rows), tmp_path))


def test_many_metrics_are_lines_and_the_methods_columns(clips, tmp_path):
    names = ["background_psnr", "background_psnr_five", "lpips_bundled", "ssim", "mse", "warp_error", "seconds"]
    values = {(m, name): i + 1.0 for i, name in enumerate(names) for m in ("floor", "one", "two", "ceiling")}
    values |= {("two", "ssim"): 4.5, ("one", "network_evaluations"): 96.0}
    rows = [row for i in range(2) for row in rows_of(values, clip=f"clip {i}" if i else "clip")]
    found = Checked(written(page_of(clips, rows), tmp_path))
    cells = [cell for cell, _ in found.cells]
    first = [
        "metric",
        "floor",
        "● one",
        "■ two",
        "ceiling",
        "LPIPS (bundled)\u00a0↓",
        "3.000",
        "3.000",
        "3.000",
        "3.000",
    ]
    assert cells[: len(first)] == first
    assert cells.index("LPIPS (bundled)\u00a0↓") < cells.index("SSIM\u00a0↑") < cells.index("warp error ×10³\u00a0↓")
    at = cells.index("SSIM\u00a0↑")
    assert found.cells[at + 1 : at + 5] == [["4.000", False], ["4.000", False], ["4.500", True], ["4.000", False]]
    # the summary and the edit; the differences are without the costs, and so of six metrics
    assert [cells.count(name) for name in ("metric", "method")] == [2, 1]
    titled = ["background PSNR\u00a0↑", "background PSNR (FiVE)\u00a0↑", "LPIPS (bundled)\u00a0↓"]
    assert set(found.titles) == {*titled, "network evaluations", "floor", "ceiling"}
    assert "flatters large masks" in found.titles["background PSNR (FiVE)\u00a0↑"]


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([("a", "1")], "↑ higher"),
        ([("a", "1"), ("a", "2")], "Mean over the edits of one clip; ↑ higher"),
        ([("a", "1"), ("b", "1")], "Mean and 95 % interval over clips; ↑ higher"),
        ([("a", "1"), ("a", "2"), ("b", "1")], "interval over clips, the edits of each averaged first; ↑ higher"),
    ],
)
def test_it_promises_the_intervals_that_there_are(clips, tmp_path, edits, said):
    values = {("one", "object_accuracy"): 1.0, ("two", "object_accuracy"): 0.0, ("one", "seconds"): 1.0}
    values |= {("two", "seconds"): 2.0}
    rows = [row for clip, edit in edits for row in rows_of(values, clip, edit)]
    text = plain(written(page_of(clips, rows, []), tmp_path))
    assert said in text
    single = len({clip for clip, _ in edits}) == 1
    assert ("95 %" not in text) == single
    assert ("1.00 [" not in text) == single  # a share of one clip would have an interval
    assert ("Seconds are of one run on one clip" in text) == (len(edits) == 1)


def test_the_legend_of_marked_words_stands_once_and_where_there_are_any(clips, tmp_path):
    first = page_of(clips).exhibits[0]
    text = plain(written(page_of(clips, exhibits=[first, first]), tmp_path))
    assert text.count("marked: words that only one of the two prompts has") == 1
    same = Exhibit("clip", "edit", "", "a fox", "a fox", clips["source"], None, {}, {})
    assert "marked" not in plain(written(page_of(clips, exhibits=[same]), tmp_path))


def test_all_text_is_escaped(clips, tmp_path):
    shown = Exhibit(NASTY, NASTY, NASTY, NASTY, f"{NASTY} moves", clips["source"], None, {NASTY: clips["one"]}, {})
    rows = [
        *rows_of({(NASTY, "psnr"): 1.0, (NASTY, "seconds"): 1.0, (NASTY, "ssim"): NASTY}, NASTY, NASTY, NASTY),
        *rows_of({("two", "psnr"): 1.5, ("two", "seconds"): 2.0}, NASTY, NASTY, NASTY),
    ]
    page = page_of(clips, rows, [shown], title=NASTY, facts={NASTY: NASTY}, methods=[NASTY, "two"], runs={NASTY: NASTY})
    found = Checked(written(page, tmp_path))
    assert found.scripts == 1  # the page's own


def test_videos_beyond_the_budget_are_linked(clips, tmp_path, monkeypatch):
    first = page_of(clips).exhibits[0]
    page = page_of(clips, exhibits=[first, first])
    whole = written(page, tmp_path)
    monkeypatch.setattr(page_module, "BUDGET", len(whole.encode()) - 1)
    text = written(page, tmp_path)
    assert len(text.encode()) <= BUDGET
    videos = re.findall(r'<video[^>]* src="([^"]+)"', text)
    assert sum(address.startswith("data:") for address in videos) == 4
    linked = [address for address in videos if not address.startswith("data:")]
    assert len(linked) == 4
    assert all(" " not in address and not address.startswith("/") for address in linked)
    assert "report%20clips" in linked[0]
    assert (tmp_path / linked[0].replace("%20", " ")).samefile(clips["source"])
    assert "4 further videos are not in it but linked" in text
    assert "further videos" not in whole


def test_videos_come_first_and_each_file_has_its_link(clips, tmp_path):
    text = written(page_of(clips, notes=["Nothing is blended back."]), tmp_path)
    places = [text.index(f'<section id="{name}">') for name in ("edits", "summary")]
    assert places == sorted(places)
    linked = [a.replace("%20", " ") for a in re.findall(r'<a href="([^"#]+)">(?:file|mask)</a>', text)]
    shown = page_of(clips).exhibits[0]
    assert len(linked) == len(re.findall("<video ", text))
    assert (tmp_path / linked[0]).samefile(shown.clip)
    assert "Nothing is blended back." in plain(text)


def test_links_start_where_the_page_will_lie(clips, tmp_path):
    (tmp_path / "staged").mkdir()
    write_page(page_of(clips), tmp_path / "staged" / "index.html", folder=tmp_path)
    text = (tmp_path / "staged" / "index.html").read_text(encoding="utf-8")
    first = re.findall(r'<a href="([^"#]+)">file</a>', text)[0]
    assert (tmp_path / first.replace("%20", " ")).samefile(clips["source"])


def test_a_video_that_cannot_be_read_takes_nothing_else_along(clips, tmp_path):
    gone = Exhibit("clip", "edit", "", "a", "b", tmp_path / "gone.mp4", None, {"one": clips["one"]}, {})
    text = written(page_of(clips, exhibits=[gone]), tmp_path)
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


def test_a_long_clip_is_cut_and_the_page_says_so(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "FRAMES", 5)
    text = written(page_of(clips), tmp_path)
    assert "The first 5 of 12 frames are here." in text
    film = preview.embed(Path(clips["one"]))
    assert (film.frames, film.total, film.fps) == (5, 12, 10.0)


def test_a_paper_is_a_link_and_a_text_stays_a_text():
    made = with_papers("A <b> (Kim et al. 2025, arXiv 2505.23145); arXiv 12.3")
    paper = '<a href="https://arxiv.org/abs/2505.23145" rel="noreferrer">arXiv 2505.23145</a>'
    assert str(made) == f"A &lt;b&gt; (Kim et al. 2025, {paper}); arXiv 12.3"
