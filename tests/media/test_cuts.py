"""Hard cuts: which are found and what is none, and an edit shot by shot that equals those of the shots alone."""

import itertools
import weakref
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import flowedit
from flowedit.config import compose, edit_file
from flowedit.media import cuts, pixels, probe, reader, writer
from flowedit.media.sound import Sound
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.checks import check
from flowedit.pipeline.source import open_clip
from flowedit.pocket import Spec, Thing, scene

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 64)


def frames_of(path, step=1):
    info = probe.probe(path)
    return np.concatenate(list(reader.read(info, range(0, info.frames, step))))


def pocket(kind, motion, ground, frames=9, texture=7):
    return scene(Spec((Thing(kind, motion),), ground, texture), SIZE, frames).frames


FOX, APPLE, NIGHT = (
    pocket("fox", "right", "grass"),
    pocket("apple", "bounce", "sand", 11),
    pocket("car", "left", "night"),
)
CUP = pixels.resize(frames_of(ROOT / "examples" / "cup.mp4"), SIZE)


def noise(seed, width=96, grain=6):
    """A still texture, blurred noise in colour, uint8 (64, width, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (64 // grain, width // grain, 3), dtype=np.uint8)
    return cv2.resize(small, (width, 64), interpolation=cv2.INTER_CUBIC)


def still(seed, colour, frames=10):
    return np.stack([(noise(seed) * np.array(colour)).astype(np.uint8)] * frames)


JOINED = {
    "two grounds": (FOX, APPLE),
    "the way back": (APPLE, FOX),
    "three shots": (FOX, NIGHT, APPLE),
    "a real clip": (CUP, FOX, CUP),
    "two stills": (still(0, (0.3, 0.5, 1)), still(1, (1, 0.6, 0.3))),
    "a shot of one frame": (FOX, APPLE[:1], NIGHT),
    "one frame and one": (FOX[:1], NIGHT[:1]),
    "one frame first": (CUP[:1], APPLE),
    "one frame last": (CUP, APPLE[:1]),
    "two frames last": (FOX, NIGHT[:2]),
}


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_cut_is_found_and_nothing_else(name, step):
    parts = [part[::step] for part in JOINED[name]]
    places = list(itertools.accumulate(map(len, parts)))[:-1]
    assert cuts.find(np.concatenate(parts)) == places


def flash(frames, at, colour, length):
    lit = frames.copy()
    lit[at : at + length] = colour
    return lit


def mixed(frames, others, shares):
    """frames + shares (others - frames)."""
    share = np.asarray(shares)[:, None, None, None]
    return (frames * (1 - share) + others * share).astype(np.uint8)


def ramp(count, steps):
    """0 at first, 1 at last, `steps` frames between them in the middle."""
    return np.clip((np.arange(count) - (count - steps) / 2) / steps, 0, 1)


def pan(speed):
    wide = noise(3, 400)
    return np.stack([wide[:, place : place + 96] for place in range(0, 300, speed)])


LIT = CUP[:20]
NONE = {
    "a clip": CUP,
    "a clip at a third of its rate": CUP[::3],
    "a clip at an eighth of its rate": CUP[::8],
    **{f"motion {motion}": pocket("car", motion, "road", 17) for motion in ("right", "bounce", "approach")},
    **{f"a flash of {n} in {c}": flash(LIT, 8, c, n) for n in (1, 2) for c in (255, 0, (255, 240, 200))},
    "a flash after one frame": flash(LIT, 1, 255, 1),
    "two flashes": flash(flash(LIT, 6, 255, 1), 12, 255, 1),
    "an insert of two frames": np.concatenate([FOX[:5], APPLE[:2], FOX[5:]]),
    "darker at once": np.concatenate([LIT[:10], (LIT[10:] * 0.4).astype(np.uint8)]),
    "brighter at once": np.concatenate([LIT[:10], np.clip(LIT[10:] * 1.5 + 10, 0, 255).astype(np.uint8)]),
    "a fade to black and back": mixed(LIT, 0 * LIT, 1 - np.clip(np.abs(np.arange(20) - 10) / 8, 0, 1)),
    "a fade to white and back": mixed(LIT, 0 * LIT + 255, 1 - np.clip(np.abs(np.arange(20) - 10) / 8, 0, 1)),
    "a dissolve": mixed(LIT, np.resize(FOX, LIT.shape), ramp(20, 8)),
    **{f"a pan by {speed} pixels of 96 a frame": pan(speed) for speed in (1, 4, 8)},
    "noise in the dark": np.random.default_rng(0).integers(0, 12, (20, 48, 48, 3), dtype=np.uint8),
    "noise alone": np.random.default_rng(0).integers(0, 256, (20, 48, 48, 3), dtype=np.uint8),
    "one colour": np.full((12, 32, 32, 3), 90, np.uint8),
    "one frame": FOX[:1],
    "two frames of a shot": FOX[:2],
    "nothing": FOX[:0],
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_cut(name):
    assert cuts.find(NONE[name]) == []


def test_scenes_of_the_pocket_world_have_no_cut_and_their_seams_have_one():
    scenes = [scene(seed, SIZE) for seed in range(24)]
    for before, after in itertools.pairwise(scenes):
        assert cuts.find(before.frames) == []
        found = cuts.find(np.concatenate([before.frames, after.frames]))
        assert found == [9] or (before.spec.ground == after.spec.ground and found == [])


def test_the_change_is_what_it_says():
    a, b, grey = FOX[0], APPLE[0], np.full((64, 64, 3), 128, np.uint8)
    near, far = cuts.look(a), cuts.look(b)
    assert cuts.changes([a, b, b, b]) == pytest.approx([0, cuts.distance(near, far), 0, 0], abs=1e-3)
    assert cuts.distance(near, near) == pytest.approx(0, abs=1e-3)
    assert cuts.distance(near, far) == cuts.distance(far, near) > 1
    # all colours are new, and of the picture everything: sqrt(1 - 0) and 1 - 0
    assert cuts.distance(near, cuts.look(grey)) == pytest.approx(min(1 / cuts.COLOUR, 1 / cuts.SHAPE), rel=1e-6)


def test_no_frame_is_held():
    alive, most = [], 0

    def film():
        nonlocal most
        for index in range(60):
            frame = FOX[index % 9].copy()
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            most = max(most, sum(held() is not None for held in alive))

    assert len(cuts.changes(film())) == 60
    assert most <= 1


def test_a_file_s_small_frames_are_those_that_are_asked_for(tmp_path):
    levels = np.arange(12, dtype=np.uint8) * 20 + 10
    with writer.Writer(tmp_path / "a.mp4", (50, 120), Fraction(10), crf=0) as out:
        out.write(np.broadcast_to(levels[:, None, None, None], (12, 50, 120, 3)).copy())
    info = probe.probe(tmp_path / "a.mp4")
    for indices in (range(12), (0, 3, 4, 11), (7,), (2, 2, 5)):
        small = np.stack(list(reader.read_small(info, indices, 48)))
        assert small.shape == (len(indices), 20, 48, 3)
        assert np.abs(small.mean((1, 2, 3)) - levels[list(indices)]).max() < 3


@pytest.mark.parametrize(
    ("given", "places", "text"),
    [
        ([120], 20.0, "1 hard cut found, at frame 120 (6.0 s): each of the 2 shots"),
        ([120, 200], 25.0, "2 hard cuts found, at frames 120 and 200 (4.8 s, 8.0 s): each of the 3 shots"),
        (list(range(10, 130, 10)), 10.0, "at frames 10, 20, 30, 40, 50, 60, 70, 80 and 4 more (1.0 s, 2.0 s, "),
    ],
)
def test_the_notice(given, places, text):
    notice = cuts.notice(given, lambda frame: Fraction(frame) / Fraction(places))
    assert text in notice
    assert notice.endswith("is edited by itself (cuts=none edits the clip whole)")


# --- the setting


@pytest.mark.parametrize(
    ("value", "made"),
    [("auto", "auto"), ("none", "none"), ("120,200", (120, 200)), ("120, 200", (120, 200)), ("[3]", (3,)), ("7", (7,))],
)
def test_a_flag_takes_numbers_with_commas(value, made):
    assert compose.compose({"cuts": value}).cuts == made
    assert compose.compose({}, [f"cuts={value}"]).cuts == made


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("sometimes", "cuts 'sometimes' is not a list of numbers or one of auto, none"),
        ("null", "cuts None is not a list of numbers or one of auto, none"),
        ("[200,120]", r"cuts \[200, 120\] is out of range: auto, none or ascending frame numbers from 1 up"),
        ("5,5", r"cuts \[5, 5\] is out of range"),
        ("0", r"cuts \[0\] is out of range"),
        ("[1.5]", r"cuts \[1.5\] is not a list of numbers"),
    ],
)
def test_what_is_no_list_of_cuts_is_refused(value, says):
    with pytest.raises(ValueError, match=says):
        compose.compose({"cuts": value})


def test_an_edit_s_file_may_list_them(tmp_path):
    path = tmp_path / "edit.yaml"
    for value, made in (([4, 9], (4, 9)), (4, (4,)), ("none", "none"), ([], ())):
        path.write_text(yaml.safe_dump({"clip": "a.mp4", "source": "s", "target": "t", "cuts": value}))
        assert compose.compose(edit_file.read_edit(path)).cuts == made
    for value in (["${oc.env:HOME}"], [1.5], [True], [[4]], {"a": 1}, "4,9}"):
        path.write_text(yaml.safe_dump({"clip": "a.mp4", "cuts": value}))
        with pytest.raises(ValueError, match=r"cuts .* is not"):
            compose.compose(edit_file.read_edit(path))


@pytest.mark.parametrize(
    ("given", "says"), [([12], "give numbers from 1 to 11"), ([3, 40], "begin at frame 40 of the 12")]
)
def test_a_cut_outside_the_frames_that_are_read_is_refused_before_a_backbone_is_there(clip_file, given, says):
    options = {"clip": clip_file, "source": "a", "target": "b", "cuts": given}
    with pytest.raises(ValueError, match=says):
        check(settings_of(options), open_clip(settings_of(options)))
    one = settings_of(options | {"frames": 1})
    with pytest.raises(ValueError, match="one frame has no cut"):
        check(one, open_clip(one))


# --- the edit


FAST = {"steps": 3, "quality": "best", "runtime.device": "cpu"}
PROMPTS = {
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
}
PARTS = {"fox": (0, 9), "apple": (9, 20), "car": (20, 21)}


@pytest.fixture(scope="module")
def film(tmp_path_factory, clip_file):
    """The fox, the apple and one frame of the car, 9 + 11 + 1 frames at 10 a second, with 1.2 s of a tone."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with writer.Writer(
        path, SIZE, Fraction(10), Sound(probe.probe(clip_file), Fraction(0), Fraction(12, 10)), crf=0
    ) as out:
        out.write(np.concatenate([FOX, APPLE, NIGHT[:1]]))
    return path


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket", **FAST)


