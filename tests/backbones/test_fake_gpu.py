"""Whole edits of the released checkpoints at their own sizes and precisions, on a GPU that is not there."""

import memory_table
import pytest
import torch
from fake_gpu import CUDA, DEFAULT, WAYS, edit, fake_gpu, native, released
from torch.nn.attention import SDPBackend

from flowedit.backbones.released import RELEASES
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


@pytest.mark.parametrize("name", [name for name in RELEASES if name not in FAMILIES])
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
        done, waits, _ = edit(card, backbone, geometry, {**DEFAULT, "mode.region": False})
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
    row, counted = memory_table.read()[name], memory_table.count(tmp_path, name, tiles=2)
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
            backbone.embed("a second scene, without a cache on disk")
            assert parts._placed is vars(parts)["encoder"]
            assert {each.device.type for each in part.parameters()} == {"cpu"}
            parts.place(part)
            assert "encoder" not in vars(parts)
            assert card.live == placed


@pytest.mark.parametrize("name", ["cogvideox-2b", "wan2.1-t2v-1.3b"])
def test_a_card_of_8_gib_keeps_the_text_encoder_on_the_host(tmp_path, name):
    with fake_gpu(gib=7.5) as card:
        backbone = released(tmp_path, name, layers=2)
        assert any("text encoder runs on the CPU" in text for text in backbone.spec.notices)
        card.peak = card.live
        assert backbone.embed("a fox").embedding.device == CUDA
        assert card.peak < 2**24
        assert backbone.components.encoder.dtype == torch.bfloat16
        assert {each.device.type for each in backbone.components.encoder.parameters()} == {"cpu"}
        done, waits, _ = edit(card, backbone, native(backbone), DEFAULT, steps=STEPS)
        ends_on_the_card(done, native(backbone))
        never_waits(waits)
    with fake_gpu(gib=16):
        assert not any("CPU" in text for text in released(tmp_path, name, layers=2).spec.notices)


def test_a_card_without_bfloat16_is_told_and_runs_the_2b(tmp_path):
    with fake_gpu(capability=(7, 5)) as card:
        for name in set(RELEASES) - {"cogvideox-2b"}:
            with pytest.raises(InputError, match=r"bfloat16.*cogvideox-2b.*float16"):
                released(tmp_path / name, name)
        backbone = released(tmp_path / "2b", "cogvideox-2b", layers=2)
        geometry = native(backbone, 9)
        done, _, _ = edit(card, backbone, geometry, DEFAULT, steps=1)
        ends_on_the_card(done, geometry)
        assert str(backbone.components._encoder[1]) == "torch.float16"
