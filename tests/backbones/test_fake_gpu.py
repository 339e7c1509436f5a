"""Whole edits of the released checkpoints at their own sizes and precisions, on a GPU that is not there."""

import math
from dataclasses import replace

import memory_table
import numpy as np
import pytest
import torch
from fake_gpu import CUDA, DEFAULT, WAYS, edit, fake_gpu, native, released
from torch.nn.attention import SDPBackend

from flowedit.backbones import memory, presets
from flowedit.backbones.presets import Load, MemoryPreset
from flowedit.backbones.released import RELEASES
from flowedit.config import compose
from flowedit.config.defaults import memory_presets
from flowedit.messages import InputError
from flowedit.networks import attention

FAMILIES = ["cogvideox-2b", "cogvideox1.5-5b", "wan2.1-t2v-1.3b"]
"""One of each: sincos; rotary with two latent frames a patch; Wan."""

OFTEN = {
    "cogvideox-2b": {"draws", "flowdirector_v2", "inversion", "objects"},
    "cogvideox1.5-5b": {"maps", "flowalign", "random_noise", "region"},
    "wan2.1-t2v-1.3b": {"flowdirector_v1", "kept", "user mask", "no mask", "region of a user"},
}
"""What every run of the tests tries: each way once. All of them on each, and the larger counts, are `full`."""


def ends_on_the_card(done, geometry):
    assert done.z.device == CUDA
    assert done.z.shape == (1, *geometry.latent)
    assert str(done.z.dtype) == "torch.float32"
    assert done.evaluations > 0


STEPS = 2


def never_waits(waits):
    """No copy that the host waits for inside a step but the very first, where weights come and a kernel is looked at.

    Between two passes over the grid (inversion has three) the host reads once whether all was finite.
    """
    assert len(waits) >= STEPS
    assert sum(count for (way, _), count in waits[0].items() if way == "to host") <= 1
    for step, each in enumerate(waits[1:], 1):
        assert set(each) <= (set() if step % STEPS else {("to host", "_local_scalar_dense")}), waits


def test_every_way_is_tried():
    assert set(WAYS) == set().union(*OFTEN.values())


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_way_to_edit_runs_on_a_card(tmp_path, name, full):
    """At native size and precision; of the networks two layers, which are all alike."""
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=2)
        geometry = native(backbone)
        for way in WAYS if full else OFTEN[name]:
            options = WAYS[way]
            done, waits, _ = edit(card, backbone, geometry, options, steps=STEPS)
            ends_on_the_card(done, geometry)
            assert (done.mask is None) == (way in ("no mask", "flowalign"))
            never_waits(waits)


@pytest.mark.parametrize("way", ["inversion", "draws"])
def test_more_steps_need_no_more_of_the_card(tmp_path, way):
    """The way up of inversion, a state for each step, is on the host, and no step waits for it to get there."""
    with fake_gpu() as card:
        backbone = released(tmp_path, "cogvideox-2b", layers=1)
        geometry = native(backbone)
        peaks = []
        for steps in (4, 4, 9):
            _, waits, phases = edit(card, backbone, geometry, WAYS[way], steps=steps)
            peaks.append(phases["edit"]["peak_memory_mib"])
        state = 4 * math.prod(geometry.latent) / 2**20
        assert peaks[2] - peaks[1] < state / 4
        assert not any(set(each) for number, each in enumerate(waits[1:], 1) if number % steps)