@pytest.fixture(scope="module")
def whole(editor, film, tmp_path_factory):
    return editor.edit(film, out=tmp_path_factory.mktemp("whole"), **PROMPTS)


@pytest.fixture(scope="module")
def alone(editor, film, tmp_path_factory):
    places = {name: {"start": a, "frames": b - a} for name, (a, b) in PARTS.items()}
    return [editor.edit(film, out=tmp_path_factory.mktemp(name), **PROMPTS, **place) for name, place in places.items()]


def test_every_shot_is_edited_as_if_it_stood_alone(whole, alone):
    for name in ("latents", "source_latents", "latent_mask"):
        parts = [getattr(result, name) for result in alone]
        assert torch.equal(getattr(whole, name), torch.cat(parts, dim=2)), name
    assert not torch.equal(whole.latents, whole.source_latents)
    frames = frames_of(whole.video).astype(int)
    for (a, b), result in zip(PARTS.values(), alone, strict=True):
        # x264 spends other bits on a longer clip
        assert np.abs(frames[a:b] - frames_of(result.video)).mean() < 2
    assert np.abs(frames[8] - frames[9]).mean() > 20


def test_the_edit_of_several_shots_is_one_clip_of_the_source_s_format(whole, film):
    before = probe.probe(film)
    for path in (whole.video, whole.compare, whole.mask):
        after = probe.probe(path)
        assert (after.frames, after.fps) == (before.frames, before.fps)
    after = probe.probe(whole.video)
    assert (after.size, after.has_audio) == (before.size, True)
    compared = frames_of(whole.compare)[:, -64:, :64].astype(int)
    assert np.abs(compared - frames_of(film)).mean() < 4


