"""LTX-Video against diffusers' own pipeline and autoencoder, and edits with it."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline
from einops import rearrange
from small_family import FOX, OBJECTS, changed, load, noise, recorded

from flowedit.flow import schedule, solvers


@pytest.mark.parametrize("guidance_scale", [3.0, 1.0])
def test_generation_is_diffusers_own(backbone_ltx, guidance_scale):
    backbone = load(backbone_ltx)
    pipeline = LTXPipeline.from_pretrained(backbone_ltx)
    pipeline.set_progress_bar_config(disable=True)
    z = noise(backbone, 17, (96, 128))
    theirs = pipeline(
        prompt=FOX, negative_prompt="blurry, dark", height=96, width=128, num_frames=17, num_inference_steps=6,
        guidance_scale=guidance_scale, output_type="latent", latents=pipeline._pack_latents(z),
    ).frames  # fmt: skip
    theirs = pipeline._unpack_latents(theirs, *z.shape[2:])
    velocity = backbone.velocity(backbone.embed(FOX), guidance_scale, backbone.embed("blurry, dark"))
    ours = solvers.solve(velocity, z, schedule.given(pipeline.scheduler.sigmas.tolist()))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1


def test_what_pads_a_prompt_is_not_seen(backbone_ltx):
    backbone = load(backbone_ltx)
    prompt, z = backbone.embed(FOX), noise(backbone, 17, (96, 128))
    (own,) = prompt.extras
    assert own.tolist() == [[True] * len(prompt.spans) + [False] * (128 - len(prompt.spans))]
    before = backbone.velocity(prompt)(z, 0.6)
    prompt.embedding[:, len(prompt.spans) :] = 7.0
    assert torch.equal(backbone.velocity(prompt)(z, 0.6), before)
    prompt.embedding[:, 1] = 7.0
    assert not torch.allclose(backbone.velocity(prompt)(z, 0.6), before, atol=1e-3)


@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_its_maps_are_those_of_the_masked_softmax(backbone_ltx, monkeypatch, normalise):
    """All keys that are seen are the prompt's own, so both are one."""
    backbone = load(backbone_ltx)
    got, calls, _ = recorded(backbone, noise(backbone, 17, (96, 128), 2), "", normalise, monkeypatch)
    want = []
    for q, k, mask in calls:
        q, k, mask = q[-2:].double(), k[-2:].double(), mask[-2:].double()
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask).softmax(-1)
        want.append(torch.stack([weights[..., each].mean((1, 3)) for each in OBJECTS], 1))
    want = rearrange(torch.stack(want).mean(0), "b k (f h w) -> b k f h w", f=3, h=3)
    assert (got - want).abs().max() < 1e-6
    assert want.std((2, 3, 4)).min() > 1e-3


@pytest.mark.parametrize("kind", ["backbone_ltx", "backbone_ltx091"])
@pytest.mark.parametrize(("size", "frames", "tiling"), [((96, 64), 17, False), ((544, 96), 9, True)])
def test_encode_and_decode_are_the_autoencoder_s_own(request, kind, size, frames, tiling):
    """Tiles are of 512 pixels, 448 apart. A decoder that adds noise adds the same each time."""
    folder = request.getfixturevalue(kind)
    clip = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
    backbone = load(folder, tiling=tiling)
    vae = AutoencoderKLLTXVideo.from_pretrained(folder / "vae")
    if tiling:
        vae.enable_tiling()
    mean, std = (each.view(1, -1, 1, 1, 1) for each in (vae.latents_mean, vae.latents_std))
    assert mean.abs().max() > 0.1
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = (vae.encode(pixels).latent_dist.mode() - mean) / std
        torch.manual_seed(0)
        time = torch.zeros(1) if vae.config.timestep_conditioning else None
        decoded = vae.decode(theirs * std + mean, time).sample[0].permute(1, 2, 3, 0)
    z = backbone.encode(clip)
    assert z.shape[1:] == backbone.geometry(frames, size).latent == (8, 1 + frames // 8, size[0] // 32, size[1] // 32)
    assert torch.allclose(z, theirs, atol=1e-5)
    made = np.concatenate(list(backbone.decode(z)))
    assert np.array_equal(made, np.concatenate(list(backbone.decode(z))))
    assert made.shape == clip.shape
    if not tiling or kind == "backbone_ltx":  # the noise of a tile begins anew with each of ours
        expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1


def test_its_own_noise_leaves_the_program_s_alone(backbone_ltx091):
    backbone = load(backbone_ltx091)
    z = noise(backbone, 9, (64, 64))
    backbone.ready()
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    list(backbone.decode(z))
    assert torch.equal(torch.rand(3), want)


def test_its_shapes_and_its_shift_are_its_own(backbone_ltx):
    backbone = load(backbone_ltx)
    assert backbone.geometry(10, (100, 130)).latent == (8, 3, 3, 4)
    assert backbone.geometry(10, (100, 130)).size == (96, 128)
    assert (backbone.spec.multiple, backbone.spec.fps, backbone.spec.frames_per_latent) == (32, 25, 8)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(backbone_ltx / "scheduler", shift_terminal=None)
    tokens = 21 * 16 * 22
    mu = 0.95 + (tokens - 1024) * (2.05 - 0.95) / (4096 - 1024)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 5, 5), mu=mu)
    shift = backbone.spec.shift_at((512, 704), 21)
    assert schedule.shifted(backbone.knots, 5, shift) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


def test_a_region_s_own_pass_of_all_tokens_is_the_whole_pass(backbone_ltx):
    from flowedit.types import Guided

    backbone = load(backbone_ltx)
    prompts = [backbone.embed(each) for each in ("a fox runs", "a panda runs over grass", "")]
    source, target = Guided(prompts[0], 2.0, prompts[2]), Guided(prompts[1], 5.0, prompts[2])
    q, p = noise(backbone, 17, (96, 128)), noise(backbone, 17, (96, 128)).flip(-1)
    with backbone.record({prompts[0]: [1], prompts[1]: [1, 2]}, [0.0, 0.5]) as maps:
        whole = backbone.velocity(*source)(q, 0.6), backbone.velocity(*target)(p, 0.6)
        seen = [maps.take(each) for each in prompts[:2]]
        everywhere = backbone.choose(torch.ones_like(q[:1, :1], dtype=torch.bool))
        pair = backbone.pair_velocity(source, target)(q, p, 0.6, everywhere)
        again = [maps.take(each) for each in prompts[:2]]
        for got, want in zip([*pair, *again], [*whole, *seen], strict=True):
            assert (got - want).abs().max() < 1e-5 * want.abs().max()
        part = torch.zeros_like(q[:1, :1], dtype=torch.bool)
        part[..., :2, 1:3] = True
        u_q, u_p = backbone.pair_velocity(source, target)(q, p, 0.6, backbone.choose(part))
    assert torch.equal(torch.where(part, u_q, u_p), u_q)
    assert (u_q - u_p).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("transformer/config.json", {"patch_size": 2}, "of another version; 0.9 and 0.9.1 are supported"),
        ("transformer/config.json", {"in_channels": 9}, "takes 9 channels, its autoencoder makes 8"),
        (
            "model_index.json",
            {"_class_name": "LTXImageToVideoPipeline"},
            r"LTXImageToVideoPipeline, which.*LTXPipeline",
        ),
    ],
)
def test_other_checkpoints_are_refused(backbone_ltx, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said):
        load(changed(backbone_ltx, tmp_path, name, **values))
