"""The memory that is reckoned from a configuration, held to what is counted and to what is measured."""

from dataclasses import replace

import memory_table
import pytest
from fake_gpu import DEFAULT, edit, fake_gpu, released

from flowedit.backbones import memory
from flowedit.backbones.released import RELEASES, network
from flowedit.networks import autoencoder_memory

NATIVE = {
    "cogvideox-2b": (16, 13, 60, 90),
    "cogvideox-5b": (16, 13, 60, 90),
    "cogvideox1.5-5b": (16, 22, 96, 170),
    "wan2.1-t2v-1.3b": (16, 21, 60, 104),
    "wan2.1-t2v-14b": (16, 21, 90, 160),
}
WITHIN = 0.15


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_reckoned_is_what_was_counted(name):
    """The table of backbones/README.md, which another test holds to the count itself."""
    own, counted = memory.released(name), memory_table.read()[name]
    precision = memory.precisions(own, "auto", cpu=False)
    two, one = (memory.totals(memory.phases(own, NATIVE[name], rows=n, precision=precision)) for n in (2, 1))
    for phase, want in counted.items():
        got = one["edit"] if phase == "edit, 1 row" else two[phase]
        assert got == pytest.approx(want, rel=WITHIN), phase


@pytest.mark.parametrize("name", RELEASES)
def test_parameters_are_counted_exactly(name):
    own = memory.released(name)
    for component in ("transformer", "text_encoder"):
        parameters = {id(each): each.numel() for each in network(RELEASES[name].parts[component]).parameters()}
        rest, block, count = memory.parameters(own, component)
        assert rest + block * count == sum(parameters.values())
    assert autoencoder_memory.weights(own.vae) == sum(each.numel() for each in network(RELEASES[name].vae).parameters())


LAYERS = 2


@pytest.mark.parametrize(
    ("name", "frames", "size", "rows", "options"),
    [
        ("cogvideox-2b", 17, (480, 720), 0, {}),
        ("cogvideox-5b", 25, (240, 368), 1, {}),
        ("cogvideox-5b", 9, (480, 720), 0, {"draws": 3}),
        ("cogvideox1.5-5b", 33, (384, 688), 0, {}),
        ("wan2.1-t2v-1.3b", 33, (480, 832), 1, {}),
        ("wan2.1-t2v-14b", 17, (240, 416), 0, {"draws": 2}),
    ],
)
def test_another_size_length_and_number_of_rows_is_reckoned_too(tmp_path, name, frames, size, rows, options):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, rows=rows, layers=LAYERS)
        shape = backbone.geometry(frames, size)
        phases = edit(card, backbone, shape, {**DEFAULT, **options}, steps=1)[2]
    own = memory.released(name)
    own = replace(
        own,
        transformer={**own.transformer, "num_layers": LAYERS},
        text_encoder={**own.text_encoder, "num_layers": LAYERS},
    )
    draws = options.get("draws", 1)
    found = memory.totals(
        memory.phases(
            own, shape.latent, rows=rows or 2 * draws, draws=draws, precision=memory.precisions(own, "auto", cpu=False)
        )
    )
    assert found["edit"] == pytest.approx(phases["edit"]["peak_memory_mib"] / 1024, rel=WITHIN)
    assert found["text"] == pytest.approx(phases["embed"]["peak_memory_mib"] / 1024, rel=WITHIN)


@pytest.mark.parametrize("name", ["cogvideox-2b", "wan2.1-t2v-1.3b"])
@pytest.mark.parametrize("frames", [1, 9, 25])
def test_an_autoencoder_is_reckoned_by_tile_and_length(tmp_path, name, frames):
    with fake_gpu() as card:
        backbone = released(tmp_path, name, layers=1)
        size = (240, 360) if name.startswith("cog") else (256, 256)
        shape = backbone.geometry(frames, size)
        for phase in ("encode", "decode"):
            counted = memory_table.coded(card, backbone, phase, frames, shape.size)
            own = memory.released(name)
            found = memory.phases(own, shape.latent, precision=memory.precisions(own, "auto", cpu=False))
            assert sum(found[phase].values()) == pytest.approx(counted, rel=WITHIN)
