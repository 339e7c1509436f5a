"""What was made before comes back to the page: by its handlers, with a studio in this process and no browser."""

import shutil
from types import SimpleNamespace

import pytest
import yaml
from studio import FOX, SMALL, until

from flowedit.app.desk.studio import Studio
from flowedit.app.history import identity
from flowedit.app.options import studio_options

pytest.importorskip("gradio", reason="the app extra brings gradio")

from flowedit.app.page.choices import entries
from flowedit.app.page.earlier import Earlier
from flowedit.app.page.gather import Asked, settings_of
from flowedit.app.page.known import Known

NAMES = (
    "drop", "instruction", "source", "own", "target", "words", "quality", "strength", "seed", "models", "options",
    "methods", "evaluations", "result", "empty", "said", "painter", "mask_file", "history", "several", "live",
)  # fmt: skip
ON = SimpleNamespace(**{name: name for name in NAMES})
REQUEST = SimpleNamespace(headers={})


class Page:
    """A studio with an edit of two frames of the middle of a clip that is there, and of one that was deleted."""

    def __init__(self, out):
        self.studio = Studio(studio_options({"out": str(out)}))
        self.studio.start()
        self.clip = self.studio.add_clip(FOX, "fox.mp4", None)
        self.short = self.studio.add_clip(self._short(out), "short.mp4", None)
        gone = self.studio.add_clip(FOX, "gone.mp4", None)
        settings = SMALL | {"start": 3, "frames": 2, "mask.grow": 0.1}
        self.ids = [self.studio.submit("edit", each.id, settings, None) for each in (self.clip, gone)]
        for id in self.ids:
            assert until(self.studio, id)["state"] == "done"
        self.studio.delete_clip(gone.id, None)
        shutil.copytree(out / "fox" / self.ids[0], out / "hand" / "one")
        self.ids.append(identity((out / "hand" / "one").relative_to(out)))
        self.earlier = Earlier(Known(self.studio, ON))

    def _short(self, out):
        """A clip of one frame."""
        id = self.studio.submit("edit", self.clip.id, SMALL, None)
        assert until(self.studio, id)["state"] == "done"
        return self.studio.file(id, "edit.mp4")

    def choose(self, id, clip, **item):
        """What the page sets where an edit of the history is chosen while a clip stands there."""
        drop = {"clip": None if clip is None else clip.plain()}
        stands = {"history": {"chosen": {"id": id, "settings": {}, **item}}, "drop": drop, "result": None}
        return self.earlier.chosen(stands, REQUEST)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = Page(tmp_path_factory.mktemp("earlier"))
    yield made
    made.studio.close()


def part(sets):
    drop = sets["drop"]
    return (drop["clip"] or {}).get("id"), drop.get("start"), drop.get("frames")


def asked(sets):
    """The settings that the page would ask for now."""
    fields = {key: sets[key] for key in ("instruction", "source", "own", "target", "quality", "strength", "seed")}
    words, options = sets["words"].get("chosen") or {}, sets["options"]["values"]
    return settings_of(
        Asked(clip=sets["drop"], words=words, backbone=sets["models"]["chosen"], options=options, **fields)
    )


def test_an_edit_whose_clip_is_here_brings_it_back(page):
    sets = page.choose(page.ids[0], page.short)
    assert part(sets) == (page.clip.id, 3, 2)
    assert sets["said"].endswith("It is shown, and its settings are on the page.</p>")
    assert asked(sets) == {**SMALL, "backbone": "pocket", "start": 3, "frames": 2, "mask.grow": "0.1", "steps": "2"}


@pytest.mark.parametrize("which", [1, 2], ids=["clip deleted", "command line"])
def test_an_edit_whose_clip_is_gone_leaves_the_clip_that_stands_there(page, which):
    sets = page.choose(page.ids[which], page.clip)
    assert part(sets) == (page.clip.id, 3, 2)
    assert "The clip that it was made of is not here." in sets["said"]
    assert "is left out" not in sets["said"]
    assert sets["result"]["id"] == page.ids[which]
    for clip, own in ((page.short, page.short.id), (None, None)):
        sets = page.choose(page.ids[which], clip)
        assert part(sets) == (own, None, None), "its part is none of this clip"
        assert "Its part is of another clip, and is left out" in sets["said"]
        assert not {"start", "frames"} & set(asked(sets))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_no_option_is_set_that_the_page_has_no_field_for(page, which):
    offered = {each["key"] for each in entries()}
    values = page.choose(page.ids[which], None)["options"]["values"]
    assert {"mask.grow", "steps"} <= set(values) <= offered


def test_a_comparison_brings_its_methods_to_their_own_fields(page):
    settings = {key: SMALL[key] for key in ("source", "target")} | {"modes": ["inversion"], "evaluations": 7}
    id = page.studio.submit("compare", page.clip.id, settings | {"frames": 1, "size": "64x64"}, None)
    page.studio.stop(id, None)
    until(page.studio, id)
    sets = page.choose(id, page.clip)
    assert (sets["methods"], sets["evaluations"]) == (["inversion"], 7)
    assert not {"modes", "evaluations"} & set(asked(sets))


def test_what_the_file_alone_may_say_is_said_to_be_left_out(page):
    drop = {"clip": page.clip.plain(), "taken": {}}
    sets = page.earlier.taken({"settings": SMALL | {"caption": "a/model", "quality.share": 0.5}}, drop)
    assert "Left out, as the page has no field for it: quality.share." in sets["said"]
    assert set(sets["options"]["values"]) == {"steps", "size"}


def test_what_cannot_be_read_or_is_gone_leaves_the_page_as_it_was(page):
    place = page.studio.out / "hand" / "one" / "run.yaml"
    text = place.read_text()
    run = yaml.safe_load(text)
    run["settings"]["seed"] = "["
    try:
        for broken in ("a: [1", yaml.safe_dump(run)):
            place.write_text(broken)
            sets = page.choose(page.ids[2], page.clip)
            assert set(sets) == {"result", "empty", "said"}
            assert "the page stays as it was. Its run.yaml cannot be read" in sets["said"]
    finally:
        place.write_text(text)
    sets = page.choose("0" * 32, page.clip)
    assert set(sets) == {"said", "history"}
    assert "not there any more" in sets["said"]


def test_a_line_on_the_page_knows_what_this_studio_allows(tmp_path):
    for allow, told in (((), "--caption"), (("caption",), "“All options &gt; ")):
        known = Known(Studio(studio_options({"out": str(tmp_path), "allow": list(allow)})), ON)
        assert told in known.line("give --caption MODEL")