LIKE_ANOTHER = (
    "anyflow-wan2.1-t2v-14b",
    "cogvideox-5b",
    "flux1-schnell",
    "wan2.1-t2v-14b",
    "zeroscope-v2-576w",
    "zeroscope-v2-xl",
)
"""Releases of which another one of the same classes and parts is tried in every run."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.full if name in LIKE_ANOTHER else ())
        for name in RELEASES
        if name not in FAMILIES
    ],
)
def test_the_larger_releases_run_on_a_card(tmp_path, name):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=1)
        ends_on_the_card(edit(card, backbone, native(backbone), DEFAULT, steps=1)[0], native(backbone))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [(name, kernel) for name in FAMILIES for kernel in (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)]
    + [pytest.param(name, SDPBackend.MATH, marks=pytest.mark.full) for name in FAMILIES[:2]]
    + [(FAMILIES[2], SDPBackend.MATH)],
)
def test_every_kernel_gives_a_mask(tmp_path, name, kernel):
    with fake_gpu(kernel) as card:
        backbone = released(tmp_path, name, layers=2)
        geometry = native(backbone)
        done, waits, _ = edit(card, backbone, geometry, DEFAULT, steps=STEPS)
        ends_on_the_card(done, geometry)
        if kernel != SDPBackend.MATH:
            assert [key[1] for key in attention.HONEST] == [kernel]
    never_waits(waits)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_region_takes_no_more_memory_than_the_whole(tmp_path, name):
    """A block's keys and values of one side are there while the other's are made; those of all blocks would be more."""
    peaks, options = [], {**DEFAULT, "user_mask": "m.mp4"}
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=4)
        geometry = native(backbone)
        for region in (False, True):
            _, waits, phases = edit(card, backbone, geometry, {**options, "mode.region": region}, steps=STEPS)
            never_waits(waits)
            peaks.append(phases["edit"]["peak_memory_mib"])
    assert peaks[1] <= 1.02 * peaks[0], peaks


@pytest.mark.parametrize("name", FAMILIES)
def test_windows_copy_no_more_than_their_parts(tmp_path, name):
    """The state of a long clip is on the host: each window of it goes to the card, and its velocity and maps return."""
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=2)
        geometry = native(backbone, 2 * backbone.spec.trained_frames - 1)
        done, waits, _ = edit(card, backbone, geometry, DEFAULT)
        assert done.z.device.type == "cpu"
    windows, sides = len(waits) and 3, 2
    for each in waits[1:]:
        assert each[("to card", "_to_copy")] == windows * sides
        assert each[("to host", "_to_copy")] == 2 * windows * sides
        assert set(each) == {("to card", "_to_copy"), ("to host", "_to_copy")}


@pytest.mark.parametrize(
    "name",
    ["cogvideox-2b", *(pytest.param(name, marks=pytest.mark.full) for name in RELEASES if name != "cogvideox-2b")],
)
def test_what_the_readme_says_of_memory_is_what_is_counted(tmp_path, name):
    counted = memory_table.count(tmp_path, name, tiles=2) | memory_table.count_presets(tmp_path, name)
    row = memory_table.read()[name]
    for phase, want in row.items():
        assert counted[phase] == pytest.approx(want, abs=0.1), phase


@pytest.mark.parametrize(
    ("tiles", "chunks"),
    [
        pytest.param((2, 2), 2, id="4"),
        pytest.param((3, 3), 2, id="9", marks=pytest.mark.full),
        pytest.param((4, 5), 1, id="20", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_tiles_need_no_more_than_diffusers_own(tmp_path, way, tiles, chunks):
    ours, theirs = memory_table.beside_diffusers(tmp_path, "cogvideox-2b", way, tiles, 1 + 8 * chunks)
    assert ours <= 1.15 * theirs


def test_embedding_sends_away_what_is_on_the_card(tmp_path):
    with fake_gpu() as card:
        backbone = released(tmp_path, "cogvideox-5b", layers=2)
        parts = backbone.components
        for part in (parts.vae, parts.transformer):
            parts.place(part)
            placed = card.live
            backbone.embed(f"a scene beside the {type(part).__name__}, without a cache on disk")
            assert [id(each) for each in parts._placed] == [id(parts.encoder())]
            assert {each.device.type for each in part.parameters()} == {"cpu"}
            parts.place(part)
            assert not parts._encoders
            assert card.live == placed


@pytest.mark.parametrize("name", ["cogvideox-2b", "wan2.1-t2v-1.3b"])
def test_a_card_of_8_gib_takes_the_text_encoder_block_by_block(tmp_path, name):
    with fake_gpu(gib=7.5) as card:
        backbone, said = released(tmp_path, name), []
        backbone.fit(Load(native(backbone).latent), said.append)
        parts = backbone.components
        parts.place(parts.vae)
        card.peak = 0
        assert backbone.embed("a fox").embedding.device == CUDA
        assert card.peak < 3.5 * 2**30
        assert ["text encoder streams through the GPU" in text for text in said] == [True]
        assert {each.device.type for each in parts.encoder().parameters()} == {"cpu"}
        assert card.live < 2**25
    with fake_gpu(gib=16):
        backbone, said = released(tmp_path, name, layers=2), []
        backbone.fit(Load(native(backbone).latent), said.append)
        backbone.embed("a fox")
        assert said == []


@pytest.mark.parametrize(("gib", "streams"), [(9.6, True), (10.6, True), (11.0, False)])
def test_the_text_encoder_streams_where_it_was_said_to(tmp_path, gib, streams):
    """What is said beforehand and what the run finds keep one reserve."""
    with fake_gpu(gib=gib):
        backbone = released(tmp_path, "cogvideox-2b")
        assert (backbone.components.encoder_lacks() is not None) == streams
        load = Load(native(backbone).latent)
    runtime = compose.compose({"backbone": "cogvideox-2b"}).runtime
    need = presets.need(memory.released("cogvideox-2b"), load, runtime, MemoryPreset("", "parts"), gib)
    assert need.streams == streams


LADDER = memory_presets()


@pytest.mark.parametrize(
    ("name", "gib", "taken"),
    [
        ("cogvideox-2b", 79, "gpu_80gb"),
        ("cogvideox-2b", 7.2, "gpu_24gb"),  # its steps fit as they are
        ("cogvideox-5b", 23.5, "gpu_24gb"),
        ("cogvideox-5b", 7.2, "gpu_12gb"),
        ("cogvideox1.5-5b", 15.2, "gpu_12gb"),
        ("cogvideox1.5-5b", 7.2, "gpu_8gb"),
        ("wan2.1-t2v-14b", 23.5, "gpu_12gb"),
        ("wan2.1-t2v-14b", 7.2, None),
    ],
)
def test_auto_takes_what_fits_into_a_cards_free_memory(tmp_path, name, gib, taken):
    with fake_gpu(gib=gib):
        backbone, said = released(tmp_path, name, rows="auto", offload="auto", ladder=LADDER), []
        backbone.fit(Load(native(backbone).latent), said.append)
    assert backbone.memory.preset.name == (taken or "gpu_8gb")
    assert len(said) == (taken is None)
    assert taken or "--runtime gpu_8gb" in said[0]


@pytest.mark.parametrize("preset", LADDER, ids=lambda preset: preset.name)
@pytest.mark.parametrize("name", ["cogvideox-5b", pytest.param("wan2.1-t2v-1.3b", marks=pytest.mark.full)])
def test_under_every_preset_nothing_is_left_on_the_card_that_should_not_be(tmp_path, name, preset):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, rows=preset.rows, offload=preset.offload, layers=3)
        geometry, parts = backbone.geometry(9, (160, 240)), backbone.components
        backbone.encode(np.zeros((9, *geometry.size, 3), np.uint8))
        done, waits, _ = edit(card, backbone, geometry, DEFAULT, steps=STEPS)
        ends_on_the_card(done, geometry)
        if preset.offload != "blocks":  # what is beside its blocks comes and goes with each call
            never_waits(waits)
        places = {
            part: {each.device.type for each in getattr(parts, part).parameters()} for part in ("vae", "transformer")
        }
        stays = preset.offload == "none"
        assert places["vae"] == {"cuda" if stays else "cpu"}
        assert places["transformer"] == {"cpu" if preset.offload == "blocks" else "cuda"}
        assert bool(parts._encoders) == stays


@pytest.mark.parametrize("phase", ["edit", "embed"])
def test_a_fall_on_the_card_leaves_nothing_of_the_call_that_failed(tmp_path, phase):
    with fake_gpu() as card:
        backbone = released(tmp_path, "cogvideox-5b", layers=3, offload="none", ladder=LADDER)
        geometry, parts, said = backbone.geometry(9, (160, 240)), backbone.components, []
        backbone.fit(Load(geometry.latent), said.append)
        network = parts.transformer.transformer_blocks[1] if phase == "edit" else parts.encoder().encoder.block[1]
        inner, calls = network.forward, []

        def short(*args, **kwargs):
            calls.append(card.live)
            if len(calls) <= (4 if phase == "edit" else 2):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return inner(*args, **kwargs)

        network.forward = short
        done, _, _ = edit(card, backbone, geometry, DEFAULT, steps=STEPS)
        ends_on_the_card(done, geometry)
        assert len(said) == (4 if phase == "edit" else 2)
        if phase == "edit":
            assert backbone.memory.preset.name == "gpu_8gb"
            assert {each.device.type for each in parts.transformer.parameters()} == {"cpu"}
            del done
            assert card.live < 2**26


HALF = {
    "transformer": {"num_attention_heads": 24, "num_layers": 24, "text_embed_dim": 1024},
    "text_encoder": {"d_model": 1024, "d_ff": 2816, "num_heads": 16, "num_layers": 6},
    "vae": {"block_out_channels": [32, 64, 64, 128]},
}
"""A CogVideoX of half the 5b's width and layers, at its own size: between the small random ones and the released."""


