"""The Wan 2.1 adapter against diffusers' own pipeline and autoencoder, its recorder, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
from diffusers.models import attention_dispatch
from safetensors.torch import load_file, save_file
from transformers import T5Tokenizer

import flowedit
from flowedit.backbones import families
from flowedit.backbones.random_weights import save_random
from flowedit.backbones.text import clean
from flowedit.config import compose
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.flow import guidance, noise, schedule, solvers
from flowedit.language import words
from flowedit.media import probe
from flowedit.messages import InputError
from flowedit.networks import recorder
from flowedit.pipeline import plan
from flowedit.pipeline.plan import windows_of

FRAMES = np.random.default_rng(0).integers(0, 255, (9, 64, 96, 3), dtype=np.uint8)
FOX = "A red fox is lying down."


@pytest.fixture(scope="module")
def pipeline(backbone_wan):
    made = WanPipeline.from_pretrained(backbone_wan)
    made.set_progress_bar_config(disable=True)
    return made


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def latents(backbone, rows=1, frames=9, size=(64, 96)):
    shape = (rows, *backbone.geometry(frames, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def changed(folder, tmp_path, name, **values):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    path = copy / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


# Parity with diffusers


@pytest.mark.parametrize(("guidance_scale", "shift"), [(5.0, 3.0), (1.0, 5.0)])
def test_generation_is_diffusers_own(backbone_wan, pipeline, guidance_scale, shift):
    backbone = load(backbone_wan)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    height, width = 96, 128
    z = latents(backbone, size=(height, width))
    theirs = pipeline(
        prompt=FOX, negative_prompt="blurry, dark", height=height, width=width, num_frames=9, num_inference_steps=10,
        guidance_scale=guidance_scale, output_type="latent", latents=z.clone(),
    ).frames  # fmt: skip
    grid = schedule.given(pipeline.scheduler.sigmas.tolist())
    velocity = backbone.velocity(backbone.embed(FOX), guidance_scale, backbone.embed("blurry, dark"))
    ours = solvers.solve(velocity, z, grid)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert (ours - z).norm() / z.norm() > 0.1


def test_the_shifted_grid_is_the_flow_of_diffusers_with_its_sigmas_given():
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(sigmas=[1.0 - i / 10 for i in range(10)])
    knots = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    assert np.allclose(schedule.shifted(knots, 10, 3.0), theirs.sigmas.tolist(), atol=1e-6)


@pytest.mark.parametrize("tiling", [False, True])
def test_encode_and_decode_stream_what_the_autoencoder_does_at_once(backbone_wan, tiling):
    """Tiles of 256 pixels, 192 apart: two columns here, and two rows."""
    frames = np.random.default_rng(0).integers(0, 255, (5, 272, 272, 3), dtype=np.uint8) if tiling else FRAMES
    backbone = load(backbone_wan, tiling=tiling)
    vae = AutoencoderKLWan.from_pretrained(backbone_wan / "vae")
    if tiling:
        vae.enable_tiling()
    mean, std = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = (vae.encode(pixels).latent_dist.mode() - mean) / std
        decoded = vae.decode(theirs * std + mean).sample[0].permute(1, 2, 3, 0)
    counted = []
    z = backbone.encode(frames, counted.append)
    assert z.shape[1:] == backbone.geometry(len(frames), frames.shape[1:3]).latent
    assert z.dtype == torch.float32
    assert torch.allclose(z, theirs, atol=1e-5)
    assert sum(counted) == len(frames)
    chunks = list(backbone.decode(z))
    assert sum(map(len, chunks)) == len(frames)
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert np.abs(np.concatenate(chunks).astype(int) - expected.astype(int)).max() <= 1
    if tiling:
        assert not torch.allclose(load(backbone_wan, tiling=False).encode(frames[:1]), z[:, :, :1], atol=1e-3)


def test_two_clips_in_a_row_do_not_see_each_other(backbone_wan):
    backbone = load(backbone_wan)
    first = backbone.encode(FRAMES)
    backbone.encode(255 - FRAMES)
    assert torch.equal(backbone.encode(FRAMES), first)
    again = [np.concatenate(list(backbone.decode(first))) for _ in range(2)]
    assert np.array_equal(*again)


PROMPTS = [FOX, "", "  a\tfox \n\n and a\u00a0panda ", "fox &amp; panda &lt;3", "&amp;lt;fox&gt; &notanentity; AT&T"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_embeddings_are_the_pipeline_s(backbone_wan, pipeline, prompt):
    theirs = pipeline._get_t5_prompt_embeds(prompt, max_sequence_length=512).detach()
    ours = load(backbone_wan).embed(prompt)
    assert torch.allclose(ours.embedding, theirs, atol=1e-6)  # other places in memory, so other sums
    assert ours.embedding[:, : len(ours.spans)].abs().sum(-1).min() > 0
    assert not ours.embedding[:, len(ours.spans) :].any()


# Text


@pytest.mark.parametrize("prompt", PROMPTS)
def test_cleaned_characters_keep_their_places(prompt):
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    text, places = clean(prompt)
    assert text == prompt_clean(prompt)
    assert len(text) == len(places)
    for letter, (a, b) in zip(text, places, strict=True):
        assert prompt[a:b] == letter or prompt[a] == "&" or prompt[a:b].isspace()


def test_words_are_found_behind_entities_and_wide_spaces(backbone_wan):
    backbone, prompt = load(backbone_wan), "  the cat &amp;   zebra\n runs"
    spans = backbone.spans(prompt)
    chosen = words.token_indices(prompt, "zebra", spans)
    pieces = backbone.text._tokenizer.convert_ids_to_tokens(backbone.text._tokenizer(clean(prompt)[0]).input_ids)
    assert "".join(pieces[i] for i in chosen) == "zebra"
    assert spans[-1] == (0, 0)
    covered = {i for a, b in spans for i in range(a, b)}
    assert all(i in covered for i, c in enumerate(prompt) if not c.isspace())


def test_a_prompt_that_is_too_long_says_what_falls_off(backbone_wan):
    with pytest.raises(ValueError, match=r"512.*fall off: '.*the end'"):
        load(backbone_wan).embed("zq " * 180 + "the end")


def test_characters_without_a_piece_are_told(backbone_wan):
    prompt = "a  狐狸 &amp; fox"
    assert [prompt[a:b] for a, b in load(backbone_wan).unreadable(prompt)] == ["狐狸"]


# Shapes, times, batches


@pytest.mark.parametrize(("frames", "whole"), [(1, 1), (2, 5), (5, 5), (12, 13), (41, 41), (80, 81), (81, 81)])
def test_frames_are_padded_to_what_the_autoencoder_carries(backbone_wan, frames, whole):
    backbone = load(backbone_wan)
    geometry = backbone.geometry(frames, (70, 90))
    assert (geometry.source_frames, geometry.frames, geometry.size) == (frames, whole, (64, 96))
    assert geometry.latent == (4, 1 + (whole - 1) // 4, 8, 12)


@pytest.mark.parametrize("frames", [1, 5])
def test_a_clip_of_valid_length_comes_back_with_its_length(backbone_wan, frames):
    backbone = load(backbone_wan)
    z = backbone.encode(FRAMES[:frames])
    assert z.shape[1:] == backbone.geometry(frames, (64, 96)).latent
    assert sum(len(c) for c in backbone.decode(z)) == frames
    assert backbone.velocity(backbone.embed("a fox"))(z, 0.5).shape == z.shape


def test_shapes_beyond_its_positions_are_refused(backbone_wan, tmp_path):
    backbone = load(changed(backbone_wan, tmp_path, "transformer/config.json", rope_max_seq_len=8))
    assert backbone.spec.max_side == 128
    assert backbone.geometry(29, (128, 128)).latent == (4, 8, 16, 16)
    assert backbone.spec.max_latents == 8
    assert backbone.geometry(33, (64, 96)).latent[1] == 9  # which windows carry, and no single evaluation
    with pytest.raises(ValueError, match="window whole is 33 frames of this clip, longer than 29"):
        windows_of(compose.compose({"window": "whole"}), backbone.spec, 9)
    assert len(windows_of(compose.compose({}), backbone.spec, 9)) == 4
    with pytest.raises(ValueError, match="144x64 has a side over 128"):
        backbone.geometry(9, (64, 144))
    with pytest.raises(ValueError, match="0 frames"):
        backbone.geometry(0, (64, 96))


def test_native_shapes_are_those_of_the_released_models(backbone_wan, tmp_path):
    found = {}
    for heads in (12, 40):
        folder = changed(
            backbone_wan, tmp_path, "transformer/config.json", num_attention_heads=heads, attention_head_dim=128
        )
        (folder / "flowedit.json").unlink()
        backbone = load(folder)
        assert (backbone.spec.trained_frames, backbone.spec.fps, backbone.spec.trained) == (81, 16, True)
        found[heads] = (backbone.spec.latent_size, backbone.spec.native_area)
    assert found == {12: ((60, 104), 480 * 832), 40: ((90, 160), 720 * 1280)}


def test_knots_are_whole_timesteps_and_times_below_them_are_conditioned_at_the_last(backbone_wan):
    backbone = load(backbone_wan)
    assert (len(backbone.knots), float(backbone.knots[0]), float(backbone.knots[-1])) == (1000, 1.0, 0.001)
    assert schedule.model(backbone.knots, 4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    seen = []
    backbone.components.transformer.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["timestep"].tolist()), with_kwargs=True
    )
    z, velocity = latents(backbone), backbone.velocity(backbone.embed("a fox"))
    for t in (0.0, 0.001, 0.5, 1.0):
        assert torch.isfinite(velocity(z, t)).all()
    assert seen == [[1.0], [1.0], [500.0], [1000.0]]


def test_guidance_is_one_batched_call_and_a_limit_of_rows_changes_nothing(backbone_wan):
    z = latents(load(backbone_wan), rows=3)
    results, calls = {}, {}
    for rows in (0, 1, 2):
        backbone, sizes = load(backbone_wan, rows=rows), []
        backbone.components.transformer.register_forward_pre_hook(
            lambda m, args, kwargs, sizes=sizes: sizes.append(len(kwargs["hidden_states"])), with_kwargs=True
        )
        prompt, negative = backbone.embed("a fox"), backbone.embed("")
        results[rows], calls[rows] = backbone.velocity(prompt, 4.0, negative)(z, 0.5), list(sizes)
        assert sum(sizes) == backbone.evaluations == 6
        plain, none = backbone.velocity(prompt)(z, 0.5), backbone.velocity(negative)(z, 0.5)
        assert torch.allclose(results[rows], guidance.classifier_free(none, plain, 4.0), atol=1e-4)
    assert calls == {0: [6], 1: [1] * 6, 2: [2, 2, 2]}
    assert all((results[rows] - results[0]).norm() < 1e-5 * results[0].norm() for rows in (1, 2))
    unguided = load(backbone_wan)
    without = unguided.velocity(unguided.embed("a fox"), 4.0)(z, 0.5)  # the empty prompt, as its pipeline takes it
    assert torch.equal(without, results[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("draws", [1, 2])
def test_equal_prompts_and_guidance_give_the_source_back(backbone_wan, dtype, draws):
    backbone = load(backbone_wan, dtype=dtype)
    x = backbone.encode(FRAMES)
    sides = [backbone.velocity(backbone.embed("a fox"), 3.5, backbone.embed("")) for _ in range(2)]
    grid = schedule.start(schedule.shifted(backbone.knots, 5, 3.0), 0.8)
    z = inversion_free(x, *sides, grid, noise.gaussian(0, tuple(x.shape)), draws=draws)
    assert z.dtype == torch.float32
    assert (z - x).abs().max() < 1e-4


# The recorder


@pytest.mark.parametrize("normalise", ["joint", "text"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-4)])
def test_maps_equal_the_materialised_softmax_of_cross_attention(backbone_wan, monkeypatch, dtype, tolerance, normalise):
    backbone = load(backbone_wan, dtype=dtype)
    source, target, negative = (backbone.embed(p) for p in ("a red fox runs", "a panda runs", ""))
    tokens = {source: [2, 3], target: [1, 2]}
    z, calls = latents(backbone, rows=2), []
    original = recorder.with_lse
    monkeypatch.setattr(
        recorder, "with_lse", lambda q, k, *rest: calls.append((q.clone(), k.clone())) or original(q, k, *rest)
    )
    with backbone.record(tokens, [0.0, 0.7], normalise) as maps:
        for prompt, scale in [(source, 1.0), (target, 5.0)]:
            calls.clear()
            backbone.velocity(prompt, scale, negative)(z, 0.6)
            assert [(q.shape[2], k.shape[2]) for q, k in calls] == [(3 * 4 * 6, 512)] * 2  # no self-attention
            keys = len(prompt.spans) if normalise == "text" else 512
            exact = [
                (q[-2:].double() @ k[-2:, :, :keys].double().transpose(-1, -2) / 4).softmax(-1)[..., tokens[prompt]]
                for q, k in calls
            ]
            want = torch.stack([e.mean((1, 3)) for e in exact]).mean(0).view(2, 1, 3, 4, 6)
            want = want.repeat_interleave(2, 3).repeat_interleave(2, 4)
            found = maps.take(prompt)
            assert found.shape == (2, 1, *z.shape[2:])
            assert (found - want).abs().max() < tolerance
            assert found.std() > 1e-6
            assert maps.take(prompt) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_output_is_the_same_to_the_bit_with_the_recorder_on(backbone_wan, dtype, scale):
    backbone = load(backbone_wan, dtype=dtype)
    prompt, negative, z = backbone.embed("a red fox"), backbone.embed("blurry"), latents(backbone, rows=2)
    off = backbone.velocity(prompt, scale, negative)(z, 0.6)
    with backbone.record({prompt: [2]}, [0.0, 0.4, 0.8]) as maps:
        on = backbone.velocity(prompt, scale, negative)(z, 0.6)
        assert maps.take(prompt) is not None
    assert torch.equal(on, off)
    assert torch.equal(backbone.velocity(prompt, scale, negative)(z, 0.6), off)


def test_maps_do_not_depend_on_the_limit_of_rows(backbone_wan):
    found = []
    for rows in (0, 1):
        backbone = load(backbone_wan, rows=rows)
        prompt, z = backbone.embed("a red fox"), latents(backbone, rows=2)
        with backbone.record({prompt: [2]}, [0.5]) as maps:
            backbone.velocity(prompt, 4.0, backbone.embed(""))(z, 0.6)
            found.append(maps.take(prompt))
    assert torch.allclose(*found, atol=1e-7)


@pytest.mark.parametrize("outside", ["everywhere", "on the network"])
def test_an_attention_backend_set_from_outside_does_not_blind_the_recorder(backbone_wan, monkeypatch, outside):
    """As DIFFUSERS_ATTN_BACKEND and set_attention_backend do; flex does not go through PyTorch's function."""
    backbone = load(backbone_wan)
    prompt, z = backbone.embed("a red fox"), latents(backbone)

    def maps():
        with backbone.record({prompt: [2]}, [0.0, 0.5]) as taken:
            backbone.velocity(prompt)(z, 0.6)
            return taken.take(prompt)

    want, called = maps(), []

    def other(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        called.append(1)
        weights = (query.permute(0, 2, 1, 3) @ key.permute(0, 2, 3, 1) * query.shape[-1] ** -0.5).softmax(-1)
        return (weights @ value.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)

    registry = attention_dispatch._AttentionBackendRegistry
    monkeypatch.setitem(registry._backends, attention_dispatch.AttentionBackendName.FLEX, other)
    accepted = {"query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"}
    monkeypatch.setitem(registry._supported_arg_names, attention_dispatch.AttentionBackendName.FLEX, accepted)
    if outside == "everywhere":
        monkeypatch.setattr(registry, "_active_backend", attention_dispatch.AttentionBackendName.FLEX)
    else:
        for block in backbone.components.transformer.blocks:
            for module in (block.attn1, block.attn2):
                module.processor._attention_backend = "flex"
    assert torch.allclose(maps(), want, atol=1e-7)
    assert called  # the blocks that are not read took it
    for block in backbone.components.transformer.blocks:
        assert block.attn2.processor._attention_backend == (None if outside == "everywhere" else "flex")


@pytest.mark.parametrize("name", ["no_such_backend", "sage"])
def test_a_backend_that_does_not_work_is_one_line(backbone_wan, monkeypatch, name):
    monkeypatch.setenv("DIFFUSERS_ATTN_BACKEND", name)
    with pytest.raises(InputError, match=f"DIFFUSERS_ATTN_BACKEND={name}.*unset it"):
        load(backbone_wan)
    monkeypatch.setenv("DIFFUSERS_ATTN_BACKEND", "native")
    load(backbone_wan)


def test_processors_that_hide_their_attention_are_one_line(backbone_wan):
    backbone = load(backbone_wan)
    prompt, z = backbone.embed("a red fox"), latents(backbone)
    for block in backbone.components.transformer.blocks:
        block.attn2.processor = lambda attn, hidden_states, *rest, **more: hidden_states
    with (
        backbone.record({prompt: [2]}, [0.5]),
        pytest.raises(InputError, match="attention of the words cannot be read"),
    ):
        backbone.velocity(prompt)(z, 0.6)


def test_characters_that_umt5_has_no_piece_for_are_found_and_named_so(backbone_wan, tmp_path, monkeypatch):
    """Its vocabulary has <s> at 2, where transformers puts what it does not know, and <unk> at 3."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocabulary += [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    copy = shutil.copytree(backbone_wan, tmp_path / "copy")
    shutil.rmtree(copy / "tokenizer")
    T5Tokenizer(vocab=vocabulary, extra_ids=0, bos_token="<s>").save_pretrained(copy / "tokenizer")
    backbone, prompt = load(copy), "a 狐 runs, fast"
    assert [prompt[a:b] for a, b in backbone.unreadable(prompt)] == ["狐", ","]
    assert backbone.unreadable("a fox runs") == ()
    seen = []
    backbone.components.encoder().register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    backbone.embed(prompt)
    ids = seen[0][0, : len(backbone.spans(prompt))].tolist()
    assert (ids.count(3), ids.count(2)) == (2, 0)


# Whole edits


SIDES = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {"steps": 2, "strength": 1.0, "source_guidance_scale": 1.0, "target_guidance_scale": 2.0}


@pytest.mark.parametrize("frames", [1, 6])
@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_every_mode_edits_clips_of_any_length(backbone_wan, clip_file, tmp_path, mode, frames):
    shape = {"size": "96x64", "frames": frames}
    result = flowedit.edit(
        clip_file, backbone=backbone_wan, mode=mode, out=tmp_path / "o", **SIDES, **WORDS, **FAST, **shape
    )
    before, after = probe.probe(clip_file), probe.probe(result.video)
    assert (after.frames, after.size, after.fps) == (frames, before.size, before.fps)
    assert result.mask is not None
    assert result.latents.shape == (1, 4, 1 + -(-(frames - 1) // 4), 8, 12)
    assert not torch.equal(result.latents, result.source_latents)
    assert result.run["network_evaluations"] == {"random_noise": 4, "inversion": 6, "inversion_free": 6}[mode]
    assert result.run["backbone"]["name"] == "random-wan"
    backbone = load(backbone_wan)
    shift = 12.0 if mode == "inversion_free" else backbone.spec.shift  # FlowDirector's, or the checkpoint's own
    assert result.run["times"] == pytest.approx(schedule.shifted(backbone.knots, 2, shift))


def test_a_generated_clip_has_the_rate_that_it_learned(backbone_wan, command, tmp_path):
    options = ("--steps", 1, "--size", "64x64", "--frames", 3, "--out", tmp_path / "made")
    code, _, err = command("generate", "--backbone", backbone_wan, "--prompt", "a fox", *options)
    assert code == 0, err
    made = probe.probe(tmp_path / "made" / "video.mp4")
    assert (made.frames, made.size, made.fps) == (3, (64, 64), 16)


@pytest.mark.parametrize("name", ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b"])
def test_released_checkpoints_take_their_own_grid_unless_another_is_named(name):
    for mode in ("random_noise", "inversion"):
        settings = compose.compose({"backbone": name, "mode": mode})
        assert (settings.mode.grid, settings.negative_prompt) == ("model", "")
    assert compose.compose({"backbone": name, "mode": "flowedit"}).mode.shift == 3.0
    assert compose.compose({"backbone": name, "mode": "flowdirector_v1"}).mode.shift == 12.0
    assert settings.backbone.repository.startswith("Wan-AI/Wan2.1-T2V-1")


@pytest.mark.parametrize(
    "options", [{}, {"mode.grid": "shifted", "mode.shift": 5.0}, {"mode.grid": "uniform"}], ids=str
)
def test_the_models_own_grid_is_shifted_and_a_named_one_stands_over_it(backbone_wan, options):
    backbone = load(backbone_wan)
    settings = compose.compose({"backbone": backbone_wan, "steps": 4, "strength": 1, "mode.grid": "model", **options})
    shift = {"shifted": 5.0, "uniform": 1.0}.get(options.get("mode.grid"), 3.0)
    assert plan.make_grid(settings, backbone) == pytest.approx(schedule.shifted(backbone.knots, 4, shift))


@pytest.mark.parametrize("shift", [1.0, 5.0, 7.0])
def test_the_grid_is_shifted_as_the_checkpoint_says(backbone_wan, tmp_path, shift):
    backbone = load(changed(backbone_wan, tmp_path, "scheduler/scheduler_config.json", flow_shift=shift))
    settings = compose.compose({"backbone": "wan2.1-t2v-1.3b", "steps": 4, "strength": 1, "mode.grid": "model"})
    assert backbone.spec.shift == shift
    assert plan.make_grid(settings, backbone) == pytest.approx(schedule.shifted(backbone.knots, 4, shift))


# Refusals


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("transformer/config.json", {"in_channels": 8}, "image-to-video"),
        ("transformer/config.json", {"image_dim": 32}, "image-to-video"),
        ("transformer/config.json", {"patch_size": [2, 2, 2]}, "another version"),
        ("model_index.json", {"boundary_ratio": 0.875}, "names no transformer_2"),
        ("vae/config.json", {"z_dim": 16}, "takes 4 channels, its autoencoder makes 16"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "epsilon"),
        (
            "model_index.json",
            {"_class_name": "WanImageToVideoPipeline"},
            r"a WanImageTo.*WanPipeline \(wan\)",
        ),
    ],
)
def test_other_models_are_refused(backbone_wan, tmp_path, name, values, said):
    with pytest.raises(ValueError, match=said):
        load(changed(backbone_wan, tmp_path, name, **values))


def test_a_flow_matching_scheduler_is_as_good(backbone_wan, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_wan, copy)
    (copy / "scheduler" / "scheduler_config.json").unlink()
    FlowMatchEulerDiscreteScheduler(shift=7.0).save_pretrained(copy / "scheduler")
    assert torch.equal(load(copy).knots, load(backbone_wan).knots)
    assert load(copy).spec.shift == 7.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tokenizer/tokenizer.json", "lacks tokenizer/spiece.model or tokenizer.json"),
        ("transformer/config.json", "lacks transformer/config.json"),
        ("vae/config.json", "lacks vae/config.json"),
        ("text_encoder/model.safetensors", "no safetensors weights in text_encoder"),
        ("transformer/diffusion_pytorch_model.safetensors", "no safetensors weights in transformer"),
        ("vae/diffusion_pytorch_model.safetensors", "no safetensors weights in vae"),
    ],
)
def test_a_folder_with_a_file_missing_is_refused(backbone_wan, tmp_path, name, said):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_wan, copy)
    (copy / name).unlink()
    with pytest.raises(ValueError, match=said):
        _use(load(copy))


def test_pickles_are_never_read(backbone_wan, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_wan, copy)
    for name in ("transformer/diffusion_pytorch_model", "text_encoder/model"):
        weights = copy / f"{name}.safetensors"
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
        with pytest.raises(ValueError, match="no safetensors"):
            _use(load(copy))
        shutil.copy(backbone_wan / f"{name}.safetensors", weights)


def test_a_checkpoint_that_lacks_weights_is_refused(backbone_wan, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_wan, copy)
    path = copy / "text_encoder" / "model.safetensors"
    held = load_file(path)
    save_file({k: v for k, v in held.items() if k != "encoder.final_layer_norm.weight"}, path, {"format": "pt"})
    with pytest.raises(ValueError, match="text_encoder lacks 1 weights"):
        load(copy).embed("a fox")


def _use(backbone):
    backbone.velocity(backbone.embed("a fox"))(latents(backbone), 0.5)
    backbone.ready()


def test_random_checkpoints_are_labelled_and_reproducible(tmp_path):
    a, b = (save_random(tmp_path / name, "wan", seed=3) for name in "ab")
    for path in a.rglob("*.safetensors"):
        assert path.read_bytes() == (b / path.relative_to(a)).read_bytes()
    backbone = load(a, dtype="float16")
    assert [any(word in text for text in backbone.spec.notices) for word in ("noise", "float16")] == [True, True]
    assert load(a, dtype="bfloat16").spec.notices == backbone.spec.notices[:1]
    assert (backbone.spec.native_area, backbone.spec.trained_frames) == (128 * 192, 9)
    assert sum(p.stat().st_size for p in a.rglob("*")) < 3e6
