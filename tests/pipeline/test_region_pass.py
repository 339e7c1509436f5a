"""Whole edits by the region pass: what stays to the bit, what is counted, and what the other options make of it."""

from dataclasses import replace

import pytest
import torch
from edits import steered
from fields import ToyBackbone
from masking import UNTUNED

from flowedit.backbones import families
from flowedit.config import compose
from flowedit.config.defaults import memory_presets
from flowedit.editors.region import around
from flowedit.messages import InputError
from flowedit.networks import placement
from flowedit.pipeline.checks import check_region
from flowedit.pipeline.notices.start import Shape, of_pass, of_start
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, make_grid, windows_of

BASE = UNTUNED | {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "source_words": "fox",
    "target_words": "panda",
    "steps": 4,
    "strength": 1.0,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 3.0,
    "mode": "inversion_free",
    "mode.region": True,
    "mode.region_refresh": 3,
    "mode.region_margin": 0.0,
    "mask.threshold": "quantile",
    "mask.quantile": 0.9,
    "mask.pool": 0.0,
    "window": "whole",
}
TWO = {
    "source_words": "fox, red",
    "target_words": "panda, big",
    "object_guidance_scales": [3.0, 5.0],
}
WAYS = {
    "plain": {},
    "draws": {"draws": 3, "averaging": "differential", "mode.fixed_noise_steps": 2, "mask.over_draws": "union"},
    "both guided": {"source_guidance_scale": 2.0},
    "source guided": {"source_guidance_scale": 2.0, "target_guidance_scale": 1.0},
    "from the source": {"source_guidance_scale": 2.0, "mode.target_negative": "source"},
    "objects": TWO,
    "joined": {**TWO, "user_mask": "m.mp4", "mask.user": "join"},
    "pieces": {"mode.decoupling": 0.3, "mode.direction_aware": True, "mode.direction_patch": 2, "mask.preserve": True},
    "target alone": {"mode.target_only_steps": 1, "mask.smooth_frames": 1.0, "mask.smooth_steps": 0.5},
    "windows": {"window": 5},
    "user mask": {"user_mask": "m.mp4"},
    "guided for a while": {"source_guidance_scale": 2.0, "guidance_interval": [0.5, 0.9]},
    "objects for a while": {**TWO, "guidance_interval": [0.7, 1.0]},
    "edit strength": {"source_guidance_scale": 2.0, "edit_strength": 1.5},
    "half coupled": {"mode.coupling": 0.5, "mode.single_draw_steps": 2, "draws": 2, "mode.noise": "antithetic"},
}


@pytest.fixture(scope="module", params=["2b", "5b", "15", "wan"])
def backbone(request):
    return families.load(request.getfixturevalue(f"backbone_{request.param}"), device="cpu")


def clip(backbone, frames=9):
    latent = backbone.geometry(frames, (64, 96)).latent
    return torch.randn((1, *latent), generator=torch.Generator().manual_seed(0))


def user(x):
    mask = torch.zeros_like(x[:, :1])
    mask[..., :3, :4] = 1.0
    return mask


def edit(backbone, x, **options):
    """The edited latent, the last step's mask, and rows and tokens that the network was sent."""
    settings, seen = compose.compose(BASE | options), []
    before = backbone.token_evaluations
    mask = user(x) if settings.user_mask else None
    done = steered(settings, backbone, x, user=mask, callback=lambda step: seen.append(step.mask))
    return done, seen, backbone.token_evaluations - before


OFTEN = {
    "2b": ("draws", "source guided", "windows", "guided for a while"),
    "5b": ("plain", "objects", "pieces", "edit strength"),
    "15": ("both guided", "target alone", "user mask", "objects for a while"),
    "wan": ("plain", "from the source", "joined", "half coupled"),
}
"""What every run of the tests tries: each way once. All of them on each are `full`."""


def tried():
    for kind, often in OFTEN.items():
        for way in WAYS:
            yield pytest.param(kind, way, id=f"{kind}-{way}", marks=() if way in often else pytest.mark.full)


def test_every_way_is_tried():
    assert set(WAYS) == {way for often in OFTEN.values() for way in often}


@pytest.mark.parametrize(("backbone", "way"), tried(), indirect=["backbone"])
def test_what_the_last_mask_leaves_out_is_the_source_to_the_bit(backbone, way):
    x = clip(backbone, 17 if way == "windows" else 9)
    done, masks, tokens = edit(backbone, x, **WAYS[way])
    outside = (masks[-1] == 0).expand_as(done.z)
    assert outside.any()
    assert torch.equal(done.z[outside], x[outside])
    inside = masks[-1] == 1
    moved = (done.z - x).abs().amax(1, keepdim=True)
    assert (moved[inside] > 0).all() if inside.any() else way not in ("user mask", "joined")
    settings = compose.compose(BASE | WAYS[way])
    assert done.sent.rows == brief(settings).cost(make_grid(settings, backbone)) * len(
        windows_of(settings, backbone.spec, x.shape[2])
    )
    assert 0.3 * done.sent.rows < done.sent.tokens < done.sent.rows
    assert done.sent.tokens == pytest.approx(tokens)


def test_a_mask_of_the_whole_frame_gives_the_plain_edit(backbone):
    """However its steps are guided."""
    for way in ("both guided", "from the source", "guided for a while", "edit strength", "half coupled"):
        as_the_plain_edit(backbone, WAYS[way])


