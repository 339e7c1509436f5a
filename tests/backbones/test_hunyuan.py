"""HunyuanVideo against diffusers' own pipeline and autoencoder, and edits with it."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo, FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from small_family import FOX, behind_the_video, changed, load, noise, recorded

from flowedit.config.compose import compose
from flowedit.config.compose import options as modes
from flowedit.flow import schedule, solvers
from flowedit.pipeline.notices import start
from flowedit.pipeline.plan import brief


def theirs_of(folder, z, **options):
    pipeline = HunyuanVideoPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        prompt=FOX, height=64, width=96, num_frames=9, num_inference_steps=5, output_type="latent",
        latents=z.clone(), **options,
    ).frames  # fmt: skip
    return frames, schedule.given(pipeline.scheduler.sigmas.tolist())


@pytest.mark.parametrize("scale", [6.0, 1.0])
def test_generation_with_the_scale_that_is_told_is_diffusers_own(backbone_hunyuan, scale):
    backbone = load(backbone_hunyuan)
    z = noise(backbone, 9, (64, 96))
    theirs, grid = theirs_of(backbone_hunyuan, z, guidance_scale=scale)
    before = backbone.evaluations
    ours = solvers.solve(backbone.velocity(backbone.embed(FOX), scale), z, grid)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1
    assert backbone.evaluations - before == 5


@pytest.mark.parametrize("kind", ["backbone_hunyuan", "backbone_hunyuan_free"])
def test_classifier_free_generation_is_diffusers_own(request, kind):
    folder = request.getfixturevalue(kind)
    backbone = load(folder)
    z = noise(backbone, 9, (64, 96))
    theirs, grid = theirs_of(folder, z, guidance_scale=1.0, true_cfg_scale=4.0, negative_prompt="blurry, dark")
    ours = solvers.solve(backbone.velocity(backbone.embed(FOX), 4.0, backbone.embed("blurry, dark")), z, grid)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    plain = solvers.solve(backbone.velocity(backbone.embed(FOX), 1.0), z, grid)
    assert (ours - plain).norm() / plain.norm() > 1e-3


def test_a_prompt_is_read_in_its_template_and_its_words_are_found(backbone_hunyuan):
    backbone, pipeline = load(backbone_hunyuan), HunyuanVideoPipeline.from_pretrained(backbone_hunyuan)
    embedding, pooled, own = pipeline.encode_prompt(FOX, prompt_template=DEFAULT_PROMPT_TEMPLATE)
    prompt = backbone.embed(FOX)
    assert torch.allclose(prompt.embedding, embedding, atol=1e-6)
    seen, vector = prompt.extras
    assert torch.equal(seen, own.bool())
    assert torch.allclose(vector, pooled, atol=1e-6)
    assert int(seen.sum()) == len(prompt.spans)
    said = [FOX[a:b] for a, b in prompt.spans]
    assert "".join(said) == FOX
    assert said[-1] == ""
    assert backbone.unreadable("A 🦊!") == ()
    with pytest.raises(ValueError, match=r"tokens, .* reads 256: shorten it"):
        backbone.embed("red fox " * 200)


def test_what_pads_a_prompt_is_not_seen(backbone_hunyuan):
    backbone = load(backbone_hunyuan)
    prompt, z = backbone.embed(FOX), noise(backbone, 9, (64, 96))
    before = backbone.velocity(prompt, 6.0)(z, 0.6)
    prompt.embedding[:, len(prompt.spans) :] = 7.0
    assert torch.allclose(backbone.velocity(prompt, 6.0)(z, 0.6), before, atol=1e-6)
    prompt.embedding[:, 1] = 7.0
    assert not torch.allclose(backbone.velocity(prompt, 6.0)(z, 0.6), before, atol=1e-4)


@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_its_maps_are_those_of_the_masked_softmax_behind_the_video(backbone_hunyuan, monkeypatch, normalise):
    backbone = load(backbone_hunyuan)
    got, calls, own = recorded(backbone, noise(backbone, 9, (64, 96), 2), "", normalise, monkeypatch)
    video = 3 * 4 * 6
    for _, k, mask in calls:
        assert k.shape[2] == video + 256
        assert mask[-2, 0, 0].tolist() == [True] * (video + own) + [False] * (256 - own)
    want = behind_the_video(calls, (3, 4, 6), own, normalise).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert (got - want).abs().max() < 1e-6
    assert want.std((2, 3, 4)).min() > 1e-4


@pytest.mark.parametrize(
    ("size", "frames", "tiling"),
    [((32, 48), 9, False), ((32, 48), 17, False), ((16, 16), 25, False), ((16, 16), 41, False), ((272, 32), 21, True)],
)
def test_encode_and_decode_by_chunks_are_the_autoencoder_s_own(backbone_hunyuan, monkeypatch, size, frames, tiling):
    """Chunks are of 17 frames, 12 apart, and blended over 4; tiles of 256 pixels, 192 apart."""
    clip = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
    backbone = load(backbone_hunyuan, tiling=tiling)
    vae = AutoencoderKLHunyuanVideo.from_pretrained(backbone_hunyuan / "vae")
    if tiling:
        vae.enable_tiling()
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = vae.encode(pixels).latent_dist.mode() * 0.476986
        decoded = vae.decode(theirs / 0.476986).sample[0].permute(1, 2, 3, 0)
    told, longest = [], []
    own = backbone.components.vae
    for network in (own.encoder, own.post_quant_conv):
        network.register_forward_pre_hook(lambda _, args: longest.append(args[0].shape[2]))
    z = backbone.encode(clip, told.append)
    assert z.shape[1:] == backbone.geometry(frames, size).latent == (4, 1 + frames // 4, size[0] // 8, size[1] // 8)
    assert torch.allclose(z, theirs, atol=1e-5)
    assert sum(told) == frames
    assert max(longest) <= 17
    made = np.concatenate(list(backbone.decode(z)))
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert made.shape == clip.shape
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1


def test_its_shapes_are_its_own(backbone_hunyuan, backbone_hunyuan_free):
    backbone = load(backbone_hunyuan)
    assert backbone.geometry(10, (100, 130)).latent == (4, 4, 12, 16)
    assert (backbone.spec.multiple, backbone.spec.fps, backbone.spec.shift) == (16, 24, 7.0)
    assert (backbone.spec.guidance, load(backbone_hunyuan_free).spec.guidance) == ("embedded", "free")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, 6)[:-1])
    assert schedule.shifted(backbone.knots, 5, 7.0) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


@pytest.mark.parametrize("mode", modes("mode"))
def test_the_scales_that_its_release_is_told_are_its_own_in_every_mode(mode):
    settings = compose({"backbone": "hunyuan-video", "mode": mode, "source": "a fox", "target": "a panda"})
    target = 7.0 if mode == "rf_solver_edit" else 6.0
    assert (settings.source_guidance_scale, settings.target_guidance_scale) == (1.0, target)
    made = brief(settings)
    assert made.guidance == "embedded"
    assert not [text for text in start.of_guidance(made, "hunyuan-video") if "is told to" in text]
    assert compose({"backbone": "hunyuan-video", "mode": mode, "target_guidance_scale": 4}).target_guidance_scale == 4


@pytest.mark.parametrize(("options", "said"), [
    ({}, []),
    ({"target_guidance_scale": 10}, []),
    ({"target_guidance_scale": 13.5}, ["target_guidance_scale=13.5"]),
    (
        {"source_guidance_scale": 11, "target_guidance_scale": 12},
        ["source_guidance_scale=11", "target_guidance_scale=12"],
    ),
    ({"target_guidance_scale": 13.5, "target_negative_prompt": "blurry"}, []),  # classifier-free: the network is told 1
    ({"target_guidance_scale": 13.5, "backbone": "wan2.1-t2v-14b"}, []),
    (
        {
            "source": "a fox and a car", "target": "a panda and a bus", "source_words": "fox, car",
            "target_words": "panda, bus", "object_guidance_scales": "5,20",
        },
        ["object_guidance_scales=20"],
    ),
])  # fmt: skip
def test_a_scale_far_above_all_that_such_networks_are_told_is_said(options, said):
    settings = compose({"backbone": "hunyuan-video", "source": "a fox", "target": "a panda"} | options)
    texts = start.of_guidance(brief(settings), "hunyuan-video")
    assert [text.partition(" is told to ")[0] for text in texts if " is told to " in text] == said
    assert all("\n" not in text and "set a lower one" in text for text in texts if " is told to " in text)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("transformer/config.json", {"image_condition_type": "token_replace"}, "is an image-to-video HunyuanVideo"),
        ("transformer/config.json", {"in_channels": 9}, "is an image-to-video HunyuanVideo"),
        ("transformer/config.json", {"patch_size_t": 2}, "HunyuanVideo of another version"),
        ("vae/config.json", {"latent_channels": 5}, "takes 4 channels, its autoencoder makes 5"),
        (
            "model_index.json",
            {"_class_name": "HunyuanVideoFramepackPipeline"},
            r"which is not supported; supported are",
        ),
    ],
)
def test_other_checkpoints_are_refused(backbone_hunyuan, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said):
        load(changed(backbone_hunyuan, tmp_path, name, **values))


def test_a_checkpoint_without_its_second_encoder_is_refused(backbone_hunyuan, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_hunyuan, copy)
    (copy / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="text_encoder_2"):
        load(copy)
