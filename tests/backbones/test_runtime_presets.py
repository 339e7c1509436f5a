"""Memory presets: every one gives the same edit, and where memory runs out the edit goes on with the next smaller."""

import importlib.util

import numpy as np
import pytest
import torch

import flowedit
from flowedit.backbones import fallback, memory, presets
from flowedit.backbones.presets import Load, MemoryNeed, MemoryPreset
from flowedit.config import compose
from flowedit.config.defaults import memory_presets
from flowedit.networks import acceleration, placement

LADDER = memory_presets()
NAMES = ["gpu_80gb", "gpu_24gb", "gpu_16gb", "gpu_12gb", "gpu_8gb"]

EDIT = {
    "source": "a red fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda",
    "steps": 3, "strength": 1.0, "size": "48x32",
}  # fmt: skip
FRAMES = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)

SAME = 1e-3
"""Of the edit's own change, what batch rows one by one may move it: the last bits of each call, over all steps."""


class Ear:
    def __init__(self):
        self.notices, self.units = [], {}

    def phase(self, name, total):
        self.now = name

    def advance(self, count=1):
        self.units[self.now] = self.units.get(self.now, 0) + count

    def notice(self, text):
        self.notices.append(text)


def loaded(folder, **options):
    return flowedit.load(folder, **{"runtime.device": "cpu", "runtime.cache": None, **options})


def edited(editor):
    ear = Ear()
    return editor.edit_frames(FRAMES, monitor=ear, **EDIT), ear


@pytest.fixture(scope="module", params=["5b", "wan"])
def family(request):
    """A checkpoint, and its edit as it is with one network at a time and all rows at once."""
    folder = request.getfixturevalue(f"backbone_{request.param}")
    return folder, edited(loaded(folder, runtime="gpu_24gb"))


def assert_same(result, whole, tolerance=SAME):
    change = (whole.latents - whole.source_latents).norm()
    assert (result.latents - whole.latents).norm() <= tolerance * change
    assert torch.equal(result.latent_mask, whole.latent_mask)
    assert np.abs(result.frames.astype(int) - whole.frames).max() <= 1


def test_the_presets_are_files_and_the_first_needs_most():
    assert [each.name for each in LADDER] == NAMES
    assert set(compose.options("runtime")) == {"auto", "cpu", *NAMES}
    assert compose.compose({"runtime": "cpu"}).runtime.device == "cpu"
    for name, preset in zip(NAMES, LADDER, strict=True):
        made = compose.compose({"runtime": name}).runtime
        assert (made.offload, made.rows, made.weights, made.tiling) == (preset.offload, preset.rows, "saved", True)
    assert compose.compose({"runtime": "gpu_8gb", "runtime.rows": 2}).runtime.rows == 2


def test_what_a_user_chose_stands_in_every_preset_that_auto_may_take():
    assert [each.name for each in presets.asked(LADDER, "auto", "auto")] == NAMES
    only = presets.asked(LADDER, "blocks", 1)
    assert only == (MemoryPreset("gpu_8gb", "blocks", 1),)
    rows = presets.asked(LADDER, "auto", 3)
    assert [(each.offload, each.rows) for each in rows] == [("none", 3), ("parts", 3), ("blocks", 3)]
    assert presets.usual(rows, "auto", 3) == rows[1]
    assert presets.usual(presets.asked((), "none", "auto"), "none", "auto").offload == "none"


@pytest.mark.parametrize(
    ("free", "taken"), [(90, "gpu_80gb"), (20, "gpu_24gb"), (13, "gpu_16gb"), (9, "gpu_12gb"), (3, "gpu_8gb")]
)
def test_auto_takes_the_fastest_that_fits(free, taken):
    needs = dict(zip(NAMES, (40, 18, 12, 8, 3), strict=True))
    assert presets.fastest(LADDER, lambda preset: needs[preset.name], free) == (LADDER[NAMES.index(taken)], True)
    assert presets.fastest(LADDER, lambda preset: needs[preset.name], 2) == (LADDER[-1], False)


def test_the_next_smaller_one_needs_less_and_moves_networks_where_that_alone_helps():
    way = [LADDER[0]]
    while (found := presets.smaller(LADDER, way[-1])) is not None:
        way.append(found)
    assert way == list(LADDER)
    assert presets.smaller(LADDER, MemoryPreset("", "parts", 4)).name == "gpu_16gb"
    assert presets.smaller(LADDER, LADDER[0], networks_leave=True).name == "gpu_24gb"
    assert presets.smaller(LADDER, LADDER[1], networks_leave=True) is None


def needed(name, load, **runtime):
    drawn, settings = memory.released(name), compose.compose({f"runtime.{key}": each for key, each in runtime.items()})
    return lambda preset: presets.need(drawn, load, settings.runtime, preset, None)


