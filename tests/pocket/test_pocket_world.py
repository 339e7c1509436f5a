"""The pocket world: deterministic, its attributes independent, its masks the whole truth about an edit."""

from dataclasses import replace

import numpy as np
import pytest

from flowedit.pocket import KINDS, Spec, Thing, Vocabulary, choices, draw, edit, scene
from flowedit.pocket.world import CLASSES, GROUNDS, MOTIONS, SAME_COLOUR, SIZES, TINTS

FOX = Spec((Thing("fox", "right"),), "grass", texture=7)


CAPTIONS = [
    "a fish stands still and a football comes closer over green grass",
    "a frog moves right over a grey road",
    "a fish goes away over a blue sky",
]
MEAN = 107.12


def test_the_world_is_as_large_as_promised():
    assert len(set(CLASSES)) >= 24
    assert {"fox", "panda", "car"} <= set(CLASSES)
    assert len(GROUNDS) >= 6
    assert len(SAME_COLOUR) >= 3


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    first, again, other = scene(11), scene(11), scene(12)
    assert first.caption == again.caption
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_a_seed_renders_as_it_always_did():
    scenes = [draw(seed).caption for seed in (0, 1, 2)]
    assert scenes == CAPTIONS
    assert abs(scene(FOX).frames.mean() - MEAN) < 0.05


@pytest.mark.parametrize(("size", "frames"), [((64, 64), 9), ((128, 96), 17), ((30, 62), 1)])
def test_shapes_types_and_ranges(size, frames):
    shown = scene(5, size, frames)
    assert shown.frames.shape == (frames, *size, 3)
    assert shown.frames.dtype == np.uint8
    assert shown.masks.shape == (len(shown.spec.things), frames, *size)
    assert shown.masks.min() >= 0
    assert shown.masks.max() <= 1


@pytest.mark.parametrize(("size", "frames"), [((63, 64), 9), ((64, 64), 0), ((8, 8), 1)])
def test_a_size_that_cannot_be_is_refused(size, frames):
    with pytest.raises(ValueError, match="even size"):
        scene(5, size, frames)


def test_the_caption_says_all_of_it():
    things = (Thing("apple", "left", "tiny", "blue"), Thing("fox", "bounce"))
    spec = Spec(things, "grass")
    assert spec.caption == "a tiny blue apple moves left and a fox bounces over green grass"
    assert FOX.caption == "a fox moves right over green grass"
    assert replace(FOX, things=()).caption == "nothing over green grass"
    assert replace(FOX, things=(Thing("orange"),)).caption.startswith("an orange ")


@pytest.mark.parametrize("seed", range(40))
def test_words_stand_in_the_caption_and_name_one_object(seed):
    shown = scene(seed, (16, 16), 1)
    for words in shown.words:
        assert shown.caption.split().count(words.split()[-1]) == 1
        assert f" {words} " in shown.caption


def test_a_vocabulary_limits_what_is_drawn():
    learned = Vocabulary(("fox", "car"), ("sand",), ("still",), ("",), ("",))
    specs = [draw(seed, learned) for seed in range(60)]
    assert {thing.kind for spec in specs for thing in spec.things} == {"fox", "car"}
    assert {spec.ground for spec in specs} == {"sand"}
    assert {len(spec.things) for spec in specs} == {0, 1, 2}


def test_unknown_names_say_what_there_is():
    with pytest.raises(ValueError, match=r"zebra.*panda"):
        Spec((Thing("zebra"),))
    with pytest.raises(ValueError, match=r"moon.*grass"):
        Vocabulary(grounds=("moon",))
    with pytest.raises(ValueError, match="as many classes"):
        draw(0, Vocabulary(classes=("fox",)), things=2)


def test_everything_can_be_drawn():
    things = [thing for seed in range(1500) for thing in draw(seed).things]
    for name, known in (("kind", CLASSES), ("motion", MOTIONS), ("size", SIZES), ("tint", TINTS)):
        assert {getattr(thing, name) for thing in things} == set(known)


def test_one_attribute_leaves_the_others_alone():
    tinted = replace(FOX, things=(replace(FOX.things[0], tint="blue"),))
    before, after = scene(FOX), scene(tinted)
    assert np.array_equal(before.masks, after.masks)
    outside = before.masks[0] == 0
    assert np.array_equal(before.frames[outside], after.frames[outside])
    narrow = Vocabulary(classes=("fox", "panda", "car"))
    for seed in range(20):
        a, b = draw(seed), draw(seed, narrow)
        assert (a.ground, a.texture) == (b.ground, b.texture)
        assert [(t.x, t.y, t.motion, t.size) for t in a.things] == [(t.x, t.y, t.motion, t.size) for t in b.things]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_true_edit_differs_inside_the_mask_and_nowhere_else(kind, seed):
    true = edit(seed, kind)
    changed = (true.source.frames != true.target.frames).any(-1)
    assert true.mask.shape == changed.shape
    assert true.mask.dtype == np.float32
    assert changed.any()
    assert not changed[true.mask == 0].any()
    core = true.mask > 0.95
    assert changed[core].mean() > 0.8
    assert true.source.caption != true.target.caption
    assert all(words in true.source.caption for words in true.source_words)
    assert all(words in true.target.caption for words in true.target_words)


