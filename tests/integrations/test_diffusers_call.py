"""A call of a pipeline that edits: videos and masks of all kinds, generators, callbacks, outputs, refusals."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from PIL import Image

import flowedit
from flowedit import InputError
from flowedit.integrations.diffusers.frames import frames_of, mask_of
from flowedit.integrations.diffusers.keywords import options_of, seed_of

PROMPTS = {"prompt": "a blue panda moves", "source_prompt": "a red square moves"}
FAST = {"num_inference_steps": 3, "height": 32, "width": 48, "seed": 4, "output_type": "latent"}


@pytest.fixture(scope="module")
def edit(backbone_2b):
    made = flowedit.pipeline_for(CogVideoXPipeline.from_pretrained(backbone_2b))
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)


def latents_of(edit, video, **options):
    return edit(video, **{**PROMPTS, **FAST, **options}).frames


def test_a_video_is_the_same_in_every_form(video):
    images = [Image.fromarray(frame) for frame in video]
    levels = video.astype(np.float32) / 255
    tensor = torch.from_numpy(levels).permute(0, 3, 1, 2)
    forms = (images, tuple(images), [images], levels, levels[None], tensor, tensor[None], 2 * tensor - 1, video[None])
    for form in (video, *forms, list(levels), list(tensor), [image.convert("RGBA") for image in images]):
        assert np.array_equal(frames_of(form), video)


def test_a_mask_is_the_same_in_every_form():
    mask = np.zeros((5, 32, 48), np.uint8)
    mask[:, 8:24, 8:40] = 255
    images = [Image.fromarray(each) for each in mask]
    tensor = torch.from_numpy(mask)
    forms = (
        images,
        [each.convert("RGB") for each in images],
        tensor,
        tensor[:, None],
        tensor[None, :, None],
        mask[..., None],
    )
    for form in forms:
        assert np.array_equal(mask_of(form, "mask_video"), mask)
    assert np.array_equal(mask_of(images[0], "mask_image"), mask[0])
    assert np.array_equal(mask_of(mask[0] / 255.0, "mask_image"), mask[0] / 255.0)
    assert mask_of("mask.png", "mask_image") == "mask.png"
    with pytest.raises(InputError, match="mask_image has the shape"):
        mask_of(mask[0, 0], "mask_image")


def test_a_mask_says_where(edit, video):
    mask = np.zeros((32, 48), np.uint8)
    mask[:, 24:] = 255
    how = {**PROMPTS, **FAST, "output_type": "np", "composite": True}
    made = edit(video, **how, mask_image=Image.fromarray(mask))
    seen = np.rint(made.frames[0] * 255).astype(np.uint8)
    assert np.array_equal(seen[:, :, :20], video[:, :, :20])
    assert not np.array_equal(seen[:, :, 28:], video[:, :, 28:])
    again = edit(video, **how, mask_video=[Image.fromarray(mask)] * len(video))
    assert np.array_equal(again.frames, made.frames)
    own = {"source": PROMPTS["source_prompt"], "target": PROMPTS["prompt"], "steps": 3, "size": "48x32", "seed": 4}
    assert np.array_equal(edit(video, **own, composite=True, user_mask=mask, output_type="np").frames, made.frames)


def test_outputs_are_those_of_diffusers(edit, video):
    made = {kind: edit(video, **{**PROMPTS, **FAST, "output_type": kind}).frames for kind in ("np", "pt", "pil")}
    assert made["np"].shape == (1, 5, 32, 48, 3)
    assert made["np"].dtype == np.float32
    assert np.array_equal(made["pt"].permute(0, 1, 3, 4, 2).numpy(), made["np"])
    assert np.array_equal(np.stack([np.asarray(each) for each in made["pil"][0]]), np.rint(made["np"][0] * 255))
    latents = latents_of(edit, video)
    with torch.no_grad():
        decoded = edit.decode_latents(latents)
    stock = edit.video_processor.postprocess_video(decoded, "np")[:, :5]
    assert np.abs(stock - made["np"]).max() <= 1 / 255
    (alone,) = edit(video, **PROMPTS, **FAST, return_dict=False)
    assert torch.equal(alone, latents)


def test_a_fresh_generator_means_its_seed_and_a_used_one_goes_on(edit, video):
    generator = torch.Generator().manual_seed(4)
    first = latents_of(edit, video, seed=None, generator=generator)
    second = latents_of(edit, video, seed=None, generator=generator)
    assert torch.equal(first, latents_of(edit, video))
    assert not torch.equal(first, second)
    used = torch.Generator().manual_seed(4)
    assert [seed_of(used), seed_of(used)] == [4, seed_of_next(4)]
    assert torch.equal(second, latents_of(edit, video, seed=None, generator=[again(4)]))


def again(seed):
    generator = torch.Generator().manual_seed(seed)
    seed_of(generator)
    return generator


def seed_of_next(seed):
    generator = again(seed)
    return int(torch.randint(2**31, (1,), generator=generator))


@pytest.mark.parametrize(
    ("name", "value", "own", "same"),
    [
        ("guidance_scale", 3.0, "target_guidance_scale", 3.0),
        ("num_inference_steps", 5, "steps", 5),
        ("prompt", ["a fox"], "target", "a fox"),
        ("source_prompt", "a dog", "source", "a dog"),
    ],
)
def test_a_name_of_diffusers_is_the_option(name, value, own, same):
    assert options_of({name: value}, {"strength": 0.5, "mode": None}) == {own: same, "strength": 0.5}


def test_options_by_their_own_names_move_the_edit(edit, video):
    plain = latents_of(edit, video)
    for option in (
        {"mode": "random_noise"},
        {"strength": 0.4},
        {"guidance_scale": 1.0},
        {"source_guidance_scale": 4.0},
        {"negative_prompt": ["blurry"]},
        {"draws": 2},
        {"source_words": "square"},
        {"num_inference_steps": 4},
    ):
        assert not torch.equal(latents_of(edit, video, **option), plain), option


def test_a_callback_hears_each_step_and_may_interrupt(edit, video):
    heard = []

    def listen(pipe, step, timestep, tensors):
        heard.append((step, float(timestep), tensors["latents"].clone(), tensors["mask"].shape))
        assert pipe is edit
        assert pipe.num_timesteps == edit._num_timesteps
        assert float(pipe.current_timestep) == float(timestep)
        return {}

    asked = {"callback_on_step_end_tensor_inputs": ["latents", "mask"], "source_words": "square"}
    whole = latents_of(edit, video, callback_on_step_end=listen, **asked)
    assert [step for step, *_ in heard] == list(range(edit.num_timesteps))
    times = [timestep for _, timestep, *_ in heard]
    assert times == sorted(times, reverse=True)
    assert 0 < times[-1] < times[0] <= 999
    assert heard[0][2].shape == whole.shape
    assert heard[0][3] == (1, 1, whole.shape[1], *whole.shape[3:])
    assert edit.current_timestep is None

    def stop(pipe, step, timestep, tensors):
        pipe._interrupt = step == 0

    stopped = latents_of(edit, video, callback_on_step_end=stop, source_words="square")
    torch.testing.assert_close(stopped, heard[0][2])
    assert not torch.equal(stopped, whole)


def test_latents_that_a_callback_gives_back_are_gone_on_with(edit, video):
    plain = latents_of(edit, video)

    def changes(last):
        def change(pipe, step, timestep, tensors):
            z = tensors["latents"]
            return {"latents": z + 1 if step == pipe.num_timesteps - 1 and last else z}

        return change

    assert torch.equal(latents_of(edit, video, callback_on_step_end=changes(last=False)), plain)
    moved = latents_of(edit, video, callback_on_step_end=changes(last=True))
    torch.testing.assert_close(moved, plain + 1)
    with pytest.raises(InputError, match="the callback gives other latents back"):
        latents_of(edit, video, callback_on_step_end=lambda *_: {"latents": torch.zeros(1)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"video": None}, "no video: give its frames"),
        ({"video": "clip.mp4"}, "video is a path: give frames, such as diffusers.utils.load_video"),
        ({"video": []}, "video cannot be read"),
        ({"video": np.zeros((2, 5, 32, 48, 3))}, "video holds 2 clips: give one"),
        ({"prompt": None}, "no target prompt"),
        ({"prompt": ["a fox", "a dog"]}, "prompt holds 2: give one"),
        ({"source_words": "cat"}, "cat"),
        ({"strength": 3}, "strength"),
        ({"output_type": "mp4"}, "output_type 'mp4' is not one of pil, np, pt, latent"),
        ({"height": None}, "height and width go together"),
        ({"target": "a fox"}, "prompt and target say the same: give one of them"),
        ({"generator": torch.Generator()}, "generator and seed say the same"),
        ({"generator": 3, "seed": None}, "generator is int: give a torch.Generator"),
        ({"mask_video": np.ones((5, 32, 48)), "mask_image": np.ones((32, 48))}, "mask_video and mask_image"),
        ({"runtime.dtype": "float16"}, "runtime.dtype: the pipeline's own device"),
        ({"out": "here"}, "out: frames in memory have no file"),
        ({"callback_on_step_end_tensor_inputs": ["latent"]}, "no step has 'latent'; did you mean 'latents'"),
        ({"guidance_scales": 3}, "guidance_scales"),
        ({"mode": "inversionfree"}, "did you mean"),
    ],
)
def test_refusals_are_one_line(edit, video, options, said):
    with pytest.raises(InputError) as told:
        latents_of(edit, **{"video": video, **options})
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert "--" not in str(told.value)


def test_an_edit_is_refused_in_the_words_of_edit_frames(edit, video, backbone_2b):
    wrong = {"mode": "random_noise", "draws": 2, "source_words": "cat"}
    own = {"source": PROMPTS["source_prompt"], "target": PROMPTS["prompt"]}
    with pytest.raises(InputError) as ours:
        latents_of(edit, video, **wrong)
    with pytest.raises(InputError) as theirs:
        flowedit.edit_frames(video, backbone=backbone_2b, **own, **wrong)
    assert str(ours.value) == str(theirs.value)
