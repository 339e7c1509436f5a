"""Uploads by their content: a mask is looked through before its job waits; names are names alone."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from studio import FOX, SMALL

from flowedit.app.clips import StoredClip
from flowedit.app.desk.studio import Studio
from flowedit.app.options import studio_options
from flowedit.media.writer import Writer
from flowedit.messages import InputError

MASK = FOX.with_name("fox_mask.mp4")


@pytest.fixture
def studio(tmp_path):
    made = Studio(studio_options({"out": str(tmp_path / "out")}))  # no worker: what is asked for waits
    (made.root / "jobs").mkdir(parents=True)
    return made


def video(path, values):
    """A small film of one grey value for each frame."""
    with Writer(path, (48, 48), Fraction(8)) as writer:
        writer.write(np.stack([np.full((48, 48, 3), value, np.uint8) for value in values]))
    return path


def test_a_mask_that_an_edit_would_refuse_is_refused_when_it_is_asked_for(studio, tmp_path):
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    for values, words in (([255] * 3, "has 3 frames"), ([0], "is empty: it is black")):
        mask = studio.add_clip(video(tmp_path / "m.mp4", values), "my mask.mp4", "me")
        with pytest.raises(InputError, match=f"mask my mask.mp4 {words}") as refused:
            studio.submit("edit", clip.id, SMALL, "me", {"file": mask.id})
        assert str(studio.root) not in str(refused.value)
        assert studio.jobs("me") == []
    mask = studio.add_clip(MASK, "mask.mp4", "me")
    assert studio.submit("edit", clip.id, SMALL, "me", {"file": mask.id})


def test_a_mask_is_read_once_for_several_edits(studio, monkeypatch):
    from flowedit.app.desk import submission

    clip, mask = (studio.add_clip(path, path.name, "me") for path in (FOX, MASK))
    read, own = [], submission.read_mask
    monkeypatch.setattr(submission, "read_mask", lambda *asked: read.append(asked) or own(*asked))
    for seed in range(3):
        studio.submit("edit", clip.id, SMALL | {"seed": seed}, "me", {"file": mask.id})
    assert len(read) == 1
    studio.submit("edit", clip.id, SMALL | {"start": 2}, "me", {"file": mask.id})
    assert [indices for _, _, indices in read] == [(0,), (2,)]


def test_a_video_that_is_called_a_picture_is_a_video(studio):
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    for name in ("m.png", "m.JPG", "m.webp"):
        mask = studio.add_clip(MASK, name, "me")
        assert (mask.file, mask.given, mask.still, mask.frames) == ("m.mp4", "m.mp4", False, clip.frames)
        assert studio.submit("edit", clip.id, SMALL | {"frames": None}, "me", {"file": mask.id})


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WebP", ".webp"), ("BMP", ".bmp")])
def test_a_picture_that_is_called_a_video_is_a_picture(studio, kind, suffix):
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    data = io.BytesIO()
    Image.new("RGB", (48, 48), "white").save(data, kind)
    mask = studio.add_clip(io.BytesIO(data.getvalue()), "m.mp4", "me")
    assert (mask.file, mask.given, mask.still, mask.frames) == (f"m{suffix}", f"m{suffix}", True, 1)
    assert studio.submit("edit", clip.id, SMALL, "me", {"file": mask.id})


def test_a_picture_keeps_its_own_name(studio):
    data = io.BytesIO()
    Image.new("RGB", (48, 48), "white").save(data, "JPEG")
    mask = studio.add_clip(io.BytesIO(data.getvalue()), "A mask.JPEG", "me")
    assert (mask.file, mask.given) == ("A-mask.jpeg", "A mask.JPEG")


@pytest.mark.parametrize(
    ("name", "file", "given"),
    [
        ("fox.mp4", "fox.mp4", "fox.mp4"),
        ("it's a Fox.MP4", "it-s-a-Fox.mp4", "it's a Fox.MP4"),
        ("../../é/x.mp4", "x.mp4", "x.mp4"),
        ("..\\..\\x.mov", "x.mov", "x.mov"),
        ("/etc/passwd", "passwd.mp4", "passwd.mp4"),
        ("m.png", "m.mp4", "m.mp4"),
        ("a/..", "clip.mp4", "clip.mp4"),
        ("a/", "clip.mp4", "clip.mp4"),
    ],
)
def test_what_is_given_is_the_last_part_of_a_name(name, file, given):
    clip = StoredClip("0" * 32, name, file, None, 48, 48, 8.0, 1, 0.1, False, [0], False, 0.0)
    assert clip.given == given
