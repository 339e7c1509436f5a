"""A picture of a step: what decoding the whole clip shows there, on causal autoencoders; no bit of the edit moves."""

import numpy as np
import pytest
import torch

import flowedit
from flowedit.pipeline.looks.preview import CONTEXT, preview
from flowedit.pocket import scene
from flowedit.pocket.world import Spec, Thing
from flowedit.types import Step

ASKED = {"source": "a fox moves right over green grass", "instruction": "replace the fox with a panda", "steps": 3}


def psnr(one, other):
    return 10 * np.log10(255**2 / max(1e-6, np.square(one.astype(float) - other).mean()))


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket")


def step_of(z):
    return Step(0, 1, 0.5, z, lambda: None, clean=lambda: z)


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 1.0])
def test_it_is_the_frame_that_the_whole_decoding_shows(editor, place):
    frames = scene(Spec((Thing("fox", "right"),)), (64, 64), 33).frames
    z = editor.backbone.encode(frames)
    whole = np.concatenate(list(editor.backbone.decode(z)))
    shown = 4 * round(place * 8)
    picture = preview(editor, step_of(z), place=place)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    own = psnr(picture, whole[shown])
    assert own > 42
    others = [psnr(picture, each) for k, each in enumerate(whole) if abs(k - shown) > 4]
    assert max(others) < 30  # and no other frame of a fox that moves


@pytest.mark.parametrize("kind", ["backbone_2b", "backbone_15", "backbone_wan"])
def test_of_any_family_it_decodes_few_latents_and_the_right_frame(request, kind):
    editor = flowedit.load(request.getfixturevalue(kind), **{"runtime.device": "cpu"})
    spec = editor.backbone.spec
    geometry = editor.backbone.geometry(25, (32, 48))
    z = torch.randn((1, *geometry.latent), generator=torch.Generator().manual_seed(0))
    whole = np.concatenate(list(editor.backbone.decode(z)))
    own = z.shape[2] - spec.leading_latents
    counts, decode = [], editor.backbone.decode

    def counted(latent):
        counts.append(latent.shape[2] - spec.leading_latents)
        return decode(latent)

    editor.backbone.decode = counted
    exact = preview(editor, step_of(z), context=2 * own)
    np.testing.assert_array_equal(exact, whole[round(0.5 * (own - 1)) * spec.frames_per_latent])
    near = preview(editor, step_of(z))
    assert counts[1] == CONTEXT + 1
    assert psnr(near, exact) > psnr(whole[0], exact)


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_every_step_of_an_edit_has_one_and_no_bit_moves(editor, mode):
    frames = scene(Spec((Thing("fox", "right"),)), (64, 64), 9).frames
    seen = []
    watched = editor.edit_frames(frames, mode=mode, callback=lambda step: seen.append(preview(editor, step)), **ASKED)
    plain = editor.edit_frames(frames, mode=mode, **ASKED)
    np.testing.assert_array_equal(watched.frames, plain.frames)
    assert len(seen) >= 2
    last = np.concatenate(list(editor.backbone.decode(watched.latents)))[4]
    assert psnr(seen[-1], last) > 42


def test_what_foresees_nothing_is_refused(editor):
    z = torch.zeros((1, 16, 3, 8, 8))
    with pytest.raises(flowedit.InputError, match="callback of an edit"):
        flowedit.preview(editor, Step(0, 1, 0.5, z, lambda: None))
    for numbers in ({"place": 1.5}, {"context": 1}, {"context": -2}):
        with pytest.raises(flowedit.InputError, match="even number"):
            flowedit.preview(editor, step_of(z), **numbers)
