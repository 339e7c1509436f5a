"""Mochi 1 against diffusers' own pipeline and autoencoder, and edits with it."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLMochi, MochiPipeline, MochiTransformer3DModel
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule
from small_family import FOX, behind_the_video, changed, load, noise, recorded

from flowedit.backbones.zoo.mochi import prepared
from flowedit.flow import schedule, solvers


@pytest.mark.parametrize(("scale", "negative"), [(4.5, "blurry, dark"), (4.5, ""), (1.0, "")])
def test_generation_is_diffusers_own(backbone_mochi, scale, negative):
    """Its scheduler counts up from 0: the times of ours are one less those."""
    backbone = load(backbone_mochi)
    pipeline = MochiPipeline.from_pretrained(backbone_mochi)
    pipeline.set_progress_bar_config(disable=True)
    z = noise(backbone, 13, (64, 96))
    theirs = pipeline(
        prompt=FOX, negative_prompt=negative, height=64, width=96, num_frames=13, num_inference_steps=6,
        guidance_scale=scale, output_type="latent", latents=z.clone(),
    ).frames  # fmt: skip
    times = [1 - each for each in pipeline.scheduler.sigmas.tolist()]
    assert times == pytest.approx([*linear_quadratic_schedule(6, 0.025), 0.0], abs=1e-6)
    velocity = backbone.velocity(backbone.embed(FOX), scale, backbone.embed(negative))
    ours = solvers.solve(velocity, z, schedule.given(times))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1


def test_the_empty_prompt_is_padding_alone_where_its_index_says_so(backbone_mochi, tmp_path):
    assert not load(backbone_mochi).embed("").extras[0].any()
    folder = changed(backbone_mochi, tmp_path, "model_index.json", force_zeros_for_empty_prompt=False)
    assert load(folder).embed("").extras[0].sum() == 1


def test_all_samples_at_once_are_each_alone(backbone_mochi):
    """Against diffusers' processor, which attends sample by sample with each sample's own text."""
    network = MochiTransformer3DModel.from_pretrained(backbone_mochi / "transformer").eval()
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(256) < torch.tensor([[5], [17], [0]])
    inputs = {
        "hidden_states": torch.randn(3, 4, 2, 8, 8, generator=generator),
        "encoder_hidden_states": torch.randn(3, 256, 32, generator=generator),
        "timestep": torch.tensor([100.0, 500.0, 900.0]),
        "encoder_attention_mask": own,
    }
    with torch.no_grad():
        want = network(**inputs, return_dict=False)[0]
        got = prepared(network)(**inputs, return_dict=False)[0]
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    assert (want[0] - want[1]).abs().max() > 1e-2


@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_its_maps_are_those_of_the_masked_softmax_behind_the_video(backbone_mochi, monkeypatch, normalise):
    backbone = load(backbone_mochi)
    got, calls, own = recorded(backbone, noise(backbone, 13, (64, 96), 2), "dark", normalise, monkeypatch)
    video = 3 * 4 * 6
    for _, _, mask in calls:
        assert mask[0, 0, 0, video:].sum() < own == mask[-1, 0, 0, video:].sum()
    want = behind_the_video(calls, (3, 4, 6), own, normalise).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert (got - want).abs().max() < 1e-6
    assert want.std((2, 3, 4)).min() > 1e-4


@pytest.mark.parametrize(
    ("size", "frames", "tiling"),
    [((32, 48), 1, False), ((32, 48), 13, False), ((16, 16), 31, False), ((272, 32), 19, True)],
)
def test_encode_whole_and_decode_by_chunks_are_the_autoencoder_s_own(backbone_mochi, size, frames, tiling):
    """Two latent frames at a time. Tiles are of 256 pixels, 192 apart."""
    clip = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
    backbone = load(backbone_mochi, tiling=tiling)
    vae = AutoencoderKLMochi.from_pretrained(backbone_mochi / "vae")
    if tiling:
        vae.enable_tiling()
    mean, std = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = (vae.encode(pixels).latent_dist.mode() - mean) / std
        decoded = vae.decode(theirs * std + mean).sample[0].permute(1, 2, 3, 0)
    own, longest = backbone.components.vae, []
    own.decoder.register_forward_pre_hook(lambda _, args: longest.append(args[0].shape[2]))
    z = backbone.encode(clip)
    assert z.shape[1:] == backbone.geometry(frames, size).latent == (4, 1 + frames // 6, size[0] // 8, size[1] // 8)
    assert torch.allclose(z, theirs, atol=1e-5)
    made = np.concatenate(list(backbone.decode(z)))
    assert max(longest) <= 2
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert made.shape == clip.shape
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
    whole = own.decode(torch.zeros(1, 4, 2, 2, 2)).sample
    assert torch.equal(whole, vae.decode(torch.zeros(1, 4, 2, 2, 2)).sample)  # nothing is left in its convolutions


def test_its_shapes_are_its_own(backbone_mochi):
    backbone = load(backbone_mochi)
    assert backbone.geometry(8, (100, 130)).latent == (4, 3, 12, 16)
    assert backbone.geometry(8, (100, 130)).frames == 13
    assert (backbone.spec.multiple, backbone.spec.fps, backbone.spec.frames_per_latent) == (16, 30, 6)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("transformer/config.json", {"out_channels": 9}, "takes more than a latent; a text-to-video one is needed"),
        ("vae/config.json", {"latent_channels": 5}, "takes 4 channels, its autoencoder makes 5"),
    ],
)
def test_other_checkpoints_are_refused(backbone_mochi, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said):
        load(changed(backbone_mochi, tmp_path, name, **values))
