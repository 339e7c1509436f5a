"""The history by pages, in its order, with nothing read but what is shown; the size of what a player shows."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowedit.app import films
from flowedit.app.history import History, identity
from flowedit.app.limits import UnknownError
from flowedit.media.writer import Writer

RUN = "clip: {{file: /far/away/fox.mp4}}\nsettings: {{target: panda {number}, mode: {{name: inversion}}}}\n"


def edit(folder, number):
    """An edit of the command line as the history knows one, made `number` minutes after the first."""
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(RUN.format(number=number))
    (folder / "edit.mp4").touch()
    os.utime(folder / "run.yaml", (60 * number, 60 * number))


@pytest.fixture
def out(tmp_path):
    for number in range(0, 70, 2):
        edit(tmp_path / f"clip{number % 3}" / f"{number}", number)
    edit(tmp_path / ".studio" / "hidden", 99)
    edit(tmp_path / "fox" / "j1" / "edits" / "inner", 99)  # in the folder of a job
    edit(tmp_path / "a" / "b" / "c" / "d" / "e" / "f", 99)
    return tmp_path


def test_pages_hold_each_edit_once_and_read_no_other(out, monkeypatch):
    read = []
    monkeypatch.setattr(films, "run_of", lambda folder, own=films.run_of: read.append(folder) or own(folder))
    own = {f"own{number}": 60.0 * number for number in range(1, 71, 2)}
    left = {id: {"id": id} for id in own if id != "own7"}  # one that left nothing
    history, after, pages = History(out, ".studio"), "", []
    while not pages or len(pages[-1]) == 30:
        pages.append(history.page(own, left.get, ["j1"], after, 30))
        after = pages[-1][-1]["id"]
        assert len(set(read)) <= 15 * len(pages)
    assert [len(page) for page in pages] == [30, 30, 9]
    shown = [item.get("said", {}).get("target") or item["id"] for page in pages for item in page]
    assert shown == [f"own{n}" if n % 2 else f"panda {n}" for n in range(69, -1, -1) if n != 7]
    (last,) = history.page({}, left.get, ["j1"], pages[-1][-3]["id"], 30)
    assert (last["name"], last["created"], last["state"], last["said"]["mode"]) == ("fox", 0.0, "done", "inversion")


def test_others_edits_are_left_out_and_what_cannot_be_read_is_passed_over(out):
    history = History(out, ".studio")
    assert history.page({"own": 1.0}, lambda id: {"id": id}, None, "", 30) == [{"id": "own"}]
    (out / "clip0" / "66" / "run.yaml").write_text("a: [1")
    targets = [item["said"]["target"] for item in history.page({}, dict, ["j1"], "", 3)]
    assert targets == ["panda 68", "panda 64", "panda 62"]
    (first, *_) = history.page({}, dict, ["j1"], "", 1)
    assert history.delete(first["id"])
    with pytest.raises(UnknownError, match="ask for the history from its start"):
        history.page({}, dict, ["j1"], first["id"], 30)


def test_what_a_job_left_is_no_edit_of_the_command_line(out):
    """Its id as one would be a hash of a place that others can know."""
    edit(out / "fox" / "j2", 99)
    for place in ("fox/j2", "fox/j1/edits/inner"):
        for history in (History(out, ".studio"), filled := History(out, ".studio")):
            filled.page({}, dict, ["j1", "j2"], "", 99)
            assert history.find(identity(Path(place)), ["j1", "j2"]) is None
            assert not history.delete(identity(Path(place)))
        assert (out / place / "run.yaml").is_file()
    assert History(out, ".studio").find(identity(Path("clip0/66")), ["j1", "j2"]) == out / "clip0" / "66"


def test_ids_that_are_not_there_do_not_walk_the_folder_each_time(out, monkeypatch):
    history, now, walks = History(out, ".studio"), [100.0], []
    monkeypatch.setattr("flowedit.app.history.time.monotonic", lambda: now[0])

    def folders(jobs, own=history._folders):
        walks.append(now[0])
        now[0] += 1.0
        return own(jobs)

    monkeypatch.setattr(history, "_folders", folders)
    for _ in range(100):
        assert history.find("0" * 32, ()) is None
        now[0] += 0.5
    assert len(walks) <= 4, "a second's walk, in twenty seconds"
    edit(out / "new" / "one", 5)
    now[0] += 30
    assert history.find(identity(Path("new/one")), ()) == out / "new" / "one"


@pytest.mark.parametrize(
    "text", ["clip: x\nsettings: [1]\nnotices: 3", "clip: {file: 1}\nsettings: {mode: x}", "a: [1", "- 1"]
)
def test_a_record_of_another_kind_stops_nothing(tmp_path, text):
    edit(tmp_path / "one" / "two", 3)
    (tmp_path / "one" / "two" / "run.yaml").write_text(text)
    history = History(tmp_path, ".studio")
    history.page({}, dict, (), "", 30)
    told = history.plain(tmp_path / "one" / "two")
    assert told["state"] == "done"
    assert "settings" not in told, "the studio tells of them"


@pytest.mark.parametrize(("size", "shown"), [((1280, 720), (960, 540)), ((540, 960), (540, 960)), ((64, 48), (64, 48))])
def test_the_longer_side_of_what_a_player_shows_is_bounded(tmp_path, size, shown):
    with Writer(tmp_path / "edit.mp4", size, Fraction(8)) as writer:
        writer.write(np.zeros((1, *size, 3), np.uint8))
    player = films.left(tmp_path, "/x")["player"]
    assert (player["height"], player["width"], player["first"]) == (*shown, "/x/first.jpg")
