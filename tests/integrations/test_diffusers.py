"""A loaded pipeline of diffusers edits as `flowedit.edit` does on its saved folder, with its own networks."""

import copy
import gc
import inspect
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXVideoToVideoPipeline,
    DiffusionPipeline,
    FirstBlockCacheConfig,
    WanPipeline,
)

import flowedit
from flowedit import CogVideoXFlowEditPipeline, InputError, WanFlowEditPipeline, pipeline_for
from flowedit.backbones.random_weights import save_random
from flowedit.config import compose
from flowedit.config.schema import Settings
from flowedit.integrations.diffusers import keywords

PROMPTS = {"prompt": "a blue panda moves", "source_prompt": "a red square moves"}
OWN = {"target": "a blue panda moves", "source": "a red square moves"}
WORDS = {"source_words": "square", "target_words": "panda", "strength": 0.7}
FAST = {"num_inference_steps": 3, "height": 32, "width": 48}
CUSTOM = Path(flowedit.__file__).parent / "integrations" / "diffusers" / "custom_pipeline"
KINDS = {
    "2b": (CogVideoXPipeline, CogVideoXFlowEditPipeline),
    "5b": (CogVideoXPipeline, CogVideoXFlowEditPipeline),
    "1.5": (CogVideoXPipeline, CogVideoXFlowEditPipeline),
    "wan": (WanPipeline, WanFlowEditPipeline),
    "wan2.2-a14b": (WanPipeline, WanFlowEditPipeline),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("pipes")
    return {kind: save_random(place / f"random-{kind}", kind) for kind in KINDS}


def opened(folders, kind="2b", **how):
    pipe = KINDS[kind][0].from_pretrained(folders[kind], **how)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pipe(folders):
    return opened(folders)


@pytest.fixture(scope="module")
def edit(pipe):
    return pipeline_for(pipe)


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)


def latents_of(edit, video, **options):
    return edit(video, **{**PROMPTS, **WORDS, **FAST, "seed": 4, "output_type": "latent", **options}).frames


def weights(pipe):
    """Where every weight of a pipeline's networks lies, and how."""
    return {
        f"{part}.{name}": (each.data_ptr(), each.dtype, str(each.device), each.shape)
        for part, network in pipe.components.items()
        if isinstance(network, torch.nn.Module)
        for name, each in network.state_dict(keep_vars=True).items()
    }


def live_bytes():
    """Bytes of all parameters that are alive, each storage once."""
    gc.collect()
    found = [each for each in gc.get_objects() if type(each) is torch.nn.Parameter]
    return sum({each.data_ptr(): each.untyped_storage().nbytes() for each in found}.values())


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_those_of_an_edit_by_the_saved_folder(folders, video, kind):
    edit = pipeline_for(opened(folders, kind))
    assert type(edit) is KINDS[kind][1]
    found = latents_of(edit, video)
    own = {**OWN, **WORDS, "steps": 3, "size": "48x32", "seed": 4}
    want = flowedit.edit_frames(video, backbone=folders[kind], **{"runtime.device": "cpu"}, **own)
    laid_out = found.transpose(1, 2) if kind[0].isdigit() else found
    assert want.latent_mask is not None
    assert (want.latents - want.source_latents).abs().max() > 1e-3
    torch.testing.assert_close(laid_out, want.latents, rtol=0, atol=1e-5)


def test_frames_mask_and_what_was_said_are_those_of_edit_frames(folders, edit, video):
    made = edit(video, **PROMPTS, **WORDS, **FAST, seed=4, output_type="np")
    own = {**OWN, **WORDS, "steps": 3, "size": "48x32", "seed": 4}
    want = flowedit.edit_frames(video, backbone=folders["2b"], **{"runtime.device": "cpu"}, **own)
    assert np.array_equal(np.rint(made.frames[0] * 255).astype(np.uint8), want.frames)
    assert np.array_equal(made.mask, want.mask)
    assert made.run["notices"] == list(want.notices)
    assert made.run["network_evaluations"] == want.run["network_evaluations"]
    assert made.run["backbone"]["pipeline"] == "CogVideoXFlowEditPipeline"


def test_nothing_is_loaded_twice(folders, video):
    pipe = opened(folders, "2b", torch_dtype=torch.bfloat16)
    before, held, seen = weights(pipe), live_bytes(), []

    def listen(pipe, step, timestep, tensors):
        seen.append(live_bytes())
        return {}

    edit = pipeline_for(pipe)
    assert weights(edit) == before
    assert live_bytes() == held
    latents_of(edit, video, callback_on_step_end=listen)
    assert weights(pipe) == weights(edit) == before
    assert {dtype for _, dtype, *_ in before.values() if dtype.is_floating_point} == {torch.bfloat16}
    assert seen == [held] * len(seen)
    assert seen
    assert live_bytes() == held


