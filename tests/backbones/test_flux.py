"""FLUX.1 dev and schnell against diffusers' own pipeline and autoencoder, and edits with them."""

import math
import re
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxPipeline
from einops import rearrange
from PIL import Image
from small_family import changed

import flowedit
from flowedit.backbones import families
from flowedit.config.compose import compose
from flowedit.flow import schedule, solvers
from flowedit.networks import recorder
from flowedit.networks.acceleration import Acceleration
from flowedit.pipeline import plan

FOX, DARK = "A red fox is lying down.", "blurry, dark"


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def noise(backbone, size=(96, 128)):
    shape = (1, *backbone.geometry(1, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def packed(z):
    return rearrange(z, "b c 1 (h p) (w q) -> b (h w) (c p q)", p=2, q=2)


def theirs(folder, z, **options):
    """What diffusers' own pipeline makes, packed, and the times that its scheduler ran."""
    pipeline = FluxPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": 8 * z.shape[3], "width": 8 * z.shape[4]}
    made = pipeline(
        FOX,
        num_inference_steps=6,
        output_type="latent",
        latents=packed(z),
        **{"guidance_scale": 1.0, **size, **options},
    ).images
    return made, pipeline.scheduler.sigmas.tolist()


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        ((3.5, None), {"guidance_scale": 3.5}),
        ((1.0, None), {}),
        ((4.0, DARK), {"true_cfg_scale": 4.0, "negative_prompt": DARK}),
    ],
)
def test_dev_generates_as_diffusers_does(backbone_flux, ours, options):
    """A scale alone goes into the network; beside a negative prompt it is classifier-free, and it is told 1."""
    backbone, (scale, negative) = load(backbone_flux), ours
    z = noise(backbone)
    made, times = theirs(backbone_flux, z, **options)
    velocity = backbone.velocity(backbone.embed(FOX), scale, None if negative is None else backbone.embed(negative))
    mine = packed(solvers.solve(velocity, z, schedule.given(times)))
    assert (mine - made).norm() / made.norm() < 1e-4
    assert (mine - packed(z)).norm() / z.norm() > 0.1
    assert backbone.evaluations == 6 * (1 if negative is None else 2)


def test_schnell_generates_as_diffusers_does(backbone_schnell):
    backbone = load(backbone_schnell)
    z = noise(backbone)
    made, times = theirs(backbone_schnell, z, max_sequence_length=256)
    mine = packed(solvers.solve(backbone.velocity(backbone.embed(FOX)), z, schedule.given(times)))
    assert (mine - made).norm() / made.norm() < 1e-4


def test_each_prompt_and_each_scale_moves_what_is_made(backbone_flux):
    backbone = load(backbone_flux)
    z, fox, panda = noise(backbone), backbone.embed(FOX), backbone.embed("A panda stands.")
    plain = backbone.velocity(fox, 1.0)(z, 0.7)
    assert (backbone.velocity(fox, 5.0)(z, 0.7) - plain).norm() / plain.norm() > 1e-4
    assert (backbone.velocity(panda, 1.0)(z, 0.7) - plain).norm() / plain.norm() > 1e-4
    pooled = flowedit.types.Conditioning(fox.prompt, fox.embedding, fox.spans, panda.extras)
    assert (backbone.velocity(pooled, 1.0)(z, 0.7) - plain).norm() / plain.norm() > 1e-5


# Its own grid


@pytest.mark.parametrize("size", [(96, 128), (256, 64), (1024, 1024)])
def test_its_own_grid_is_the_scheduler_s_at_every_size(backbone_flux, size):
    backbone = load(backbone_flux)
    scheduler = FluxPipeline.from_pretrained(backbone_flux).scheduler
    tokens = size[0] * size[1] // 256
    slope = (1.15 - 0.5) / (4096 - 256)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 8, 8), mu=0.5 + slope * (tokens - 256))
    settings = compose({"steps": 8, "strength": 1.0, "mode.grid": "model"})
    made = plan.make_grid(settings, backbone, backbone.geometry(1, size))
    assert made == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


