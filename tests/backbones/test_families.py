"""The registry of families: a new one in process, an unknown pipeline, a broken plug-in, and what reading it costs."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import EntryPoint

import pytest
import torch

from flowedit import declare
from flowedit.backbones import families, options
from flowedit.backbones.families import FAMILIES, Family
from flowedit.networks.acceleration import PLAIN
from flowedit.types import BackboneSpec


class Toy:
    """A backbone of a family that no folder of weights belongs to."""

    def __init__(self, checkpoint, device, dtype, *, rows, tiling, cache, **memory):
        self.device, self.dtype, self.given = device, dtype, (rows, tiling, cache)
        self.memory = memory
        self.spec = BackboneSpec(
            name=checkpoint.name, notices=(), trained=True, trained_frames=9, fps=8, latent_size=(8, 8),
            native_area=4096, multiple=8, frames_per_latent=4,
        )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def write(pipeline):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
        return tmp_path

    return write


@pytest.fixture
def toy():
    FAMILIES.add("toy", Family("a toy", ("ToyPipeline", "ToyTwo*"), Toy, dtype=torch.float16))
    yield
    FAMILIES.remove("toy")


@pytest.mark.parametrize("pipeline", ["ToyPipeline", "ToyTwoImageToVideoPipeline"])
@pytest.mark.usefixtures("toy")
def test_a_family_that_a_script_adds_opens_its_checkpoints(folder, tmp_path, pipeline):
    backbone = families.load(folder(pipeline), name="mine", device="cpu", rows=2, tiling=False, cache=tmp_path)
    assert isinstance(backbone, Toy)
    assert (backbone.spec.name, backbone.given) == ("mine", (2, False, tmp_path))
    own = {"offload": "auto", "weights": "saved", "text_weights": "saved", "ladder": (), "how": PLAIN}
    assert (backbone.device.type, backbone.dtype, backbone.memory) == ("cpu", torch.float32, own)
    assert families.load(tmp_path, device="cpu", dtype="bfloat16").dtype is torch.bfloat16


@pytest.mark.usefixtures("toy")
def test_the_times_of_a_plug_in_s_family_are_those_of_the_checkpoint_that_it_opens(folder, monkeypatch):
    monkeypatch.setattr(Toy, "knots", torch.tensor([0.9, 0.5]), raising=False)
    given = options.BackboneOptions(name=None, repository=None, download=None, path=str(folder("ToyPipeline")))
    knots, shift, strength_shift = families.times_of(given)
    assert (knots.tolist(), shift, strength_shift) == (pytest.approx([0.9, 0.5]), 1.0, None)


def test_the_times_of_a_repository_that_is_not_here_are_asked_for_by_its_name():
    given = options.BackboneOptions(name="a/b", repository="a/b", download=None, path=None)
    with pytest.raises(ValueError, match=r"needs the times of a/b, which is not here: download it first, or leave"):
        families.times_of(given)


@pytest.mark.usefixtures("toy")
def test_a_family_says_its_precision_on_an_accelerator(folder, monkeypatch):
    monkeypatch.setattr(families, "find_device", lambda name: torch.device("cuda"))
    assert families.load(folder("ToyPipeline")).dtype is torch.float16


def test_a_pipeline_by_its_name_comes_before_a_pattern(folder):
    FAMILIES.add("control", Family("a toy", ("CogVideoXFunControlPipeline",), Toy))
    try:
        assert isinstance(families.load(folder("CogVideoXFunControlPipeline"), device="cpu"), Toy)
    finally:
        FAMILIES.remove("control")


@pytest.mark.parametrize(("pipeline", "content"), [("AllegroPipeline",) * 2, ("", "model without a name")])
@pytest.mark.usefixtures("toy")
def test_an_unknown_pipeline_is_refused_with_all_that_are_known(folder, pipeline, content):
    known = ", ".join(f"{each.pipelines[0]} ({name})" for name, each in FAMILIES.items())
    assert "CogVideoXPipeline (cogvideox), " in known
    assert known.endswith("ToyPipeline (toy)")
    with pytest.raises(ValueError, match=f"holds a {content}, .*{re.escape(known)}"):
        families.load(folder(pipeline), device="cpu")


def test_a_broken_plug_in_does_not_break_the_others(folder, backbone_2b, monkeypatch):
    broken = EntryPoint("broken", "no_such_package_of_anyone:family", "flowedit.backbones")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [broken])
    monkeypatch.setattr(FAMILIES, "_read", False)
    monkeypatch.setattr(FAMILIES, "broken", {})
    assert set(FAMILIES) >= {"cogvideox", "wan"}
    assert families.load(backbone_2b, device="cpu").spec.fps == 8
    with pytest.raises(ValueError, match=r"AllegroPipeline.*'broken' cannot be loaded.*no_such_package_of_anyone"):
        families.load(folder("AllegroPipeline"), device="cpu")


def test_the_families_and_a_mistyped_path_need_no_diffusers(tmp_path):
    code = (
        "import sys, pathlib; from flowedit.backbones import families\n"
        "try: families.load(pathlib.Path('gone'))\n"
        "except ValueError as error: print(error)\n"
        "print({'anyflow', 'cogvideox', 'flux', 'modelscope', 'sdxl', 'wan'} - {*families.FAMILIES})\n"
        "print([m for m in ('diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["backbone 'gone' is not a folder", "set()", "[]"]


@pytest.mark.parametrize("group", [options.BackboneOptions, options.RuntimeOptions])
def test_every_option_is_declared(group):
    assert [*declare.options_of(group)] == [each.name for each in fields(group)]


def test_options_know_their_range_and_need_no_torch():
    runtime = declare.options_of(options.RuntimeOptions)
    assert [runtime["rows"].refusal(rows) for rows in (0, 4, -1)] == [None, None, "auto or at least 0 (0: no limit)"]
    assert [runtime["threads"].refusal(threads) for threads in (None, 1, 0)] == [None, None, "at least 1"]
    code = "import sys, flowedit.backbones.options; print([m for m in ('torch', 'diffusers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
