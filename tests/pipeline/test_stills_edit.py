"""An edit of a still, of a folder of frames and of an animation, from file to file, on small random checkpoints."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image, ImageCms

import flowedit
from flowedit.media.probe import comment, probe
from flowedit.media.reader import read
from flowedit.pipeline.outputs import EDIT

PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {
    "steps": 2,
    "strength": 1.0,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 2.0,
    "size": "96x64",
    "runtime.device": "cpu",
}
BACKBONES = ("backbone_2b", "backbone_15", "backbone_wan")


def picture(size=(70, 101), seed=0, channels=3):
    small = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // 5), -(-size[1] // 5), channels), np.uint8)
    return small.repeat(5, 0).repeat(5, 1)[: size[0], : size[1]]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A JPEG on its side, by EXIF upright at 101x70, with sRGB's profile; read only."""
    path, exif = tmp_path_factory.mktemp("photos") / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(picture(), 1)))
    stored.save(path, quality=95, exif=exif, icc_profile=profile)
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A mask of the left half of the photo."""
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    mask = np.zeros((70, 101), np.uint8)
    mask[:, :50] = 255
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **FAST)


def shown(path):
    video = probe(path)
    return np.concatenate(list(read(video, range(video.frames))))


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_edits_a_still_in_every_mode(request, tmp_path, photo, name, mode):
    made = flowedit.edit(
        photo, backbone=request.getfixturevalue(name), mode=mode, out=tmp_path / "o", **FAST, **PROMPTS, **WORDS
    )
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "compare.png", "edit.png", "mask.png", "mask_plain.png", "run.yaml",
    ]  # fmt: skip
    edit, source, mask = shown(made.video)[0], shown(photo)[0], np.asarray(Image.open(made.mask_plain))[..., 0]
    assert edit.shape == source.shape == (70, 101, 3)
    assert made.latents.shape[2] == (2 if name == "backbone_15" else 1)
    assert made.latents.isfinite().all()
    assert not np.array_equal(edit, source)
    assert mask.shape == (70, 101)
    assert made.run["clip"]["frames"] == made.run["clip"]["working_frames"] == 1
    assert made.run["shots"][0]["frames"] == 1


def test_a_still_leaves_its_own_pixels_outside_the_mask(editor, tmp_path, photo, half):
    made = editor.edit(photo, out=tmp_path / "o", user_mask=half, **PROMPTS)
    edit, source = shown(made.video)[0], shown(photo)[0]
    assert made.video == tmp_path / "o" / "edit.png"
    assert np.array_equal(edit[:, 50:], source[:, 50:])
    assert np.abs(edit[:, :40].astype(int) - source[:, :40]).mean() > 5
    assert made.compare.suffix == made.mask.suffix == made.mask_plain.suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(made.mask_plain))[..., 0], np.asarray(Image.open(half)))
    assert Image.open(made.video).info["icc_profile"] == Image.open(photo).info["icc_profile"]
    again = editor.edit(photo, out=tmp_path / "p", user_mask=made.mask_plain, **PROMPTS)
    assert again.video.read_bytes() == made.video.read_bytes()


def test_alpha_is_kept_and_nothing_new_is_shown_there(editor, tmp_path):
    source = picture(channels=4)
    source[:20, :, 3] = 0
    Image.fromarray(source).save(tmp_path / "a.png")
    made = editor.edit(tmp_path / "a.png", out=tmp_path / "o", mask="none", **PROMPTS)
    edit = np.asarray(Image.open(made.video))
    assert np.array_equal(edit[..., 3], source[..., 3])
    assert np.array_equal(edit[:20, :, :3], source[:20, :, :3])
    assert not np.array_equal(edit[20:, :, :3], source[20:, :, :3])
    assert any("transparent in places" in text for text in made.notices)


@pytest.mark.parametrize("save", [{"suffix": ".webp", "lossless": True}, {"suffix": ".bmp"}, {"suffix": ".gif"}])
def test_nothing_is_lost_where_nothing_is_run(editor, tmp_path, save):
    path = tmp_path / f"a{save.pop('suffix')}"
    Image.fromarray(picture() & 0xC0).save(path, **save)
    made = editor.edit(path, out=tmp_path / "o", strength=0, **PROMPTS)
    assert np.array_equal(np.asarray(Image.open(made.video)), picture() & 0xC0)


def test_the_settings_come_back_from_the_png(command, editor, tmp_path, photo, backbone_2b):
    made = editor.edit(photo, out=tmp_path / "o", seed=5, **PROMPTS, **WORDS)
    told = json.loads(comment(made.video))["settings"]
    assert (told["seed"], told["source"]) == (5, PROMPTS["source"])
    assert str(tmp_path) not in comment(made.video)
    assert flowedit.settings_from(made.video)["seed"] == 5
    code, out, err = command(
        "edit", photo, "--like", made.video, "--backbone", backbone_2b, "--out", tmp_path / "p", "runtime.device=cpu"
    )
    assert code == 0, err
    assert out.strip() == str(tmp_path / "p" / "edit.png")
    assert "edit.png" in err
    assert "where the clip may change" in err
    assert (tmp_path / "p" / "edit.png").read_bytes() == made.video.read_bytes()


def test_the_same_edit_has_the_same_bytes(editor, tmp_path, photo):
    first, second = (editor.edit(photo, out=tmp_path / name, **PROMPTS, **WORDS) for name in "ab")
    for name in ("edit.png", "compare.png", "mask.png", "mask_plain.png"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_a_still_takes_the_place_of_a_video_and_the_other_way_round(editor, tmp_path, photo, clip_file):
    out = tmp_path / "o"
    for clip, suffix in ((clip_file, ".mp4"), (photo, ".png"), (clip_file, ".mp4")):
        editor.edit(clip, out=out, **PROMPTS, **WORDS, frames=1)
        names = {path.name for path in out.iterdir()}
        assert names == {f"{name}{suffix}" for name in ("edit", "compare", "mask", "mask_plain")} | {"run.yaml"}
        assert names <= set(EDIT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 49}, "frames=49: {photo} is a still, a clip of one frame; leave frames= out"),
        ({"fps": 12}, "fps=12: {photo} is a still"),
        ({"start": 2}, "start=2: {photo} is a still"),
        ({"cuts": "3"}, "no shot can begin at frame 3 of the 1 read"),
        ({"box": "10,10,20,20@4"}, "there is no frame 4"),
    ],
)
def test_options_of_time_are_refused_of_a_still(editor, tmp_path, photo, options, words):
    with pytest.raises(flowedit.Error) as caught:
        editor.edit(photo, out=tmp_path / "o", **PROMPTS, **options)
    assert words.format(photo=photo) in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_a_box_says_where_on_a_still(editor, tmp_path, photo):
    made = editor.edit(photo, out=tmp_path / "o", box="0,0,50,70", window=17, **PROMPTS)
    assert np.array_equal(shown(made.video)[0][:, 60:], shown(photo)[0][:, 60:])
    assert "window=17 has no effect: the one frame of the clip fits one window" in made.notices


def test_a_picture_of_one_pixel_is_refused(editor, tmp_path):
    Image.fromarray(picture((1, 1))).save(tmp_path / "a.png")
    with pytest.raises(flowedit.Error, match="is 1x1: give a clip of 2 pixels a side, or more"):
        editor.edit(tmp_path / "a.png", **PROMPTS)


def test_the_mask_of_a_still_is_looked_at(editor, tmp_path, photo):
    look = editor.look_at_mask(photo, **PROMPTS, **WORDS)
    assert look.at(quantile=0.5).shape == (1, 70, 101)


# --- folders and animations ---


def test_a_folder_of_frames_comes_back_as_one(editor, tmp_path):
    (tmp_path / "shots").mkdir()
    frames = [picture(seed=seed) for seed in range(4)]
    for number, frame in zip((1, 2, 4, 5), frames, strict=True):
        Image.fromarray(frame).save(tmp_path / "shots" / f"f{number:02}.png")
    mask = np.zeros((70, 101), np.uint8)
    mask[:, :50] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    made = editor.edit(
        tmp_path / "shots", out=tmp_path / "o", fps=5, start=1, cuts="none", user_mask=tmp_path / "mask.png", **PROMPTS
    )
    assert made.video.name == "edit.mp4"
    assert (probe(made.video).frames, probe(made.video).fps) == (3, 5)
    left = tmp_path / "o" / "edit_frames"
    assert [path.name for path in sorted(left.iterdir())] == ["f02.png", "f04.png", "f05.png"]
    edits = shown(left)
    for edit, source in zip(edits, frames[1:], strict=True):
        assert np.array_equal(edit[:, 50:], source[:, 50:])
        assert not np.array_equal(edit[:, :50], source[:, :50])
    assert yaml.safe_load((tmp_path / "o" / "run.yaml").read_text())["clip"]["fps"] == "5"
    assert any("lacks 1 of its frames, number 3" in text for text in made.notices)
    assert not any("names no rate" in text for text in made.notices)


def test_a_folder_is_named_whatever_its_path_is(editor, tmp_path, monkeypatch):
    (tmp_path / "shots").mkdir()
    Image.fromarray(picture()).save(tmp_path / "shots" / "1.png")
    monkeypatch.chdir(tmp_path / "shots")
    made = editor.edit(".", **PROMPTS)
    assert made.folder.parts[:2] == ("outputs", "shots")
    assert probe(made.video).fps == 24
    assert any("names no rate: its frames, 1, play at 24" in text for text in made.notices)


def test_an_animation_comes_back_as_one(editor, tmp_path):
    first, *rest = (Image.fromarray(picture(seed=seed) & 0xC0) for seed in range(3))
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[50, 300, 100], loop=0)
    made = editor.edit(tmp_path / "a.gif", out=tmp_path / "o", cuts="none", mask="none", **PROMPTS)
    again = probe(tmp_path / "o" / "edit.gif")
    assert (again.pictures.delays, again.pictures.loop, again.size) == ((50, 300, 100), 0, (70, 101))
    assert made.video.name == "edit.mp4"
    assert [float(time) for time in probe(made.video).times] == pytest.approx([0, 0.05, 0.35, 0.45])
    near, full = shown(tmp_path / "o" / "edit.gif").astype(int), shown(made.video).astype(int)
    assert np.abs(near - full).mean() < 25
    assert any("shown for 50 to 300 ms" in text for text in made.notices)


def test_an_edits_file_may_name_a_folder_of_frames_but_none_that_leaves_it(command, tmp_path, backbone_2b):
    (tmp_path / "in" / "shots").mkdir(parents=True)
    Image.fromarray(picture()).save(tmp_path / "in" / "shots" / "1.png")
    (tmp_path / "in" / "edit.yaml").write_text(
        yaml.safe_dump({"clip": "shots", **PROMPTS, "steps": 2, "size": "96x64"})
    )
    args = (
        "edit",
        tmp_path / "in" / "edit.yaml",
        "--backbone",
        backbone_2b,
        "--out",
        tmp_path / "o",
        "runtime.device=cpu",
    )
    code, _, err = command(*args)
    assert code == 0, err
    Image.fromarray(picture()).save(tmp_path / "secret.png")
    (tmp_path / "in" / "shots" / "2.png").symlink_to(tmp_path / "secret.png")
    code, _, err = command(*args)
    assert code == 1
    assert "is not a path inside the file's own folder" in err
