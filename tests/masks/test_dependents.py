"""What depends on an object joins its mask: near it alone, where a map stands out; and the words of what goes along."""

import math

import pytest
import torch
from edits import steered
from fields import LocalBackbone, ToyBackbone
from masking import UNTUNED, mask_options

from flowedit.config import compose
from flowedit.config.edit_file import over
from flowedit.masks.attention_mask import SITES, AttentionMask
from flowedit.masks.maps import TIMES, outstanding
from flowedit.messages import InputError
from flowedit.pipeline.checks import check_difference, check_words
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.plan import brief
from flowedit.pipeline.region import phrases_of, shown_of

X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
REMOVAL = {"source": "a red fox runs", "target": "a place runs", "source_words": "fox", "task": "remove"}
FEW = {"mask.threshold": "quantile", "mask.quantile": 0.9, "mask.pool": 0.0, "mask.dependents": 0.0}
LOOKED = REMOVAL | {"mask.dependents": 0.5}


def spots(*places, high=9.0, size=9):
    maps = torch.ones(1, 1, 1, size, size)
    for y, x in places:
        maps[..., y, x] = high
    return maps


def joined(*objects, difference, reach, kept=(False,), user=None, **options):
    """The hard mask of objects, each with maps of its own, by which a difference counts near them alone."""
    words = torch.cat(objects, 1)
    edited = [k for k, stays in enumerate(kept) if not stays]
    sides = [lambda: words, lambda: difference.expand(-1, len(edited), -1, -1, -1)]
    options = mask_options(decay=math.inf, dependents=reach, threshold="quantile", quantile=0.95, pool=0.0, **options)
    shown, size = [range(len(kept)), edited], words.shape[-1]
    return AttentionMask(sides, options, size, kept=kept, shown=shown, roles=[SITES, {"near"}], user=user)