def test_a_fall_keeps_what_a_user_chose():
    chosen = presets.falls(LADDER, "auto", 1)
    assert presets.smaller(chosen, MemoryPreset("", "parts", 1)) == MemoryPreset("gpu_8gb", "blocks", 1)
    assert {each.rows for each in chosen} == {1}
    assert {each.offload for each in presets.falls(LADDER, "parts", "auto")} == {"parts"}
    assert presets.falls(LADDER, "parts", 3) == presets.asked(LADDER, "parts", 3)  # nowhere: both were chosen
    assert presets.falls(LADDER, "parts", 0) == LADDER  # a preset by name falls along the ladder
    below = presets.falls(LADDER, "parts", 1)
    assert presets.smaller(below, LADDER[2]).name == "gpu_8gb"  # not to gpu_12gb, which takes all rows


def test_a_fall_passes_by_what_needs_more():
    """Of CogVideoX 1.5 with 4 draws, blocks that stream with 8 rows need twice what a whole network with one does."""
    find = needed("cogvideox1.5-5b", Load((16, 22, 96, 170), rows=8, draws=4))
    edit = {preset.name: find(preset).phases["edit"] for preset in LADDER}
    assert edit["gpu_12gb"] > 1.5 * edit["gpu_16gb"]
    assert presets.smaller(LADDER, LADDER[2], needs=lambda preset: find(preset).phases["edit"]).name == "gpu_8gb"
    few = needed("cogvideox1.5-5b", Load((16, 22, 96, 170)))
    assert presets.smaller(LADDER, LADDER[2], needs=lambda preset: few(preset).phases["edit"]).name == "gpu_12gb"


WHOLE = ({"runtime.compile": True}, {"runtime.split_guidance": "cpu"})


@pytest.mark.parametrize("options", WHOLE, ids=["compile", "split"])
def test_what_needs_a_whole_transformer_never_meets_blocks(backbone_5b, options, monkeypatch):
    monkeypatch.setattr(acceleration, "compile_blocks", lambda blocks, device: None)
    with pytest.raises(flowedit.InputError, match="do not go together"):
        loaded(backbone_5b, runtime="gpu_8gb", **options)
    backbone = loaded(backbone_5b, **options).backbone
    monkeypatch.setattr(fallback, "free_memory", lambda device: 0.1)
    said = []
    backbone.memory.fit(
        lambda preset, free: MemoryNeed(preset, {"edit": 40 - 9 * LADDER.index(preset)}, 40), said.append
    )
    assert backbone.memory.preset.name == "gpu_16gb"  # the least that is left, and it is said that it does not fit
    assert "gpu_16gb" in said[0]
    assert backbone.memory._next("edit") is None
    runtime = compose.compose({"backbone": "pocket", **options}).runtime
    drawn = memory.released("cogvideox-5b")
    names = [each.preset.name for each in presets.needs(LADDER, drawn, Load((16, 13, 60, 90)), runtime, 80.0)]
    assert names == NAMES[:3]
    shared = compose.compose({"backbone": "pocket", "runtime.context_parallel": 2}).runtime
    (only,) = presets.needs(LADDER, drawn, Load((16, 13, 60, 90)), shared, 80.0)
    assert only.preset.name == "gpu_24gb"


def test_what_was_typed_is_named():
    assert presets.called(LADDER, "blocks", 1) == "--runtime gpu_8gb (offload=blocks)"
    assert presets.called(LADDER, "blocks", "auto") == "runtime.offload=blocks"
    assert presets.called((), "blocks", 1) == "runtime.offload=blocks"


def test_rows_that_were_chosen_stand_where_memory_runs_out(backbone_5b):
    whole, _ = edited(loaded(backbone_5b, runtime="gpu_24gb"))
    editor = loaded(backbone_5b, **{"runtime.rows": 1})
    Short(editor.backbone.components.transformer, 4)
    result, ear = edited(editor)
    assert_same(result, whole)
    assert (result.run["backbone"]["offload"], result.run["backbone"]["rows"]) == ("blocks", 1)
    assert sum(text.startswith("memory ran out") for text in ear.notices) == 1


@pytest.mark.parametrize("name", ["auto", "gpu_80gb", "gpu_16gb", "gpu_12gb", "gpu_8gb"])
def test_every_preset_gives_the_same_edit_and_reads_attention(family, name):
    folder, (whole, _) = family
    result, ear = edited(loaded(folder, runtime=name))
    assert_same(result, whole)
    vain = [text for text in ear.notices if "saves nothing on a CPU" in text]
    assert len(vain) == (name in ("gpu_12gb", "gpu_8gb"))
    assert all(text.startswith(f'runtime="{name}" (offload=blocks) ') for text in vain)
    if name != "auto":
        own = LADDER[NAMES.index(name)]
        assert (result.run["backbone"]["offload"], result.run["backbone"]["rows"]) == (own.offload, own.rows)


