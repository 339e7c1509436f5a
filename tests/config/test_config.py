"""conf/ to settings: names shared with the flags, groups, types and ranges, nearest keys, no way in for a data file."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flowedit.cli import flags
from flowedit.config import compose
from flowedit.config import folder as folders
from flowedit.config.schema import Settings
from flowedit.pipeline.plan import network_evaluations

ROOT = Path(__file__).resolve().parents[2]
MODES = ("inversion", "inversion_free", "random_noise")


def main_file():
    return yaml.safe_load((ROOT / "conf" / "edit.yaml").read_text(encoding="utf-8"))


def test_conf_is_found_beside_a_checkout():
    assert compose.folder() == ROOT / "conf"


def test_conf_that_is_nowhere_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "files", lambda _: tmp_path / "flowedit")
    with pytest.raises(FileNotFoundError, match="install flowedit again"):
        compose.folder()


def test_flags_and_top_level_keys_are_the_same_names():
    keys = set(main_file()) - {"defaults", "hydra"} | set(compose.GROUPS)
    assert keys == {field.name for field in dataclasses.fields(Settings)}
    assert set(flags.FLAGS) == keys - {"clip"}  # the positional
    assert set(flags.GENERATE) < set(flags.FLAGS)


@pytest.mark.parametrize("group", compose.GROUPS)
def test_every_choice_composes(group, tmp_path):
    for name in compose.options(group):
        chosen = getattr(compose.compose({group: name, "draws": 4}), group)
        assert dataclasses.is_dataclass(chosen) or chosen == {"auto": "replace"}.get(name, name)


def test_a_mode_brings_its_own_defaults_and_a_flag_stands_over_them():
    scales = {
        name: (settings.source_guidance_scale, settings.target_guidance_scale)
        for name in MODES
        for settings in [compose.compose({"mode": name, "backbone": "cogvideox-2b"})]
    }
    assert scales == {"random_noise": (3.5, 6.0), "inversion": (1.0, 6.0), "inversion_free": (3.5, 10.5)}
    assert compose.compose({"mode": "inversion", "target_guidance_scale": "2"}).target_guidance_scale == 2.0
    assert compose.compose({"target_guidance_scale": "2", "mode": "inversion"}).target_guidance_scale == 2.0


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_tuned_for_pocket_at_96_network_evaluations(mode):
    """By all of its steps; how many of them are enough is another matter (test_quality)."""
    settings = compose.compose({"mode": mode, "quality": "best"})
    assert (compose.folder() / "backbone_mode" / f"pocket_{mode}.yaml").is_file()
    rows = {"random_noise": 2, "inversion": 3, "inversion_free": 3}[mode]  # a step; a source at guidance 1 is one row
    assert (settings.source_guidance_scale == 1) or mode == "random_noise"
    assert rows * int(settings.steps * settings.strength + 1e-9) == 96
    assert compose.compose({"mode": mode, "steps": 7, "strength": 1}).steps == 7


def test_a_removal_on_pocket_widens_its_mask_unless_another_width_or_method_is_chosen():
    told = {"source": "a fox on sand", "target": "nothing on sand", "source_words": "fox"}
    assert compose.compose(told).mask.grow == compose.compose({"task": "remove"}).mask.grow == 0.0625
    assert compose.compose(told, ["mask.grow=0"]).mask.grow == 0
    for other in ({"task": "replace"}, {"mode": "flowdirector_v2"}, {"backbone": "cogvideox-2b"}, {"target": "a car"}):
        assert compose.compose(told | other).mask.grow == 0


def test_an_addition_on_pocket_starts_from_noise_at_the_same_cost():
    told = compose.compose({"source": "a fox on sand", "target": "a fox and a car on sand", "target_words": "car"})
    assert (told.task, told.strength, told.edit_strength) == ("add", 1.0, 1.0)
    assert network_evaluations(told) == 96
    assert compose.compose({"task": "add"}, ["strength=0.5"]).strength == 0.5
    assert compose.compose({"task": "add", "mode": "inversion"}).strength == 0.8


def test_flags_then_overrides_the_last_wins():
    assert compose.compose({"steps": "3"}).steps == 3
    assert compose.compose({"steps": 3}, ["steps=4", "steps=5"]).steps == 5
    assert compose.compose({"mode.times": [1, 0.5, 0], "mode.grid": "given"}).mode.times == (1.0, 0.5, 0.0)
    assert compose.compose({"mask.preserve": True}).mask.preserve is True
    assert compose.compose({"source": None, "steps": None}) == compose.compose()


def test_a_backbone_by_name_takes_back_one_by_path(tmp_path):
    chosen = compose.compose({"backbone": str(tmp_path)}, ["backbone=cogvideox-5b"]).backbone
    assert (chosen.name, chosen.path) == ("cogvideox-5b", None)


def test_null_unsets_a_path_and_is_a_word_in_a_prompt():
    settings = compose.compose({"user_mask": "m.png", "source": "x"}, ["user_mask=null", "source=null"])
    assert settings.user_mask is None
    assert settings.source == "null"


@pytest.mark.parametrize(
    ("key", "near"),
    [("step", "steps"), ("traget", "target"), ("solver", None), ("mask.quantil", "mask.quantile"), ("rows", "rows")],
)
def test_unknown_keys_name_the_nearest(key, near):
    with pytest.raises(ValueError, match="unknown key") as error:
        compose.compose({}, [f"{key}=1"])
    assert ("did you mean" in str(error.value)) == (near is not None)
    assert near is None or near in str(error.value)


@pytest.mark.parametrize("text", ["steps", "=4", "+steps=4", "~mask", "st eps=4"])
def test_what_is_no_override(text):
    with pytest.raises(ValueError, match="key=value"):
        compose.compose({}, [text])


def test_prompts_are_never_interpolated(monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    settings = compose.compose({"source": "${oc.env:SECRET}"}, ["target=${oc.env:SECRET}"])
    assert settings.source == settings.target == "${oc.env:SECRET}"


def test_the_sweep_script_runs_the_modes_and_a_preset(tmp_path, clip_file, backbone_2b):
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    edit = {"clip": "clip.mp4", "source": "a dog, 'running'", "target": "a fox: ${x}", "size": "48x32", "frames": 1}
    (tmp_path / "edit.yaml").write_text(yaml.safe_dump(edit), encoding="utf-8")
    modes = ["random_noise", "inversion", "inversion_free", "flowdirector_v2"]
    args = [f"mode={','.join(modes)}", "clip=edit.yaml", "backbone=folder", f"backbone.path={backbone_2b}", "steps=2"]
    command = [sys.executable, str(ROOT / "scripts" / "edit.py"), "-m", *args]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    runs = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in tmp_path.glob("outputs/clip/*/mode-*/run.yaml")
    ]
    assert sorted(run["settings"]["mode"]["preset"] or run["settings"]["mode"]["name"] for run in runs) == sorted(modes)
    assert {run["settings"]["target"] for run in runs} == {"a fox: ${x}"}
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "edit.yaml", "outputs"}


def test_the_sweep_script_complains_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "edit.py"), "clip=none.mp4", "source=a", "target=b"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "flowedit: none.mp4 does not exist: check the path of the video\n"
    assert not list(tmp_path.iterdir())