def test_a_second_copy_would_be_counted(pipe):
    held = live_bytes()
    twice = copy.deepcopy(pipe.vae)
    assert live_bytes() - held == sum(each.untyped_storage().nbytes() for each in twice.parameters())


def test_the_pipeline_generates_as_before(folders, video):
    pipe = opened(folders, "5b")
    again = {"prompt": "a fox", "num_inference_steps": 2, "height": 32, "width": 48, "num_frames": 9}

    def generated():
        return pipe(**again, output_type="latent", generator=torch.Generator().manual_seed(0)).frames

    before, kinds = generated(), [type(each.attn1.processor) for each in pipe.transformer.transformer_blocks]
    latents_of(pipeline_for(pipe), video)
    assert [type(each.attn1.processor) for each in pipe.transformer.transformer_blocks] == kinds
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipe.transformer.modules())
    assert torch.equal(generated(), before)


@pytest.mark.parametrize("kind", ["2b", "wan"])
@pytest.mark.parametrize("how", ["model", "sequential", "blocks", "leaves"])
def test_offload_hooks_are_used_and_stay(folders, video, kind, how):
    plain = latents_of(pipeline_for(opened(folders, kind)), video)
    pipe = opened(folders, kind)
    if how == "model":
        pipe.enable_model_cpu_offload(device="cpu")
    elif how == "sequential":
        for name in ("text_encoder", "transformer", "vae"):
            accelerate.cpu_offload(getattr(pipe, name), "cpu", offload_buffers=True)
        assert {str(each.device) for each in pipe.transformer.parameters()} == {"meta"}
    else:
        kinds = {"blocks": "block_level", "leaves": "leaf_level"}
        pipe.enable_group_offload(torch.device("cpu"), offload_type=kinds[how], num_blocks_per_group=1)
    edit, brought = pipeline_for(pipe), watched(pipe.vae)
    torch.testing.assert_close(latents_of(edit, video), plain, rtol=0, atol=1e-5)
    if how == "sequential":
        assert {str(each.device) for each in pipe.transformer.parameters()} == {"meta"}
    if how == "model":
        assert brought
        assert len(edit._all_hooks) == 3
        assert all(hasattr(each, "_hf_hook") for each in (pipe.vae, pipe.transformer, pipe.text_encoder))
    torch.testing.assert_close(latents_of(edit, video), plain, rtol=0, atol=1e-5)


def watched(network):
    """Calls of the hook that accelerate put on a network as a whole."""
    calls, hook = [], getattr(network, "_hf_hook", None)
    if hook is not None:
        before = hook.pre_forward
        hook.pre_forward = lambda module, *args, **kwargs: calls.append(module) or before(module, *args, **kwargs)
    return calls


def test_weights_cast_layer_by_layer_stay_so(folders, video):
    pipe = opened(folders)
    pipe.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    held = {name: each.dtype for name, each in pipe.transformer.named_parameters()}
    assert torch.float8_e4m3fn in held.values()
    found = latents_of(pipeline_for(pipe), video)
    assert {name: each.dtype for name, each in pipe.transformer.named_parameters()} == held
    assert found.isfinite().all()
    assert not torch.equal(found, latents_of(pipeline_for(opened(folders)), video))