def test_what_is_told_and_kept_of_the_shots(whole, alone):
    kept = yaml.safe_load((whole.folder / "run.yaml").read_text())
    assert kept["notices"][0] == (
        "2 hard cuts found, at frames 9 and 20 (0.9 s, 2.0 s): each of the 3 shots is edited by itself "
        "(cuts=none edits the clip whole)"
    )
    assert "shot 2: 11 frames: the last is repeated 6 times for the model, and dropped again" in kept["notices"]
    assert kept["shots"] == [
        {"first_frame": 0, "frames": 9, "working_frames": 9, "latent_frames": 3},
        {"first_frame": 9, "frames": 11, "working_frames": 17, "latent_frames": 5},
        {"first_frame": 20, "frames": 1, "working_frames": 1, "latent_frames": 1},
    ]
    assert (kept["clip"]["frames"], kept["clip"]["working_frames"]) == (21, 27)
    assert tuple(kept["clip"]["latent"]) == tuple(whole.latents.shape[1:])
    assert kept["network_evaluations"] == sum(result.run["network_evaluations"] for result in alone) > 0
    assert [result.run["shots"][0]["first_frame"] for result in alone] == [0, 0, 0]


def test_without_cuts_the_clip_is_one_shot(editor, film, whole, tmp_path):
    result = editor.edit(film, out=tmp_path, cuts="none", **PROMPTS)
    assert [part["frames"] for part in result.run["shots"]] == [21]
    assert not any("cut" in text for text in result.run["notices"])
    assert result.latents.shape[2] == 7 < whole.latents.shape[2]