@pytest.mark.parametrize("preset", ["gpu_24gb", "gpu_8gb"])
@pytest.mark.parametrize(
    ("key", "how", "tolerance"), [("weights", "fp8", 0.6), ("weights", "int8", 0.3), ("text_weights", "int8", 0.3)]
)
def test_weights_in_8_bits_give_nearly_the_same_edit(family, key, how, tolerance, preset):
    if how == "int8" and importlib.util.find_spec("torchao") is None:
        pytest.skip("torchao is not installed (the extra `quant`)")
    folder, (whole, _) = family
    editor = loaded(folder, runtime=preset, **{f"runtime.{key}": how})
    result, _ = edited(editor)
    change, moved = (whole.latents - whole.source_latents).norm(), (result.latents - whole.latents).norm()
    assert 1e-4 * change < moved < tolerance * change  # it moves: the weights are other ones
    assert result.latent_mask.max() > 0
    network = editor.backbone.components.transformer
    if key == "weights":
        plain = placement.held(loaded(folder).backbone.components.transformer)
        assert placement.held(network) < 0.9 * plain


def test_int8_without_torchao_is_one_line_that_says_what_to_type(backbone_5b, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for key in ("weights", "text_weights"):
        with pytest.raises(
            flowedit.InputError, match=r'torchao, which is not installed: pip install "flowedit\[quant\]"'
        ):
            loaded(backbone_5b, **{f"runtime.{key}": "int8"})


class Short:
    """Makes a network's calls of these numbers, counted from 1, run out of memory."""

    def __init__(self, network, *at):
        self.calls, self._at, self._inner = 0, at, network.forward
        network.forward = self

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls in self._at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.50 GiB")
        return self._inner(*args, **kwargs)


def shorten(backbone, phase, *at):
    """Let the network of a phase run out of memory; the text encoder's is read anew for the edit."""
    parts, read = backbone.components, backbone.checkpoint.model
    if phase == "embed":

        def model(component, *about):
            network = read(component, *about)
            if component == "text_encoder":
                Short(network, *at)
            return network

        backbone.checkpoint.model = model
        return None
    return Short({"encode": parts.vae.encoder, "decode": parts.vae.decoder, "edit": parts.transformer}[phase], *at)


@pytest.mark.parametrize(
    ("start", "phase", "at", "ends", "falls"),
    [
        ("gpu_80gb", "encode", (1,), "gpu_24gb", 1),
        ("gpu_80gb", "embed", (2,), "gpu_24gb", 1),
        ("gpu_24gb", "embed", (1,), "gpu_24gb", 1),
        ("gpu_80gb", "edit", (4,), "gpu_24gb", 1),
        ("gpu_24gb", "edit", (4, 5), "gpu_8gb", 2),  # gpu_12gb would need more than gpu_16gb
        ("gpu_80gb", "decode", (1,), "gpu_24gb", 1),
    ],
)
def test_where_memory_runs_out_the_edit_goes_on_with_less(family, start, phase, at, ends, falls):
    folder, (whole, told) = family
    editor = loaded(folder, runtime=start)
    shorten(editor.backbone, phase, *at)
    result, ear = edited(editor)
    assert_same(result, whole)
    assert editor.backbone.memory.preset.name == ends
    said = [text for text in ear.notices if text.startswith("memory ran out")]
    assert said == [text for text in result.run["notices"] if text.startswith("memory ran out")]
    assert len(said) == falls
    assert ear.units == told.units  # each frame and each step is told once
    assert ends in said[-1] or "text encoder streams" in said[-1]


def test_a_second_edit_is_not_laid_worse_than_asked(backbone_5b):
    editor = loaded(backbone_5b, runtime="gpu_24gb")
    whole, _ = edited(editor)
    Short(editor.backbone.components.transformer, 1, 2)
    edited(editor)
    assert placement.streams(editor.backbone.components.transformer)
    result, ear = edited(editor)
    assert editor.backbone.memory.preset.name == "gpu_24gb"
    assert not placement.streams(editor.backbone.components.transformer)
    assert not any("memory ran out" in text for text in ear.notices)
    assert torch.equal(result.latents, whole.latents)


def test_chunks_that_were_given_are_given_once(family):
    folder, _ = family
    backbone = loaded(folder, runtime="gpu_80gb").backbone
    z = torch.randn(1, backbone.architecture.channels, 7, 4, 6)
    whole = list(backbone.decode(z))
    short = shorten(backbone, "decode", 3)
    backbone.components.tiling = False  # chunks come one by one
    backbone.components.vae.disable_tiling()
    again = list(backbone.decode(z))
    assert short.calls > len(again)
    assert len(again) == len(whole)
    assert np.array_equal(np.concatenate(again), np.concatenate(whole))


def test_memory_that_runs_out_under_the_smallest_preset_is_an_error(backbone_5b):
    editor = loaded(backbone_5b, runtime="gpu_8gb")
    Short(editor.backbone.components.transformer, 2)
    with pytest.raises(flowedit.OutOfMemoryError, match=r"'edit'.*runtime=.gpu_8gb."):
        edited(editor)
    shorten(editor.backbone, "decode", 1)
    with pytest.raises(flowedit.OutOfMemoryError, match="'decode'"):
        edited(editor)


def test_another_error_than_memory_falls_nowhere(backbone_5b):
    editor = loaded(backbone_5b, runtime="gpu_24gb")
    network = editor.backbone.components.transformer

    def broken(*args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    network.forward = broken
    with pytest.raises(flowedit.InputError, match="cannot be multiplied"):
        edited(editor)
    assert editor.backbone.memory.preset.name == "gpu_24gb"
