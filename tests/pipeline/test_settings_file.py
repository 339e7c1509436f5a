"""Settings in an edit's video and back: whole, the same bytes from any folder, and nothing from a hostile file."""

import json
import shutil
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import yaml

import flowedit
from flowedit.config import compose
from flowedit.config.folder import example
from flowedit.media import probe
from flowedit.media.writer import Writer
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.looks.settings_file import LONGEST, differing, settings_text
from flowedit.pipeline.outputs import write_yaml
from flowedit.pipeline.record import plain

FOX = example("fox").with_suffix(".mp4")
ASKED = {"source": "a fox moves right over green grass", "instruction": "replace the fox with a panda"}
QUICK = {"frames": 5, "steps": 2, "strength": 1.0}


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    out = tmp_path_factory.mktemp("edited") / "one"
    return flowedit.edit(FOX, out=out, seed=3, negative_prompt="café", **ASKED, **QUICK)


def video_with(path, text):
    with Writer(path, (16, 16), Fraction(8), labels=[("comment", text)]) as writer:
        writer.write(np.full((2, 16, 16, 3), 90, np.uint8))
    return path


def settings_video(path, settings, **more):
    return video_with(path, json.dumps({"flowedit": "9.9", "settings": settings, **more}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": "draft"},
        {"quality": "draft", "strength": 0.5, "mode.target_only_steps": 1},
        {"mode": "flowdirector_v2", "backbone": "wan2.1-t2v-1.3b", "steps": 7},
        {"mode": "inversion", "mode.solver": "heun", "cuts": [5, 9], "box": "1,2,3,4"},
        {"mode": {"name": "inversion_free", "grid": "given", "times": [1.0, 0.4, 0.0]}, "edit_strength": 1.5},
        {"mask": "both", "mask.decay": float("inf"), "averaging": "differential_first", "fps": "7.5"},
        {"mask": "none", "attention": "structure", "window": 9, "composite": False},
        {"mode": "flowalign", "edit_strength": None, "seed": 2**40},
        {"format": "webm", "codec": "av1", "crf": 30, "bit_depth": 10},
        {"upscale": "lanczos"},
        {"source": "a fox", "target": "a box, $HOME ${oc.env:HOME}", "source_words": "fox", "task": "replace"},
    ],
)
def test_settings_come_back_whole(tmp_path, options):
    settings = settings_of(options)
    path = video_with(tmp_path / "edit.mp4", settings_text(settings))
    found = flowedit.settings_from(path)
    assert settings_of(found) == settings
    assert len(found) <= len(options) + 4


def test_an_edit_holds_what_was_typed_and_its_run_says_the_same(edited):
    found = flowedit.settings_from(edited.video)
    assert found == {"backbone": "pocket", "seed": 3, "negative_prompt": "café", **ASKED, **QUICK}
    assert flowedit.settings_from(edited.folder / "run.yaml") == found
    told = json.loads(probe.comment(edited.video))
    assert told["flowedit"] == flowedit.__version__
    assert str(FOX.parent) not in probe.comment(edited.video)
    for name in ("compare.mp4", "mask.mp4"):
        assert probe.comment(edited.folder / name) is None


def test_the_same_settings_give_the_same_bytes_from_any_folder(edited, tmp_path):
    elsewhere = tmp_path / "other folder"
    elsewhere.mkdir()
    clip = shutil.copy(FOX, elsewhere / "another name.mp4")
    again = flowedit.edit(clip, out=elsewhere / "two", **flowedit.settings_from(edited.video))
    assert again.video.read_bytes() == edited.video.read_bytes()


