"""The studio in this process: what the page calls, with the model's neighbours stood in for."""

import shlex
import threading
import time

import numpy as np
import pytest
from studio import FOX, OVER, SMALL, until

import flowedit
from flowedit.app.desk import lines, told
from flowedit.app.desk.studio import Studio
from flowedit.app.jobs import JobRecord
from flowedit.app.limits import NotNowError, UnknownError
from flowedit.app.options import studio_options
from flowedit.messages import Cancelled, InputError


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    made = Studio(studio_options({"out": str(tmp_path_factory.mktemp("desk")), "caption": "a/model"}))
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def clip(studio):
    return studio.add_clip(FOX, "fox.mp4", "me")


def test_a_preview_is_shown_while_an_edit_runs(studio, clip, monkeypatch):
    drawn = []

    def preview(editor, step):
        drawn.append((editor, step.index))
        return np.full((8, 12, 3), 200, np.uint8)

    monkeypatch.setattr(flowedit, "preview", preview, raising=False)
    monkeypatch.setattr("flowedit.app.live.PREVIEW_SECONDS", 0.0)
    id = studio.submit("edit", clip.id, SMALL | {"steps": 60, "frames": None}, "me")
    seen = until(studio, id, lambda status: status["preview"] is not None or status["state"] in OVER)
    assert seen["preview"].startswith(f"/api/jobs/{id}/preview.jpg")
    assert studio.preview(id).startswith(b"\xff\xd8\xff")
    assert drawn[0][0].backbone.spec.name == "pocket"
    assert until(studio, id)["state"] == "done"
    with pytest.raises(UnknownError):
        studio.preview(id)


@pytest.mark.parametrize(("cost", "most"), [(0.01, 1 / 2), (0.5, 1 / 5), (4.0, 1 / 40)])
def test_previews_come_every_two_seconds_at_most_and_take_a_tenth_of_the_time(monkeypatch, cost, most):
    now, drawn = [0.0], []

    def preview(editor, step):
        now[0] += cost
        drawn.append(now[0])
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(flowedit, "preview", preview, raising=False)
    monkeypatch.setattr(flowedit.app.live.time, "monotonic", lambda: now[0])
    live = flowedit.app.live.Live()
    live.editor = object()
    while now[0] < 400:
        now[0] += 0.25
        live.step(None)
    assert 0.7 * most * now[0] < len(drawn) <= most * now[0] + 1
    assert (len(drawn) - 1) * cost <= 0.1 * now[0]


def test_a_preview_that_fails_is_said_once_and_the_edit_goes_on(studio, clip, monkeypatch):
    def preview(editor, step):
        raise ValueError("no room")

    monkeypatch.setattr(flowedit, "preview", preview, raising=False)
    status = until(studio, studio.submit("edit", clip.id, SMALL | {"steps": 5}, "me"))
    assert status["state"] == "done"
    live = flowedit.app.live.Live()
    live.editor = object()
    for _ in range(3):
        live.step(None)
    assert live.notices == ["no preview: no room"]


def test_a_job_that_fails_says_why_and_the_next_one_runs(studio, clip, monkeypatch):
    def broken(order, folder, monitor, shelf):
        raise RuntimeError("the card\nfell out")

    with monkeypatch.context() as patch:
        patch.setitem(flowedit.app.jobs.WORK, "edit", broken)
        failed = until(studio, studio.submit("edit", clip.id, SMALL, "me"))
    assert (failed["state"], failed["message"]) == ("failed", "RuntimeError: the card fell out")
    assert until(studio, studio.submit("edit", clip.id, SMALL, "me"))["state"] == "done"


def test_a_model_that_is_not_here_is_to_be_downloaded_first(studio, clip, monkeypatch):
    monkeypatch.setattr("flowedit.pipeline.run.check_backbone", lambda settings: None)
    with pytest.raises(NotNowError, match="'pocket' is not on this machine yet: download it first"):
        studio.submit("edit", clip.id, SMALL, "me")


def test_a_sentence_about_a_clip_where_a_model_is_set_up(studio, clip, monkeypatch):
    asked = []

    def load(device, place, longest):
        asked.append(place)
        return lambda frames, question: "The video shows a fox that moves right over green grass. It is small."

    monkeypatch.setattr("flowedit.pretrained.vlm.load_anew", load)
    until(studio, studio.submit("edit", clip.id, SMALL, "me"))
    end = time.monotonic() + 60
    said = None
    while said is None and time.monotonic() < end:
        try:
            said = studio.describe(clip.id)
        except NotNowError:  # the worker is about to let the device go
            time.sleep(0.02)
    assert asked == ["a/model"]
    assert said == "A fox that moves right over green grass."
    settings = {"instruction": "replace the fox with a panda", "steps": 2, "frames": 1}
    status = until(studio, studio.submit("edit", clip.id, settings, "me"))
    assert status["state"] == "done", status
    assert status["settings"]["caption"] == "a/model"
    assert any("A panda that moves right over green grass" in line for line in status["notices"])
    running = studio.submit("edit", clip.id, SMALL | {"steps": 300, "frames": None}, "me")
    until(studio, running, lambda status: status["phase"] == "edit")
    with pytest.raises(NotNowError, match="the model is at work"):
        studio.describe(clip.id)
    studio.stop(running, "me")
    until(studio, running)


