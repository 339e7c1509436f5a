"""Wan 2.2, 5B and A14B of two networks, against diffusers' own pipeline and autoencoder, and edits with them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
from small_family import changed

import flowedit
from flowedit.backbones import families
from flowedit.flow import schedule, solvers
from flowedit.media import probe

FOX = "A red fox is lying down."


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_generation_is_diffusers_own_which_gives_each_token_a_time(backbone_wan22, guidance_scale):
    backbone = load(backbone_wan22)
    pipeline = WanPipeline.from_pretrained(backbone_wan22)
    assert pipeline.config.expand_timesteps
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    z = torch.randn((1, *backbone.geometry(9, (96, 128)).latent), generator=torch.Generator().manual_seed(0))
    theirs = pipeline(
        prompt=FOX, negative_prompt="blurry, dark", height=96, width=128, num_frames=9, num_inference_steps=6,
        guidance_scale=guidance_scale, output_type="latent", latents=z.clone(),
    ).frames  # fmt: skip
    velocity = backbone.velocity(backbone.embed(FOX), guidance_scale, backbone.embed("blurry, dark"))
    ours = solvers.solve(velocity, z, schedule.given(pipeline.scheduler.sigmas.tolist()))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1


@pytest.mark.parametrize(("size", "frames", "tiling"), [((96, 64), 9, False), ((544, 544), 5, True)])
def test_encode_and_decode_stream_what_the_autoencoder_does_at_once(backbone_wan22, size, frames, tiling):
    """Tiles to encode are of 512 pixels, 384 apart, those to decode of half; both join before patches are pixels."""
    clip = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
    backbone = load(backbone_wan22, tiling=tiling)
    vae = AutoencoderKLWan.from_pretrained(backbone_wan22 / "vae")
    if tiling:
        vae.enable_tiling()
    mean, std = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = (vae.encode(pixels).latent_dist.mode() - mean) / std
        decoded = vae.decode(theirs * std + mean).sample[0].permute(1, 2, 3, 0)
    z = backbone.encode(clip)
    assert z.shape[1:] == backbone.geometry(frames, size).latent == (6, 1 + frames // 4, size[0] // 16, size[1] // 16)
    assert torch.allclose(z, theirs, atol=1e-5)
    made = np.concatenate(list(backbone.decode(z)))
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert made.shape == clip.shape
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
    if tiling:
        assert not torch.allclose(load(backbone_wan22, tiling=False).encode(clip[:1]), z[:, :, :1], atol=1e-3)


def test_its_shapes_are_its_own(backbone_wan22):
    backbone = load(backbone_wan22)
    assert backbone.geometry(10, (100, 130)).latent == (6, 4, 6, 8)
    assert backbone.geometry(10, (100, 130)).size == (96, 128)
    assert (backbone.spec.multiple, backbone.spec.shift, backbone.spec.fps) == (32, 5.0, 24)


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
@pytest.mark.parametrize("kind", ["backbone_wan22", "backbone_a14b"])
def test_an_edit_comes_back_with_size_rate_and_length(request, kind, clip_file, tmp_path, mode):
    result = flowedit.edit(
        clip_file, source="a fox runs", target="a panda runs", source_words="fox", target_words="panda",
        mode=mode, steps=2, backbone=request.getfixturevalue(kind), out=tmp_path / "edit",
    )  # fmt: skip
    source, made = probe.probe(clip_file), probe.probe(result.video)
    assert (made.size, made.frames, made.fps) == (source.size, source.frames, source.fps)
    assert result.mask.is_file()
    assert not torch.equal(result.latents, result.source_latents)


# Two networks


def noise(backbone):
    shape = (1, *backbone.geometry(9, (64, 96)).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_two_networks_generate_as_diffusers_does(backbone_a14b):
    backbone = load(backbone_a14b)
    pipeline = WanPipeline.from_pretrained(backbone_a14b)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    z = noise(backbone)
    theirs = pipeline(
        prompt=FOX, negative_prompt="blurry, dark", height=64, width=96, num_frames=9, num_inference_steps=6,
        guidance_scale=5.0, output_type="latent", latents=z.clone(),
    ).frames  # fmt: skip
    times = pipeline.scheduler.sigmas.tolist()
    assert times[1] > 0.875 > times[3]
    velocity = backbone.velocity(backbone.embed(FOX), 5.0, backbone.embed("blurry, dark"))
    ours = solvers.solve(velocity, z, schedule.given(times))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    pipeline.transformer_2 = pipeline.transformer
    alone = pipeline(
        prompt=FOX, negative_prompt="blurry, dark", height=64, width=96, num_frames=9, num_inference_steps=6,
        guidance_scale=5.0, output_type="latent", latents=z.clone(),
    ).frames  # fmt: skip
    assert (ours - alone).norm() / alone.norm() > 1e-3


@pytest.mark.parametrize(("t", "called"), [(1.0, "transformer"), (0.875, "transformer"), (0.874, "second")])
def test_the_network_of_a_time_is_called_and_read(backbone_a14b, t, called):
    backbone = load(backbone_a14b)
    prompt, heard = backbone.embed(FOX), []
    for name in ("transformer", "second"):
        network = getattr(backbone.components, name)
        network.register_forward_pre_hook(lambda *_, name=name: heard.append(name))
    with backbone.record({prompt: [[1], [2, 3]]}, [0.0, 0.5]) as maps:
        backbone.velocity(prompt)(noise(backbone), t)
        read = maps.take(prompt)
    assert heard == [called]
    alone = load(backbone_a14b)  # of that network alone
    alone.architecture = replace(alone.architecture, boundary=None)
    alone.components.transformer = getattr(load(backbone_a14b).components, called)
    with alone.record({prompt: [[1], [2, 3]]}, [0.0, 0.5]) as maps:
        alone.velocity(prompt)(noise(alone), t)
        assert torch.equal(maps.take(prompt), read)


def test_one_network_at_a_time_is_on_the_device_unless_all_stay(backbone_a14b):
    backbone = load(backbone_a14b, offload="parts")
    velocity = backbone.velocity(backbone.embed(FOX))
    for t, name in ((0.9, "transformer"), (0.5, "second"), (0.95, "transformer")):
        velocity(noise(backbone), t)
        assert [each is getattr(backbone.components, name) for each in backbone.components._placed] == [True]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("model_index.json", {"boundary_ratio": None}, "names no boundary_ratio"),
        ("model_index.json", {"boundary_ratio": 875}, "875 in model_index.json is no share"),
        ("transformer_2/config.json", {"num_layers": 2}, "transformer and transformer_2 differ in num_layers"),
    ],
)
def test_networks_that_do_not_belong_together_are_refused(backbone_a14b, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said):
        load(changed(backbone_a14b, tmp_path, name, **values))


def test_a_lost_file_of_the_second_network_is_named(backbone_a14b, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_a14b, copy)
    (copy / "transformer_2" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="transformer_2"):
        load(copy)


def test_a_region_s_own_pass_and_attention_control_reach_both_networks(backbone_a14b, clip_file, tmp_path):
    words = {"source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda"}
    shape = {"steps": 4, "frames": 9, "size": "96x64", "backbone": backbone_a14b}
    plain = flowedit.edit(clip_file, **words, **shape, out=tmp_path / "plain")
    region = flowedit.edit(clip_file, **words, **shape, out=tmp_path / "region", **{"mode.region": True})
    control = flowedit.edit(clip_file, **words, **shape, mode="rf_solver_edit", out=tmp_path / "control")
    assert all(torch.isfinite(each.latents).all() for each in (plain, region, control))
    assert not torch.equal(plain.latents, region.latents)
    assert min(plain.run["times"]) < 0.875 < max(plain.run["times"])
