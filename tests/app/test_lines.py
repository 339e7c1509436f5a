"""The lines that make the same edit again: the program's own parser reads from them what was asked for."""

import ast
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from studio import FOX, SMALL, until

import flowedit
from flowedit.app.desk import lines
from flowedit.app.desk.studio import Studio
from flowedit.app.history import identity
from flowedit.app.jobs import JobRecord
from flowedit.app.options import studio_options
from flowedit.cli.flags import FLAGS, given, texts_of, with_instruction
from flowedit.cli.main import _parse
from flowedit.config.compose import compose


def read(line):
    """The clip and the settings that the command line makes of a line."""
    program, *rest = shlex.split(line)
    assert Path(program).name == "flowedit"  # its whole path where a shell would not find it
    options = _parse(rest)
    named, overrides = texts_of(options)
    clip, asked = with_instruction("edit", named, options)
    return clip, compose(asked | given(options, FLAGS), overrides)


def called(line):
    """The arguments of a Python line."""
    call = ast.parse(line.splitlines()[-1]).body[0].value
    assert isinstance(call, ast.Call)
    named = {}
    for each in call.keywords:
        value = ast.literal_eval(each.value)
        named |= value if each.arg is None else {each.arg: value}
    return ast.literal_eval(call.args[0]), named


@pytest.mark.parametrize("clip", ["a b.mp4", "-x.mp4", "--seed", "seed=4.mp4", "clip=fox.mp4", "x.y=1 2.mp4"])
@pytest.mark.parametrize(
    "flags",
    [
        {"target": "-x a", "seed": 3},
        {"target": "a", "negative_prompt": "--no"},
        {"target_parts": ["a fox", "-a car"], "source": "it's; $HOME"},
        {"instruction": "replace the fox with a panda", "source": "-a fox"},
        {"target": "--seed 5", "source_words": "-fox", "box": "-1,2,3,4"},
        {"mode": "inversion", "mode.solver": "heun", "backbone": "pocket", "mask.blocks": [0.2, 0.4]},
        {"runtime.threads": "null", "runtime.cache": "-a b", "guidance_interval": [0.1, 0.5], "cuts": [3, 7]},
    ],
)
def test_a_command_is_read_as_what_was_asked_for(tmp_path, monkeypatch, clip, flags):
    monkeypatch.chdir(tmp_path)
    (tmp_path / clip).touch()
    told = lines.of_job(JobRecord("", 0, "edit", None, "", flags, None, 0.0), clip)
    named, settings = read(told["command"])
    assert (tmp_path / named).samefile(tmp_path / clip)
    assert settings == compose(flags)
    assert called(told["python"]) == (clip, flags)


def test_the_command_of_a_comparison_is_read_by_its_parser():
    flags = {"target": "-x", "modes": ["inversion", "inversion_free"], "evaluations": 12, "mask.grow": 0.1}
    command = lines.of_job(JobRecord("", 0, "compare", None, "", flags, None, 0.0), "-x.mp4")["command"]
    options = _parse(shlex.split(command)[1:])
    assert options.rest == ["./-x.mp4", "mask.grow=0.1"]
    assert (options.target, options.modes, options.evaluations) == ("-x", "inversion,inversion_free", "12")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A local studio with an edit, and the folder of its files."""
    out = tmp_path_factory.mktemp("lines")
    studio = Studio(studio_options({"out": str(out)}))
    studio.start()
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    id = studio.submit("edit", clip.id, SMALL, "me")
    assert until(studio, id)["state"] == "done"
    yield studio, out / "fox" / id
    studio.close()


def by_hand(studio, of, **settings):
    """An edit of the command line in the studio's folder with these settings, as the studio tells of it."""
    place = studio.out / "hand" / str(len(list(studio.out.glob("hand/*"))))
    shutil.copytree(of, place)
    run = yaml.safe_load((place / "run.yaml").read_text())
    run["settings"] |= settings
    (place / "run.yaml").write_text(yaml.safe_dump(run))
    studio._history._again = 0.0  # it came just now
    return studio.status(identity(place.relative_to(studio.out)))


def test_a_command_lines_edit_is_told_with_its_mask_its_model_and_its_machine(made, tmp_path):
    studio, folder = made
    own = by_hand(studio, folder)
    assert own["left_out"] == []
    assert "runtime" not in own["command"]
    told = by_hand(
        studio,
        folder,
        user_mask="/masks/-m.png",
        caption="a/model",
        backbone={"name": "pocket", "path": str(tmp_path)},
        runtime={"device": "cpu", "cache": None, "dtype": "auto"},
    )
    _, settings = read(told["command"])
    assert (settings.user_mask, settings.backbone.path) == ("/masks/-m.png", str(tmp_path))
    assert settings.source == SMALL["source"], "what the model of --caption said stands there, so nobody asks it again"
    assert (settings.runtime.device, settings.runtime.cache, settings.steps) == ("cpu", None, 2)
    assert called(told["python"])[1]["user_mask"] == "/masks/-m.png"
    assert not {"user_mask", "caption", "backbone"} & set(told["settings"])
    said = " ".join(told["left_out"])
    assert "give the mask again" in said
    assert "its model is none of those that go by name" in said
    assert "no line" not in said


def test_a_model_of_the_hub_is_named_and_an_unknown_key_gives_no_line(made):
    studio, folder = made
    told = by_hand(studio, folder, backbone={"name": "you/model", "path": None, "repository": "you/model"})
    assert "--backbone you/model" in told["command"]
    told = by_hand(studio, folder, warp=3)
    assert told["command"] is told["python"] is None
    assert any(text.startswith("no line makes the same: ") and "'warp'" in text for text in told["left_out"])
    assert told["settings"]["steps"] == 2


def test_an_edit_whose_record_cannot_be_read_has_no_settings_in_place_of_empty_ones(made):
    studio, folder = made
    told = by_hand(studio, folder, mode={"name": "inversion_free", "preset": "inversion_free"}, seed="[")
    assert (told["settings"], told["command"], told["python"]) == (None, None, None)
    assert told["left_out"] == ["its run.yaml cannot be read: its settings are lost"]
    assert told["files"]


def test_masks_outlive_their_clip_in_the_lines_and_are_missed_where_they_do_not(made):
    studio, _ = made
    clip, other = (studio.add_clip(FOX, "fox.mp4", "me") for _ in range(2))
    box = {"boxes": [{"frame": 0, "x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}]}
    painted = studio.submit("edit", clip.id, SMALL, "me", box)
    given = studio.submit("edit", clip.id, SMALL, "me", {"file": other.id})
    for id in (painted, given):
        assert until(studio, id)["state"] == "done", studio.status(id)["message"]
        assert "--user-mask" in studio.status(id)["command"]
    studio.delete_clip(clip.id, "me")
    told = studio.status(painted)
    assert "user_mask.mkv" in told["files"]
    assert f"--user-mask {studio.root}/previews/{painted}/user_mask.mkv" in told["command"]
    assert f"--user-mask {studio.clips.path(other.id)}" in studio.status(given)["command"]
    studio.delete_clip(other.id, "me")
    told = studio.status(given)
    assert told["command"] is told["python"] is None
    assert told["left_out"] == ["no line makes the same: the mask that it was given was deleted"]
    assert flowedit.settings_from(studio.file(given, "edit.mp4"))["steps"] == 2
