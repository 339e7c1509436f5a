"""UNets that predict noise: ModelScope and Zeroscope on clips, SDXL on stills, against diffusers' own pipelines."""

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, TextToVideoSDPipeline
from einops import rearrange
from PIL import Image
from safetensors.torch import load_file

import flowedit
from flowedit.backbones import families, memory, shapes
from flowedit.backbones.released import RELEASES, save_released
from flowedit.backbones.sheet import noted
from flowedit.backbones.unets import noise
from flowedit.flow import rectify, schedule, solvers
from flowedit.media import probe
from flowedit.messages import InputError
from flowedit.networks.recorder import Pyramid
from flowedit.types import Control

FOX = "A red fox is lying down."
WORDS = {"source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda"}
SIZE = (64, 96)
KINDS = {"modelscope": (TextToVideoSDPipeline, 5), "sdxl": (StableDiffusionXLPipeline, 1)}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(request, kind):
    return request.getfixturevalue(f"backbone_{kind}")


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def start(backbone, frames, size=SIZE):
    shape = (1, *backbone.geometry(frames, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("negative", ["blurry, dark", None])
@pytest.mark.parametrize("guidance_scale", [6.0, 1.0])
def test_generation_is_diffusers_own(folder, kind, guidance_scale, negative):
    """DDIM from the largest time of training, whose state is noise in the diffusion's own scale."""
    cls, frames = KINDS[kind]
    backbone, pipeline = load(folder), cls.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True, steps_offset=0
    )
    z = start(backbone, frames)
    x = rectify.from_rectified(z, float(backbone.knots[0]))
    theirs = pipeline(
        prompt=FOX, negative_prompt=negative, height=SIZE[0], width=SIZE[1], num_inference_steps=10,
        guidance_scale=guidance_scale, eta=0.0, output_type="latent",
        latents=x[:, :, 0].clone() if frames == 1 else x.clone(), **({} if frames == 1 else {"num_frames": frames}),
    )  # fmt: skip
    theirs = theirs.images[:, :, None] if frames == 1 else theirs.frames
    velocity = backbone.velocity(backbone.embed(FOX), guidance_scale, negative and backbone.embed(negative))
    ours = solvers.solve(velocity, z, schedule.model(backbone.knots, 10))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1


def test_a_ddim_step_is_an_euler_step(backbone_modelscope):
    """x_t' by diffusers' scheduler is (a' + b') (z + (t' - t) u)."""
    backbone = load(backbone_modelscope)
    scheduler = DDIMScheduler.from_pretrained(backbone_modelscope / "scheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    z, eps = (torch.randn(1, 4, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    t, after = (float(backbone.knots[999 - int(step)]) for step in scheduler.timesteps[:2])
    x = rectify.from_rectified(z, t)
    theirs = scheduler.step(eps, scheduler.timesteps[0], x, eta=0.0).prev_sample
    ours = rectify.from_rectified(z + (after - t) * noise.velocity(eps, x, t), after)
    assert torch.allclose(ours, theirs, atol=1e-6)  # their alphas are float32


def test_its_times_end_below_noise_alone_and_none_above_is_asked_for(folder, kind, clip_file, tmp_path):
    backbone = load(folder)
    top = float(backbone.knots[0])
    assert top == pytest.approx(0.936, abs=1e-3)
    assert float(backbone.knots[-1]) == pytest.approx(0.0283, abs=1e-4)
    velocity = backbone.velocity(backbone.embed(FOX))
    with pytest.raises(InputError, match="no velocity at t = 1"):
        velocity(start(backbone, KINDS[kind][1]), 1.0)
    with pytest.raises(InputError, match=r"mode\.times begins at 1, .* trained up to 0\.936: begin"):
        flowedit.edit(
            clip_file, **WORDS, backbone=folder, frames=1, **{"mode.grid": "given", "mode.times": [1.0, 0.5, 0.0]},
            out=tmp_path / "no",
        )  # fmt: skip


# Attention


def softmax(module, args, kwargs):
    """A module's attention (rows, heads, n, 77), materialised."""
    hidden, text = args[0] if args else kwargs["hidden_states"], kwargs["encoder_hidden_states"]
    q, k = (
        rearrange(each, "b n (h d) -> b h n d", h=module.heads) for each in (module.to_q(hidden), module.to_k(text))
    )
    return (q.float() @ k.float().transpose(-1, -2) * module.scale).softmax(-1)


@pytest.mark.parametrize("size", [(64, 96), (96, 160)])
@pytest.mark.parametrize("blocks", [[0.0, 0.3, 0.5, 0.9], [[0.0, 0.3], [0.6]]])
def test_maps_of_all_sizes_are_the_softmax_on_the_latent_s_grid(folder, kind, size, blocks):
    backbone = load(folder)
    frames, prompt = KINDS[kind][1], backbone.embed(FOX)
    z, tokens = torch.cat([start(backbone, frames, size)] * 2), [[2], [3, 4]]
    z[1] *= 0.5
    count = len(backbone.architecture.attention(backbone.components.transformer))
    groups = blocks if isinstance(blocks[0], list) else [blocks]
    seen = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, args, kwargs, i=i: seen.update({i: softmax(module, args, kwargs)}), with_kwargs=True
        )
        for i, module in enumerate(backbone.architecture.attention(backbone.components.transformer))
    ]
    plain = backbone.velocity(prompt, 6.0, backbone.embed("blurry"))(z, 0.5)
    whole = dict(seen)
    for hook in hooks:
        hook.remove()
    with backbone.record({prompt: tokens}, blocks) as maps:
        watched = backbone.velocity(prompt, 6.0, backbone.embed("blurry"))(z, 0.5)
        read = maps.take(prompt)
    assert torch.equal(plain, watched)
    height, width = size[0] // 8, size[1] // 8
    expected = []
    for group in groups:
        parts = []
        for i in (int(b * count) for b in group):
            own = whole[i][len(whole[i]) // 2 :].mean(1)  # those of the prompt, all heads
            level = next(n for n in range(4) if height * width == own.shape[1] * 4**n)
            columns = torch.stack([own[..., each].mean(-1) for each in tokens], 1)
            shaped = columns.unflatten(2, (height // 2**level, width // 2**level))
            large = F.interpolate(shaped, (height, width), mode="bilinear")
            parts.append(rearrange(large, "(b f) k h w -> b k f h w", f=frames))
        expected.append(torch.stack(parts).mean(0))
    expected = torch.cat(expected, 1)
    assert read.shape == (2, 2 * len(groups), frames, height, width)
    assert torch.allclose(read, expected, atol=1e-6)
    assert not torch.allclose(read[0], read[1], atol=1e-5)
    if frames > 1:
        assert not torch.allclose(read[:, :, 0], read[:, :, 1], atol=1e-5)
    assert len({own.shape[2] for own in whole.values()}) > 1


@pytest.mark.parametrize("grid", [(3, 8, 12), (2, 9, 15), (1, 5, 5)])
def test_a_level_is_found_by_its_sites_and_a_flat_map_stays_flat(grid):
    pyramid = Pyramid(4, grid)
    _, height, width = grid
    for _ in range(3):
        maps = torch.arange(2 * grid[0]).float()[:, None, None].expand(-1, 2, height * width)
        joined = pyramid.joined(maps)
        assert joined.shape == (2, 2, grid[0] * grid[1] * grid[2])
        frames = rearrange(joined, "b k (f n) -> (b f) k n", f=grid[0])
        assert torch.allclose(frames, maps[:, :, :1].expand_as(frames))
        height, width = -(-height // 2), -(-width // 2)
    assert pyramid.rows(slice(2, 4), 4 * grid[0]) == slice(2 * grid[0], 4 * grid[0])


# The autoencoder


@pytest.mark.parametrize(
    ("size", "frames", "tiling"), [((64, 96), 3, False), ((64, 96), 1, True), ((288, 320), 2, True)]
)
def test_frames_are_coded_one_by_one_as_the_autoencoder_codes_stills(folder, kind, size, frames, tiling):
    clip = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
    backbone, vae = load(folder, tiling=tiling), AutoencoderKL.from_pretrained(folder / "vae").eval()
    if tiling:
        vae.enable_tiling()
    pixels, factor = (
        torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1,
        vae.config.scaling_factor,
    )
    assert factor == {"modelscope": 0.18215, "sdxl": 0.13025}[kind]
    with torch.no_grad():
        stills = [vae.encode(each).latent_dist.mode() * factor for each in pixels.split(1)]
        decoded = [vae.decode(each / factor).sample for each in stills]
    counted = []
    z = backbone.encode(clip, counted.append)
    assert torch.equal(z, torch.stack(stills, 2))
    assert counted == [1] * frames
    made = list(backbone.decode(z))
    assert [len(each) for each in made] == [1] * frames
    expected = ((torch.cat(decoded).permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    assert np.array_equal(np.concatenate(made), expected.numpy())


def test_any_length_is_whole_and_sides_halve_at_every_level(folder, kind):
    backbone = load(folder)
    geometry = backbone.geometry(7, (70, 90))
    assert (geometry.source_frames, geometry.frames, geometry.size) == (7, 7, (64, 96))
    assert geometry.latent == (4, 7, 8, 12)
    assert backbone.spec.multiple == 32
    assert backbone.spec.still is (kind == "sdxl")


# Edits


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_an_edit_of_a_clip_comes_back_with_size_rate_and_length(backbone_modelscope, clip_file, tmp_path, mode):
    result = flowedit.edit(
        clip_file, **WORDS, mode=mode, steps=2, size="96x64", backbone=backbone_modelscope, out=tmp_path / "edit"
    )
    source, made = probe.probe(clip_file), probe.probe(result.video)
    assert (made.size, made.frames, made.fps) == (source.size, source.frames, source.fps)
    assert result.mask.is_file()
    assert not torch.equal(result.latents, result.source_latents)
    assert max(result.run["times"]) <= 0.936


@pytest.fixture
def photo(tmp_path):
    picture = np.full((64, 96, 3), 60, np.uint8)
    picture[16:40, 20:60] = (220, 40, 40)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(("strength", "said"), [(1.0, 1), (0.5, 0)])
def test_a_start_at_its_largest_time_is_said(backbone_sdxl, photo, strength, said):
    from flowedit.config.compose import compose
    from flowedit.pipeline.notices.start import of_largest
    from flowedit.pipeline.plan import make_grid

    backbone = load(backbone_sdxl)
    grid = make_grid(compose({"strength": strength, "mode": "random_noise"}), backbone)
    heard = of_largest(backbone, grid)
    assert len(heard) == said
    assert all("this starts at t = 0.936, its largest time" in text for text in heard)
    assert of_largest(backbone, [0.0]) == []


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_an_edit_of_a_still_is_a_still(backbone_sdxl, photo, tmp_path, mode):
    options = {"mode": mode, "steps": 2, "strength": 1.0, "size": "96x64", "backbone": backbone_sdxl}
    result = flowedit.edit(photo, **WORDS, **options, out=tmp_path / "edit")
    assert Image.open(tmp_path / "edit" / "edit.png").size == (96, 64)
    assert not torch.equal(result.latents, result.source_latents)
    assert result.latents.shape == (1, 4, 1, 8, 12)
    assert max(result.run["times"]) == pytest.approx(0.936, abs=1e-3)


def test_a_video_is_no_still_unless_it_is_asked_for(backbone_sdxl, clip_file, tmp_path):
    with pytest.raises(InputError, match="knows single pictures, and this clip has 12 frames"):
        flowedit.edit(clip_file, **WORDS, steps=2, backbone=backbone_sdxl, out=tmp_path / "no")
    result = flowedit.edit(
        clip_file, **WORDS, steps=1, strength=1.0, frames=3, frame_by_frame=True, mask="none",
        backbone=backbone_sdxl, out=tmp_path / "edit",
    )  # fmt: skip
    assert probe.probe(result.video).frames == 3
    backbone = load(backbone_sdxl)
    with pytest.raises(InputError, match="single pictures, not 2 frames at once"):
        backbone.velocity(backbone.embed(FOX))(torch.zeros(1, 4, 2, 8, 12), 0.5)


def test_a_still_knows_the_size_that_it_is_made_at(backbone_sdxl):
    """time_ids are those of the working size, so two sizes of one picture differ in more than their borders."""
    backbone, told = load(backbone_sdxl), []
    backbone.components.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: told.append(kwargs["added_cond_kwargs"]), with_kwargs=True
    )
    for size in (SIZE, (96, 160)):
        backbone.velocity(backbone.embed(FOX), 6.0)(start(backbone, 1, size), 0.5)
        assert told[-1]["time_ids"].tolist() == [[*size, 0, 0, *size]] * 2
    pooled = told[-1]["text_embeds"]
    assert not pooled[0].any()  # the empty prompt is zeros
    assert torch.equal(pooled[1:], backbone.embed(FOX).extras[0])


# What it does not do


def test_what_a_unet_cannot_do_is_said_in_one_line(folder, photo, tmp_path):
    backbone = load(folder)
    prompt = backbone.embed(FOX)
    with pytest.raises(InputError, match=r"whole frames alone: leave mode\.region=true out"):
        backbone.pair_velocity((prompt, 1.0, None), (prompt, 1.0, None))
    with pytest.raises(InputError, match="no control of its attention"), backbone.attend(Control(None, prompt, [0.5])):
        pass
    with pytest.raises(InputError, match=r"no control of its attention: leave .*attention\.\w+.* out"):
        flowedit.edit(photo, **WORDS, backbone=folder, **{"attention.word_weight": 2.0}, out=tmp_path / "no")
    with pytest.raises(InputError, match=r"whole frames alone: leave mode\.region=true out"):
        flowedit.edit(photo, **WORDS, backbone=folder, **{"mode.region": True}, out=tmp_path / "no")
    with pytest.raises(InputError, match=r"takes PyTorch's own attention alone: leave runtime\.attention out"):
        flowedit.edit(
            photo, **WORDS, backbone=folder, runtime={"attention": "native"}, steps=1, strength=1.0, out=tmp_path / "no"
        )


def test_fused_projections_give_the_same(folder, kind):
    from flowedit.networks.acceleration import Acceleration

    z = start(load(folder), KINDS[kind][1])
    plain, fused = load(folder), load(folder, how=Acceleration(fuse=True))
    made = [each.velocity(each.embed(FOX), 3.0)(z, 0.6) for each in (plain, fused)]
    assert torch.allclose(*made, atol=1e-4)
    attention = fused.architecture.attention(fused.components.transformer)[0]
    assert hasattr(attention, "to_kv")
    assert not hasattr(attention, "to_k")


CHANGES = [
    ("unet/config.json", {"in_channels": 9}, "takes 5 channels beside the latent; a text-to-"),
    ("vae/config.json", {"latent_channels": 16}, "its unet takes 4 channels, its autoencoder makes 16"),
    ("unet/config.json", {"time_cond_proj_dim": 256}, "distilled to few steps"),
    ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}, "predicts 'v_prediction'"),
    ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "end at noise alone"),
]


@pytest.mark.parametrize(("name", "values", "said"), CHANGES, ids=[said for *_, said in CHANGES])
def test_a_unet_of_another_kind_is_refused(folder, copied, name, values, said):
    copy = copied(folder)
    path = copy / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=said):
        load(copy)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("model_index.json", {"text_encoder": [None, None]}, "names no text_encoder, which an SDXL base needs"),
        ("unet/config.json", {"addition_embed_type": None}, "is told None beside the prompt"),
        ("vae/config.json", {"latents_mean": [0.0] * 4}, "a mean of their own"),
    ],
)
def test_an_sdxl_of_another_kind_is_refused(backbone_sdxl, copied, name, values, said):
    test_a_unet_of_another_kind_is_refused(backbone_sdxl, copied, name, values, said)