def test_like_takes_settings_over_and_flags_win(edited, command, tmp_path):
    code, _, _ = command("edit", FOX, "--like", edited.video, "--out", tmp_path / "same", "--quiet")
    assert code == 0
    assert (tmp_path / "same" / "edit.mp4").read_bytes() == edited.video.read_bytes()
    like = edited.folder / "run.yaml"
    code, _, err = command("edit", FOX, "make the fox a koala", "--like", like, "--seed", "4", "--out", tmp_path / "b")
    assert code == 0, err
    found = flowedit.settings_from(tmp_path / "b" / "edit.mp4")
    assert (found["seed"], found["instruction"], found["steps"]) == (4, "make the fox a koala", 2)
    code, _, err = command("edit", FOX, "--like", FOX, "--out", tmp_path / "c")
    assert code == 1
    assert "holds no settings: give the edit.mp4, edit.png or run.yaml" in err
    assert not (tmp_path / "c").exists()


def test_a_target_by_flag_takes_the_place_of_an_earlier_instruction(edited, command, tmp_path):
    flags = ["--target", "a koala moves right over green grass", "--source-words", "fox", "--target-words", "koala"]
    code, _, err = command("edit", FOX, "--like", edited.video, *flags, "--out", tmp_path / "edit")
    assert code == 0, err
    found = flowedit.settings_from(tmp_path / "edit" / "edit.mp4")
    assert "instruction" not in found
    assert found["target_words"] == "koala"


def test_a_clip_from_text_gives_its_prompt_back(command, tmp_path):
    options = {"steps": 2, "frames": 9, "seed": 5}
    made = flowedit.generate("a fox moves right over green grass", out=tmp_path / "made", **options)
    found = flowedit.settings_from(made.video)
    assert found == {"prompt": "a fox moves right over green grass", "backbone": "pocket", **options}
    assert flowedit.settings_from(made.folder / "run.yaml") == found
    again = flowedit.generate(out=tmp_path / "again", **found)
    assert again.video.read_bytes() == made.video.read_bytes()
    code, _, err = command("edit", FOX, "--like", made.video)
    assert code == 1
    assert "made from text alone" in err


def test_a_mask_of_ones_own_is_not_in_the_file_and_this_is_said(tmp_path):
    mask = tmp_path / "secret" / "mask.png"
    settings = settings_of({"user_mask": str(mask), "source": "a fox", "target": "a panda"})
    assert "secret" not in settings_text(settings)
    heard = []
    found = flowedit.settings_from(video_with(tmp_path / "edit.mp4", settings_text(settings)), say=heard.append)
    assert "user_mask" not in found
    assert heard == ["edit.mp4 was made with a user_mask, which it does not hold: give the mask again"]


@pytest.mark.parametrize("held", ["edit.mp4", "run.yaml"])
def test_an_upscaler_of_ones_own_is_not_in_the_file_and_this_is_said(tmp_path, held):
    weights = tmp_path / "secret" / "x4.safetensors"
    settings = settings_of({"upscale": str(weights), "source": "a fox", "target": "a panda"})
    assert "secret" not in settings_text(settings)
    if held == "edit.mp4":
        path = video_with(tmp_path / held, settings_text(settings))
    else:
        path = tmp_path / held
        write_yaml(path, {"kind": "edit", "clip": {}, "settings": plain(asdict(settings))})
    heard = []
    assert "upscale" not in flowedit.settings_from(path, say=heard.append)
    assert heard == [f"{held} was upscaled by a file of weights, which it does not hold: give --upscale again"]


@pytest.mark.parametrize("text", ["no_such_one", "/tmp/evil.safetensors", ["lanczos"], 3])
def test_an_upscaler_that_has_no_name_here_is_left_out_and_named(tmp_path, text):
    heard = []
    found = flowedit.settings_from(
        settings_video(tmp_path / "edit.mp4", {"upscale": text, "seed": 7}), say=heard.append
    )
    assert found == {"seed": 7}
    assert "'upscale'" in heard[0]


