"""The notebook runs from top to bottom, offline, and its edits are right."""

import re

import notebook
import pytest
from PIL import Image
from test_documents import ROOT, links
from verdicts import shown, source_of, spec_of

from flowedit.media.probe import probe


@pytest.fixture(scope="module")
def book():
    return notebook.read()


@pytest.fixture(scope="module")
def ran(book, tmp_path_factory):
    """What the cells leave, and what each shows; run once, in an empty folder."""
    place = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        yield (place, *notebook.run(book["cells"]))


def test_its_edits_show_what_was_asked_for(ran):
    _, known, _ = ran
    source = source_of("fox")
    for name, caption in (("result", "a panda moves right over green grass"), ("removed", "nothing over green grass")):
        assert known[name].run["settings"]["target"] == caption
        assert shown(known[name].video, source, spec_of(caption, source))[0] == caption


def test_its_own_mask_keeps_the_rest_of_the_clip(ran):
    place, known, _ = ran
    kept, clip = (
        known["strip"](path, 2, 256).crop((0, 0, 100, 256)) for path in (place / known["half"].video, known["clip"])
    )
    difference = [abs(a - b) for a, b in zip(kept.tobytes(), clip.tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 2  # of 255: what two codecs lose


def test_every_cell_that_shows_a_picture_keeps_it_small(ran, book):
    _, known, seen = ran
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [isinstance(value, Image.Image) for _, value in seen] == [
        any("image/jpeg" in output.get("data", {}) for output in cell["outputs"]) for cell in code
    ]
    assert all(value is None or value.width <= 900 for _, value in seen)
    assert probe(known["compared"].folder / "grid.mp4").frames == 9
    assert len(known["frames"]) == 9


NUMBER, WHEN = re.compile(r"\d+(?:\.\d+)?"), re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


def told(printed):
    """The words of what a cell prints, without its numbers, and these; when it ran is no number."""
    text = WHEN.sub("then", printed)
    return NUMBER.sub("#", text).split(), [float(number) for number in NUMBER.findall(text)]


def test_what_its_cells_print_is_what_it_keeps(ran, book):
    *_, seen = ran
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for cell, (printed, _) in zip(code, seen, strict=True):
        kept = "".join("".join(output.get("text", [])) for output in cell["outputs"])
        (words, numbers), (kept_words, kept_numbers) = told(printed), told(kept)
        assert words == kept_words
        assert numbers == pytest.approx(kept_numbers, rel=0.02, abs=0.05)


def test_it_is_light_in_order_and_names_no_machine(book):
    text = notebook.NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert (book["nbformat"], book["cells"][0]["cell_type"]) == (4, "markdown")
    counts = [cell["execution_count"] for cell in book["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    plain = re.sub(r'"image/jpeg": "[^"]*"', "", text)
    assert re.findall(r"(?:/(?:root|home|Users|work|tmp|usr|opt)\b|[A-Z]:\\\\)", plain) == []
    assert not any(output["output_type"] == "error" for cell in book["cells"] for output in cell.get("outputs", []))


def test_its_links_lead_somewhere(book):
    found = [link for cell in book["cells"] if cell["cell_type"] == "markdown" for link in links(notebook.source(cell))]
    assert len(found) > 5
    for target in found:
        assert (ROOT / "examples" / target.partition("#")[0]).exists(), target