def test_what_is_known_without_weights_is_its_grid_at_the_size_it_learned(backbone_flux, backbone_schnell):
    dev, schnell = (families.family_of(families.Checkpoint(each)) for each in (backbone_flux, backbone_schnell))
    dynamic = {"use_dynamic_shifting": True, "shift": 3.0}
    assert dev.times(dynamic)[1] == pytest.approx(math.exp(1.15))
    assert schnell.times({"use_dynamic_shifting": False, "shift": 1.0})[1] == 1.0
    assert load(backbone_schnell).spec.shift_at((1024, 1024)) == 1.0


# The recorder


@pytest.mark.parametrize("normalise", ["joint", "text"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-4)])
def test_maps_equal_the_materialised_softmax_of_both_kinds_of_blocks(
    backbone_flux, monkeypatch, dtype, tolerance, normalise
):
    backbone = load(backbone_flux, dtype=dtype)
    source, target, negative = (backbone.embed(p) for p in ("a red fox runs", "a panda runs", "dark"))
    tokens = {source: [2, 3], target: [1, 2]}
    z, calls = torch.cat([noise(backbone), 0.5 * noise(backbone)]), []
    original = recorder.with_lse
    monkeypatch.setattr(
        recorder, "with_lse", lambda q, k, *rest: calls.append((q.clone(), k.clone())) or original(q, k, *rest)
    )
    with backbone.record(tokens, [0.0, 0.75], normalise) as maps:  # a block of two streams, and one of one
        for prompt, scale, other in [(source, 1.0, None), (source, 3.0, None), (target, 5.0, negative)]:
            calls.clear()
            backbone.velocity(prompt, scale, other)(z, 0.6)
            assert [(q.shape[2], k.shape[2]) for q, k in calls] == [(512 + 6 * 8, 512 + 6 * 8)] * 2
            keys = len(prompt.spans) if normalise == "text" else 560
            exact = [
                (q[-2:, :, 512:].double() @ k[-2:, :, :keys].double().transpose(-1, -2) / 4).softmax(-1)
                for q, k in calls
            ]
            want = torch.stack([e[..., tokens[prompt]].mean((1, 3)) for e in exact]).mean(0).view(2, 1, 1, 6, 8)
            want = want.repeat_interleave(2, 3).repeat_interleave(2, 4)
            found = maps.take(prompt)
            assert found.shape == (2, 1, *z.shape[2:])
            assert (found - want).abs().max() < tolerance
            assert found.std() > 1e-7


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_output_is_the_same_to_the_bit_with_the_recorder_on(backbone_flux, scale):
    backbone = load(backbone_flux)
    prompt, z = backbone.embed("a red fox"), noise(backbone)
    off = backbone.velocity(prompt, scale)(z, 0.6)
    with backbone.record({prompt: [2]}, [0.0, 0.5, 0.9]) as maps:
        assert torch.equal(backbone.velocity(prompt, scale)(z, 0.6), off)
        assert maps.take(prompt) is not None


# Guidance


def test_several_scales_take_a_row_each_and_maps_of_their_mean(backbone_flux):
    backbone = load(backbone_flux)
    prompt, z = backbone.embed("a red fox"), noise(backbone)
    each = [backbone.velocity(prompt, scale)(z, 0.6) for scale in (2.0, 6.0)]
    before = backbone.evaluations
    with backbone.record({prompt: [2]}, [0.0]) as maps:
        both = backbone.velocity(prompt, (2.0, 6.0, 2.0))(z, 0.6)
        together = maps.take(prompt)
        apart = []
        for scale in (2.0, 6.0):
            backbone.velocity(prompt, scale)(z, 0.6)
            apart.append(maps.take(prompt))
    assert torch.equal(both, torch.cat([*each, each[0]]))
    assert backbone.evaluations - before == 2 + 2
    assert torch.allclose(together, torch.stack(apart).mean(0), atol=1e-8)


def rows(tmp_path, photo, folder, **options):
    made = flowedit.edit(photo, backbone=folder, out=tmp_path / str(len(list(tmp_path.iterdir()))), **SHORT | options)
    return made.run["network_evaluations"], made.notices


