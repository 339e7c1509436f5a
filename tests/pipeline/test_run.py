"""One job from file to files on small random checkpoints: what is kept, where, and what is said."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml

import flowedit
from flowedit.media import probe, reader
from flowedit.pipeline import generation, run
from flowedit.pipeline.api import settings_of

PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {
    "steps": 2,
    "strength": 1.0,
    "source_guidance_scale": 1.0,
    "target_guidance_scale": 2.0,
    "size": "96x64",
    "window": "whole",
}


class Ear:
    """A monitor that remembers what it was told."""

    def __init__(self):
        self.phases, self.notices, self.done = [], [], 0

    def phase(self, name, total):
        self.phases.append((name, total))

    def advance(self, count=1):
        self.done += count

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


def frames_of(path):
    info = probe.probe(path)
    return np.concatenate(list(reader.read(info, range(info.frames)))).astype(int)


def edit(editor, clip_file, tmp_path, name="out", **options):
    ear = Ear()
    result = editor.edit(clip_file, out=tmp_path / name, monitor=ear, **(PROMPTS | options))
    return result, ear


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
@pytest.mark.parametrize("kind", ["2b", "5b", "15"])
def test_every_mode_on_every_shape_returns_the_clip_s_format(request, clip_file, tmp_path, kind, mode):
    folder = request.getfixturevalue(f"backbone_{kind}")
    result = flowedit.edit(clip_file, backbone=folder, mode=mode, out=tmp_path / "o", **PROMPTS, **WORDS, **FAST)
    before, after = probe.probe(clip_file), probe.probe(result.video)
    assert (after.frames, after.size, after.fps, after.has_audio) == (before.frames, before.size, before.fps, True)
    assert result.mask is not None
    assert result.latents.shape == result.source_latents.shape
    assert not torch.equal(result.latents, result.source_latents)
    assert result.run["network_evaluations"] == {"random_noise": 4, "inversion": 6, "inversion_free": 6}[mode]


def test_what_probe_notices_of_a_file_is_said_and_written_to_run_yaml(editor, clip_file, tmp_path, monkeypatch):
    looked = replace(probe.probe(clip_file), notices=("the first 3 frames are left out",))
    monkeypatch.setattr("flowedit.pipeline.api.probe", lambda path: looked)
    result, ear = edit(editor, clip_file, tmp_path)
    assert "the first 3 frames are left out" in ear.notices
    assert "the first 3 frames are left out" in yaml.safe_load((result.folder / "run.yaml").read_text())["notices"]


def test_outside_the_mask_the_pixels_are_the_source_s(editor, clip_file, tmp_path):
    height, width = probe.probe(clip_file).size
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    result, _ = edit(editor, clip_file, tmp_path, user_mask=tmp_path / "mask.png")
    difference = np.abs(frames_of(result.video) - frames_of(clip_file))
    assert difference[:, height // 2 + 2 :].mean() < 2.5  # the codec's own error
    assert difference[:, : height // 2 - 2].mean() > 10
    free, _ = edit(editor, clip_file, tmp_path, "free", user_mask=tmp_path / "mask.png", composite=False)
    assert np.abs(frames_of(free.video) - frames_of(clip_file))[:, height // 2 + 2 :].mean() > 3


def test_attention_composite_keeps_what_its_soft_mask_leaves_out(editor, clip_file, tmp_path):
    options = {"mask.threshold": "quantile", "mask.quantile": 0.9, "mask.decay": 60.0}
    result, _ = edit(editor, clip_file, tmp_path, **WORDS, **options)
    changed = np.abs(frames_of(result.video) - frames_of(clip_file)).max((0, 3)) > 24
    mask = np.concatenate(list(reader.read(probe.probe(result.mask), range(12)))).astype(int)
    tinted = np.abs(mask - frames_of(clip_file)).max((0, 3)) > 24
    assert changed.any()
    assert not changed.all()
    assert (changed & ~cv2.dilate(tinted.astype(np.uint8), np.ones((9, 9))).astype(bool)).mean() < 0.01


def test_a_user_mask_joins_or_replaces_the_attention_s(editor, clip_file, tmp_path):
    mask = np.zeros(probe.probe(clip_file).size, np.uint8)
    mask[:16, :16] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    options = {"user_mask": tmp_path / "m.png", **WORDS}
    replaced, _ = edit(editor, clip_file, tmp_path, "a", **options, **{"mask.preserve": True, "mask.decay": 1e9})
    joined, _ = edit(editor, clip_file, tmp_path, "b", **options, **{"mask.user": "join"})
    moved = (replaced.latents - replaced.source_latents).abs().amax((0, 1, 2)) > 0
    assert moved[:3, :3].any()
    assert not moved[-4:, -6:].any()
    assert (joined.latents - joined.source_latents).abs().amax((0, 1, 2))[-4:, -6:].any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "global edit"),
        ({"source_words": "square"}, "no target_words: the mask comes from the source prompt alone"),
        ({"target_words": "panda"}, "no source_words: the mask comes from the target prompt alone"),
        (
            {"mode": "random_noise", "source_words": "square", "target_words": "panda"},
            "no mask comes from source_words",
        ),
        ({"mask": "none", **WORDS}, "mask=none"),
        ({"composite": True}, "composite=true has no effect"),
        ({"size": "100x70"}, "96x64"),
        ({"draws": 2, "mode": "inversion"}, "draws=2 has no effect"),
        ({"mode": "inversion", "seed": 3}, "seed=3 has no effect"),
        ({"mode": "random_noise", "source_guidance_scale": 2.0}, "source_guidance_scale=2.0 has no effect"),
        ({"mode": "inversion", "averaging": "differential"}, "averaging=differential has no effect"),
        ({"mode.grid": "model", "mode.shift": 5.0}, "mode.shift=5.0 has no effect"),
        ({"mask.quantile": 0.3, **WORDS}, "mask.quantile=0.3 has no effect"),
        ({"mask": "none", "mask.pool": 0.5}, "mask.pool=0.5 has no effect"),
        ({"mask.threshold": "otsu"}, "mask.threshold=otsu has no effect"),
        ({"mask.preserve": True}, "mask.preserve=True has no effect"),
        ({"mode": "inversion", "mode.reconstruction": True}, "gives the source back to within"),
        ({"mask.user": "join", **WORDS}, "mask.user=join has no effect"),
        ({"negative_prompt": "blur", "target_guidance_scale": 1.0}, "negative_prompt=blur has no effect"),
        ({"task": "remove", "source_words": "square"}, "a removal: the mask comes from the source prompt's words"),
        ({"task": "add", "target_words": "panda"}, "an addition: the mask comes from the target prompt's words"),
        ({"task": "remove", "source_words": "square", "target": "no square"}, "still says square"),
        ({}, "more than the 9 that"),
        ({}, "repeated 5 times"),
        ({}, "random weights"),
    ],
)
def test_what_a_user_should_hear_is_said_and_kept(editor, clip_file, tmp_path, options, said):
    result, ear = edit(editor, clip_file, tmp_path, **options)
    assert any(said in text for text in ear.notices), ear.notices
    assert yaml.safe_load((result.folder / "run.yaml").read_text())["notices"] == ear.notices


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "remove", **WORDS}, "takes no target_words, 'panda': what goes has no words in the target prompt"),
        ({"task": "add", **WORDS}, "takes no source_words"),
        ({"task": "remove"}, "needs source_words, a user mask, or mask=difference"),
        ({"task": "add"}, "needs target_words, a user mask, or mask=difference"),
        ({"task": "delete"}, "unknown task 'delete': one of add, auto, recolour, remove, replace"),
    ],
)
def test_words_that_do_not_fit_the_task_are_refused(editor, clip_file, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        edit(editor, clip_file, tmp_path, **options)


def test_a_task_is_told_and_kept(editor, clip_file, tmp_path):
    prompts = {"source": "a red square on grass", "target": "the grass", "source_words": "red square"}
    result, _ = edit(editor, clip_file, tmp_path, **prompts)
    assert result.run["settings"]["task"] == "remove"
    assert result.mask is not None


def test_a_mask_that_reaches_into_cropped_margins_is_said(editor, clip_file, tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.full(probe.probe(clip_file).size, 255, np.uint8))
    for how, said in (("crop", True), ("pad", False)):
        _, ear = edit(editor, clip_file, tmp_path, how, user_mask=tmp_path / "m.png", fit=how, size="64x64", strength=0)
        assert any("margins" in text for text in ear.notices) == said


def test_no_words_make_no_mask(editor, clip_file, tmp_path):
    result, _ = edit(editor, clip_file, tmp_path)
    assert result.mask is None
    assert not (result.folder / "mask.mp4").exists()


def test_equal_prompts_return_the_encoded_source_whatever_the_mask(editor, clip_file, tmp_path):
    same = {"source": "a red square", "target": "a red square", "source_words": "red", "target_words": "square"}
    scales = {"source_guidance_scale": 3.0, "target_guidance_scale": 3.0, "averaging": "differential"}
    result, _ = edit(editor, clip_file, tmp_path, **same, **scales)
    assert (result.latents - result.source_latents).abs().max() < 1e-4


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_strength_zero_returns_the_source_without_an_evaluation(editor, clip_file, tmp_path, mode):
    result, _ = edit(editor, clip_file, tmp_path, mode=mode, strength=0, **WORDS)
    assert torch.equal(result.latents, result.source_latents)
    assert result.run["network_evaluations"] == 0
    assert np.abs(frames_of(result.video) - frames_of(clip_file)).mean() < 2.5  # the codec's own error


def test_reconstruction_error_is_reported_on_request(editor, clip_file, tmp_path):
    result, _ = edit(editor, clip_file, tmp_path, mode="inversion", **{"mode.reconstruction": True})
    assert result.run["reconstruction_error"] > 0
    assert result.run["network_evaluations"] == 2 * (1 + 2 + 1)


def test_phases_are_announced_with_their_sizes(editor, clip_file, tmp_path):
    _, ear = edit(editor, clip_file, tmp_path)
    assert ear.phases == [("find cuts", 12), ("encode", 17), ("embed", 0), ("edit", 2), ("decode, write", 12)]
    assert ear.done == 12 + 17 + 2 + 12


def test_a_part_of_the_clip_at_a_lower_rate(editor, clip_file, tmp_path):
    result, _ = edit(editor, clip_file, tmp_path, start=2, frames=4, fps=5)
    info = probe.probe(result.video)
    assert (info.frames, info.fps) == (4, 5)
    assert np.abs(frames_of(result.compare)[:, -64:, :96] - frames_of(clip_file)[2:10:2]).mean() < 3


def test_pad_and_crop_both_return_the_source_s_size(editor, clip_file, tmp_path):
    for how in ("crop", "pad"):
        result, _ = edit(editor, clip_file, tmp_path, how, fit=how, size="64x64", strength=0)
        assert probe.probe(result.video).size == probe.probe(clip_file).size


def test_an_editor_is_used_again_and_repeats_to_the_byte(editor, clip_file, tmp_path):
    a, _ = edit(editor, clip_file, tmp_path, "a", seed=1, **WORDS)
    edit(editor, clip_file, tmp_path, "b", seed=2)
    c, _ = edit(editor, clip_file, tmp_path, "c", seed=1, **WORDS)
    assert a.video.read_bytes() == c.video.read_bytes()
    assert torch.equal(a.latents, c.latents)


def test_what_is_fixed_when_loaded_cannot_change_later(editor, clip_file):
    for key in ("backbone", "backbone.path", "runtime.device", "runtime.threads"):
        with pytest.raises(ValueError, match=rf"{key}: chosen when the editor is loaded"):
            editor.edit(clip_file, **PROMPTS, **{key: "cpu"})


def test_generation_needs_noise_and_starts_from_it(editor):
    settings = settings_of({**editor._options, "target": "a fox"})
    with pytest.raises(ValueError, match="mode=random_noise"):
        generation.generate_clip(settings, editor.backbone)
    late = {"mode": "random_noise", "mode.grid": "given", "mode.times": [0.5, 0.0]}
    with pytest.raises(ValueError, match="pure noise"):
        generation.generate_clip(settings_of({**editor._options, "target": "a fox", **late}), editor.backbone)


def test_source_words_alone_need_a_step_that_evaluates_the_source(editor, clip_file, tmp_path):
    with pytest.raises(ValueError, match="source prompt is never evaluated"):
        edit(editor, clip_file, tmp_path, source_words="square", **{"mode.target_only_steps": 2})


def test_an_object_word_that_the_model_cannot_read_is_refused(editor, clip_file, tmp_path):
    with pytest.raises(ValueError, match="cannot read '狐狸'"):
        edit(editor, clip_file, tmp_path, target="a 狐狸 runs", target_words="狐狸")
    _, ear = edit(editor, clip_file, tmp_path, target="a fox 狐狸 runs", target_words="fox", strength=0)
    assert any("cannot read '狐狸'" in text for text in ear.notices)


@pytest.mark.parametrize("size", ["96x64", "64x64"])
def test_the_plain_mask_goes_back_in_and_gives_the_same_region(editor, clip_file, tmp_path, size):
    first, _ = edit(editor, clip_file, tmp_path, "first", **WORDS, size=size)
    info = probe.probe(first.mask_plain)
    assert (info.size, info.frames, info.fps) == ((64, 96), 12, 10)
    plain = frames_of(first.mask_plain)
    assert plain.max() > 250
    assert plain.min() < 5
    assert np.ptp(plain, axis=-1).max() <= 2  # no colour
    again, ear = edit(editor, clip_file, tmp_path, "again", user_mask=first.mask_plain, size=size)
    assert not any("may be no mask" in text for text in ear.notices)
    own = slice(0, 1 + 11 // 4)
    assert torch.equal(first.latent_mask[:, :, own] >= 0.999, again.latent_mask[:, :, own] >= 0.999)
    back = frames_of(again.mask_plain)
    assert np.abs(back - plain).mean() < 2  # a codec later


def test_the_plain_mask_of_a_user_s_is_that_mask(editor, clip_file, tmp_path):
    mask = np.zeros(probe.probe(clip_file).size, np.uint8)
    mask[8:40, 16:50], mask[8:40, 50:60] = 255, 100
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    result, _ = edit(editor, clip_file, tmp_path, user_mask=tmp_path / "m.png", strength=0)
    assert np.abs(frames_of(result.mask_plain)[..., 0] - mask).max() < 12


def test_the_overlay_as_a_mask_is_told(editor, clip_file, tmp_path):
    first, _ = edit(editor, clip_file, tmp_path, "first", **WORDS)
    _, ear = edit(editor, clip_file, tmp_path, "again", user_mask=first.mask, strength=0)
    assert any("mask.mp4 is in colour" in text and "mask_plain.mp4" in text for text in ear.notices)


@pytest.mark.parametrize("user", [False, True])
def test_a_callback_hears_the_mask_of_its_own_step_and_none_on_a_pass_without_one(editor, clip_file, tmp_path, user):
    cv2.imwrite(str(tmp_path / "m.png"), np.full(probe.probe(clip_file).size, 255, np.uint8))
    options = {"user_mask": tmp_path / "m.png"} if user else WORDS
    inversion, seen = {"mode": "inversion", "mode.reconstruction": True}, []

    def hear(step):
        seen.append(step.mask is None)

    editor.edit(clip_file, out=tmp_path / "o", callback=hear, **PROMPTS, **options, **inversion)
    assert seen == [True, True, False, False, True, True]  # up, down, and down again under the source prompt


def test_an_edit_that_is_stopped_on_the_way_up_says_that_nothing_is_edited(editor, clip_file, tmp_path):
    for at, rising in ((0, True), (2, False)):
        ear = Ear()
        editor.edit(
            clip_file,
            out=tmp_path / str(at),
            monitor=ear,
            callback=lambda step, at=at: step.index == at,
            mode="inversion",
            **PROMPTS,
        )
        assert any(f"stopped after step {at + 1} of 4" in text for text in ear.notices)
        assert any("on the way up to noise: nothing is edited yet" in text for text in ear.notices) == rising


def test_a_cancelled_edit_ends_before_its_cuts_are_looked_for_and_before_a_backbone_is_loaded(
    editor, backbone_2b, clip_file, tmp_path, monkeypatch
):
    cancel = threading.Event()
    cancel.set()
    monkeypatch.setattr(run, "cut_places", lambda *args: pytest.fail("looked for cuts"))
    with pytest.raises(flowedit.Cancelled):
        editor.edit(clip_file, out=tmp_path / "o", cancel=cancel, cuts="none", **PROMPTS)
    monkeypatch.setattr(run, "load_backbone", lambda settings: pytest.fail("loaded"))
    with pytest.raises(flowedit.Cancelled):
        flowedit.edit(clip_file, backbone=backbone_2b, out=tmp_path / "o", cancel=cancel, **PROMPTS)
    assert list(tmp_path.iterdir()) == []
