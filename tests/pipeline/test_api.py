"""Editing from Python: the signatures, groups of options, frames in memory, callbacks, cancellation, errors."""

import inspect
import pickle
import subprocess
import sys
import threading
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

import flowedit
from flowedit.config.quality import QualityOptions
from flowedit.config.schema import Settings
from flowedit.media import probe as probes
from flowedit.media import reader
from flowedit.media.formats.forms import WRITTEN
from flowedit.pipeline import api
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief

PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {"steps": 4, "strength": 1.0, "source_guidance_scale": 1.0, "target_guidance_scale": 1.0, "size": "96x64"}


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"}, **FAST)


@pytest.fixture(scope="module")
def frames(clip_file):
    video = probes.probe(clip_file)
    return np.concatenate(list(reader.read(video, range(video.frames))))


def test_every_option_is_a_keyword_of_its_own():
    options = {field.name for field in fields(Settings)} - {"clip"}
    assert set(api.EditOptions.__annotations__) == options
    shown = inspect.signature(flowedit.edit).parameters
    assert options | {"clip", "monitor", "callback", "cancel"} == set(shown)
    assert all(shown[name].kind is inspect.Parameter.KEYWORD_ONLY for name in options)
    late = {"frames", "start", "fps", "out", "save", "log", *WRITTEN}  # of files that frames in memory have not
    assert options - late <= set(inspect.signature(flowedit.edit_frames).parameters)
    assert set(inspect.signature(flowedit.load).parameters) == options | {"backbone"}
    assert {"backbone", "runtime"}.isdisjoint(inspect.signature(flowedit.Editor.edit).parameters)


def test_a_group_is_a_name_a_dictionary_or_an_object():
    by_name = api.settings_of({"mask": "none", **{"mode.decoupling": 0.5}})
    assert (by_name.mask.name, by_name.mode.decoupling) == ("none", 0.5)
    by_dictionary = api.settings_of({"mask": {"threshold": "quantile", "pool": 0.5}, "mode": {"name": "inversion"}})
    assert (by_dictionary.mask.threshold, by_dictionary.mask.pool) == ("quantile", 0.5)
    assert by_dictionary.mode.name == "inversion"
    assert by_dictionary.strength == api.settings_of({"mode": "inversion"}).strength
    mask = replace(by_name.mask, name="attention", grow=0.25)
    assert api.settings_of({"mask": mask}).mask == mask
    assert api.settings_of({"mode": by_dictionary.mode}).mode == by_dictionary.mode


def test_a_quality_as_an_object_is_its_name_and_share():
    by_object = api.settings_of({"quality": QualityOptions(name="draft", share=0.125), **PROMPTS})
    assert by_object == api.settings_of({"quality": "draft", **PROMPTS})
    assert by_object.steps == 5
    assert not any("quality" in text for text in of_unused(brief(by_object)))
    assert api.settings_of({"quality": QualityOptions(name="fast", share=0.7)}).steps == 28
    with pytest.raises(flowedit.Error, match=r"quality\.share: set it in the object"):
        api.settings_of({"quality": by_object.quality, "quality.share": 1.0})
    with pytest.raises(flowedit.Error, match=r"quality\.share 2\.0 is out of range"):
        api.settings_of({"quality": QualityOptions(name="fast", share=2.0)})


def test_a_given_grid_in_an_object_has_no_steps_for_a_quality_to_share():
    mode = replace(api.settings_of({}).mode, grid="given", times=(1.0, 0.5, 0.0))
    assert not any("steps" in text for text in of_unused(brief(api.settings_of({"mode": mode, **PROMPTS}))))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stepps": 3}, "unknown key 'stepps'; did you mean 'steps'"),
        ({"mask": {"poool": 3}}, "did you mean 'mask.pool'"),
        ({"mask": {"pool": 3}}, "mask.pool 3.0 is out of range"),
        ({"steps": 0}, "steps 0 is out of range: 1 to 1000"),
        ({"clip": "none.mp4"}, "none.mp4"),
    ],
)
def test_a_mistake_is_one_of_our_errors(options, says):
    with pytest.raises(flowedit.Error, match=says) as caught:
        flowedit.edit(**({"clip": "none.mp4", **PROMPTS} | options))
    assert isinstance(caught.value, (ValueError, OSError))
    assert "\n" not in str(caught.value)


def test_every_error_is_an_error_of_python_as_well():
    kinds = {
        flowedit.InputError: ValueError, flowedit.FileError: OSError, flowedit.DownloadError: ConnectionError,
        flowedit.NumericalError: FloatingPointError, flowedit.OutOfMemoryError: MemoryError,
    }  # fmt: skip
    for ours, python in kinds.items():
        assert issubclass(ours, flowedit.Error)
        assert issubclass(ours, python)
        assert str(pickle.loads(pickle.dumps(ours("one line")))) == "one line"
    assert issubclass(flowedit.Cancelled, flowedit.Error)


