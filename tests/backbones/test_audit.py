"""AUDIT.md is true: its values are the releases' own, its references exist, its defaults are conf's and diffusers'."""

import inspect
import json
import re
from importlib.util import find_spec
from pathlib import Path

import memory_table
import pytest

from flowedit.backbones.released import RELEASES
from flowedit.backbones.sheets import cogvideox, wan
from flowedit.config.compose import compose

ROOT = Path(__file__).resolve().parents[2]
AUDIT = (ROOT / "flowedit" / "backbones" / "AUDIT.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)\.(\w+)` \|(.*)$", AUDIT, re.MULTILINE)
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py): (\w+)`", AUDIT)))


@pytest.mark.parametrize(("component", "key", "cells"), ROWS, ids=[f"{row[0]}.{row[1]}" for row in ROWS])
def test_every_value_is_that_of_the_release(component, key, cells):
    releases = {**cogvideox.RELEASES, **wan.RELEASES}
    values = [cell.strip() for cell in cells.split("|")][: len(releases)]
    for value, (name, release) in zip(values, releases.items(), strict=True):
        config = release.scheduler[1] if component == "scheduler" else release.parts[component].config
        if value == "–":
            assert key not in config, name
        else:
            assert json.loads(value.strip("`")) == config[key], name


@pytest.mark.parametrize(("file", "name"), REFERENCES)
def test_every_reference_is_there(file, name):
    diffusers = Path(find_spec("diffusers").origin).parent
    places = [*(ROOT / "flowedit").rglob(file), diffusers / file]
    texts = [path.read_text(encoding="utf-8") for path in places if path.is_file()]
    assert any(
        re.search(rf"^(\s*def {name}\b|class {name}\b|[^#\n]*\b{name}\b[^=\n]* = )", text, re.M) for text in texts
    )


def test_there_is_something_to_hold():
    assert len(ROWS) > 20
    assert len(REFERENCES) > 15


def test_our_defaults_are_those_of_the_table():
    made = compose({"backbone": "cogvideox-5b"})
    assert (made.steps, made.strength) == (50, 0.8)
    assert (made.source_guidance_scale, made.target_guidance_scale) == (3.5, 10.5)
    assert (made.mask.blocks, made.mask.threshold, made.mask.decay) == ((0.6,), "mean", 15.0)
    assert made.mask.pool == pytest.approx(11 / 60, abs=0.005)


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("CogVideoXPipeline", {"num_inference_steps": 50, "guidance_scale": 6, "max_sequence_length": 226}),
        ("CogVideoXVideoToVideoPipeline", {"num_inference_steps": 50, "guidance_scale": 6, "strength": 0.8}),
        ("WanPipeline", {"num_inference_steps": 50, "guidance_scale": 5.0, "max_sequence_length": 512}),
    ],
)
def test_the_defaults_of_the_models_own_pipelines_are_those_of_the_table(pipeline, expected):
    import diffusers

    parameters = inspect.signature(getattr(diffusers, pipeline).__call__).parameters
    assert {name: parameters[name].default for name in expected} == expected


def test_the_licenses_and_sizes_of_conf_are_named_for_every_release():
    for name, release in RELEASES.items():
        made = compose({"backbone": name}).backbone
        assert made.license
        assert made.parameters == pytest.approx(
            {
                "cogvideox-2b": 1.69,
                "wan2.1-t2v-1.3b": 1.42,
                "wan2.1-t2v-14b": 14.29,
                "wan2.2-t2v-a14b": 14.29,
                "wan2.2-ti2v-5b": 5.0,
                "ltx-video": 1.92,
                "hunyuan-video": 12.82,
                "mochi-1": 10.03,
                "anyflow-wan2.1-t2v-1.3b": 1.42,
                "anyflow-wan2.1-t2v-14b": 14.32,
                "flux1-dev": 11.9,
                "flux1-schnell": 11.9,
                "sdxl-base-1.0": 2.57,
                **dict.fromkeys(("modelscope-1.7b", "zeroscope-v2-576w", "zeroscope-v2-xl"), 1.41),
            }.get(name, 5.57),
            abs=0.05,
        )
        apache = name.startswith("wan") or name in ("cogvideox-2b", "flux1-schnell", "mochi-1")
        assert ("Apache" in made.license and "not Apache" not in made.license) is apache, release


@pytest.mark.parametrize("name", RELEASES)
def test_the_table_of_backbones_says_a_license_as_conf_does(name):
    table = (ROOT / "flowedit" / "backbones" / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{re.escape(name)}` \|.*GiB;.*\| ([^|]+) \|$", table, re.MULTILINE)
    assert row == (compose({"backbone": name}).backbone.license or "").partition(" (")[0].removeprefix("the ")


@pytest.mark.parametrize("name", RELEASES)
def test_the_memory_that_conf_and_the_readmes_name_is_what_was_counted(name):
    phases = memory_table.read()[name]
    peak = max(phases[phase] for phase in memory_table.PHASES)
    least = max(phases[phase] for phase in ("text, streamed", "encode", "edit, gpu_8gb", "decode"))
    texts = [compose({"backbone": name}).backbone.memory]
    for path in (ROOT / "README.md", ROOT / "flowedit" / "backbones" / "README.md"):
        texts += re.findall(rf"^\| `{name}` \| [^|]+ \| ([\d.]+ GiB[^|]*) \|", path.read_text(encoding="utf-8"), re.M)
    assert len(texts) >= 2  # the top README names some of them
    expected = [f"{peak:.1f}", f"{least:.1f}"]
    for text in texts:
        assert re.findall(r"\d+\.\d", text) == expected