def test_a_map_stands_out_where_it_is_more_than_twice_its_median_elsewhere():
    maps = torch.rand((1, 2, 3, 5, 7), generator=torch.Generator().manual_seed(3)) ** 3
    held = (torch.rand((1, 1, 3, 5, 7), generator=torch.Generator().manual_seed(4)) < 0.3).float()
    found = outstanding(maps, held, slice(1, 3))
    for k in range(2):
        own = maps[0, k, 1:][held[0, 0, 1:] == 0]
        assert torch.equal(found[0, k], (maps[0, k] > TIMES * own.sort().values[(len(own) - 1) // 2]).float())
    assert outstanding(maps, torch.ones_like(held)).sum() == 0


def test_only_what_stands_out_near_the_object_joins_it_and_it_is_not_widened():
    words, difference = spots((2, 4)), spots((2, 4), (4, 4), (8, 0))
    near = joined(words, difference=difference, reach=2 / 9, grow="down:0.12")(0)[0, 0, 0]
    assert near.nonzero().tolist() == [[2, 4], [3, 4], [4, 4]]
    assert joined(words, difference=difference, reach=0.0)(0).sum() == 1
    assert joined(words, difference=difference, reach=1.0)(0)[..., 8, 0] == 1


def test_of_several_objects_it_is_near_those_that_are_edited():
    fox, car = spots((1, 1)), spots((1, 7))
    difference = spots((3, 1), (3, 7))
    mask = joined(fox, car, difference=difference, reach=2 / 9, kept=(False, True))
    assert mask(0)[0, 0, 0].nonzero().tolist() == [[1, 1], [3, 1]]
    both = joined(fox, car, difference=difference, reach=2 / 9, kept=(False, False))
    both(0)
    assert both.object_votes()[:, 0, 0].nonzero().tolist() == [[0, 1, 1], [0, 3, 1], [1, 1, 7], [1, 3, 7]]


def test_near_a_user_s_mask_that_joins_it_counts_too():
    user = torch.zeros(1, 1, 1, 9, 9)
    user[..., 8, 1] = 1.0
    mask = joined(spots((2, 4)), difference=spots((8, 0)), reach=0.12, user=user)(0)[0, 0, 0]
    assert mask.nonzero().tolist() == [[2, 4], [8, 0], [8, 1]]


def test_an_edit_looks_for_it_at_no_cost_and_leaves_others_as_they_are_to_the_bit():
    plain, looked, off = (
        steered(compose.compose({**FEW, **options, "steps": 1, "strength": 1.0}), LocalBackbone(), X)
        for options in (REMOVAL, LOOKED | {"mask.dependents": 1.0}, LOOKED | {"mask.dependents": 0.0})
    )
    box = torch.zeros_like(plain.mask, dtype=torch.bool)
    box[LocalBackbone.box] = True
    assert (looked.mask == 1)[box].all()  # where the velocities differ
    assert not (plain.mask == 1)[box].all()
    assert torch.equal((looked.mask == 1)[~box], (plain.mask == 1)[~box])
    assert looked.evaluations == plain.evaluations
    assert torch.equal(off.z, plain.z)
    assert (looked.z - plain.z).norm() > 1e-3 * plain.z.norm()


def test_what_is_said_and_what_is_refused():
    made = brief(compose.compose(LOOKED))
    assert [text for text in of_region(made) if "within 0.5 of it" in text]
    check_difference(made)
    with pytest.raises(InputError, match=r"mask\.dependents=0\.5 needs both velocities.*choose mask\.dependents=0 or"):
        check_difference(brief(compose.compose(REMOVAL | LOOKED | {"mode": "random_noise", "target_words": "place"})))
    for idle in ({"source_words": ""}, {"mask": "both"}, {"mask": "none"}, {"user_mask": "m.png"}):
        said = of_unused(brief(compose.compose(LOOKED | {"task": "replace"} | idle)))
        assert [text for text in said if text.startswith("mask.dependents=0.5 has no effect")], idle


ALONG = {"source": "a fox and its shadow run", "target": "a place runs", "source_words": "fox", "task": "remove"}
TWO = {"source": "a fox , a car and a shadow", "target": "a car", "source_words": "fox, car", "target_words": "car"}


def test_also_words_are_maps_of_the_object_beside_its_own():
    plain, along = (
        steered(compose.compose({**ALONG, **more, "steps": 1, "strength": 1.0}), ToyBackbone(), X)
        for more in ({}, {"also_words": "shadow"})
    )
    assert (along.mask >= plain.mask - 1e-6).all()
    assert (along.mask > plain.mask + 0.5).any()
    alone = steered(compose.compose({**ALONG, "source_words": "shadow", "steps": 1, "strength": 1.0}), ToyBackbone(), X)
    assert torch.equal(along.mask == 1, (plain.mask == 1) | (alone.mask == 1))


def test_also_words_are_of_each_object_that_is_edited():
    kept = brief(compose.compose(TWO | UNTUNED | {"also_words": "shadow"}))
    assert phrases_of(kept)["source"] == [(0, "fox"), (1, "car"), (0, "shadow")]
    assert shown_of(kept) == {"source": [0, 1, 0], "target": [1]}
    gone = brief(
        compose.compose(TWO | UNTUNED | {"target": "a place", "target_words": "", "also_words": "shadow, and"})
    )
    assert shown_of(gone) == {"source": [0, 1, 0, 1, 0, 1]}
    only_new = brief(compose.compose(ALONG | {"source_words": "", "target_words": "place", "task": "replace",
                                              "also_words": "shadow"}))  # fmt: skip
    assert phrases_of(only_new) == {"target": [(0, "place")], "source": [(0, "shadow")]}


def test_an_object_s_own_words_decide_whose_a_site_of_the_others_is():
    fox, car, shadow = spots((1, 1)), spots((1, 7)), spots((3, 1), (3, 7))
    fox[..., 3, 1] = car[..., 3, 7] = 1.5
    words = torch.cat([fox, car, shadow, shadow], 1)
    options = mask_options(decay=math.inf, threshold="mean", pool=0.0)
    mask = AttentionMask([lambda: words], options, 9, kept=(False, False), shown=[[0, 1, 0, 1]])
    mask(0)
    votes = mask.object_votes()
    assert votes[0, 0, 0, 3, 1] == votes[1, 0, 0, 3, 7] == 1


def test_also_words_that_are_not_in_the_prompt_are_refused_with_the_nearest_one():
    with pytest.raises(InputError, match=r"also_words: 'shadwo' is not in the prompt.*did you mean 'shadow'"):
        check_words(compose.compose(ALONG | {"also_words": "shadwo"}))
    with pytest.raises(InputError, match=r"source_words: 'foxx'.*did you mean 'fox'"):
        check_words(compose.compose(ALONG | {"source_words": "foxx"}))


@pytest.mark.parametrize("idle", [{"source_words": ""}, {"mask": "difference"}, {"mode": "random_noise"}])
def test_also_words_without_effect_are_told(idle):
    said = of_unused(brief(compose.compose(ALONG | {"also_words": "shadow", "task": "replace"} | idle)))
    assert [text for text in said if text.startswith("also_words=shadow has no effect")]


def test_an_instruction_takes_the_place_of_a_file_s_also_words():
    assert over({"source_words": "fox", "also_words": "shadow"}, {"instruction": "remove it"}) == {
        "instruction": "remove it"
    }