def test_frames_in_memory_are_edited_as_those_of_a_file(editor, clip_file, frames, tmp_path):
    file = editor.edit(clip_file, out=tmp_path / "o", **PROMPTS, **WORDS)
    memory = editor.edit_frames(frames, fps=10, **PROMPTS, **WORDS)
    assert torch.equal(memory.latents, file.latents)
    assert torch.equal(memory.latent_mask, file.latent_mask)
    assert (memory.frames.shape, memory.frames.dtype) == (frames.shape, np.uint8)
    assert memory.mask.shape == frames.shape[:3]
    assert (memory.frames[memory.mask == 0] == frames[memory.mask == 0]).all()
    assert memory.run["network_evaluations"] == file.run["network_evaluations"]
    assert memory.run["clip"]["file"] is None


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 8, 8)), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 4), np.uint8)]
)
def test_what_is_no_frames_is_refused(editor, bad):
    with pytest.raises(flowedit.InputError, match=r"give uint8 \(frames, height, width, 3\)"):
        editor.edit_frames(bad, **PROMPTS)


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_a_callback_sees_state_time_mask_and_velocities(editor, frames, mode):
    steps = []
    result = editor.edit_frames(frames, mode=mode, callback=steps.append, **PROMPTS, **WORDS)
    passes = 2 if mode == "inversion" else 1
    assert [step.index for step in steps] == list(range(4 * passes))
    assert steps[-1].total == 4 * passes
    assert steps[-1].t_next == 0.0
    assert torch.equal(steps[-1].z, result.latents)
    assert steps[-1].mask.shape == (1, 1, *result.latents.shape[2:])
    expected = {"target"} if mode == "random_noise" else {"source", "target"}
    assert set(steps[-1].velocities) == expected
    assert all(u.shape[1:] == result.latents.shape[1:] for u in steps[-1].velocities.values())
    plain = editor.edit_frames(frames, mode=mode, **PROMPTS, **WORDS)
    assert torch.equal(plain.latents, result.latents), "to look changes nothing"


def test_a_callback_stops_the_edit_and_what_is_there_is_finished(editor, frames):
    kept = []

    def stop(step):
        kept.append(step)
        return step.index == 1

    free = editor.edit_frames(frames, mode="inversion_free", callback=stop, **PROMPTS)
    assert len(kept) == 2
    assert torch.equal(free.latents, kept[1].z), "Z of inversion_free is a clean latent"
    assert any("stopped after step 2 of 4" in text for text in free.run["notices"])
    kept.clear()
    noise = editor.edit_frames(frames, mode="random_noise", callback=stop, **PROMPTS)
    step = kept[1]
    assert torch.allclose(noise.latents, step.z - step.t_next * step.velocities["target"])
    kept.clear()
    whole = editor.edit_frames(
        frames, mode={"name": "inversion", "reconstruction": True}, callback=lambda step: step.index == 8, **PROMPTS
    )
    plain = editor.edit_frames(frames, mode="inversion", **PROMPTS)
    assert torch.equal(whole.latents, plain.latents), "only the report of the reconstruction is left out"


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_an_edit_goes_on_with_the_state_that_a_callback_gives(editor, frames, mode):
    heard = []

    def shift(step):
        heard.append(step.z)
        return step.z.double() + 1 if len(heard) in (1, step.total) else None

    plain = []
    editor.edit_frames(frames, mode=mode, callback=lambda step: plain.append(step.z), **PROMPTS)
    moved = editor.edit_frames(frames, mode=mode, callback=shift, **PROMPTS)
    assert torch.equal(heard[0], plain[0])
    assert not torch.allclose(heard[1], plain[1])
    assert torch.equal(moved.latents, (heard[-1].double() + 1).float())
    with pytest.raises(flowedit.InputError, match="the callback gives a state"):
        editor.edit_frames(frames, mode=mode, callback=lambda step: step.z[:, :1], **PROMPTS)


def test_a_stop_ends_the_edit_of_every_shot(editor, frames):
    shots = []

    def stop(step):
        shots.append(step.shot)
        return True

    result = editor.edit_frames(frames, cuts=[4], callback=stop, **PROMPTS, **WORDS)
    assert shots == [1]
    assert len(result.frames) == len(frames)
    late = result.run["shots"][0]["latent_frames"]
    assert torch.equal(result.latents[:, :, late:], result.source_latents[:, :, late:])
    assert result.latent_mask is None or result.latent_mask.shape[2] == result.latents.shape[2]
    editor.edit_frames(frames, cuts=[4], callback=lambda step: shots.append(step.shot), **PROMPTS, **WORDS)
    assert set(shots[1:]) == {1, 2}


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_a_stopped_edit_keeps_the_source_outside_its_mask(editor, frames, mode):
    masks = []

    def stop(step):
        masks.append(step.mask)
        return step.mask is not None and step.index >= 1

    result = editor.edit_frames(frames, mode=mode, mask={"preserve": True}, callback=stop, **PROMPTS, **WORDS)
    outside = (masks[-1] < 0.5).expand_as(result.latents)
    assert outside.any()
    assert not outside.all()
    assert torch.equal(result.latents[outside], result.source_latents[outside])
    assert not torch.equal(result.latents[~outside], result.source_latents[~outside])


