"""A look at an edit's mask before the edit: its own first mask to the bit, kept, changed without a network."""

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import flowedit
from flowedit.config.folder import example
from flowedit.masks.options import MaskOptions
from flowedit.media.fit import lay
from flowedit.pipeline.api import settings_of
from flowedit.pipeline.looks.look import look_at_clip
from flowedit.pipeline.looks.mask_look import FILE, MaskLook, ShotMaps, scaled
from flowedit.pipeline.prompts.instruction import complete
from flowedit.pipeline.source import array_clip
from flowedit.types import QUIET

FOX = str(example("fox")).replace("fox.yaml", "fox.mp4")
FIRST = {"mask.look_at": [0.0]}
ASKED = {
    "source": "a fox moves right over green grass",
    "instruction": "replace the fox with a panda",
    "frames": 5,
    **FIRST,
}
TWO = {
    "source": "an apple moves left and an orange stands still over a dark night",
    "target": "a car moves left and an orange stands still over a dark night",
    "source_words": "apple, orange",
    "target_words": "car, orange",
    "frames": 5,
}


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket")


@pytest.fixture(scope="module")
def look(editor):
    return editor.look_at_mask(FOX, **ASKED)


def first_step(editor, out, **options):
    """What the first step of the edit itself is, and the edit that is stopped there."""
    seen = []
    result = editor.edit(FOX, out=out, callback=lambda step: seen.append(step) or True, **options)
    return seen[0], result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "random_noise"},
        {"mask": "difference"},
        {"mask": "both", "draws": 2, "mask.over_draws": "union", "mode.single_draw_steps": 0},
        {"mask.smooth_frames": 1.0, "mask.grow": 0.125, "window": 9, "frames": None},
        {"mode.region": True},
        {"box": "10,10,60,60", "mask.user": "join"},
        {"mask.dependents": 0.5, "mask.grow": "down:0.25", "also_words": "grass"},
        TWO | {"instruction": None},
    ],
    ids=["words", "noise", "difference", "draws", "smoothed", "region", "joined", "dependents", "objects"],
)
def test_it_is_the_mask_of_the_edits_first_step_to_the_bit(editor, tmp_path, options):
    options = ASKED | options
    looked = editor.look_at_mask(FOX, **options)
    step, _ = first_step(editor, tmp_path / "edit", **options)
    mask = next(looked.latents())
    if options.get("mode.region"):  # whose pass leaves the far end of the soft edge out
        mask = mask * (step.mask > 0)
    assert torch.equal(mask, step.mask)
    assert 0.02 < float(step.mask.mean()) < 0.98


def test_the_mean_of_several_times_is_kept_and_of_the_difference_its_sum(editor):
    options = ASKED | {"mask": "both", "steps": 5, "strength": 1.0, "mask.smooth_steps": 0.5}

    def looked(*shares):
        return editor.look_at_mask(FOX, **options | {"mask.look_at": shares}).shots[0].maps

    both, first, last = looked(0.1, 0.9, 0.99), looked(0.0), looked(0.8)  # steps 0, 4 and again 4
    for side in ("source", "target"):
        torch.testing.assert_close(both[side], (first[side] + last[side]) / 2)
        assert not torch.equal(first[side], last[side])
    torch.testing.assert_close(both["difference"], first["difference"] + last["difference"])
    with pytest.raises(flowedit.InputError, match=r"mask\.look_at .* 0 up to but not 1"):
        looked(1.0)