def test_given_cuts_part_a_clip_that_has_none(editor, film, alone, tmp_path):
    options = PROMPTS | {"start": 0, "frames": 9}
    result = editor.edit(film, out=tmp_path / "a", cuts=[1, 4], **options)
    assert [part["first_frame"] for part in result.run["shots"]] == [0, 1, 4]
    assert not any("found" in text for text in result.run["notices"])
    last = editor.edit(film, out=tmp_path / "b", **PROMPTS, start=4, frames=5)
    assert torch.equal(result.latents[:, :, -3:], last.latents)
    # and one that the clip has, given, is the same edit as found
    again = editor.edit(film, out=tmp_path / "c", cuts=[9], **PROMPTS, frames=20)
    assert torch.equal(again.latents, torch.cat([part.latents for part in alone[:2]], dim=2))


def test_cuts_are_counted_in_the_frames_that_are_read(editor, film, tmp_path):
    result = editor.edit(film, out=tmp_path, **PROMPTS, start=2, fps=5, strength=0)
    assert [part["first_frame"] for part in result.run["shots"]] == [0, 4, 9]
    assert result.run["notices"][0].startswith("2 hard cuts found, at frames 4 and 9 (0.8 s, 1.8 s)")


def test_a_user_s_mask_goes_with_its_shot(editor, film, tmp_path):
    (tmp_path / "mask").mkdir()
    for index in range(21):
        picture = np.zeros(SIZE, np.uint8)
        picture[16:48, 4 : 40 + index] = 255 * (index < 9 or index > 19)
        cv2.imwrite(str(tmp_path / "mask" / f"{index:02d}.png"), picture)
    options = PROMPTS | {"user_mask": tmp_path / "mask", "mask.decay": float("inf")}
    result = editor.edit(film, out=tmp_path / "whole", **options)
    latents = [part["latent_frames"] for part in result.run["shots"]]
    edited, source = result.latents.split(latents, 2), result.source_latents.split(latents, 2)
    assert torch.equal(edited[1], source[1])  # black all through: nothing is edited there
    for number, (a, b) in ((0, PARTS["fox"]), (2, PARTS["car"])):
        single = editor.edit(film, out=tmp_path / f"{number}", **options, start=a, frames=b - a)
        assert torch.equal(edited[number], single.latents)
        assert not torch.equal(edited[number], source[number])
    changed = np.abs(frames_of(result.video).astype(int) - frames_of(film)).mean((1, 2, 3))
    assert 1.5 * changed[9:20].max() < changed[:9].min()  # what the codec does, and the edit


@pytest.mark.parametrize("mode", ["random_noise", "inversion"])
@pytest.mark.parametrize("kind", ["15", "wan"])
def test_every_mode_and_shape_takes_shots_of_any_length(request, clip_file, tmp_path, kind, mode):
    folder = request.getfixturevalue(f"backbone_{kind}")
    prompts = {"source": "a red square moves", "target": "a blue panda moves", "target_words": "panda"}
    fast = {"steps": 2, "strength": 1.0, "target_guidance_scale": 1.0, "size": "96x64", "runtime.device": "cpu"}
    editor = flowedit.load(folder, mode=mode, **prompts, **fast)
    result = editor.edit(clip_file, out=tmp_path / "a", cuts=[1, 10])
    last = editor.edit(clip_file, out=tmp_path / "b", start=10)
    assert probe.probe(result.video).frames == 12
    assert torch.equal(result.latents[:, :, -last.latents.shape[2] :], last.latents)


def test_the_worst_reconstruction_of_the_shots_is_kept(editor, film, tmp_path):
    options = PROMPTS | {"mode": "inversion", "mode.reconstruction": True, "frames": 20}
    whole = editor.edit(film, out=tmp_path / "whole", **options).run["reconstruction_error"]
    parts = [
        editor.edit(film, out=tmp_path / f"{a}", **options | {"start": a, "frames": n}).run["reconstruction_error"]
        for a, n in ((0, 9), (9, 11))
    ]
    assert whole == max(parts) > min(parts)
