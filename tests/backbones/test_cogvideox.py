"""The CogVideoX adapter against diffusers' own pipeline and autoencoder, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import sentencepiece
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

from flowedit.backbones import families, text
from flowedit.backbones.random_weights import save_random
from flowedit.editors import averaging
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.editors.through_noise.inversion import inversion
from flowedit.editors.through_noise.random_noise import random_noise
from flowedit.flow import guidance, noise, schedule, solvers
from flowedit.language import words

KINDS = ["2b", "5b", "15"]
FRAMES = np.random.default_rng(0).integers(0, 255, (17, 64, 96, 3), dtype=np.uint8)


@pytest.fixture(params=KINDS)
def folder(request):
    return request.getfixturevalue(f"backbone_{request.param}")


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


@pytest.mark.parametrize("steps", [10, 25])
def test_generation_is_diffusers_own(folder, steps):
    backbone = load(folder)
    pipeline = CogVideoXPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = CogVideoXDDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    height, width = 128, 192
    z = torch.randn((1, *backbone.geometry(9, (height, width)).latent), generator=torch.Generator().manual_seed(0))
    theirs = pipeline(
        prompt="A red fox is lying down.", negative_prompt="blurry", height=height, width=width, num_frames=9,
        num_inference_steps=steps, guidance_scale=6.0, use_dynamic_cfg=False, eta=0.0, output_type="latent",
        latents=z.transpose(1, 2).clone(),
    ).frames.transpose(1, 2)  # fmt: skip
    velocity = backbone.velocity(backbone.embed("A red fox is lying down."), 6.0, backbone.embed("blurry"))
    ours = solvers.solve(velocity, z, schedule.model(backbone.knots, steps))
    assert (ours - theirs).norm() / theirs.norm() < 1e-4


def test_encode_and_decode_stream_what_diffusers_does_at_once(folder):
    backbone = load(folder)
    vae = AutoencoderKLCogVideoX.from_pretrained(folder / "vae")
    pixels = torch.from_numpy(FRAMES).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        theirs = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    counted = []
    z = backbone.encode(FRAMES, counted.append)
    lead = backbone.spec.leading_latents
    assert torch.equal(z[:, :, lead:], theirs)
    assert all(torch.equal(z[:, :, 0], z[:, :, i]) for i in range(lead))
    assert counted == [9, 8]
    chunks = list(backbone.decode(z))
    assert [len(c) for c in chunks] == [9, 8]
    with torch.no_grad():
        decoded = vae.decode(theirs / vae.config.scaling_factor).sample[0].permute(1, 2, 3, 0)
    expected = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert np.array_equal(np.concatenate(chunks), expected)


def test_tiles_that_would_not_join_are_not_used(backbone_5b, tmp_path):
    """Half of a small sample size rounds to tiles that overlap by other shares in pixels and in latents."""
    copy = tmp_path / "copy"
    shutil.copytree(backbone_5b, copy)
    path = copy / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_height": 64, "sample_width": 64}))
    backbone = load(copy, tiling=True)
    z = backbone.encode(FRAMES)
    assert z.shape[1:] == backbone.geometry(17, (64, 96)).latent
    assert torch.equal(z, load(backbone_5b, tiling=False).encode(FRAMES))
    assert [c.shape for c in backbone.decode(z)] == [(9, 64, 96, 3), (8, 64, 96, 3)]


@pytest.mark.parametrize(("frames", "whole"), [(1, 1), (2, 9), (9, 9), (10, 17), (41, 41), (49, 49), (85, 89)])
def test_frames_are_padded_to_what_the_autoencoder_carries(folder, frames, whole):
    backbone = load(folder)
    geometry = backbone.geometry(frames, (70, 90))
    assert (geometry.source_frames, geometry.frames, geometry.size) == (frames, whole, (64, 96))
    latents = 1 + (whole - 1) // 4
    assert geometry.latent == (4, latents + latents % (backbone.spec.leading_latents + 1), 8, 12)


@pytest.mark.parametrize("frames", [1, 9, 17])
def test_a_clip_of_valid_length_comes_back_with_its_length(folder, frames):
    backbone = load(folder)
    z = backbone.encode(FRAMES[:frames])
    assert z.shape[1:] == backbone.geometry(frames, (64, 96)).latent
    assert sum(len(c) for c in backbone.decode(z)) == frames
    u = backbone.velocity(backbone.embed("a fox"))(z, 0.5)
    assert u.shape == z.shape
    assert u.dtype == torch.float32


def test_one_five_refuses_sides_that_its_positions_do_not_reach(backbone_15):
    backbone = load(backbone_15)
    with pytest.raises(ValueError, match=f"over {backbone.spec.max_side}"):
        backbone.geometry(9, (64, backbone.spec.max_side + 16))


def test_guidance_is_one_batched_call_and_rows_are_counted(backbone_2b):
    backbone = load(backbone_2b)
    z = torch.randn((3, *backbone.geometry(9, (64, 96)).latent))
    prompt, negative = backbone.embed("a fox"), backbone.embed("")
    calls = []
    backbone.components.transformer.register_forward_pre_hook(
        lambda m, args, kwargs: calls.append(len(kwargs["hidden_states"])), with_kwargs=True
    )
    guided = backbone.velocity(prompt, 4.0, negative)(z, 0.5)
    assert calls == [6]
    plain = backbone.velocity(prompt)(z, 0.5)
    none = backbone.velocity(negative)(z, 0.5)
    assert calls == [6, 3, 3]
    assert backbone.evaluations == 12
    assert torch.allclose(guided, guidance.classifier_free(none, plain, 4.0), atol=1e-4)
    for rows in (1, 2, 3):
        split, sizes = load(backbone_2b, rows=rows), []
        split.components.transformer.register_forward_pre_hook(
            lambda m, args, kwargs, sizes=sizes: sizes.append(len(kwargs["hidden_states"])), with_kwargs=True
        )
        assert torch.allclose(split.velocity(prompt, 4.0, negative)(z, 0.5), guided, atol=1e-5)
        assert max(sizes) <= rows
        assert sum(sizes) == split.evaluations == 6


AVERAGES = {"off": (2, averaging.mean), "on": (3, averaging.differential("least_aligned", 2, 2.75))}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("draws", "average"), AVERAGES.values(), ids=AVERAGES)
def test_equal_prompts_and_guidance_give_the_source_back(folder, dtype, draws, average):
    backbone = load(folder, dtype=dtype)
    x = backbone.encode(FRAMES[:9])
    source, target, negative = backbone.embed("a fox"), backbone.embed("a fox"), backbone.embed("")
    velocities = [backbone.velocity(p, 3.5, negative) for p in (source, target)]
    grid = schedule.start(schedule.model(backbone.knots, 5), 0.8)
    z = inversion_free(x, *velocities, grid, noise.gaussian(0, tuple(x.shape)), draws=draws, average=average)
    assert z.dtype == torch.float32
    assert (z - x).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sides", [("source",), ("target",), ("source", "target")])
def test_a_recorder_on_either_side_keeps_that_identity(folder, dtype, sides):
    backbone = load(folder, dtype=dtype)
    x = backbone.encode(FRAMES[:9])
    prompts = {side: backbone.embed("a fox") for side in ("source", "target")}
    velocities = [backbone.velocity(prompts[side], 3.5, backbone.embed("")) for side in prompts]
    grid = schedule.start(schedule.model(backbone.knots, 4), 1.0)
    with backbone.record({prompts[side]: [1] for side in sides}, [0.0, 0.5]) as maps:

        def mask(step):
            taken = [maps.take(prompts[side]) for side in sides]
            assert all(t is not None for t in taken)
            return (taken[0].mean(0, keepdim=True) > 0).float()

        z = inversion_free(x, *velocities, grid, noise.gaussian(0, tuple(x.shape)), draws=2, mask=mask)
    assert (z - x).abs().max() < 1e-4


def test_strength_zero_evaluates_nothing_in_every_mode(folder):
    backbone = load(folder)
    x = backbone.encode(FRAMES[:9])
    velocity, source_of_noise = backbone.velocity(backbone.embed("a fox")), noise.gaussian(0, tuple(x.shape))
    grid = schedule.start(schedule.model(backbone.knots, 5), 0.0)
    assert torch.equal(random_noise(x, velocity, grid, source_of_noise), x)
    assert torch.equal(inversion(x, velocity, velocity, grid, source_of_noise), x)
    assert torch.equal(inversion_free(x, velocity, velocity, grid, source_of_noise), x)
    assert backbone.evaluations == 0


def test_a_reloaded_checkpoint_gives_the_same_bytes(folder, tmp_path):
    z = torch.randn((1, *load(folder).geometry(9, (64, 96)).latent))
    CogVideoXPipeline.from_pretrained(folder).save_pretrained(tmp_path / "again")
    first, again = load(folder), load(tmp_path / "again")
    results = [b.velocity(b.embed("a fox"), 5.0, b.embed(""))(z, 0.7) for b in (first, again)]
    assert torch.equal(*results)


def test_times_below_the_smallest_knot_are_conditioned_at_it(backbone_2b):
    backbone = load(backbone_2b)
    seen = []
    backbone.components.transformer.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["timestep"].tolist()), with_kwargs=True
    )
    z = torch.randn((1, *backbone.geometry(9, (64, 96)).latent))
    velocity = backbone.velocity(backbone.embed("a fox"))
    for t in (0.0, backbone.knots[-1].item(), 1.0):
        assert torch.isfinite(velocity(z, t)).all()
    assert seen == [[0.0], [0.0], [999.0]]


def test_embeddings_are_cached_by_prompt_and_encoder(backbone_2b, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    backbone = load(backbone_2b, cache=cache)
    first = backbone.embed("a fox")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(type(backbone.text), "_encode", lambda *a: pytest.fail("encoded again"))
    assert torch.equal(load(backbone_2b, cache=cache).embed("a fox").embedding, first.embedding)
    monkeypatch.undo()
    other = tmp_path / "other"
    shutil.copytree(backbone_2b, other)
    weights = load_file(other / "text_encoder" / "model.safetensors")
    save_file({k: v + 0.5 for k, v in weights.items()}, other / "text_encoder" / "model.safetensors", {"format": "pt"})
    changed = load(other, cache=cache).embed("a fox")
    assert not torch.equal(changed.embedding, first.embedding)
    assert len(list(cache.iterdir())) == 2
    for entry in cache.iterdir():
        entry.write_bytes(b"damaged")
    assert torch.equal(load(backbone_2b, cache=cache).embed("a fox").embedding, first.embedding)


def test_a_prompt_that_is_too_long_says_what_falls_off(backbone_2b):
    backbone = load(backbone_2b)
    with pytest.raises(ValueError, match=r"226.*fall off: '.*the end'"):
        backbone.embed("zq " * 80 + "the end")


def test_a_lone_space_piece_covers_no_letter(backbone_2b):
    backbone = load(backbone_2b)
    prompt = "a zebra, fox"
    pieces = backbone.text._tokenizer.convert_ids_to_tokens(backbone.text._tokenizer(prompt).input_ids)
    spans = backbone.spans(prompt)
    lone = [span for piece, span in zip(pieces, spans, strict=True) if piece == "▁"]
    assert lone
    assert all(a == b for a, b in lone)
    chosen = words.token_indices(prompt, "zebra", spans)
    assert "".join(pieces[i] for i in chosen) == "zebra"


def test_characters_without_a_piece_are_told(backbone_2b):
    prompt = "a 狐狸 runs"
    places = load(backbone_2b).unreadable(prompt)
    assert [prompt[a:b] for a, b in places] == ["狐狸"]
    assert load(backbone_2b).unreadable("a fox runs") == ()


def test_prompts_in_a_row_share_one_load_of_the_encoder(backbone_2b, monkeypatch):
    backbone, loads = load(backbone_2b), []
    original = type(backbone.checkpoint).model
    monkeypatch.setattr(
        type(backbone.checkpoint), "model", lambda self, part, *rest: loads.append(part) or original(self, part, *rest)
    )
    conditioning = [backbone.embed(prompt) for prompt in ("a fox", "a panda", "")]
    assert loads == ["text_encoder"]
    backbone.velocity(conditioning[0])(torch.zeros(1, *backbone.geometry(9, (64, 96)).latent), 0.5)
    assert "encoder" not in vars(backbone.components)  # it leaves before the network comes


def test_a_prompt_is_encoded_once_and_each_that_asks_has_a_conditioning_of_its_own(backbone_2b, monkeypatch):
    """Without a cache on disk too; the recorder tells two sides of equal prompts apart by identity."""
    encoder, encoded = load(backbone_2b).text, []
    original = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda how, prompt: encoded.append(prompt) or original(how, prompt))
    one, two = encoder.embed("a fox"), encoder.embed("a fox")
    assert encoded == ["a fox"]
    assert one is not two
    assert one.spans == two.spans
    assert torch.equal(one.embedding, two.embedding)
    for number in range(text.KNOWN):
        encoder.embed(f"fox {number}")
    encoder.embed("a fox")
    assert encoded.count("a fox") == 2  # not more are held than so many


def test_spans_are_the_characters_of_the_prompt(folder):
    prompt = "A red fox, «лиса», 狐狸 lying."
    spans = load(folder).spans(prompt)
    assert spans[-1] == (0, 0)
    covered = {i for a, b in spans for i in range(a, b)}
    assert all(i in covered for i, c in enumerate(prompt) if not c.isspace())


def test_a_tokenizer_folder_with_only_a_sentencepiece_model_loads(backbone_2b, tmp_path):
    """The hub's layout: spiece.model and a configuration, no tokenizer.json."""
    hub = tmp_path / "hub"
    shutil.copytree(backbone_2b, hub)
    shutil.rmtree(hub / "tokenizer")
    (hub / "tokenizer").mkdir()
    (tmp_path / "text.txt").write_text("a red fox runs over green grass\nthe panda lies in the sand\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(hub / "tokenizer" / "spiece"), vocab_size=25,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (hub / "tokenizer" / "spiece.vocab").unlink()
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>", "pad_token": "<pad>"}
    (hub / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    (hub / "tokenizer" / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    backbone = load(hub)
    prompt = "a red fox runs"
    spans = backbone.spans(prompt)
    model = sentencepiece.SentencePieceProcessor(model_file=str(hub / "tokenizer" / "spiece.model"))
    assert len(spans) == len(model.encode(prompt)) + 1
    assert backbone.text._tokenizer(prompt).input_ids == [*model.encode(prompt), 1]
    assert torch.isfinite(backbone.embed(prompt).embedding).all()


def changed(folder, tmp_path, component, **config):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / component / "config.json" if component else copy / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return copy


def test_image_to_video_and_other_families_are_refused(backbone_2b, tmp_path):
    with pytest.raises(ValueError, match="image-to-video"):
        load(changed(backbone_2b, tmp_path, "transformer", in_channels=8))
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(ValueError, match=r"AllegroPipeline.*CogVideoXPipeline \(cogvideox\)"):
        load(changed(backbone_2b, tmp_path, "", _class_name="AllegroPipeline"))


def test_pickles_are_never_read(backbone_2b, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ValueError, match="no safetensors"):
        load(copy)


def test_precision_follows_the_device_and_bfloat16_weights_in_half_are_noted(backbone_2b, tmp_path):
    assert load(backbone_2b).describe()["dtype"] == "float32"
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({k: v.bfloat16() for k, v in load_file(weights).items()}, weights, {"format": "pt"})
    assert any("bfloat16" in n for n in load(copy, dtype="float16").spec.notices)
    assert not any("bfloat16" in n for n in load(copy, dtype="bfloat16").spec.notices)


def test_weights_in_several_files_load(backbone_2b, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    shutil.rmtree(copy / "transformer")
    model = CogVideoXTransformer3DModel.from_pretrained(backbone_2b / "transformer")
    model.save_pretrained(copy / "transformer", max_shard_size="100KB")
    assert len(list((copy / "transformer").glob("*.safetensors"))) > 1
    z = torch.randn((1, *load(copy).geometry(9, (64, 96)).latent))
    first, again = load(backbone_2b), load(copy)
    # other places in memory, so other sums: not the same bytes
    assert torch.allclose(*(b.velocity(b.embed("a fox"))(z, 0.7) for b in (first, again)), atol=1e-5)


@pytest.mark.parametrize(("component", "name"), [("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")])
def test_a_checkpoint_that_lacks_weights_is_refused(backbone_2b, tmp_path, component, name):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    path = copy / component / f"{name}.safetensors"
    weights = load_file(path)
    gone = sorted(weights)[-1]
    save_file({k: v for k, v in weights.items() if k != gone}, path, {"format": "pt"})
    backbone = load(copy)
    with pytest.raises(ValueError, match=rf"{component}.*lacks|{component} cannot be loaded"):
        backbone.velocity(backbone.embed("a fox"))(torch.zeros(1, *backbone.geometry(9, (64, 96)).latent), 0.5)


def test_what_a_configuration_leaves_out_is_its_class_s_default(backbone_2b, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    path = copy / "transformer" / "config.json"
    config = json.loads(path.read_text())
    for key in ("use_rotary_positional_embeddings", "patch_size_t", "max_text_seq_length"):
        config.pop(key, None)
    path.write_text(json.dumps(config))
    z = torch.randn((1, *load(copy).geometry(9, (64, 96)).latent))
    assert torch.equal(*(b.velocity(b.embed("a fox"))(z, 0.7) for b in (load(backbone_2b), load(copy))))


def test_other_schedules_are_refused_or_said(backbone_2b, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backbone_2b, copy)
    path = copy / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"_class_name": "CogVideoXDPMScheduler"}))
    assert torch.equal(load(copy).knots, load(backbone_2b).knots)
    path.write_text(json.dumps(config | {"rescale_betas_zero_snr": False}))
    assert any("zero signal" in text for text in load(copy).spec.notices)
    path.write_text(json.dumps(config | {"prediction_type": "epsilon"}))
    with pytest.raises(ValueError, match="epsilon"):
        load(copy)


def test_random_checkpoints_are_labelled_and_reproducible(tmp_path):
    a, b = (save_random(tmp_path / name, "5b", seed=3) for name in "ab")
    for path in a.rglob("*.safetensors"):
        assert path.read_bytes() == (b / path.relative_to(a)).read_bytes()
    assert any("noise" in n for n in load(a).spec.notices)
    assert sum(p.stat().st_size for p in a.rglob("*")) < 3e6
    with pytest.raises(ValueError, match="2b, 5b"):
        save_random(tmp_path / "c", "7b")


@pytest.mark.parametrize("kind", ["2b", "5b", "15"])
def test_a_generated_clip_has_the_rate_that_it_learned(request, kind):
    assert load(request.getfixturevalue(f"backbone_{kind}")).spec.fps == {"15": 16}.get(kind, 8)