def as_the_plain_edit(backbone, way):
    x, options = clip(backbone), {"user_mask": "m.mp4", **way}
    options["mask.decay"] = 0.1  # so soft an edge that no site is outside
    whole, _, _ = edit(backbone, x, **options)
    plain, _, _ = edit(backbone, x, **options | {"mode.region": False})
    assert plain.sent.rows == whole.sent.rows == pytest.approx(whole.sent.tokens) == pytest.approx(plain.sent.tokens)
    assert (whole.z - plain.z).abs().max() < 1e-5 * plain.z.abs().max()
    part, _, _ = edit(backbone, x, **options | {"mask.decay": 15.0})
    assert (part.z - plain.z).abs().max() > 1e-4


def test_a_wider_margin_edits_and_costs_more(backbone):
    x, costs, regions = clip(backbone), [], []
    for margin in (0.0, 0.25, 0.5):
        done, masks, _ = edit(backbone, x, **{"user_mask": "m.mp4", "mask.decay": 20.0, "mode.region_margin": margin})
        costs.append(done.sent.tokens)
        regions.append(masks[-1] > 0)
        assert torch.equal(regions[-1], around(user(x), margin * 8))
        assert torch.equal((done.z != x).any(1, keepdim=True), regions[-1])
    assert costs == sorted(costs)
    assert len(set(costs)) == 3


def test_one_row_at_a_time_gives_the_same_edit(backbone_5b):
    x, made = clip(families.load(backbone_5b, device="cpu")), []
    for rows in (0, 1):
        backbone = families.load(backbone_5b, device="cpu", rows=rows)
        made.append(edit(backbone, x, draws=2, source_guidance_scale=2.0, user_mask="m.mp4")[0])
    assert made[0].sent == made[1].sent
    assert (made[0].z - made[1].z).abs().max() < 1e-4


def test_where_memory_runs_out_in_the_pass_it_goes_on_with_less(backbone_5b):
    options = {"draws": 2, "source_guidance_scale": 2.0, "user_mask": "m.mp4"}
    x = clip(families.load(backbone_5b, device="cpu"))
    whole, _, _ = edit(families.load(backbone_5b, device="cpu"), x, **options)
    backbone = families.load(backbone_5b, device="cpu", ladder=memory_presets())
    network, calls = backbone.components.transformer, []
    inner = network.forward

    def short(*args, **kwargs):
        calls.append(len(args[0] if args else kwargs["hidden_states"]))
        if len(calls) in (2, 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(*args, **kwargs)

    network.forward = short
    fallen, _, _ = edit(backbone, x, **options)
    assert calls[:4] == [8, 8, 2, 8]  # both sides guided and two draws; a row and its lane; blocks that stream
    assert backbone.memory.preset.offload == "blocks"
    assert placement.streams(network)
    assert (fallen.z - whole.z).abs().max() < 1e-4
    assert not any(block._forward_hooks for block in network.transformer_blocks)


def test_an_option_of_the_region_without_one_is_told():
    made = [of_unused(brief(compose.compose(BASE | more))) for more in (
        {"mask": "none"},
        {"mode.region": False, "mode.region_margin": 0.3},
        {"user_mask": "m.mp4"},
    )]  # fmt: skip
    assert any("mode.region=True has no effect: it needs a mask" in text for text in made[0])
    assert any("mode.region_margin=0.3 has no effect: it needs mode.region=true" in text for text in made[1])
    assert any("mode.region_refresh=3 has no effect: it needs an attention mask" in text for text in made[2])


@pytest.mark.parametrize("name", ["context_parallel", "split_guidance"])
def test_a_pass_that_others_would_share_is_refused_before_a_download(name):
    shared = {f"runtime.{name}": {"context_parallel": 2, "split_guidance": "cuda:1"}[name]}
    with pytest.raises(InputError, match=rf"^mode.region=true and runtime.{name} do not go together: leave one out$"):
        check_region(brief(compose.compose(BASE | shared)))
    check_region(brief(compose.compose(BASE | shared | {"mask": "none"})))  # no mask, no region
    check_region(brief(compose.compose(BASE | shared | {"mode.region": False})))


def test_the_start_line_and_a_backbone_without_the_pass_say_so():
    class Plain:
        spec = ToyBackbone.spec

    made = brief(compose.compose(BASE))
    assert of_pass(made, ToyBackbone()) == []
    assert of_pass(made, Plain()) == ["mode.region=true has no effect: toy evaluates whole frames alone"]
    assert of_pass(brief(compose.compose(BASE | {"mask": "none"})), Plain()) == []
    compiled = brief(compose.compose(BASE | {"runtime.compile": True}))
    said = ["runtime.compile has no effect with mode.region=true, but in whole steps"]
    assert of_pass(compiled, ToyBackbone()) == said
    assert "compile" not in " ".join(of_pass(compiled, Plain()))
    assert of_pass(replace(compiled, region=None), ToyBackbone()) == []
    shape = Shape((64, 96), 9, 1, 1, (1.0, 0.0), (16, 3, 8, 12))
    line = of_start(made, ToyBackbone(), shape, 12, region=True)
    assert "12 network evaluations (the target's inside the mask alone)" in line
    assert "alone" not in of_start(made, ToyBackbone(), shape, 12)


def test_a_pass_that_saved_nothing_says_so_and_one_that_did_does_not(command, tmp_path):
    few = ("edit", "examples/fox.yaml", "--size", "64x64", "--steps", 4, "mode.region=true", "mode.region_refresh=2")
    said = "mode.region=true saved nothing: the mask and its margin (mode.region_margin=1) cover the whole frame"
    code, _, wide = command(*few, "mode.region_margin=1", "--out", tmp_path / "wide")
    assert code == 0
    assert said in wide
    code, _, narrow = command(*few, "mode.region_margin=0", "--out", tmp_path / "narrow")
    assert code == 0
    assert "saved nothing" not in narrow
