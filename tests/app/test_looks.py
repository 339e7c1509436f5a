"""The mask before the edit: what a slider, a brush and a box do to it, and that the edit has exactly that mask."""

import base64
import contextlib
import shlex
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from studio import FOX, SMALL, until

from flowedit.app.desk.studio import Studio
from flowedit.app.limits import NotNowError
from flowedit.app.options import studio_options
from flowedit.app.server import make_app
from flowedit.cli.main import main
from flowedit.media import mask_file
from flowedit.messages import InputError

ASKED = {key: value for key, value in SMALL.items() if key not in ("frames", "size")} | {"start": 2, "frames": 5}
NOTHING = {"strokes": [], "boxes": []}
BOX = {"frame": 1, "x": 0.0, "y": 0.0, "width": 0.2, "height": 0.2}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    made = Studio(studio_options({"out": str(tmp_path_factory.mktemp("looks"))}))
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def clip(studio):
    return studio.add_clip(FOX, "fox.mp4", "me")


@pytest.fixture(scope="module")
def look(studio, clip):
    id = studio.submit("look", clip.id, ASKED, "me")
    assert until(studio, id)["state"] == "done"
    return id


def frames_of(told):
    strip = cv2.imdecode(np.frombuffer(base64.b64decode(told["strip"].partition(",")[2]), np.uint8), -1)
    assert strip.shape == (told["frames"] * told["height"], told["width"])
    return strip.reshape(told["frames"], told["height"], told["width"])


def test_sliders_answer_from_the_kept_maps(studio, look):
    usual = studio.look_mask(look, {})
    assert (usual["frames"], usual["width"], usual["height"]) == (5, 160, 160)
    shares = [studio.look_mask(look, {"quantile": quantile})["share"] for quantile in (0.2, 0.5, 0.9)]
    assert shares[0] > shares[1] > shares[2] > 0
    assert studio.look_mask(look, {"grow": 0.2})["share"] > usual["share"]
    assert studio.look_mask(look, {"grow": 0.2})["grow"] == 0.2


def test_a_brush_adds_an_eraser_takes_and_both_follow(studio, look):
    start = studio.look_mask(look, {"quantile": 0.9})
    box = studio.look_mask(look, {"quantile": 0.9, "boxes": [BOX]})
    assert box["share"] > start["share"]
    assert (frames_of(box)[1][:28, :28] > 127).all()
    line = {"frame": 3, "erase": True, "radius": 0.5, "points": [[0.0, 0.5], [1.0, 0.5]]}
    gone = studio.look_mask(look, {"quantile": 0.9, "strokes": [line]})
    assert (frames_of(gone)[3] > 127).mean() < 0.5 * (frames_of(start)[3] > 127).mean()
    for bad in ({"boxes": [BOX | {"frame": 5}]}, {"quantile": 1.0}):
        with pytest.raises(InputError):
            studio.look_mask(look, bad)


def test_an_edit_has_the_mask_that_was_painted(studio, clip, look, tmp_path):
    mask = {"look": look, "quantile": 0.9, "grow": None, "strokes": [], "boxes": [BOX]}
    done = until(studio, studio.submit("edit", clip.id, ASKED, "me", mask))
    assert done["state"] == "done", done
    command = shlex.split(done["command"])
    assert "mask.user=replace" in command
    file = Path(command[command.index("--user-mask") + 1])
    assert file == studio.file(done["id"], file.name)
    made = np.rint(255 * next(mask_file.open_mask(file).read([1], 1)).values).astype(np.uint8)
    shown = frames_of(studio.look_mask(look, {"quantile": 0.9, "boxes": [BOX]}))[1]
    small = cv2.resize(made, shown.shape[::-1], interpolation=cv2.INTER_AREA)
    assert ((small > 127) == (shown > 127)).mean() > 0.97
    plain = cv2.VideoCapture(str(studio.file(done["id"], "mask_plain.mp4")))
    frames = [plain.read()[1][..., 0] for _ in range(5)]
    assert np.abs(frames[1].astype(int) - made).mean() < 12, "used exactly, but for its soft edge"
    studio.delete(done["id"], "me")
    assert not list(studio.root.rglob(f"*{done['id']}*"))


def test_the_command_makes_the_same_elsewhere_of_the_files_that_are_handed_out(
    studio, clip, look, tmp_path, monkeypatch
):
    """On another machine there are the clip, the mask and the line alone, each by the name that the studio gives it."""
    stroke = {"frame": 2, "erase": True, "radius": 0.11, "points": [[0.31, 0.4], [0.52, 0.47]]}
    mask = {"look": look, "quantile": 0.8, "grow": 0.03, "strokes": [stroke], "boxes": [BOX]}
    done = until(studio, studio.submit("edit", clip.id, ASKED, "me", mask))
    with monkeypatch.context() as patch:
        patch.setattr(studio, "options", replace(studio.options, host="192.168.0.2", password="x"))
        told = studio.status(done["id"])
    client = TestClient(make_app(studio, page=False), base_url="http://localhost")
    _, _, name, *rest = shlex.split(told["command"])
    mask_name = rest[rest.index("--user-mask") + 1]
    for file, address in ((name, clip.plain()["original"]), (mask_name, told["files"][mask_name])):
        (tmp_path / file).write_bytes(client.get(address).raise_for_status().content)
    with contextlib.chdir(tmp_path):
        assert main(["edit", name, *rest, "--out", "here", "--quiet"]) == 0
        exec(told["python"].replace("user_mask=", "out='there', user_mask="))
    for made in ("edit.mp4", "mask_plain.mp4"):
        content = client.get(told["files"][made]).content
        assert (tmp_path / "here" / made).read_bytes() == (tmp_path / "there" / made).read_bytes() == content


def test_a_mask_can_be_painted_on_nothing(studio, clip):
    mask = NOTHING | {"boxes": [BOX | {"width": 1.0}]}
    done = until(studio, studio.submit("edit", clip.id, ASKED, "me", mask))
    assert done["state"] == "done", done


def test_a_painted_mask_that_is_empty_is_told_without_a_path(studio, clip):
    gone = {"frame": 0, "erase": True, "radius": 0.1, "points": [[0.5, 0.5]]}
    failed = until(studio, studio.submit("edit", clip.id, ASKED, "me", NOTHING | {"strokes": [gone]}))
    assert failed["state"] == "failed"
    assert failed["message"].startswith("mask that you gave is empty: ")
    assert studio.history("me", most=1)[0]["id"] != failed["id"]


def test_a_mask_without_paint_is_a_setting(studio, clip, look):
    id = studio.submit("edit", clip.id, ASKED, "me", {"look": look, "quantile": 0.6, "grow": 0.05})
    command = until(studio, id)["command"]
    assert "mask.quantile=0.6 mask.grow=0.05 mask.threshold=quantile mask.level=1.0" in command
    assert "--user-mask" not in command


def test_a_look_that_is_none(studio, clip, look):
    done = studio.submit("edit", clip.id, ASKED, "me")
    until(studio, done)
    with pytest.raises(NotNowError, match="is no look that is done"):
        studio.look_mask(done, {})
    bare = {"source": "a fox", "target": "a panda", "mask": "none", "frames": 1}
    try:
        id = studio.submit("look", clip.id, bare, "me")
    except InputError:
        return
    failed = until(studio, id)
    assert failed["state"] == "failed"
    assert "\n" not in failed["message"]
