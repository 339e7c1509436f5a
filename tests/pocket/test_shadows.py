"""Shadows of the pocket world: drawn exactly, off to the byte, gone with their object and come with another."""

from dataclasses import replace

import numpy as np
import pytest

from flowedit.pocket import KINDS, Spec, Thing, choices, draw, edit, scene
from flowedit.pocket.render import SHADE, _background, _layer, _light

TWO = Spec((Thing("fox", "right", x=0.3, scale=0.4), Thing("car", "bounce", x=0.7, scale=0.4)), "sand", texture=3)


def lit(spec):
    return replace(spec, things=tuple(replace(thing, shadow=True) for thing in spec.things))


def composited(spec, shade, size=(64, 96), frames=3):
    """Ground, what is taken of its light, then one object over the other, in the light: what a scene is."""
    image = np.repeat(_background(spec, *size)[None], frames, 0)
    for each in shade:
        image = image * (1 - SHADE * each[..., None])
    for thing in spec.things:
        layer = _layer(thing, frames, *size)
        image = image * (1 - layer[..., 3:]) + layer[..., :3]
    return np.rint(np.clip(image * _light(spec.texture, *size), 0, 255)).astype(np.uint8)


def test_without_shadows_scenes_are_what_they_were_to_the_byte():
    made = scene(TWO, (64, 96), 3)
    assert np.array_equal(made.frames, composited(TWO, ()))
    assert not made.shadows.any()
    assert repr(lit(TWO)) == repr(TWO)  # by which the edit of a spec is drawn
    assert draw(5) == draw(5, shadows=False) != draw(5, shadows=True)


def test_a_shadow_takes_light_from_the_ground_alone():
    made, plain = scene(lit(TWO), (64, 96), 3), scene(TWO, (64, 96), 3)
    assert np.array_equal(made.masks, plain.masks)
    covered = plain.masks.sum(0)
    shadow = made.shadows.max(0)
    assert np.array_equal(made.frames[covered == 1], plain.frames[covered == 1])
    assert np.array_equal(made.frames[shadow == 0], plain.frames[shadow == 0])
    one = replace(lit(TWO), things=lit(TWO).things[:1])
    alone, bare = scene(one, (64, 96), 3), scene(replace(one, things=()), (64, 96), 3)
    free = alone.masks[0] == 0
    expected = np.rint(bare.frames * (1 - SHADE * alone.shadows[0][..., None]))
    assert np.abs(alone.frames[free] - expected[free]).max() <= 1  # of the rounding of the bare ground


def test_it_lies_below_its_object_as_long_as_half_of_it_and_goes_where_it_goes():
    thing = Thing("apple", "right", x=0.5, y=0.3, scale=0.4, shadow=True)
    made = scene(Spec((thing,), "snow", texture=1), (128, 128), 5)
    for mask, shadow in zip(made.masks[0] > 0.5, made.shadows[0] > 0.5, strict=True):
        own, cast = (np.flatnonzero(each.any(1)) for each in (mask, shadow))
        assert own.max() - 6 <= cast.min() <= own.max() + 2
        assert len(cast) == pytest.approx(len(own) / 2, abs=6)
    middle = [np.argwhere(each > 0.5)[:, 1].mean() for each in made.shadows[0]]
    assert middle[-1] - middle[0] == pytest.approx(0.3 * 128, abs=2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_edit_with_shadows_differs_inside_its_mask_and_nowhere_else(kind):
    for seed in range(4):
        true = edit(seed, kind, (64, 64), 3, shadows=True)
        changed = (true.source.frames != true.target.frames).any(-1)
        assert changed.any()
        assert not changed[true.mask == 0].any()
        bare = edit(seed, kind, (64, 64), 3)
        assert (true.source.caption, true.target.caption, true.edited) == (
            bare.source.caption,
            bare.target.caption,
            bare.edited,
        )
        assert (true.mask >= bare.mask).all()
        assert all(thing.shadow for side in (true.source, true.target) for thing in side.spec.things)
        for choice in choices(true):
            assert np.array_equal(choice.frames[choice.right], true.target.frames)


def test_what_is_removed_takes_its_shadow_along_and_the_new_object_brings_its_own():
    gone = edit(lit(replace(TWO, things=TWO.things[:1])), "remove")
    assert np.array_equal(gone.target.frames, scene(replace(TWO, things=())).frames)
    swapped = edit(lit(TWO), "replace_one_of_two")
    (index,) = swapped.edited
    assert swapped.target.shadows[index].any()
    assert not np.array_equal(swapped.target.shadows[index], swapped.source.shadows[index])