def test_times_of_the_whole_edit_tell_its_mask_better_than_its_first(editor, tmp_path):
    options = {**ASKED, "frames": 9, "target": "a panda moves right over green grass", "instruction": None}
    options |= {"source_words": "fox", "target_words": "panda", "mask.sharpen": 0.0}  # sharpened, its first is as good
    own = editor.edit(FOX, out=tmp_path / "edit", **options).latent_mask > 0.5

    def iou(**more):
        mask = next(editor.look_at_mask(FOX, **options | more).latents()) > 0.5
        return float((mask & own).sum() / (mask | own).sum())

    usual = settings_of({}).mask.look_at
    assert usual == (0.2, 0.5, 0.8)
    assert iou(**{"mask.look_at": usual}) > iou() + 0.05


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_at_the_clips_size_it_is_the_mask_that_frames_are_blended_by(editor, fit):
    frames = np.random.default_rng(0).integers(0, 255, (5, 50, 90, 3), np.uint8)
    options = {**ASKED, "steps": 1, "strength": 1.0, "mode.target_only_steps": 0, "fit": fit}
    settings = complete(settings_of({"backbone": "pocket", **options}), QUIET)
    looked = look_at_clip(settings, editor.backbone, array_clip(frames, 8, settings), QUIET)
    edited = editor.edit_frames(frames, **options)
    np.testing.assert_array_equal(looked.at(), np.rint(255 * edited.mask).astype(np.uint8))
    assert 0.05 < (looked.at() > 127).mean() < 0.95


def test_a_threshold_and_a_growth_are_those_of_the_options(editor, look, tmp_path):
    step, _ = first_step(
        editor,
        tmp_path / "edit",
        **ASKED,
        **{"mask.threshold": "quantile", "mask.quantile": 0.9, "mask.level": 1.0, "mask.grow": 0.2},
    )
    assert torch.equal(next(look.latents(0.9, 0.2)), step.mask)
    shares = [(look.at(quantile) > 127).mean() for quantile in (0.3, 0.6, 0.9)]
    assert shares[0] > shares[1] + 0.1 > shares[2] + 0.2
    assert (look.at(0.9, 0.0) <= look.at(0.9, 0.25)).all()
    assert (look.at(0.9, 0.25) > 127).mean() > (look.at(0.9, 0.0) > 127).mean() + 0.1


@pytest.mark.parametrize(
    "options", [{}, {"mask.level": 0.5}, {"mask.sharpen": 0.0, "mask.level": 1.3}, {"mask": "both"}]
)
def test_a_slider_begins_at_a_mask_of_the_same_size_and_the_first_notch_goes_its_way(editor, options):
    look = editor.look_at_mask(FOX, **ASKED | options)
    own = (look.at() > 127).mean()
    narrower, same, wider = (
        (look.at(quantile) > 127).mean() for quantile in (look.quantile + 0.02, look.quantile, look.quantile - 0.02)
    )
    assert abs(same - own) < 0.01
    assert narrower < own < wider


def test_a_quantile_of_the_options_is_where_a_slider_begins(editor):
    options = ASKED | {"mask.threshold": "quantile", "mask.quantile": 0.83}
    assert editor.look_at_mask(FOX, **options | {"mask.level": 1.0}).quantile == 0.83
    assert editor.look_at_mask(FOX, **options | {"mask.level": 0.6}).quantile < 0.83


def test_a_small_one_shows_the_same(look):
    small, large = look.at(size=(32, 32)), look.at()
    assert small.shape == (5, 32, 32)
    assert look.size == (256, 256)
    assert look.frames == 5
    assert large.shape == (5, 256, 256)
    again = large.reshape(5, 32, 8, 32, 8).mean((2, 4))
    assert np.abs(again - small).mean() < 8


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_a_small_one_lies_where_the_large_one_does(how):
    maps = torch.zeros((1, 1, 1, 16, 16))
    maps[..., 4:9, 2:6] = 1.0
    options = settings_of(ASKED).mask
    options = replace(options, decay=float("inf"), pool=0.0, threshold="mean")
    fit = lay((120, 300), (128, 128), how, Fraction(1))
    looked = MaskLook(options, (False,), 0, 4, (ShotMaps({"source": maps}, {"source": (0,)}, None, (0, 1), 1, fit),))
    large = looked.at()[0] > 127
    for size in ((60, 150), (41, 103), (240, 600)):
        small = looked.at(size=size)[0] > 127
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, (120, 300), strict=True))
        same = large[rows][:, columns]
        assert (small & same).sum() / (small | same).sum() > 0.85, size