def test_a_backbone_as_an_object_is_not_taken_for_the_default_one():
    by_dictionary = api.settings_of({"backbone": {"repository": "a/b"}})
    usual = api.settings_of({"backbone": "cogvideox-2b"})
    assert (by_dictionary.backbone.packaged, by_dictionary.backbone.repository) == (None, "a/b")
    assert (by_dictionary.steps, by_dictionary.mask) == (usual.steps, usual.mask)
    own = replace(usual.backbone, name="mine", repository="a/b")
    by_object = api.settings_of({"backbone": own})
    assert (by_object.backbone, by_object.steps, by_object.mask) == (own, usual.steps, usual.mask)


def test_an_editor_keeps_to_the_backbone_of_its_settings(editor, clip_file, tmp_path):
    settings = editor._loaded
    again = flowedit.Editor(settings=settings)
    result = again.edit(clip_file, out=tmp_path / "o", **FAST, **PROMPTS)
    assert result.run["settings"]["backbone"]["path"] == settings.backbone.path
    other = api.settings_of({"backbone": "pocket", **PROMPTS})
    with pytest.raises(flowedit.Error, match="load another editor"):
        again.edit(clip_file, settings=other)


def test_null_is_a_value_and_an_object_is_whole():
    assert api.settings_of({"runtime": {"cache": None}}).runtime.cache is None
    mode = api.settings_of({"mode": "inversion"}).mode
    with pytest.raises(flowedit.Error, match=r"mode\.grid: set it in the object"):
        api.settings_of({"mode": mode, "mode.grid": "uniform"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fps": "abc"}, "fps abc is not a frame rate"),
        ({"fps": float("nan")}, "fps nan is not a frame rate"),
        ({"fps": 0}, "fps 0 is not a frame rate"),
        ({"user_mask": np.zeros((2, 4, 4, 4))}, "user_mask is an array"),
        ({"source_words": "wolf"}, "wolf"),
    ],
)
def test_frames_are_refused_before_a_download(frames, options, says):
    with pytest.raises(flowedit.Error, match=says):
        flowedit.edit_frames(frames, backbone="cogvideox-2b", **PROMPTS, **options)


def test_a_caption_of_frames_is_refused_as_it_reads_a_file(frames):
    with pytest.raises(flowedit.Error, match="caption model reads a clip's file"):
        flowedit.edit_frames(frames, instruction="replace the fox with a panda", caption="model")


def test_a_result_prints_in_a_line(editor, frames):
    assert len(repr(editor.edit_frames(frames, **PROMPTS))) < 200


def test_a_cancelled_edit_leaves_nothing(editor, clip_file, tmp_path):
    cancel = threading.Event()
    with pytest.raises(flowedit.Cancelled, match="nothing was written"):
        editor.edit(clip_file, out=tmp_path / "o", callback=lambda step: cancel.set(), cancel=cancel, **PROMPTS)
    assert list(tmp_path.iterdir()) == []


def test_one_edit_probes_its_clip_once(editor, clip_file, tmp_path, monkeypatch, command, backbone_2b):
    opened = []
    inner = probes._inspect
    monkeypatch.setattr(probes, "_inspect", lambda path, container: opened.append(path) or inner(path, container))
    editor.edit(clip_file, out=tmp_path / "a", **PROMPTS, **WORDS)
    assert len(opened) == 1
    opened.clear()
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in {**PROMPTS, **WORDS, **FAST}.items()]
    code, _, err = command("edit", clip_file, *flags, "--backbone", backbone_2b, "--out", tmp_path / "b")
    assert code == 0, err
    assert [path for path in opened if path == clip_file or str(path) == str(clip_file)] == opened
    assert len(opened) == 1


def test_whole_settings_stand_in_place_of_options(editor, clip_file, tmp_path):
    settings = api.settings_of({**editor._options, "clip": clip_file, **PROMPTS, "seed": 3})
    result = editor.edit(clip_file, settings=settings, out=tmp_path / "o")
    assert result.run["settings"]["seed"] == 3
    with pytest.raises(flowedit.InputError, match="whole settings or options"):
        editor.edit(clip_file, settings=settings, steps=3)
    with pytest.raises(flowedit.InputError, match="chosen when the editor is loaded"):
        editor.edit(clip_file, **PROMPTS, **{"runtime.rows": 1})


def test_an_import_changes_nothing_around_it():
    script = (
        "import os, sys, warnings, torch, logging, av, cv2, decord, hydra, transformers\n"
        "state = lambda: (dict(os.environ), torch.get_num_threads(), torch.get_default_dtype(), list(warnings.filters),"
        " torch.is_grad_enabled(), logging.root.level, sys.excepthook)\n"
        "before = state()\n"
        "import flowedit.pipeline.api, flowedit.editors.spec\n"
        "assert state() == before, [b for a, b in zip(before, state()) if a != b]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
