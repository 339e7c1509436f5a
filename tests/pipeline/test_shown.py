"""Clips of odd shapes, colours and words: what an edit keeps of its source, and what is refused before it runs."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import flowedit
from flowedit.language.grammar import parse
from flowedit.media.colours import Colour
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.media.writer import Writer
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.prompts.captions import Captions
from flowedit.types import QUIET

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"
PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
FAST = {"steps": 2, "strength": 1.0, "source_guidance_scale": 1.0, "target_guidance_scale": 1.0, "cuts": "none"}


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


def frames_of(path):
    info = probe(path)
    return np.concatenate(list(read(info, range(info.frames)))).astype(int)


def test_an_anamorphic_clip_keeps_its_shape_and_is_compared_as_shown(editor, tmp_path):
    made = editor.edit(CASES / "fox_sar4_3.mp4", out=tmp_path / "out", frames=2, size="64x64", **PROMPTS)
    result, compared = probe(made.video), probe(made.compare)
    assert (result.size, result.pixel_aspect) == ((256, 192), Fraction(4, 3))
    assert made.run["clip"]["pixel_aspect"] == "4/3"
    assert compared.pixel_aspect == 1
    assert compared.size[1] == 2 * 256
    shown = frames_of(ROOT / "examples" / "fox.mp4")[0]
    strip = compared.size[0] - 256
    assert np.abs(frames_of(made.compare)[0, strip : strip + 256, :256] - shown).mean() < 6


@pytest.mark.parametrize("name", ["fox_sar2.mp4", "fox_sar4_3.mp4"])
def test_a_caption_model_sees_an_anamorphic_clip_as_it_is_shown(monkeypatch, name):
    seen = []

    def ask(frames, question):
        seen.append(frames.shape[1:3])
        return "A fox moves."

    monkeypatch.setattr("flowedit.pretrained.vlm.load_anew", lambda *_: ask)
    options = {"clip": str(CASES / name), "instruction": "remove the fox", "caption": "a/model", "runtime.cache": None}
    settings = settings_of(options)
    with Captions(QUIET) as captions:
        assert captions.of(settings, parse("remove the fox")) == "A fox moves."
    assert seen == [(256, 256)]


def test_the_working_size_has_the_shown_aspect(editor):
    from flowedit.pipeline.api import settings_of
    from flowedit.pipeline.plan import brief, make_plan
    from flowedit.pipeline.source import open_clip

    settings = settings_of({"clip": str(CASES / "fox_sar2.mp4"), "backbone": "pocket", **PROMPTS, "frames": 1})
    plan = make_plan(
        brief(settings), flowedit.load("pocket", **{"runtime.device": "cpu"}).backbone, open_clip(settings), ()
    )
    assert plan.geometry.size == (128, 128)
    assert plan.shots[0].fit.window == (0, 0, 256, 128)


def test_an_edit_has_its_source_s_colours_sound_and_labels(editor, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(CASES / "two_audio.mp4")) as source, av.open(str(path), "w") as out:
        out.metadata.update({"title": "A fox", "artist": "Me", "comment": "first take"})
        streams = {each.index: out.add_stream_from_template(each) for each in source.streams}
        for stream, language in zip(out.streams.audio, ("deu", "fra"), strict=True):
            stream.metadata["language"] = language
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    made = editor.edit(path, out=tmp_path / "out", frames=5, size="96x64", **PROMPTS)
    with av.open(str(made.video)) as container:
        assert container.metadata.items() >= {"title": "A fox", "artist": "Me"}.items()
        assert "first take" not in container.metadata["comment"]  # the settings stand there
        assert [each.metadata["language"] for each in container.streams.audio] == ["deu", "fra"]


@pytest.mark.parametrize("tags", [Colour(5, 6, 5), Colour(1, 13, 1), Colour(6, 4, 6), Colour(2, 2, 6), Colour(7, 7, 7)])
def test_an_edit_has_its_source_s_colour_tags(editor, tmp_path, tags):
    frames = np.kron(np.arange(0, 240, 10, np.uint8).reshape(4, 6), np.ones((16, 16), np.uint8))
    with Writer(tmp_path / "a.mp4", (64, 96), Fraction(8), colour=tags) as out:
        out.write(np.stack([np.stack([frames, frames.T.reshape(64, 96), 255 - frames], -1)] * 2))
    made = editor.edit(tmp_path / "a.mp4", out=tmp_path / "out", size="96x64", **PROMPTS | {"strength": 0.0})
    for path in (made.video, made.compare):
        assert probe(path).colour == tags
    assert np.abs(frames_of(made.video) - frames_of(tmp_path / "a.mp4")).mean() < 2


def masks():
    inside = np.zeros((3, 64, 96), bool)
    inside[:, 16:48, 32:64] = True
    yield from (inside, inside.astype(np.uint8), inside.astype(np.uint8) * 255, inside.astype(np.float32))
    yield from (inside.astype(np.int64), inside[0], inside[0].astype(np.float64))


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: f"{mask.dtype}-{mask.ndim}")
def test_a_user_mask_may_be_an_array(editor, tmp_path, mask):
    clip = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "mask.png"), np.uint8(255) * np.uint8(mask.reshape(-1, 64, 96)[0] > 0))
    by_file, by_array = (
        editor.edit_frames(clip, size="96x64", user_mask=given, **PROMPTS) for given in (tmp_path / "mask.png", mask)
    )
    np.testing.assert_array_equal(by_array.frames, by_file.frames)
    outside = by_array.mask == 0
    assert 0.5 < outside.mean() < 0.9
    np.testing.assert_array_equal(by_array.frames[outside], clip[outside])


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((3, 64, 96, 3), np.uint8), "user_mask is an array .*: give .height, width. or"),
        (np.zeros((0, 64, 96), np.uint8), "user_mask is an array"),
        (
            np.full((64, 96), 300),
            "int64 from 300 to 300: give booleans, whole numbers of 0 to 255, or floats of 0 to 1",
        ),
        (np.full((64, 96), 255.0), "float64 from 255.0 to 255.0"),
        (np.full((64, 96), np.nan), "float64 from nan to nan"),
        (np.zeros((2, 64, 96), bool), "2 frames"),
        (np.zeros((64, 96), bool), "is empty: it is black"),
    ],
)
def test_other_arrays_are_refused_as_masks(editor, mask, words):
    with pytest.raises(flowedit.Error, match=words):
        editor.edit_frames(np.zeros((3, 64, 96, 3), np.uint8), size="96x64", user_mask=mask, **PROMPTS)


@pytest.mark.parametrize("size", ["1x1", "8x8", "16x16", "512x8"])
def test_sizes_without_a_picture_are_refused(editor, tmp_path, size):
    with pytest.raises(flowedit.Error, match=rf"size {size} is too small for .*: give sides of 32 pixels or more"):
        editor.edit(CASES / "one.mp4", out=tmp_path / "out", size=size, **PROMPTS)


@pytest.mark.parametrize("size", [(2, 4096), (4096, 2), (64, 1040), (1, 1), (64, 1)])
def test_strips_are_refused(editor, size):
    with pytest.raises(flowedit.Error, match=r"at most 16 times the shorter|give a clip of 2 pixels a side"):
        editor.edit_frames(np.zeros((1, *size, 3), np.uint8), **PROMPTS)


def test_a_strip_in_a_file_is_refused(editor, tmp_path):
    with Writer(tmp_path / "a.mp4", (2, 4096), Fraction(8)) as out:
        out.write(np.zeros((2, 2, 4096, 3), np.uint8))
    with pytest.raises(flowedit.Error, match="shown as 4096x2, a strip"):
        editor.edit(tmp_path / "a.mp4", out=tmp_path / "out", **PROMPTS)


@pytest.mark.parametrize(("target", "told"), [("A red  square moves.", True), ("a blue panda moves", False)])
def test_equal_prompts_are_told(editor, target, told):
    clip = np.zeros((1, 64, 96, 3), np.uint8)
    made = editor.edit_frames(clip, size="96x64", **PROMPTS | {"target": target})
    assert any("source and target prompts say the same" in text for text in made.run["notices"]) == told


@pytest.mark.parametrize(
    "script", sorted(path.name for path in (ROOT / "scripts").glob("*.py") if path.stem != "package_page")
)
def test_every_script_has_help(script):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--help"], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5
    assert not done.stderr
