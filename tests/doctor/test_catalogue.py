"""The list of backbones: what it says is what is known of each, and its operations are those that torch counts."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flowedit.backbones import families, memory
from flowedit.backbones.released import RELEASES
from flowedit.config.compose import compose
from flowedit.doctor import catalogue


@pytest.fixture(scope="module")
def found():
    return catalogue.named()


def test_every_named_backbone_has_a_row_of_what_a_user_chooses_by(found):
    head, *rows = catalogue.rows(found)
    assert {row[0] for row in rows} == {"pocket", *RELEASES}
    assert {len(row) for row in rows} == {len(head)}
    said = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert said["wan2.2-ti2v-5b"]["size, frames, rate"] == "1280x704, 121, 24 a second"
    assert said["cogvideox-2b"]["GPU GiB"] == "8.9 (4.1)"
    assert said["pocket"]["this machine"].startswith("fits")
    assert all(row[-1].split()[0] in ("fits", "does") for row in rows)


def test_the_least_work_stands_first(found):
    work = [float(row[2]) for row in list(catalogue.rows(found))[1:]]
    assert work == sorted(work)


def test_each_is_under_one_license(found):
    under = dict(line.split(": ") for line in catalogue.licenses(found))
    assert under["the CogVideoX License"] == "cogvideox-5b, cogvideox1.5-5b"
    assert sorted(", ".join(under.values()).split(", ")) == sorted({"pocket", *RELEASES})


@pytest.mark.parametrize(
    "kind", ["backbone_2b", "backbone_15", "backbone_wan", "backbone_modelscope", "backbone_sdxl", "pocket"]
)
def test_operations_are_those_that_torch_counts(request, kind):
    """Up to what stands outside the blocks, which in these small ones is more than in a large one."""
    folder = families.folder(compose({}).backbone) if kind == "pocket" else request.getfixturevalue(kind)
    backbone = families.load(folder, device="cpu", dtype="float32")
    latent = backbone.geometry(1 if backbone.spec.still else 33, (128, 128)).latent
    velocity = backbone.velocity(backbone.embed("fox" if kind != "pocket" else "a fox moves right over green grass"))
    backbone.ready()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        velocity(torch.zeros(1, *latent), 0.5)
    assert catalogue.teraflops(memory.of_folder(folder), latent) == pytest.approx(
        counted.get_total_flops() / 1e12, rel=0.15
    )


def test_it_is_listed(command):
    _, out, _ = command("list", "backbones")
    table, *_ = out.split("\n\n")
    assert table.split()[0] == "name"
    assert max(map(len, table.splitlines()[:-2])) <= 100
    assert "wan2.2-t2v-a14b" in table
    assert "  WanPipeline: " in out