SHORT = {
    "source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda", "steps": 2,
    "strength": 1.0, "source_guidance_scale": 1.5, "target_guidance_scale": 5.5, "size": "96x64",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "count", "said"),
    [
        ({}, 4, "takes guidance as an input: one row"),
        ({"negative_prompt": DARK}, 8, "beside a negative prompt guidance of .* is classifier-free"),
        ({"target_negative_prompt": DARK}, 6, "takes guidance as an input: one row"),
        ({"mode": "flowalign"}, None, None),
        ({"guidance_rule": "zero_star"}, 8, None),
        ({"source_guidance_scale": 0.5}, 6, None),
        ({"guidance_interval": [0.9, 1.0]}, 4, None),
    ],
)
def test_an_edit_counts_the_rows_that_its_guidance_takes(backbone_flux, still, tmp_path, options, count, said):
    evaluations, notices = rows(tmp_path, still, backbone_flux, **options)
    assert count is None or evaluations == count
    assert said is None or any(re.search(said, text) for text in notices)


def test_schnell_knows_no_guidance_and_says_so_before_it_runs(backbone_schnell, still, tmp_path):
    with pytest.raises(ValueError, match=r"without guidance, and a scale is 1.5: set source_guidance_scale=1 target_g"):
        rows(tmp_path, still, backbone_schnell)
    free = {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}
    assert rows(tmp_path, still, backbone_schnell, **free)[0] == 4
    with pytest.raises(ValueError, match="without guidance"):
        load(backbone_schnell).velocity(load(backbone_schnell).embed(FOX), 2.0)


# The autoencoder


@pytest.mark.parametrize(("size", "tiling"), [((96, 64), False), ((128, 160), True)])
def test_encode_and_decode_are_those_of_diffusers_frame_by_frame(backbone_flux, size, tiling):
    """Its tiles are of 64 pixels, 48 apart."""
    frames = np.random.default_rng(0).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    backbone = load(backbone_flux, tiling=tiling)
    vae = AutoencoderKL.from_pretrained(backbone_flux / "vae")
    if tiling:
        vae.enable_tiling()
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        theirs = (torch.cat([vae.encode(each[None]).latent_dist.mode() for each in pixels]) - 0.1159) * 0.3611
        decoded = torch.cat([vae.decode(each[None] / 0.3611 + 0.1159).sample for each in theirs])
    z = backbone.encode(frames)
    assert z.shape[1:] == backbone.geometry(2, size).latent == (4, 2, size[0] // 8, size[1] // 8)
    assert torch.allclose(z[0].transpose(0, 1), theirs, atol=1e-5)
    made = np.concatenate(list(backbone.decode(z)))
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert made.shape == frames.shape
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
    assert tiling is not torch.allclose(load(backbone_flux, tiling=False).encode(frames), z, atol=1e-3)


# Edits


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    path = tmp_path_factory.mktemp("stills") / "still.png"
    small = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(small.repeat(5, 0).repeat(5, 1)).save(path)
    return path


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
@pytest.mark.parametrize(("kind", "scale"), [("backbone_flux", 5.0), ("backbone_schnell", 1.0)])
def test_a_still_is_edited_in_every_mode(request, still, tmp_path, kind, scale, mode):
    options = SHORT | {"source_guidance_scale": 1.0, "target_guidance_scale": scale, "mode": mode}
    made = flowedit.edit(still, backbone=request.getfixturevalue(kind), out=tmp_path / "edit", **options)
    assert {"edit.png", "compare.png", "mask.png", "mask_plain.png", "run.yaml"} <= {
        path.name for path in made.folder.iterdir()
    }
    assert Image.open(made.video).size == Image.open(still).size
    assert not torch.equal(made.latents, made.source_latents)
    assert made.latents.isfinite().all()


def test_one_block_at_a_time_gives_the_same_edit(backbone_flux):
    backbone, streamed = load(backbone_flux), load(backbone_flux, offload="blocks")
    z = noise(backbone)
    made = [each.velocity(each.embed(FOX), 3.0)(z, 0.6) for each in (backbone, streamed)]
    assert torch.equal(*made)


@pytest.mark.parametrize("how", [{"fuse": True}, {"attention": "native"}])
def test_faster_ways_give_the_same(backbone_flux, how):
    backbone, faster = load(backbone_flux), load(backbone_flux, how=Acceleration(**how))
    z = noise(backbone)
    plain, fast = (each.velocity(each.embed(FOX), 3.0)(z, 0.6) for each in (backbone, faster))
    assert torch.allclose(plain, fast, atol=1e-5)


# Bad input


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxFillPipeline"},
            "a FluxFillPipeline that takes a picture .*flux1-dev",
        ),
        ("model_index.json", {"_class_name": "Flux2Pipeline"}, "of another FLUX"),
        ("transformer/config.json", {"in_channels": 96, "out_channels": 16}, "takes a picture beside the prompt"),
        ("vae/config.json", {"latent_channels": 8}, "takes 4 sites of 4 channels, its autoencoder makes 8"),
        ("scheduler/scheduler_config.json", {"time_shift_type": "linear"}, "shifts its times by 'linear'"),
    ],
)
def test_what_is_no_text_to_image_flux_is_refused_in_one_line(backbone_flux, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said) as caught:
        load(changed(backbone_flux, tmp_path, name, **values))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2", "tokenizer_2", "vae"])