def test_what_is_not_for_a_file_to_say_is_left_out_and_named(tmp_path):
    hostile = {
        "source": "a fox",
        "out": "/etc",
        "user_mask": "/etc/passwd",
        "backbone": "/tmp/evil",
        "backbone.path": "/tmp/evil",
        "backbone.repository": "evil/model",
        "caption": "evil/vlm",
        "runtime.cache": "/tmp/evil",
        "log": "wandb_online",
        "mode": "no_such_mode",
        "mode.name": "inversion",
        "_target_": "os.system",
        "hydra.run.dir": "/tmp",
        "<b>x</b>" * 20: 1,
        "seed": 7,
    }
    heard = []
    found = flowedit.settings_from(settings_video(tmp_path / "edit.mp4", hostile), say=heard.append)
    assert found == {"source": "a fox", "seed": 7}
    assert len(heard) == 1
    assert "'out', 'user_mask', 'backbone'" in heard[0]
    assert len(heard[0]) < 500
    assert "\n" not in heard[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mask.pool": "${oc.env:HOME}"}, "no value that a setting has"),
        ({"mode.solver": "${oc.env:HOME}"}, "no settings|left out|no value"),
        ({"seed": "1,2"}, "no value that a setting has"),
        ({"seed": {"_target_": "os.system"}}, "no value that a setting has"),
        ({"source": ["a", {"b": 1}]}, "no value that a setting has"),
        ({"source": "x" * 20_000}, "no value that a setting has"),
        ({"seed": -1}, "of which no edit can be made: seed -1 is out of range"),
        ({"steps": "many"}, "of which no edit can be made"),
        ({"instruction": "\n\n"}, "of which no edit can be made"),
        ([1, 2], "holds no settings"),
        ({f"key{i}": i for i in range(600)}, "holds no settings"),
    ],
)
def test_a_hostile_value_is_refused_in_one_line(tmp_path, settings, said, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/a/secret")
    path = settings_video(
        tmp_path / "edit.mp4", settings | {"mode": "inversion"} if "mode.solver" in settings else settings
    )
    with pytest.raises(flowedit.InputError, match=said) as error:
        flowedit.settings_from(path)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("my holiday", "holds no settings"),
        ("{" * 5000, "is not JSON"),
        ('{"settings": {}}', "holds no settings of flowedit"),
        (json.dumps({"flowedit": "1", "settings": {"source": "x" * LONGEST}}), "longer than"),
    ],
)
def test_a_comment_of_another_kind_is_refused(tmp_path, text, said):
    with pytest.raises(flowedit.InputError, match=said):
        flowedit.settings_from(video_with(tmp_path / "edit.mp4", text))


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "edit.mp4").write_bytes(b"no video")
    with pytest.raises(flowedit.InputError, match="not a video"):
        flowedit.settings_from(tmp_path / "edit.mp4")
    with pytest.raises(flowedit.FileError, match="does not exist"):
        flowedit.settings_from(tmp_path / "none.mp4")
    (tmp_path / "run.yaml").write_text("a: 1\n")
    with pytest.raises(flowedit.InputError, match=r"give the run\.yaml"):
        flowedit.settings_from(tmp_path / "run.yaml")


def test_a_run_of_an_earlier_version_is_read(edited, tmp_path):
    run = yaml.safe_load((edited.folder / "run.yaml").read_text())
    settings = run["settings"]
    settings["gone_since"] = 1
    settings["mode"]["gone_too"] = 2.5
    settings["averaging"].pop("weight")
    settings.pop("attention")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    heard = []
    found = flowedit.settings_from(tmp_path / "run.yaml", say=heard.append)
    assert found == flowedit.settings_from(edited.video)
    assert len(heard) == 1
    assert "'gone_since'" in heard[0]
    assert "'mode.gone_too'" in heard[0]


def test_the_defaults_of_all_modes_are_their_name():
    for name in ("inversion", "random_noise", "flowedit", "kv_lock"):
        assert set(differing(settings_of({"mode": name}))) == {"backbone", "mode"}, name
    assert compose.compose(differing(settings_of({}))) == settings_of({})


def test_a_run_without_a_backbone_misses_none(edited, tmp_path):
    run, heard = yaml.safe_load(edited.video.with_name("run.yaml").read_text()), []
    del run["settings"]["backbone"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    found = flowedit.settings_from(tmp_path / "run.yaml", say=heard.append)
    assert (found["seed"], heard) == (3, [])
    assert "backbone" not in found