def test_another_pipeline_s_folder_is_named(backbone_sdxl, copied):
    copy = copied(backbone_sdxl)
    index = json.loads((copy / "model_index.json").read_text()) | {"_class_name": "StableDiffusionXLInpaintPipeline"}
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"holds a StableDiffusionXLInpaintPipeline, .* supported are .*\(sdxl\)"):
        load(copy)


# Releases


@pytest.mark.parametrize(
    ("name", "size", "frames"),
    [
        ("modelscope-1.7b", (256, 256), 16),
        ("zeroscope-v2-576w", (320, 576), 24),
        ("zeroscope-v2-xl", (576, 1024), 24),
        ("sdxl-base-1.0", (1024, 1024), 1),
    ],
)
def test_what_no_file_says_is_known_by_the_release_s_name(tmp_path, name, size, frames):
    spec = shapes.of_blueprint(memory.released(name), noted(name))
    assert (spec.native_area, spec.trained_frames) == (size[0] * size[1], frames)
    assert spec.latent_size == (size[0] // 8, size[1] // 8)
    assert all(side % spec.multiple == 0 for side in size)
    backbone = load(save_released(tmp_path / name, name, small=True), name=name)
    assert backbone.spec.latent_size == spec.latent_size
    assert backbone.spec.trained
    assert backbone.embed(FOX).embedding.isfinite().all()
    assert backbone.velocity(backbone.embed(FOX), 2.0)(start(backbone, 1), 0.5).isfinite().all()


@pytest.mark.parametrize("name", ["modelscope-1.7b", "sdxl-base-1.0"])
def test_in_float16_the_autoencoder_of_sdxl_stays_in_float32(tmp_path, name, monkeypatch):
    backbone = load(save_released(tmp_path / name, name, small=True), dtype="float16")
    assert backbone.architecture.vae[1] is (torch.float32 if name.startswith("sdxl") else torch.float16)
    assert RELEASES[name].parts["vae"].config.get("force_upcast", False) is name.startswith("sdxl")


# Pickles


@pytest.fixture
def pickled(backbone_modelscope, copied):
    """As Zeroscope lies on the hub: no safetensors, and the names of 2023."""
    copy = copied(backbone_modelscope)
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        path = copy / part / f"{stem}.safetensors"
        own = load_file(path)
        if part == "text_encoder":
            own = {f"text_model.{name.removeprefix('text_model.')}": each for name, each in own.items()}
            own["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        path.unlink()
        torch.save(own, copy / part / f"{'pytorch_' if part == 'text_encoder' else ''}{stem}.bin")
    return copy


def converted(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["to_safetensors.py", str(folder)])
    runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "to_safetensors.py"), run_name="__main__")
    return capsys.readouterr().out.split()


