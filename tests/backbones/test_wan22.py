"""Wan 2.2 5B against diffusers' own pipeline and autoencoder, and edits with it."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline

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
def test_an_edit_comes_back_with_size_rate_and_length(backbone_wan22, clip_file, tmp_path, mode):
    result = flowedit.edit(
        clip_file, source="a fox runs", target="a panda runs", source_words="fox", target_words="panda",
        mode=mode, steps=2, backbone=backbone_wan22, out=tmp_path / "edit",
    )  # fmt: skip
    source, made = probe.probe(clip_file), probe.probe(result.video)
    assert (made.size, made.frames, made.fps) == (source.size, source.frames, source.fps)
    assert result.mask.is_file()
    assert not torch.equal(result.latents, result.source_latents)
