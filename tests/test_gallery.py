"""One script makes one page of the examples."""

import re
import runpy
import shutil

import pytest
import yaml
from test_documents import ROOT
from verdicts import shown, source_of, spec_of


@pytest.fixture(scope="module")
def gallery():
    return runpy.run_path(str(ROOT / "scripts" / "make_gallery.py"))


@pytest.fixture(scope="module")
def made(gallery, tmp_path_factory):
    """The page of all examples, each edited in a step or two."""
    out = tmp_path_factory.mktemp("gallery")
    gallery["main"](["--out", str(out), "--set", "steps=2"])
    return out


def test_the_page_shows_source_mask_edit_and_truth_and_needs_no_other_file(made):
    page = (made / "index.html").read_text(encoding="utf-8")
    articles = re.findall(r"<article.*?</article>", page, re.DOTALL)
    names = [re.findall(r'aria-label="([\w ]+) of', article) for article in articles]
    whole = ["videos", "source", "mask", "edit", "true edit"]
    assert names == [whole, whole, whole, ["videos", "source"], whole]  # fox, two, koala, cup, the removal
    assert len(re.findall(r'<video[^>]* src="data:video/mp4', page)) == page.count("<video") == 17
    told = ["command", "seconds", "evaluations"]
    facts = [re.findall(r"<dt>([\w ]+)</dt>", article) for article in articles]
    assert facts == [told, told, told, ["command", "not made here"], told]
    assert "flowedit edit examples/fox.mp4 &#39;remove the fox&#39; --source" in page


@pytest.mark.parametrize(
    ("truth", "clip", "caption"),
    [
        ("fox_true", "fox", "a panda moves right over green grass"),
        ("fox_gone_true", "fox", "nothing over green grass"),
        ("two_true", "two", "a car moves left and an orange stands still over a dark night"),
        ("koala_true", "koala", "a frog bounces over yellow sand"),
    ],
)
def test_the_true_edit_is_the_scene_of_the_target(truth, clip, caption):
    before = source_of(clip)
    seen, ahead = shown(ROOT / "examples" / f"{truth}.mp4", before, spec_of(caption, before))
    assert seen == caption
    assert ahead > 5


def test_edits_of_one_name_in_several_files_have_folders_of_their_own(gallery, tmp_path):
    files = []
    for name, target in (("a", "panda"), ("b", "car")):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "examples" / "fox.mp4", tmp_path / name)
        said = {"source": "a fox moves right over green grass", "target": f"a {target} moves right over green grass"}
        row = {"clip": "fox.mp4", "source_words": "fox", "target_words": target, **said}
        files.append(tmp_path / name / "e.yaml")
        files[-1].write_text(yaml.safe_dump(row))
    out = tmp_path / "out"
    gallery["main"]([*map(str, files), "--out", str(out), "--set", "steps=2", "--set", "frames=1"])
    for folder, target in (("fox-edit", "panda"), ("fox-edit-2", "car")):
        run = yaml.safe_load((out / "edits" / folder / "run.yaml").read_text())
        assert run["settings"]["target_words"] == target
    films = re.findall(r'<video[^>]* src="([^"]*)"[^>]* aria-label="edit of', (out / "index.html").read_text())
    assert len(set(films)) == len(films) == 2


def test_a_page_without_any_edit_says_why(gallery, tmp_path):
    gallery["main"]([str(ROOT / "examples" / "fox.yaml"), "--out", str(tmp_path / "out"), "--set", "steps=1"])
    assert "of 1 steps runs none" in (tmp_path / "out" / "index.html").read_text()


def test_a_mistake_is_one_line(gallery):
    with pytest.raises(SystemExit, match="error: --set 'steps': give KEY=VALUE"):
        gallery["main"](["--set", "steps"])