def test_a_scaled_fit_keeps_the_frame_whole():
    fit = lay((50, 90), (64, 64), "pad")
    made = scaled(fit, (25, 45))
    top, left, height, width = made.window
    assert (height, width) == (25, 45)
    assert top + height <= made.working[0]
    assert left + width <= made.working[1]


def test_it_is_kept_in_a_folder(look, tmp_path):
    path = look.save(tmp_path / "kept")
    assert path.name == FILE
    assert [each.name for each in path.parent.iterdir()] == [FILE]
    again = MaskLook.load(tmp_path / "kept")
    assert again.options == look.options
    assert again.size == look.size
    np.testing.assert_array_equal(again.at(0.8, 0.1), look.at(0.8, 0.1))
    with pytest.raises(flowedit.Error, match="look at the mask first"):
        MaskLook.load(tmp_path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(flowedit.Error, match="damaged"):
        MaskLook.load(tmp_path / "kept")


def test_a_hard_edge_is_kept_too(look, tmp_path):
    hard = replace(look, options=replace(look.options, decay=float("inf")))
    hard.save(tmp_path)
    again = MaskLook.load(tmp_path)
    assert again.options.decay == float("inf")
    assert not torch.equal(next(again.latents()), next(look.latents()))


def test_several_shots_follow_each_other(editor):
    looked = editor.look_at_mask(FOX, **(ASKED | {"frames": 9}), cuts=[5])
    assert [shot.frames for shot in looked.shots] == [5, 4]
    assert looked.at().shape == (9, 256, 256)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": "none"}, "mask=none has no mask to look at"),
        ({"instruction": None, "target": "a panda moves right over green grass"}, "give source_words and target_words"),
        ({"box": "10,10,60,60"}, "replaces that of the words"),
        ({"strength": 0}, "runs no step"),
        ({"instruction": None}, "no target prompt"),
    ],
)
def test_an_edit_without_a_mask_of_words_is_told(editor, options, said):
    with pytest.raises(flowedit.InputError, match=said):
        editor.look_at_mask(FOX, **(ASKED | options))


@pytest.mark.parametrize(
    ("quantile", "grow"), [(1.0, None), (-0.1, None), (None, 1.1), (None, "down:2"), (float("nan"), None)]
)
def test_numbers_out_of_range_are_refused(look, quantile, grow):
    with pytest.raises(flowedit.InputError, match=r"out of range|from 0 to 1"):
        look.at(quantile, grow)


def test_an_inverting_mode_is_looked_at_without_the_way_up(editor):
    before = editor.backbone.evaluations
    looked = editor.look_at_mask(FOX, mode="inversion", **ASKED)
    assert editor.backbone.evaluations - before <= 4
    assert 0.02 < (looked.at() > 127).mean() < 0.98


def test_it_speaks_and_is_cancelled_as_an_edit(editor):
    class Ear:
        def __init__(self):
            self.phases = []

        def phase(self, name, total):
            self.phases.append((name, total))

        def advance(self, count=1):
            pass

        def notice(self, text):
            pass

        def start(self, text):
            raise AssertionError("no whole edit begins")

    ear, cancel = Ear(), threading.Event()
    editor.look_at_mask(FOX, monitor=ear, **ASKED)
    assert ("look", 1) in ear.phases
    assert ("encode", 9) in ear.phases
    assert "edit" not in [name for name, _ in ear.phases]
    cancel.set()
    with pytest.raises(flowedit.Cancelled):
        editor.look_at_mask(FOX, cancel=cancel, **ASKED)


def test_at_top_level_it_loads_the_backbone_first(look):
    looked = flowedit.look_at_mask(FOX, backbone="pocket", **ASKED)
    np.testing.assert_array_equal(looked.at(), look.at())
    assert isinstance(looked, flowedit.MaskLook)
    assert isinstance(looked.options, MaskOptions)