def test_a_download_is_seen_stopped_and_gone_on_with(studio, monkeypatch):
    go, calls = threading.Event(), []

    def download(name, monitor, cancel):
        calls.append(name)
        monitor.phase("download", 100)
        monitor.advance(40)
        while not go.is_set():
            if cancel.wait(0.01):
                raise Cancelled("stopped")
        monitor.advance(60)

    monkeypatch.setattr(flowedit, "download", download, raising=False)

    def examined(*_, **__):
        line = dict.fromkeys(("download", "fits", "preset", "verdict")) | {"downloaded": go.is_set()}
        return {"backbones": {"cogvideox-2b": line}}

    monkeypatch.setattr("flowedit.doctor.report.plain", examined)

    def told():
        (line,) = studio.backbones()
        return line

    def fetch():
        return told()["fetch"]

    def wait(state):
        end = time.monotonic() + 30
        while fetch()["state"] != state:
            assert time.monotonic() < end
            time.sleep(0.01)

    studio.download("cogvideox-2b")
    studio.download("cogvideox-2b")
    wait("downloading")
    assert (len(calls), fetch()["total"]) == (1, 100)
    studio.stop_download("cogvideox-2b")
    wait("stopped")
    studio.download("cogvideox-2b")
    wait("downloading")
    assert not told()["downloaded"]
    go.set()
    wait("done")
    assert told()["downloaded"], "what was found before the download is not told after it"
    assert (fetch()["done"], len(calls)) == (100, 2)
    with pytest.raises(InputError, match="nothing to download"):
        studio.download("pocket")


def test_the_example_is_kept_once_for_each_owner(studio):
    first, again, other = (studio.example("fox", owner) for owner in ("me", "me", "you"))
    assert first["clip"]["id"] == again["clip"]["id"] != other["clip"]["id"]
    assert first["settings"]["source"]
    assert "clip" not in first["settings"]
    studio.submit("edit", first["clip"]["id"], first["settings"] | {"steps": 2, "frames": 1}, "me")
    with pytest.raises(InputError, match="no example is called 'wolf'"):
        studio.example("wolf", "me")


@pytest.mark.parametrize(
    ("mask", "heard"),
    [
        ({"look": "1" * 32, "strokes": [{}]}, "your painted mask is used"),
        ({"boxes": [{}]}, "your painted mask is used"),
        ({"file": "1" * 32}, "the mask comes from the user mask, not from the words ("),
    ],
)
def test_the_remark_on_a_painted_mask_speaks_of_paint(mask, heard):
    from flowedit.config.compose import compose
    from flowedit.pipeline.notices.where import of_region
    from flowedit.pipeline.plan import brief

    asked = SMALL | {"user_mask": "m.mkv", "mask.user": "replace"}
    (notice,) = of_region(brief(compose({key: asked[key] for key in asked if key != "size"})))
    (said,) = told.worded({"message": None, "mask": mask, "notices": [notice], "left_out": []}, ())["notices"]
    assert said.startswith(heard)
    assert ("join" in said) is ("file" in mask)


@pytest.mark.parametrize("place", ["on the path", "off the path", "another is on the path", "nowhere"])
def test_a_command_for_this_machine_is_found_by_a_fresh_shell(tmp_path, monkeypatch, place):
    own, other = tmp_path / "our own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "flowedit").write_text("#!/bin/sh\n")
        (folder / "flowedit").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(own / "python"))
    if place == "nowhere":
        (own / "flowedit").unlink()
    path = {"on the path": own, "another is on the path": other}.get(place, tmp_path)
    monkeypatch.setenv("PATH", str(path))
    wanted = {"on the path": ["flowedit"], "nowhere": [str(own / "python"), "-m", "flowedit"]}
    record = JobRecord("", 0, "edit", None, "", {"target": "a panda"}, None, 0.0)
    command = shlex.split(lines.of_job(record, "it's.mp4", None, here=True)["command"])
    assert command == [*wanted.get(place, [str(own / "flowedit")]), "edit", "it's.mp4", "--target", "a panda"]
    assert lines.of_job(record, "it's.mp4")["command"].startswith("flowedit edit "), "for another machine"