@pytest.mark.parametrize("kind", KINDS)
def test_edits_are_deterministic_and_need_their_objects(kind):
    assert edit(3, kind).target.spec == edit(3, kind).target.spec
    with pytest.raises(ValueError, match="needs"):
        edit(replace(FOX, things=()), kind)


def test_edits_of_a_spec():
    true = edit(FOX, "replace", vocabulary=Vocabulary(classes=("fox", "panda")))
    assert true.target.caption == "a panda moves right over green grass"
    assert (true.source_words, true.target_words) == (("fox",), ("panda",))
    assert edit(FOX, "remove").target_words == ()
    assert edit(FOX, "add").source_words == ()
    with pytest.raises(ValueError, match="no edit called"):
        edit(FOX, "swap")
    with pytest.raises(ValueError, match="one more choice"):
        edit(FOX, "replace", vocabulary=Vocabulary(classes=("fox",)))


@pytest.mark.parametrize("kind", KINDS)
def test_choices_hold_the_truth_once_and_the_source_as_a_wrong_one(kind):
    true = edit(4, kind)
    found = choices(true)
    assert len(found) == (2 if kind == "replace_both" else 1)
    for choice in found:
        assert np.array_equal(choice.frames[choice.right], true.target.frames)
        same = [name for name, frames in choice.frames.items() if np.array_equal(frames, true.target.frames)]
        assert same == [choice.right]
        if kind != "replace_both":
            assert any(np.array_equal(frames, true.source.frames) for frames in choice.frames.values())
        assert 0 < choice.where.mean() < 1
        assert choice.where.max() <= 1


def test_without_is_the_target_scene_without_each_edited_object():
    true = edit(4, "replace_one_of_two")
    (index,) = true.edited
    assert [*true.without] == [index]
    seen = np.abs(true.without[index].astype(int) - true.target.frames).max(-1) > 0
    assert seen.any()
    assert not seen[true.target.masks[index] == 0].any()
    (back,) = edit(4, "add").without.values()
    assert np.array_equal(back, edit(4, "add").source.frames)
    assert [*edit(4, "replace_both").without] == [0, 1]
    assert edit(4, "remove").without == edit(4, "ground").without == {}


def test_motion_is_smooth_and_goes_where_it_says():
    for motion, (dx, dy) in {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}.items():
        path = _path(motion)
        moved = path[-1] - path[0]
        assert np.allclose(moved, 128 * 0.3 * np.array([dx, dy]), atol=2.0)
    for motion in MOTIONS:
        assert np.abs(np.diff(_path(motion), axis=0)).max() < 128 * 0.08
    areas = [scene(Spec((Thing("fox", motion),))).masks[0].sum((1, 2)) for motion in ("approach", "recede")]
    assert np.all(np.diff(areas[0]) > 0)
    assert np.all(np.diff(areas[1]) < 0)


def test_sizes_order_the_areas():
    tiny, plain, huge = (scene(Spec((Thing("fox", size=size),))).masks.sum() for size in ("tiny", "", "huge"))
    assert tiny < 0.6 * plain < 0.6 * 0.75 * huge


def test_pairs_of_one_colour_are_nearer_than_the_rest():
    mean = {kind: _colour(kind) for kind in CLASSES}
    apart = [np.abs(mean[a] - mean[b]).mean() for a in CLASSES for b in CLASSES if a < b]
    for a, b in SAME_COLOUR:
        assert np.abs(mean[a] - mean[b]).mean() < np.quantile(apart, 0.25), (a, b)


def test_the_same_scene_at_another_size_is_the_same_scene():
    small, large = scene(FOX, (64, 64)).frames, scene(FOX, (256, 256)).frames
    reduced = large.reshape(9, 64, 4, 64, 4, 3).mean((2, 4))
    assert np.abs(reduced - small).mean() < 4


def _path(motion: str) -> np.ndarray:
    masks = scene(Spec((Thing("fox", motion),))).masks[0]
    y, x = np.mgrid[:128, :128]
    return np.stack([(masks * x).sum((1, 2)), (masks * y).sum((1, 2))], -1) / masks.sum((1, 2))[:, None]


def _colour(kind: str) -> np.ndarray:
    shown = scene(Spec((Thing(kind),)), frames=1)
    return shown.frames[shown.masks[0] > 0.9].mean(0)