def test_a_lost_part_is_named(backbone_flux, tmp_path, part):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_flux, copy)
    shutil.rmtree(copy / part)
    with pytest.raises(ValueError, match=part):
        load(copy)


def test_a_region_s_own_pass_is_refused(backbone_flux, still, tmp_path):
    with pytest.raises(ValueError, match=r"evaluates whole frames alone: leave mode\.region=true out"):
        rows(tmp_path, still, backbone_flux, **{"mode.region": True})


# Without a clip, and before a download


def test_what_is_made_of_text_is_a_picture(backbone_flux, tmp_path):
    options = {"backbone": backbone_flux, "steps": 2, "size": "96x64", "target_guidance_scale": 3.0}
    made = flowedit.generate("a fox", out=tmp_path / "o", **options)
    assert made.video == tmp_path / "o" / "picture.png"
    assert Image.open(made.video).size == (96, 64)
    assert made.run["network_evaluations"] == 2
    with pytest.raises(ValueError, match="random-flux makes single pictures"):
        flowedit.generate("a fox", frames=5, out=tmp_path / "p", **options)


@pytest.mark.parametrize(("name", "rows"), [("flux1-dev", 2), ("flux1-schnell", 2), ("wan2.1-t2v-14b", 4)])
def test_a_release_is_counted_before_it_is_here(name, rows):
    settings = compose({"backbone": name, "source": "a fox", "target": "a panda"})
    steps = {"flux1-dev": 24, "flux1-schnell": 4}.get(name, 40)
    assert plan.network_evaluations(settings) == steps * rows
    assert plan.brief(settings).guidance == {"flux1-dev": "embedded", "flux1-schnell": "none"}.get(name, "free")


def test_scales_that_schnell_does_not_know_are_refused_before_a_download(still, tmp_path):
    with pytest.raises(ValueError, match="flux1-schnell was distilled to run without guidance, and a scale is 4"):
        flowedit.edit(
            still, backbone="flux1-schnell", target_guidance_scale=4, source="a fox", target="a panda",
            out=tmp_path / "o",
        )  # fmt: skip


def test_its_own_defaults_are_flowedit_s(monkeypatch):
    dev, schnell = (compose({"backbone": name}) for name in ("flux1-dev", "flux1-schnell"))
    assert (dev.steps, plan.intervals(dev)) == (28, 24)
    assert (dev.source_guidance_scale, dev.target_guidance_scale, dev.mode.grid) == (1.5, 5.5, "model")
    assert (schnell.steps, schnell.source_guidance_scale, schnell.target_guidance_scale) == (4, 1.0, 1.0)
