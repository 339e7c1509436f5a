"""An edit in each format, from a clip of each kind: one file of that kind, named wherever an edit names its file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image, ImageCms, ImageSequence

import flowedit
from flowedit.app import films
from flowedit.config.folder import example
from flowedit.media.colours import Colour
from flowedit.media.formats.forms import FileForm
from flowedit.media.planes.blend import Depth
from flowedit.media.planes.picture import Planar
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.media.writer import Writer
from flowedit.pipeline.outputs import EDIT, shown

CASES = Path(__file__).parents[1] / "data" / "cases"
ASKED = {
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
}
AS_IT_IS = {**ASKED, "strength": 0.0, "steps": 1}  # the clip itself: nothing is run, and all is written
FOX = example("fox").with_suffix(".mp4")


@pytest.fixture(scope="module")
def editor():
    return flowedit.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of four frames."""
    place = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(next(read(probe(FOX), range(4)))):
        Image.fromarray(frame).save(place / f"fox-{number:03}.png")
    return place


def made(result):
    """Names of what an edit left, but what every edit leaves."""
    return {path.name for path in result.folder.iterdir()} - {"compare.mp4", "run.yaml", "mask.mp4", "mask_plain.mp4"}


FORMATS = [
    ({}, "edit.mp4"),
    ({"format": "mov", "crf": 20}, "edit.mov"),
    ({"format": "webm", "codec": "av1"}, "edit.webm"),
    ({"format": "prores"}, "edit.mov"),
    ({"format": "png"}, "edit_frames"),
    ({"format": "gif"}, "edit.gif"),
    ({"codec": "h265", "bit_depth": 10}, "edit.mp4"),
]


@pytest.mark.parametrize(("options", "name"), FORMATS, ids=[str(options) for options, _ in FORMATS])
def test_a_video_in_each_format(tmp_path, editor, options, name):
    out = tmp_path / "out"
    result = editor.edit(FOX, out=out, frames=5, cuts=[3], **AS_IT_IS, **options)
    assert result.video == out / name == shown(out)
    assert made(result) == {name}
    assert set(made(result)) <= set(EDIT)
    clip = next(read(probe(FOX), range(5)))
    edit = next(read(probe(result.video), range(5)))
    worst = 20 if name == "edit.gif" else 4  # of 256 colours
    assert np.abs(edit.astype(float) - clip).mean() < worst
    holder = sorted(result.video.iterdir())[0] if result.video.is_dir() else result.video
    told = flowedit.settings_from(holder)
    assert {key: told[key] for key in options} == options
    assert str(tmp_path).encode() not in holder.read_bytes()
    run = yaml.safe_load((out / "run.yaml").read_text())
    assert {key: run["settings"][key] for key in options} == options
    assert films.left(out, "/edits/1")["player"]["frames"] == 5


def test_another_format_takes_the_place_of_the_first(tmp_path, editor):
    for options in ({}, {"format": "webm"}, {"format": "png"}, {"format": "gif"}):
        result = editor.edit(FOX, out=tmp_path, frames=1, **AS_IT_IS, **options)
        assert len(made(result)) == 1


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"edit.mp4", "edit_frames"}),
        ({"format": "mp4"}, {"edit.mp4"}),
        ({"format": "png"}, {"edit_frames"}),
        ({"format": "webm"}, {"edit.webm"}),
        ({"format": "gif"}, {"edit.gif"}),
    ],
)
def test_a_folder_of_frames_in_each_format(tmp_path, editor, folder, options, names):
    result = editor.edit(folder, out=tmp_path / "out", frame_by_frame=True, **AS_IT_IS, **options)
    assert made(result) == names
    if options.get("format") == "png":
        assert [path.name for path in sorted(result.video.iterdir())] == [f"fox-{number:03}.png" for number in range(4)]
        assert result.video == tmp_path / "out" / "edit_frames"


@pytest.mark.parametrize(("options", "names"), [({}, {"edit.mp4", "edit.gif"}), ({"format": "gif"}, {"edit.gif"})])
def test_an_animation_keeps_its_times(tmp_path, editor, options, names):
    result = editor.edit(CASES / "opaque.gif", out=tmp_path / "out", **AS_IT_IS, **options)
    assert made(result) == names
    with Image.open(CASES / "opaque.gif") as clip, Image.open(result.folder / "edit.gif") as edit:
        assert edit.n_frames == clip.n_frames
        assert edit.info["duration"] == clip.info["duration"]


