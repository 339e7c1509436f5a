"""HunyuanVideo against diffusers' own pipeline and autoencoder, and edits with it."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo, FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from einops import rearrange

import flowedit
from flowedit.backbones import families
from flowedit.config.compose import compose
from flowedit.config.compose import options as modes
from flowedit.flow import schedule, solvers
from flowedit.media import probe
from flowedit.networks import recorder
from flowedit.networks.acceleration import Acceleration
from flowedit.pipeline.notices import start
from flowedit.pipeline.plan import brief

FOX = "A red fox is lying down."


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def noise(backbone, frames=9, size=(64, 96), rows=1):
    shape = (rows, *backbone.geometry(frames, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


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
    z = noise(backbone)
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
    z = noise(backbone)
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
    prompt, z = backbone.embed(FOX), noise(backbone)
    before = backbone.velocity(prompt, 6.0)(z, 0.6)
    prompt.embedding[:, len(prompt.spans) :] = 7.0
    assert torch.allclose(backbone.velocity(prompt, 6.0)(z, 0.6), before, atol=1e-6)
    prompt.embedding[:, 1] = 7.0
    assert not torch.allclose(backbone.velocity(prompt, 6.0)(z, 0.6), before, atol=1e-4)


@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_its_maps_are_those_of_the_masked_softmax_behind_the_video(backbone_hunyuan, monkeypatch, normalise):
    backbone, calls, original = load(backbone_hunyuan), [], recorder.with_lse
    prompt, negative = backbone.embed(FOX), backbone.embed("")
    z = noise(backbone, rows=2)

    def spy(q, k, v, scale, mask):
        calls.append((q.clone(), k.clone(), mask.clone()))
        return original(q, k, v, scale, mask)

    monkeypatch.setattr(recorder, "with_lse", spy)
    with backbone.record({prompt: [[1], [2, 3]]}, [0.0, 0.7], normalise) as maps:
        backbone.velocity(prompt, 3.0, negative)(z, 0.6)
        got = maps.take(prompt)
    assert len(calls) == 2  # a block of two streams, and one of one
    want, video, own = [], 3 * 4 * 6, len(prompt.spans)
    for q, k, mask in calls:
        q, k, mask = q[-2:, :, :video].double(), k[-2:].double(), mask[-2:]
        assert k.shape[2] == video + 256
        assert mask[0, 0, 0].tolist() == [True] * (video + own) + [False] * (256 - own)
        logits = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
        first = video if normalise == "joint" else 0
        weights = (logits if normalise == "joint" else logits[..., video : video + own]).softmax(-1)
        columns = [weights[..., [first + i for i in each]].mean((1, 3)) for each in ([1], [2, 3])]
        want.append(torch.stack(columns, 1))
    want = rearrange(torch.stack(want).mean(0), "b k (f h w) -> b k f h w", f=3, h=4)
    want = want.repeat_interleave(2, 3).repeat_interleave(2, 4)
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


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_an_edit_comes_back_with_size_rate_and_length(backbone_hunyuan, clip_file, tmp_path, mode):
    result = flowedit.edit(
        clip_file, source="a fox runs", target="a panda runs", source_words="fox", target_words="panda",
        mode=mode, steps=2, backbone=backbone_hunyuan, out=tmp_path / "edit",
    )  # fmt: skip
    source, made = probe.probe(clip_file), probe.probe(result.video)
    assert (made.size, made.frames, made.fps) == (source.size, source.frames, source.fps)
    assert result.mask.is_file()
    assert not torch.equal(result.latents, result.source_latents)
    assert (tmp_path / "edit" / "run.yaml").is_file()


def test_its_attention_is_controlled_and_a_region_alone_is_refused(backbone_hunyuan, clip_file, tmp_path):
    words = {"source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda"}
    shape = {"steps": 3, "frames": 9, "size": "96x64", "backbone": backbone_hunyuan}
    plain = flowedit.edit(clip_file, **words, **shape, out=tmp_path / "plain")
    anchor = flowedit.edit(clip_file, **words, **shape, out=tmp_path / "anchor", attention="anchor")
    control = flowedit.edit(clip_file, **words, **shape, mode="rf_solver_edit", out=tmp_path / "control")
    for each in (anchor, control):
        assert torch.isfinite(each.latents).all()
        assert not torch.equal(plain.latents, each.latents)
    with pytest.raises(ValueError, match=r"mode\.region"):
        flowedit.edit(clip_file, **words, **shape, out=tmp_path / "region", **{"mode.region": True})


def changed(folder, tmp_path, name, **values):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


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


def test_what_it_does_not_run_with_is_refused(backbone_hunyuan):
    with pytest.raises(ValueError, match=r"does not run with runtime\.fuse"):
        load(backbone_hunyuan, how=Acceleration(fuse=True))