class Int8Linear(torch.nn.Module):
    """A linear layer as quantisation leaves it: no weight of floats, and a class of its own."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("levels", (linear.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return torch.nn.functional.linear(x, self.levels.to(x.dtype) * self.scale.to(x.dtype), self.bias)


def test_quantised_layers_are_used_as_they_are(folders, video):
    quantised, rounded = opened(folders), opened(folders)
    for block, plain in zip(
        quantised.transformer.transformer_blocks, rounded.transformer.transformer_blocks, strict=True
    ):
        for name in ("to_q", "to_k", "to_v"):
            layer = Int8Linear(getattr(block.attn1, name))
            setattr(block.attn1, name, layer)
            with torch.no_grad():
                getattr(plain.attn1, name).weight.copy_(layer.levels * layer.scale)
    found = latents_of(pipeline_for(quantised), video)
    torch.testing.assert_close(found, latents_of(pipeline_for(rounded), video), rtol=0, atol=1e-5)
    assert isinstance(quantised.transformer.transformer_blocks[0].attn1.to_q, Int8Linear)


def test_a_pipeline_that_was_put_together_is_taken_too(pipe, edit, video):
    made = pipeline_for(CogVideoXPipeline(**pipe.components))
    made.set_progress_bar_config(disable=True)
    result = made(video, **PROMPTS, **WORDS, **FAST, seed=4, output_type="np")
    plain = edit(video, **PROMPTS, **WORDS, **FAST, seed=4, output_type="np")
    assert np.array_equal(result.frames, plain.frames)
    assert result.run["backbone"]["name"] == "CogVideoXFlowEditPipeline"


def test_where_memory_runs_out_a_call_takes_fewer_rows(folders, video, monkeypatch):
    """And nothing is said of a text encoder that streams: where it lies is not ours to say."""
    pipe, rows = opened(folders), []
    monkeypatch.setattr("flowedit.backbones.components.free_memory", lambda device: 0.0)
    plain, forward = latents_of(pipeline_for(opened(folders)), video), pipe.transformer.forward

    def small(hidden_states, *args, **kwargs):
        if len(hidden_states) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows.append(len(hidden_states))
        return forward(hidden_states, *args, **kwargs)

    pipe.transformer.forward = small
    made = pipeline_for(pipe)(video, **PROMPTS, **WORDS, **FAST, seed=4, output_type="np")
    assert set(rows) == {1}
    assert any("memory ran out in a step" in text for text in made.run["notices"])
    assert not any("streams" in text for text in made.run["notices"])
    torch.testing.assert_close(latents_of(pipeline_for(pipe), video), plain, rtol=0, atol=1e-5)


def test_pipelines_of_the_same_parts_are_taken_too(folders, pipe, edit, video):
    other = CogVideoXVideoToVideoPipeline.from_pretrained(folders["2b"])
    assert torch.equal(latents_of(pipeline_for(other), video), latents_of(edit, video))
    again = pipeline_for(edit)
    assert again.transformer is pipe.transformer


def test_another_model_is_refused(folders, pipe):
    with pytest.raises(InputError, match="holds no WanTransformer3DModel"):
        WanFlowEditPipeline.from_pipe(pipe)
    with pytest.raises(InputError, match="has no vea; did you mean 'vae'"):
        CogVideoXFlowEditPipeline.from_pipe(pipe, vea=None)
    with pytest.raises(InputError, match="no CogVideoX or Wan"):
        pipeline_for(object())
    config = {**pipe.transformer.config, "in_channels": 2 * pipe.transformer.config.in_channels}
    network = type(pipe.transformer).from_config(config)
    parts = {**pipe.components, "transformer": network}
    with pytest.raises(InputError, match="image-to-video CogVideoX; a text-to-video one is needed"):
        pipeline_for(CogVideoXImageToVideoPipeline(**parts))


def test_networks_that_skip_or_cannot_be_heard_are_refused(folders, video):
    cached = opened(folders)
    cached.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(InputError, match=r"pipe\.transformer\.disable_cache\(\)"):
        latents_of(pipeline_for(cached), video)
    compiled = opened(folders)
    compiled.transformer._compiled_call_impl = compiled.transformer._call_impl  # as .compile() does, without a compiler
    with pytest.raises(InputError, match=r"give the pipeline before torch\.compile"):
        latents_of(pipeline_for(compiled), video)


@pytest.mark.parametrize(("kind", "name"), [("2b", "cogvideox"), ("wan", "wan"), ("wan2.2-a14b", "wan")])
def test_a_folder_of_code_serves_as_custom_pipeline(folders, pipe, video, tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path))
    code = {"custom_pipeline": str(CUSTOM / name), "trust_remote_code": True}
    loaded = DiffusionPipeline.from_pretrained(folders[kind], **code)
    assert type(loaded) is KINDS[kind][1]
    plain = latents_of(pipeline_for(opened(folders, kind)), video)
    assert torch.equal(latents_of(loaded, video), plain)
    own = opened(folders, kind)
    shared = DiffusionPipeline.from_pipe(own, **code)
    assert type(shared) is KINDS[kind][1]
    assert weights(shared) == weights(own)
    assert torch.equal(latents_of(shared, video), plain)


def test_every_name_of_diffusers_is_an_option_and_is_taken():
    options = set(compose.keys()) | set(Settings.__dataclass_fields__)
    assert set(keywords.OPTIONS.values()) <= options
    assert set(keywords.ELSEWHERE) <= set(Settings.__dataclass_fields__)
    taken = inspect.signature(CogVideoXFlowEditPipeline.__call__).parameters
    assert set(keywords.OPTIONS) <= set(taken)
    assert {"mode", "mask", "source_words", "strength", "negative_prompt"} <= set(taken)