@pytest.fixture(scope="module")
def holed(folder, tmp_path_factory):
    """The folder's frames, and an animation of them, their left 64 columns transparent."""
    place = tmp_path_factory.mktemp("holed")
    (place / "row").mkdir()
    frames = [Image.open(path).convert("RGBA") for path in sorted(folder.iterdir())]
    for number, frame in enumerate(frames):
        frame.paste((0, 0, 0, 0), (0, 0, 64, 256))
        frame.save(place / "row" / f"fox-{number:03}.png")
    frames[0].save(place / "a.webp", save_all=True, append_images=frames[1:], duration=125, lossless=True, exact=True)
    return {"folder": place / "row", "animation": place / "a.webp"}


def alpha_of(path):
    """Each frame's alpha, uint8 (F, H, W)."""
    if path.is_dir():
        return np.stack([np.asarray(Image.open(file))[..., 3] for file in sorted(path.iterdir())])
    if path.suffix in (".gif", ".webp"):
        with Image.open(path) as image:
            return np.stack([np.asarray(each.convert("RGBA"))[..., 3] for each in ImageSequence.Iterator(image)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else stream
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        return np.stack([frame.to_ndarray(format="rgba")[..., 3] for frame in frames])


@pytest.mark.parametrize("kind", ["folder", "animation"])
@pytest.mark.parametrize("asked", ["auto", "prores", "webm", "png", "gif"])
def test_transparent_pictures_stay_so_in_the_file_that_the_notice_names(tmp_path, editor, holed, kind, asked):
    result = editor.edit(holed[kind], out=tmp_path / "out", **AS_IT_IS, format=asked, frame_by_frame=True)
    own = {"folder": "edit_frames", "animation": "edit.webp"}[kind]
    name = {"auto": own, "prores": "edit.mov", "webm": "edit.webm", "png": "edit_frames", "gif": "edit.gif"}[asked]
    (told,) = (text for text in result.notices if "transparent in places" in text)
    assert told == f"{holed[kind]} is transparent in places: {name} keeps that, and shows nothing new there"
    found = alpha_of(result.folder / name)
    assert len(found) == 4
    assert found[..., :62].max() <= 4
    assert found[..., 66:].min() >= 250


def test_transparent_pictures_are_refused_where_nothing_can_be_transparent(tmp_path, editor, holed):
    with pytest.raises(flowedit.Error, match='is transparent, which h264 in format="mp4" cannot be'):
        editor.edit(holed["folder"], out=tmp_path / "out", **AS_IT_IS, format="mp4")


TAGGED = {
    "pq": ("h265", 10, Colour(9, 16, 9)),
    "hlg": ("h265", 10, Colour(9, 18, 9)),
    "display p3": ("h264", 8, Colour(12, 1, 1)),
}


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("form", ["png", "gif"])
def test_pictures_of_a_wide_range_show_what_the_model_sees(tmp_path, editor, name, form):
    """Diffuse white, and three strong colours: in a file without tags they are those of sRGB, not the file's own."""
    codec, bits, colour = TAGGED[name]
    depth, path = Depth(colour), tmp_path / "a.mp4"
    blocks = np.array([[224, 224, 224], [200, 60, 50], [40, 170, 70], [50, 70, 190]], np.uint8)
    picture = blocks.repeat(16, 0)[None].repeat(64, 0)
    grey = Planar(tuple(np.full((64, 64), 512, np.uint16) for _ in range(3)), None, 10, "444")
    stored = depth.blended(grey, depth.shown(grey), picture, np.ones((64, 64), np.float32))
    with Writer(path, (64, 64), Fraction(8), crf=0, colour=colour, form=FileForm("mp4", codec, bits)) as writer:
        writer.write([stored])
    result = editor.edit(path, out=tmp_path / "out", format=form, **AS_IT_IS)
    with Image.open(sorted(result.video.iterdir())[0] if form == "png" else result.video) as image:
        found = np.asarray(image.convert("RGB"))[32, 8::16].astype(int)
    assert np.abs(found - blocks).max() <= 5
    assert any("has BT.709, as the model is shown it, in place of" in text for text in result.notices)


def test_a_gif_of_pictures_with_a_profile_is_of_srgb(tmp_path, editor):
    """The profile is sRGB's with an exponent of 1: 128 has the light that sRGB says by 192."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    place = profile.find(b"para\0\0\0\0\0\x03") + 12  # the curve's parameters, the exponent first
    profile[place : place + 4] = (1 << 16).to_bytes(4, "big")
    light = (128 / 255 + 0.055) / 1.055
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    (tmp_path / "in").mkdir()
    for number in range(2):
        frame = Image.new("RGB", (64, 64), (128, 128, 128))
        frame.save(tmp_path / "in" / f"a{number}.png", icc_profile=bytes(profile))
    result = editor.edit(tmp_path / "in", out=tmp_path / "out", format="gif", **AS_IT_IS)
    with Image.open(result.video) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).max() <= 2


def test_a_gif_of_too_many_frames_a_second_is_refused_before_anything_is_written(tmp_path, editor):
    with Writer(tmp_path / "a.mp4", (64, 64), Fraction(120)) as writer:
        writer.write(np.zeros((60, 64, 64, 3), np.uint8))
    with pytest.raises(flowedit.Error, match="at most 50 frames a second, and these are 120: add fps=40"):
        editor.edit(tmp_path / "a.mp4", out=tmp_path / "out", format="gif", **AS_IT_IS)
    assert not (tmp_path / "out").exists()
    result = editor.edit(tmp_path / "a.mp4", out=tmp_path / "out", format="gif", fps=40, **AS_IT_IS)
    with Image.open(result.video) as edit:
        edit.seek(edit.n_frames - 1)
        assert edit.n_frames <= 20


@pytest.mark.parametrize(
    ("clip", "options", "kind", "bytes_"), [(FOX, {"format": "gif"}, "GIF", 2), (None, {}, "WebP", 12)]
)
def test_an_animation_that_memory_does_not_hold_is_refused(tmp_path, editor, monkeypatch, clip, options, kind, bytes_):
    if clip is None:
        clip, frames = tmp_path / "a.webp", [Image.new("RGB", (64, 64), (number, 0, 0)) for number in range(3)]
        frames[0].save(clip, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    video = probe(clip)
    needed = bytes_ * video.frames * video.size[0] * video.size[1] / 2**30
    monkeypatch.setattr("flowedit.backbones.memory.of_host", lambda: (0.99 * needed, 1.0))
    with pytest.raises(flowedit.Error, match=f"a {kind} is held whole until it is written: {video.frames} frames of"):
        editor.edit(clip, out=tmp_path / "out", **AS_IT_IS, **options)
    monkeypatch.setattr("flowedit.backbones.memory.of_host", lambda: (1.01 * needed, 1.0))
    assert editor.edit(clip, out=tmp_path / "out", **AS_IT_IS, **options).video.exists()


def test_ten_bits_stay_ten(tmp_path, editor):
    result = editor.edit(CASES / "odd_10bit.mp4", out=tmp_path / "out", frames=1, **AS_IT_IS)
    with av.open(str(result.video)) as container:
        stream = container.streams.video[0].codec_context
        assert (stream.name, stream.pix_fmt) == ("hevc", "yuv444p10le")  # odd sides keep all of their chroma


def test_the_last_line_names_the_file(tmp_path, command):
    asked = [f"--{key.replace('_', '-')}={value}" for key, value in AS_IT_IS.items()]
    code, said, told = command("edit", FOX, *asked, "--frames", 1, "--format", "prores", "--out", tmp_path / "out")
    assert (code, said.strip()) == (0, str(tmp_path / "out" / "edit.mov"))
    assert "edit.mov" in told
    code, _, told = command("edit", FOX, *asked, "--format", "gif", "--crf", 3, "--out", tmp_path / "other")
    assert code == 1
    assert told.splitlines()[-1] == "flowedit: --crf 3 is for videos, and --format gif is none: leave --crf out"
    assert not (tmp_path / "other").exists()


def test_a_fault_names_the_place_where_the_file_would_be(tmp_path, editor, monkeypatch):
    def faulty(*given):
        raise av.error.InvalidDataError(1, "Invalid data")

    monkeypatch.setattr("flowedit.media.writer.Writer._mux", faulty)
    out = tmp_path / "out"
    with pytest.raises(flowedit.Error, match=f"cannot write {out}/[a-z]+.(mp4|webm) as ") as caught:
        editor.edit(FOX, out=out, frames=1, **AS_IT_IS, format="webm")
    assert ".partial" not in str(caught.value)
    assert not out.exists()


def test_frames_in_memory_have_no_file(editor):
    with pytest.raises(flowedit.Error, match="codec: frames in memory have no file"):
        editor.edit_frames(np.zeros((1, 64, 64, 3), np.uint8), codec="av1", **ASKED)
