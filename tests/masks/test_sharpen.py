"""Words' maps with a share of the velocity difference: the rule, the objects it is for, and where it is left out."""

import math

import pytest
import torch
from edits import steered
from fields import LocalBackbone
from masking import mask_options

from flowedit.config import compose
from flowedit.masks.attention_mask import SITES, AttentionMask
from flowedit.masks.maps import otsu, pool, sharpened, threshold
from flowedit.pipeline.checks import check_difference, check_editor
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.plan import brief
from flowedit.pipeline.region import roles_of

X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
FOX = {"source": "a red fox runs", "target": "a red panda runs", "source_words": "fox", "target_words": "panda"}


def maps(seed, objects=1, size=8):
    return torch.rand((1, objects, 3, size, size), generator=torch.Generator().manual_seed(seed)) + 0.1


def test_the_rule_is_the_weighted_geometric_mean_of_maps_in_units_of_their_means():
    words, change, own = maps(0, 2), maps(1), slice(1, 3)
    found = sharpened(words, change, 0.3, own)
    for k in range(2):
        a = words[0, k] / words[0, k, 1:].mean()
        s = change[0, 0] / change[0, 0, 1:].mean()
        assert torch.allclose(found[0, k], (0.7 * a.log() + 0.3 * s.log()).exp(), atol=1e-6)
    assert torch.allclose(sharpened(5 * words, 0.1 * change, 0.3, own), found, atol=1e-5)
    assert torch.allclose(sharpened(words, change, 0.0), words / words.mean((2, 3, 4), keepdim=True), atol=1e-6)


def test_a_map_of_tokens_gets_the_outline_of_the_change_and_no_change_elsewhere_joins():
    words, change = torch.ones(1, 1, 1, 8, 8), torch.ones(1, 1, 1, 8, 8)
    words[..., 2:6, 2:6] = 9.0
    change[..., 3:6, 2:5] = 9.0
    change[..., 0, 7] = 9.0  # far from the object
    options = mask_options(decay=math.inf, threshold="otsu", pool=0.0, sharpen=0.5)
    plain, fine = (
        AttentionMask([lambda: words, lambda: change], options, 8, roles=[SITES, role])(0)[0, 0, 0] == 1
        for role in (frozenset(), {"sharpens"})
    )
    assert plain.nonzero().tolist() == [[y, x] for y in range(2, 6) for x in range(2, 6)]
    assert fine.nonzero().tolist() == [[y, x] for y in range(3, 6) for x in range(2, 5)]


@pytest.mark.parametrize("how", ["mean", "otsu", "quantile"])
def test_words_are_pooled_and_the_change_is_not_and_a_kept_object_keeps_its_own_map(how):
    words, change = maps(2, 2), maps(3)
    options = mask_options(decay=math.inf, threshold=how, quantile=0.7, pool=3 / 8, sharpen=0.6)
    sides = [lambda: words, lambda: change]
    mask = AttentionMask(sides, options, 8, kept=(False, True), shown=[[0, 1], [0]], roles=[SITES, {"sharpens"}])
    pooled = pool(words, 3)
    fine = torch.cat([sharpened(pooled[:, :1], change, 0.6), pooled[:, 1:]], 1)
    hard = threshold(fine, how, 0.7)
    mask(0)
    assert torch.equal(mask.object_votes().amax(0), hard.amax(1))


def test_nothing_is_sharpened_before_the_first_change_is_known():
    words = maps(4)
    options = mask_options(decay=math.inf, threshold="otsu", pool=0.0, sharpen=0.6)
    mask = AttentionMask([lambda: words, lambda: None], options, 8, roles=[SITES, {"sharpens"}])
    assert torch.equal(mask(0)[0, 0], (words > otsu(words.flatten(3))[..., None, None]).float()[0, 0])


def test_an_edit_is_sharpened_at_no_cost_and_0_asks_for_no_difference():
    off, fine = (
        compose.compose(FOX | {"steps": 2, "strength": 1.0, "mask.pool": 0.0, "mask.sharpen": share})
        for share in (0.0, 0.9)
    )
    assert (brief(off).difference, brief(fine).difference) == (False, True)
    off, fine = (steered(settings, LocalBackbone(), X) for settings in (off, fine))
    assert fine.evaluations == off.evaluations
    box = torch.zeros_like(off.mask, dtype=torch.bool)
    box[LocalBackbone.box] = True
    assert (fine.mask == 1)[~box].float().mean() < 0.5 * (off.mask == 1)[~box].float().mean()
    assert (fine.mask == 1)[box].float().mean() > (off.mask == 1)[box].float().mean()


def test_what_the_difference_is_for():
    def roles(*names, **more):
        return [sorted(each) for each in roles_of(names, compose.compose(more).mask)]

    few = {"backbone": "cogvideox-2b"}
    assert roles("source", "target", "difference", **few, **{"mask.sharpen": 0.5}) == [
        ["sites"],
        ["sites"],
        ["sharpens"],
    ]
    assert roles("source", "difference", **few, **{"mask.dependents": 0.5}) == [["sites"], ["near"]]
    assert roles("source", "difference", mask="both", **few) == [["sites"], ["sites"]]
    assert roles("source", "difference", mask="both", **few, **{"mask.sharpen": 0.5})[1] == ["sharpens", "sites"]
    assert roles("difference", mask="difference", **few, **{"mask.sharpen": 0.5}) == [["sites"]]


def test_a_mode_without_both_velocities_leaves_it_out_and_says_so():
    asked = FOX | {"mask.sharpen": 0.37}
    able, unable = (brief(compose.compose(asked | {"mode": mode})) for mode in ("inversion_free", "random_noise"))
    assert (able.difference, unable.difference) == (True, False)
    check_difference(unable)
    said = "mask.sharpen=0.37 has no effect: it needs a mode that has both velocities in each step"
    assert [text for text in of_unused(unable) if text.startswith("mask.sharpen")] == [said]
    assert not [text for text in of_unused(able) if text.startswith("mask.sharpen")]
    alone = brief(compose.compose(asked | {"source_words": "", "target_words": ""}))
    assert alone.difference is False
    assert [text for text in of_unused(alone) if text.startswith("mask.sharpen=0.37 has no effect")]


def test_notices_on_words_stay_and_steps_of_the_target_alone_go_on():
    one = brief(compose.compose(FOX | {"target_words": "", "mask.sharpen": 0.5}))
    assert [text for text in of_region(one) if text.startswith("no target_words")]
    made = compose.compose(FOX | {"mask.sharpen": 0.5, "steps": 4, "strength": 1.0, "mode.target_only_steps": 4})
    check_editor(brief(made), 4)