def test_the_8_gb_preset_takes_two_fifths_of_the_plain_runs_memory_at_most(tmp_path):
    own, most = RELEASES["cogvideox-5b"].parts, []
    changed = {part: replace(own[part], config={**own[part].config, **config}) for part, config in HALF.items()}
    for preset in (MemoryPreset("plain", "parts", 0), LADDER[-1]):
        with fake_gpu() as card:
            how = {"rows": preset.rows, "offload": preset.offload, "changed": changed}
            backbone = released(tmp_path, "cogvideox-5b", **how)
            geometry = backbone.geometry(9, (240, 360))  # a tile, which is what is on the card at any size
            x = backbone.encode(np.zeros((9, *geometry.size, 3), np.uint8))
            velocity = backbone.velocity(backbone.embed("a fox"), 6.0, backbone.embed(""))
            velocity(torch.zeros(1, *native(backbone).latent, device=CUDA), 0.5)
            list(backbone.decode(x))
            most.append(card.peak / 2**30)
    assert most[1] <= 0.4 * most[0], most


IN_HALF = {"cogvideox-2b", "modelscope-1.7b", "zeroscope-v2-576w", "zeroscope-v2-xl", "sdxl-base-1.0"}
"""The releases that run in float16."""


def test_a_card_without_bfloat16_is_told_and_runs_the_2b(tmp_path):
    with fake_gpu(capability=(7, 5)) as card:
        for name in set(RELEASES) - IN_HALF:
            with pytest.raises(InputError, match=r"bfloat16.*cogvideox-2b.*float16"):
                released(tmp_path / name, name)
        backbone = released(tmp_path / "2b", "cogvideox-2b", layers=2)
        geometry = native(backbone, 9)
        done, _, _ = edit(card, backbone, geometry, DEFAULT, steps=1)
        ends_on_the_card(done, geometry)
        assert str(backbone.components._kinds["text_encoder"][1]) == "torch.float16"
