"""Boxes and points through a whole edit: as the clip is shown, beside other masks, shot by shot, from everywhere."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import flowedit
from flowedit.config import compose
from flowedit.masks.marks import marks
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.marked import joined, tracks_of
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.plan import brief
from flowedit.pipeline.record import Session
from flowedit.pipeline.source import open_clip

CASES = Path(__file__).parents[1] / "data" / "cases"
FAST = {
    "source": "a red square and a dot move",
    "target": "a blue panda and a cat move",
    "steps": 2,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 1.0,
    "size": "48x32",
    "frames": 9,
    "cuts": "none",
    "window": "whole",
}


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


def plain(result):
    return np.concatenate(list(read(probe(result.mask_plain), range(probe(result.mask_plain).frames))))[..., 0]


def test_a_box_says_where_the_clip_may_change(editor, clip_file, tmp_path):
    done = editor.edit(clip_file, box="8,8,32,24", out=tmp_path / "o")
    mask = plain(done)[0]
    assert mask[12:28, 12:36].min() > 250
    assert mask[40:, :].max() < 5
    assert mask[:, 60:].max() < 5
    assert done.mask.exists()
    assert done.run["settings"]["box"] == "8,8,32,24"
    assert not any("leaves the frame" in text for text in done.notices)
    cut = editor.edit(clip_file, box="60,30,120,90", out=tmp_path / "p")
    assert any(
        text == "box 60,30,120,90 leaves the frame, which is shown as 96x64: 60,30,36,34 is taken"
        for text in cut.notices
    )


def test_python_takes_numbers_texts_and_lists_alike(editor, clip_file, tmp_path):
    ways = ["8,8,32,24 50,30,20,20@3", ["8,8,32,24", "50,30,20,20@3"], [[8, 8, 32, 24], "50,30,20,20@3"]]
    made = [editor.edit(clip_file, box=way, out=tmp_path / str(k)).latents for k, way in enumerate(ways)]
    assert all(torch.equal(made[0], other) for other in made[1:])


def test_a_box_goes_with_a_mask_file_and_with_words(editor, clip_file, tmp_path):
    file = np.zeros((64, 96), np.uint8)
    file[48:60, 70:90] = 255
    both = plain(editor.edit(clip_file, box="8,8,32,24", user_mask=file, out=tmp_path / "both"))[0]
    assert both[50:58, 72:88].min() > 250
    assert both[12:28, 12:36].min() > 250
    words = {"source_words": "square", "target_words": "panda", "mask.user": "join"}
    joined = editor.edit(clip_file, box="8,8,32,24", out=tmp_path / "joined", **words)
    alone = editor.edit(clip_file, box="8,8,32,24", out=tmp_path / "alone")
    assert (joined.latent_mask >= alone.latent_mask - 1e-6).all()
    assert (joined.latent_mask > alone.latent_mask + 0.5).any()


def test_frames_in_memory_have_boxes_too(editor):
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 96, 3)).astype(np.uint8)
    done = editor.edit_frames(frames, box=[8, 8, 32, 24], frames=5)
    assert done.mask[0, 16, 20] > 0.9
    assert done.mask[0, 55, 80] == 0


def test_a_flag_that_stands_twice_and_a_file_say_the_same(tmp_path, clip_file, command):
    file = tmp_path / "edit.yaml"
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    file.write_text("clip: clip.mp4\nsource: a\ntarget: b\nbox: 1,2,3,4 5,6,7,900\n")
    for args in ([str(file)], [clip_file, "--box", "1,2,3,4", "--box", "5,6,7,900", "box=900,1,2,3", "--source", "a"]):
        code, _, err = command("edit", *args, "--box", "1,999,3,4", "--target", "b", "--quiet")
        assert code == 1
        assert "lies outside the frame, which is shown as 96x64" in err
    assert [mark.text for mark in compose.compose({"box": "1,2,3,4;5,6,7,8@2"}).marks] == ["1,2,3,4", "5,6,7,8@2"]


def test_each_mark_follows_within_its_own_shot(clip_file):
    clip = open_clip(compose.compose({"clip": str(clip_file)}))
    session = Session(torch.device("cpu"))
    tracks = tracks_of(marks("8,8,32,24@7", None), clip, [6], session)
    mask = joined(tracks, None, clip.size, 12)
    assert [bool(mask[k : k + 1].any()) for k in range(12)] == [False] * 6 + [True] * 6
    assert session.notices == ["1 of 2 shots have no box or point: no mark says what is edited there"]


def test_a_turned_clip_counts_its_pixels_as_it_is_shown(tmp_path):
    data = bytearray((CASES / "plain.mp4").read_bytes())
    place = data.find(b"tkhd") + 4 + 4 + 20 + 16
    one = 65536
    data[place : place + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    clip = open_clip(compose.compose({"clip": str(tmp_path / "turned.mp4"), "frames": 1}))
    assert clip.video.rotation == 90
    height, width = clip.size
    tracks = tracks_of(
        marks(f"0,{height // 2},{width},{height // 2}", None),
        clip,
        [],
        Session(torch.device("cpu")),
    )
    mask = joined(tracks, None, clip.size, 1)[0:1][0]
    assert mask.shape == (height, width)
    assert mask[height // 2 + 1 :].min() == 255
    assert mask[: height // 2 - 1].max() == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mask": "difference", "box": "1,2,30,40"}, "from the box, not from the velocity difference"),
        (
            {"mask": "both", "box": "1,2,30,40 1,2,3,4@2", "point": "3,4"},
            "from the boxes and the point, not from the words and the velocity difference",
        ),
        ({"user_mask": "m.mp4", "point": "3,4 5,6"}, "from the user mask and the points, not from the words"),
    ],
)
def test_what_a_mark_replaces_is_told_by_its_name_and_nothing_that_nobody_set(given, expected):
    text = {"clip": "clip.mp4", "source": "a fox", "target": "a panda", "source_words": "fox", "target_words": "panda"}
    made = brief(settings_of(text | given))
    assert of_region(made) == [f"the mask comes {expected} (mask.user=join joins them)"]
    assert of_unused(made) == []
    (line,) = of_unused(brief(settings_of(text | given | {"mask.close": 0.3})))
    assert line.startswith("mask.close=0.3 has no effect")