def test_pickles_are_refused_and_become_safetensors(pickled, backbone_modelscope, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"no safetensors weights in \w+/; .* scripts/to_safetensors\.py makes them"):
        load(pickled)
    written = converted(pickled, monkeypatch, capsys)
    assert [path.split("/")[-2] for path in written] == ["text_encoder", "unet", "vae"]
    assert converted(pickled, monkeypatch, capsys) == []
    made, plain = load(pickled), load(backbone_modelscope)
    assert torch.equal(made.embed(FOX).embedding, plain.embed(FOX).embedding)
    z = start(made, 2)
    assert torch.equal(made.velocity(made.embed(FOX))(z, 0.5), plain.velocity(plain.embed(FOX))(z, 0.5))


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_pickle_that_runs_something_is_not_run(pickled, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Runs()}, pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(SystemExit, match=r"error: .*unet.*"):
        converted(pickled, monkeypatch, capsys)
    assert not (tmp_path / "ran").exists()
    assert not list((pickled / "unet").glob("*.safetensors*"))
    with pytest.raises(SystemExit, match="holds no pickles"):
        converted(tmp_path, monkeypatch, capsys)


def test_shards_stay_shards_with_an_index(pickled, backbone_modelscope, monkeypatch, capsys):
    whole = pickled / "unet" / "diffusion_pytorch_model.bin"
    own = list(torch.load(whole, weights_only=True).items())
    whole.unlink()
    for i, part in enumerate((own[:40], own[40:])):
        torch.save(dict(part), pickled / "unet" / f"diffusion_pytorch_model-0000{i + 1}-of-00002.bin")
    first = pickled / "unet" / "diffusion_pytorch_model-00001-of-00002.bin"
    kept = first.rename(first.with_suffix(".kept"))
    with pytest.raises(SystemExit, match=r"error: .*unet holds 1 of 2 shards"):
        converted(pickled, monkeypatch, capsys)
    assert not list((pickled / "unet").glob("*.safetensors*"))
    kept.rename(first)
    written = converted(pickled, monkeypatch, capsys)
    assert "diffusion_pytorch_model.safetensors.index.json" in [Path(path).name for path in written]
    made, plain = load(pickled), load(backbone_modelscope)
    for ours, theirs in zip(
        made.components.transformer.parameters(), plain.components.transformer.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("how", ["one level down", "before torch 1.6"])
def test_other_kinds_of_pickles_become_safetensors(pickled, backbone_modelscope, monkeypatch, capsys, how):
    path = pickled / "unet" / "diffusion_pytorch_model.bin"
    own = torch.load(path, weights_only=True)
    if how == "one level down":
        torch.save({"state_dict": own, "epoch": 3}, path)
    else:
        torch.save(own, path, _use_new_zipfile_serialization=False)
    converted(pickled, monkeypatch, capsys)
    made = load_file(pickled / "unet" / "diffusion_pytorch_model.safetensors")
    assert made.keys() == own.keys()
    assert all(torch.equal(made[name], each) for name, each in own.items())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"epoch": 3}, "holds no tensors by name"),
        ([torch.zeros(2)], "holds no tensors by name"),
        ({"a": {"x": torch.zeros(2)}, "b": {"x": torch.zeros(2)}}, "holds 2 sets of tensors"),
        (b"", r"model\.bin: "),
        (b"not a pickle", r"model\.bin: "),
    ],
)
def test_a_pickle_without_weights_is_refused_in_one_line(pickled, monkeypatch, capsys, content, match):
    path = pickled / "unet" / "diffusion_pytorch_model.bin"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(SystemExit, match=match) as caught:
        converted(pickled, monkeypatch, capsys)
    assert "\n" not in str(caught.value)
    assert not list((pickled / "unet").glob("*.safetensors*"))


def test_a_pickle_of_another_name_is_not_passed_by_in_silence(pickled, monkeypatch, capsys):
    path = pickled / "unet" / "diffusion_pytorch_model.bin"
    path.rename(path.with_name("zeroscope.bin"))
    with pytest.raises(SystemExit, match=r"zeroscope\.bin: weights are named pytorch_model\.bin or"):
        converted(pickled, monkeypatch, capsys)
