"""Several objects in one pass: which words pair up, whose a site is, what guides it, and what the user sees of it."""

import math

import cv2
import numpy as np
import pytest
import torch
import yaml
from edits import steered
from fields import ToyBackbone, noises
from masking import UNTUNED, mask_options

import flowedit
from flowedit.backbones import families
from flowedit.config import compose, edit_file
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.evaluation.methods import methods
from flowedit.flow import guidance
from flowedit.flow.solvers import SOLVERS
from flowedit.language import tasks, words
from flowedit.masks import attention_mask, shapes
from flowedit.masks.maps import strength
from flowedit.media import pictures, probe, reader
from flowedit.pipeline import region, velocities
from flowedit.pipeline.checks import check_editor, check_words
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.plan import brief, network_evaluations
from flowedit.pipeline.record import of_objects

TWO = {"source": "a fox and a car", "target": "a panda and an apple", "source_words": "fox, car"}
TWO |= {"target_words": "panda, apple", **UNTUNED}
SCALES = {"inversion_free": 2.5, "inversion": 3.0, "random_noise": 5.0}  # pocket's
KEPT = TWO | {"target": "a panda and a car", "target_words": "panda, Car"}
X = torch.randn((1, 3, 2, 8, 8), generator=torch.Generator().manual_seed(0))


def settings(**options):
    return compose.compose({"mask.decay": 4.0, **options})


def box(rows, columns, high=1.0, size=8):
    maps = torch.full((1, 1, 2, size, size), 0.01 * high)
    maps[..., rows, columns] = high
    return maps


LEFT, RIGHT = box(slice(1, 6), slice(0, 5)), box(slice(2, 6), slice(3, 8), 0.5)
"""Two maps that meet in columns 3 and 4; the right one is weaker in all, and stronger beside its own mean there."""


def test_words_pair_up_by_their_order():
    both = words.object_words("fox, tiny car", "panda; apple")
    assert [(pair.source, pair.target, pair.kept) for pair in both] == [
        ("fox", "panda", False),
        ("tiny car", "apple", False),
    ]
    assert [pair.kept for pair in words.object_words("fox, car", "panda, Car")] == [False, True]
    assert [pair.kept for pair in words.object_words("fox, car", "fox, car")] == [
        False,
        False,
    ]  # a style
    for alone in (("fox", "panda"), ("fox, car", "panda"), ("fox, car, cup", "cup, panda"), ("fox", ""), ("", "")):
        assert words.object_words(*alone) == ()


@pytest.mark.parametrize(
    ("source_words", "target_words", "named"),
    [
        ("fox, car", "car", "fox → nothing, car (kept)"),
        ("Car; fox", "car", "Car (kept), fox → nothing"),
        ("car", "fox, Car", "car (kept), nothing → fox"),
        ("fox, car", "", "fox → nothing, car → nothing"),
        ("", "fox, car", "nothing → fox, nothing → car"),
        ("fox, car", "car, panda", "fox → panda, car (kept)"),
        ("fox, car, cup", "cup, panda, apple", "fox → panda, car → apple, cup (kept)"),
        ("fox, car, cup", "car, fox, cup", "fox → car, car → fox, cup (kept)"),  # a swap
        ("fox, car", "car, fox", "fox → car, car → fox"),
        ("fox, fox", "fox", ""),
    ],
)
def test_what_goes_what_comes_and_what_is_kept(source_words, target_words, named):
    assert ", ".join(map(str, words.object_words(source_words, target_words))) == named


@pytest.mark.parametrize(
    ("source", "target", "source_words", "target_words", "task"),
    [
        ("a fox and a car", "a car", "fox, car", "car", "remove"),
        ("a fox and a car", "a car", "fox, car", "Car", "remove"),
        ("a car", "a fox and a car", "car", "fox, car", "add"),
        ("a fox and a car", "a car", "fox, car", "car, car", "remove"),
        ("a fox and a car", "a red car", "fox, car", "car", "replace"),
        ("a fox and a car", "a panda and a car", "fox, car", "panda, car", "replace"),
        ("a red car", "a car", "car", "car", "recolour"),
    ],
)
def test_a_kept_object_does_not_tell_the_task(source, target, source_words, target_words, task):
    assert tasks.infer(source, target, source_words, target_words) == task


@pytest.mark.parametrize(
    "options",
    [
        {"mask.objects": "joined"},
        {"mask": "none"},
        {"user_mask": "mask.png"},
        {"target_words": "panda"},
    ],
    ids=str,
)
def test_one_mask_of_all_has_no_objects_of_its_own(options):
    assert len(brief(settings(**TWO)).objects) == 2
    assert brief(settings(**(TWO | options))).objects == ()


def test_the_stronger_object_takes_what_both_hold():
    hard = torch.cat([LEFT > 0.1, RIGHT > 0.1]).float()
    strengths = torch.cat([strength(LEFT), strength(RIGHT)])
    ours = shapes.contest(hard, strengths)
    a, b = (m.numpy() / m.numpy().mean() for m in (LEFT[0, 0], RIGHT[0, 0]))
    for f, y, x in np.ndindex(2, 8, 8):
        held = [bool(hard[k, 0, f, y, x]) for k in (0, 1)]
        wanted = [float(a[f, y, x] >= b[f, y, x]), float(a[f, y, x] < b[f, y, x])] if all(held) else held
        assert ours[:, 0, f, y, x].tolist() == wanted
    assert strengths[0].amax() < strengths[1].amax()  # the right one is fainter, and not weaker
    assert ours[1, 0, 0, 3].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert torch.equal(shapes.contest(hard, torch.ones_like(hard))[0], hard[0])  # the first of equals
    assert torch.equal(shapes.contest(hard[:1], strengths[:1]), hard[:1])


@pytest.mark.parametrize("decay", [0.3, 2.0, math.inf])
def test_soft_masks_of_objects_stay_out_of_each_other_and_add_up_to_one_of_all(decay):
    generator = torch.Generator().manual_seed(2)
    owner = torch.randint(0, 12, (1, 2, 9, 7), generator=generator)
    hard = torch.stack([owner == k for k in range(3)]).float()
    ours = shapes.apart(hard, decay)
    assert ours.sum(0).max() <= 1 + 1e-6
    assert torch.allclose(ours.sum(0, keepdim=True), shapes.soften(hard.amax(0, keepdim=True), decay), atol=1e-6)
    for f, y, x in np.ndindex(2, 9, 7):
        own = hard[:, 0, f, y, x]
        if own.any():
            assert torch.equal(ours[:, 0, f, y, x], own)
            continue
        away = [(hard[k, 0, f] == 1).nonzero() - torch.tensor([y, x]) for k in range(3)]
        soft = np.exp([-decay * places.float().norm(dim=1).min().item() for places in away])
        wanted = soft * soft.max() / soft.sum() if soft.sum() else soft
        assert np.abs(ours[:, 0, f, y, x].numpy() - wanted).max() < 1e-5


def test_one_object_s_mask_is_what_softening_alone_gives_to_the_bit():
    hard = (torch.rand((1, 1, 3, 9, 7), generator=torch.Generator().manual_seed(3)) < 0.1).float()
    for decay in (0.01, 0.7, 40.0, math.inf):
        assert torch.equal(shapes.apart(hard, decay), shapes.soften(hard, decay))


def attention(*sides, kept=(False, False), user=None, shown=None, **changes):
    options, newest = mask_options(**({"decay": 0.7} | changes)), [lambda maps=maps: maps for maps in sides]
    return attention_mask.AttentionMask(newest, options, kept=kept, user=user, shown=shown)


BOTH = torch.cat([LEFT, RIGHT], 1)


def test_a_kept_object_takes_its_sites_from_the_others_and_is_not_edited():
    mask = attention(BOTH, kept=(False, True))
    soft = mask(0)[0, 0, 0]
    assert (soft[2:6, 3:] == 0).all()
    assert (soft[2:6, :3] == 1).all()
    assert torch.equal(mask.vote(), mask(1))
    own = mask.object_votes()
    assert (own[1, 0, 0, 2:6, 3:] == 1).all()
    assert torch.equal(own[:1], mask.vote())
    alone = attention(LEFT, kept=(False,))(0)[0, 0, 0]
    assert (alone[2:6, :5] == 1).all()
    assert soft[6, 3] < alone[6, 3]  # its skirt yields as well


def test_the_source_s_maps_say_whose_a_site_is_and_both_sides_what_is_held():
    swapped = BOTH.flip(1)
    mask = attention(BOTH, swapped, decay=math.inf)
    mask(0)
    first, second = mask.object_votes()[:, 0, 0, 3]
    assert first.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert second.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    far = torch.full_like(BOTH, 0.01)  # what only the target's words see
    far[:, 1, :, 7, :] = 1
    mask = attention(BOTH, far, decay=math.inf)
    mask(0)
    assert (mask.object_votes()[1, 0, 0, 7] == 1).all()


def test_a_site_that_changes_hands_goes_to_whom_most_steps_gave_it_and_counts_as_edited():
    turns = iter([BOTH, BOTH.flip(1), BOTH])
    mask = attention(BOTH, decay=math.inf)
    mask._sides = [lambda: next(turns)]
    for step in range(3):
        mask(step)
    assert mask.object_votes()[:, 0, 0, 3, 3].tolist() == [0, 1]
    assert torch.equal(mask.vote(), mask.object_votes().sum(0, keepdim=True))


def test_a_user_mask_that_joins_is_edited_everywhere_and_a_region_of_its_own_for_guidance():
    user = torch.zeros(1, 1, 2, 8, 8)
    user[..., 3, 6:] = 1.0  # on the kept object
    user[..., 0, 0] = 0.5
    mask = attention(BOTH, kept=(False, True), user=user, decay=math.inf)
    soft = mask(0)
    assert torch.equal(soft, torch.maximum(attention(BOTH, kept=(False, True), decay=math.inf)(0), user))
    assert torch.equal(mask.vote(), soft)
    weights = mask.weights()
    assert weights.shape == (2, 1, 2, 8, 8)
    assert torch.allclose(weights.sum(0), torch.ones(1, 2, 8, 8))
    assert weights[:, 0, 0, 3, 0].tolist() == [1, 0]
    assert weights[:, 0, 0, 3, 7].tolist() == [0, 1]
    assert weights[:, 0, 0, 0, 0].tolist() == [0, 1]


def test_own_scales_equal_separate_runs_where_masks_are_disjoint():
    owner = torch.zeros(X.shape[2:], dtype=torch.long)
    owner[:, :, 3:5], owner[:, :, 5:] = 2, 1
    hard = torch.stack([owner == 0, owner == 1]).float()[:, None]
    union, grid, scales = hard.sum(0, keepdim=True), [0.9, 0.6, 0.2, 0.0], (2.0, 7.5)

    def conditional(z, t):
        return torch.tanh(2 * z + t)

    def away(z, t):
        return torch.cos(z) * t

    def source(z, t):
        return -0.3 * z

    def target(*scales):
        return lambda z, t: torch.cat(
            [guidance.classifier_free(away(z, t), conditional(z, t), scale) for scale in scales]
        )

    noise = noises(tuple(X.shape), dtype=torch.float32)
    options = {"draws": 2, "target_only_steps": 1, "mask": union}
    weights = torch.where(union > 0, hard, torch.full_like(hard, 0.5))
    mixed = guidance.regional(target(*scales), lambda: weights)
    together = inversion_free(X, source, mixed, grid, noise, **options)
    for k, scale in enumerate(scales):
        alone = inversion_free(X, source, target(scale), grid, noise, **(options | {"mask": hard[k : k + 1]}))
        inside = (hard[k : k + 1] == 1).expand_as(X)
        assert (together - alone)[inside].abs().max() < 1e-6
        assert (together - X)[inside].abs().mean() > 0.05
    assert torch.equal(together[..., 3:5], X[..., 3:5])


def test_a_soft_share_of_scales_is_the_scale_s_own_mixture():
    share = torch.rand((1, 1, 2, 8, 8), generator=torch.Generator().manual_seed(5))
    u, away = X, X.flip(3)
    rows = torch.cat([guidance.classifier_free(away, u, scale) for scale in (2.0, 6.0)])
    ours = guidance.regional(lambda z, t: rows, lambda: torch.cat([share, 1 - share]))(X, 0.5)
    assert torch.allclose(ours, away + (2 * share + 6 * (1 - share)) * (u - away), atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("kind", ["2b", "15", "wan"])
def test_several_scales_take_one_pass_of_the_network(request, kind, rows):
    backbone = families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu", rows=rows)
    prompt, negative = backbone.embed("a fox"), backbone.embed("a dog")
    z = torch.randn((2, *backbone.geometry(9, (64, 96)).latent), generator=torch.Generator().manual_seed(0))
    alone = [backbone.velocity(prompt, scale, negative)(z, 0.6) for scale in (1.0, 4.0, 9.0)]
    before = backbone.evaluations
    together = backbone.velocity(prompt, (1.0, 4.0, 9.0), negative)(z, 0.6)
    assert backbone.evaluations - before == 4
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.equal(backbone.velocity(prompt, (4.0,), negative)(z, 0.6), alone[1])


@pytest.mark.parametrize("normalise", ["joint", "text"])
def test_the_recorder_keeps_the_maps_of_objects_apart(backbone_2b, normalise):
    backbone = families.load(backbone_2b, device="cpu")
    prompt = backbone.embed("a red fox runs")
    z = torch.randn((2, *backbone.geometry(9, (64, 96)).latent), generator=torch.Generator().manual_seed(0))

    def maps(tokens):
        with backbone.record({prompt: tokens}, [0.0, 0.7], normalise) as recorded:
            backbone.velocity(prompt)(z, 0.5)
            return recorded.take(prompt)

    assert torch.equal(maps([[1, 2], [3]]), torch.cat([maps([1, 2]), maps([3])], 1))


class Seeing(ToyBackbone):
    """A field that sees the first object on the left and the second on the right, in both prompts."""

    class Maps:
        def __init__(self, tokens):
            self.tokens = tokens

        def add(self, prompt, z):
            pass

        def take(self, prompt):
            return BOTH[:, : len(self.tokens[prompt])]

    def record(self, tokens, blocks, normalise="joint"):
        from contextlib import nullcontext

        return nullcontext(self.Maps(tokens))


def edit(backbone=Seeing, **options):
    chosen = settings(**({"steps": 3, "mask.decay": math.inf, "mask.threshold": "mean", "mask.pool": 0} | options))
    field = backbone()
    done = steered(chosen, field, X)
    assert done.evaluations == network_evaluations(chosen)
    return done.z, done.mask, Done(chosen, done)


class Done:
    """What an edit was, and what run.yaml tells of its objects."""

    def __init__(self, chosen, done):
        self.settings, self.objects, self.evaluations = chosen, done.objects, done.evaluations
        self.brief = brief(chosen)

    @property
    def facts(self):
        return of_objects(self.brief, self.objects)


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_one_phrase_a_side_is_the_same_to_the_bit_and_two_are_not(mode):
    one = {"mode": mode, "source": "a fox runs", "target": "a panda runs", "source_words": "fox"}
    one |= {"target_words": "panda", "backbone": ToyBackbone, "mask.decay": 4.0}
    apart, joined = (edit(**one, **{"mask.objects": how}) for how in ("apart", "joined"))
    assert torch.equal(apart[0], joined[0])
    assert torch.equal(apart[1], joined[1])
    assert apart[2].objects is joined[2].objects is None
    two = TWO | {"mode": mode, "backbone": ToyBackbone, "mask.decay": 4.0}
    apart, joined = (edit(**two, **{"mask.objects": how}) for how in ("apart", "joined"))
    assert not torch.equal(apart[0], joined[0])
    assert apart[2].objects.shape == (2, 1, *X.shape[2:])


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_a_kept_object_stays_the_source(mode):
    z, mask, job = edit(**KEPT, mode=mode)
    assert (z - X)[..., 2:6, 3:].abs().max() < 1e-5
    assert (z - X)[..., 2:6, :3].abs().mean() > 0.05
    assert (mask[..., 2:6, 3:] == 0).all()
    assert job.facts == [
        {"source": "fox", "target": "panda", "kept": False, "guidance_scale": SCALES[mode],
         "sites": 0.2656},
        {"source": "car", "target": "Car", "kept": True, "guidance_scale": None, "sites": 0.3125},
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_an_object_s_own_scale_guides_its_sites_at_no_cost(mode):
    options = TWO | {"mode": mode, "steps": 1, "strength": 1}  # in one step no site sees another's guidance
    one, other = (edit(**options, target_guidance_scale=scale) for scale in (2.0, 8.0))
    both, _, job = edit(**options, object_guidance_scales=[2.0, 8.0])
    assert torch.allclose(both[..., 2:6, :3], one[0][..., 2:6, :3], atol=1e-6)
    assert torch.allclose(both[..., 2:6, 3:], other[0][..., 2:6, 3:], atol=1e-6)
    assert (one[0] - other[0])[..., 2:6, :].abs().mean() > 0.1
    assert job.evaluations == one[2].evaluations
    assert [each["guidance_scale"] for each in job.facts] == [2.0, 8.0]


class Reading(Seeing):
    """The same by name: whatever the prompts have, foxes and pandas stand on the left, all else on the right."""

    class Maps(Seeing.Maps):
        def take(self, prompt):
            said = prompt.prompt.split()
            sides = [int(said[index] not in ("fox", "panda")) for (index,) in self.tokens[prompt]]
            return BOTH[:, sides]


GONE = {"source": "a fox and a car", "target": "a car", "source_words": "fox, car", "target_words": "car"}
COME = {"source": "a car", "target": "a car and a fox", "source_words": "car", "target_words": "fox, car"}
HARD = {"mask.grow": 0} | UNTUNED  # a removal's mask grows with some modes
EMPTY = {"source": "a fox and a car", "target": "nothing", "source_words": "fox, car"}


@pytest.mark.parametrize("mode", ["inversion", "inversion_free", "random_noise"])
@pytest.mark.parametrize("options", [GONE, COME], ids=["gone", "come"])
def test_an_object_goes_or_comes_beside_one_that_is_kept(options, mode):
    z, mask, job = edit(Reading, **options, mode=mode, **HARD)
    task = "remove" if options is GONE else "add"
    assert job.settings.task == task
    check_words(job.settings)
    said = " ".join(of_region(job.brief))
    assert "still says" not in said
    if options is GONE and mode == "random_noise":  # what goes has no map: no mask, rather than that of the car
        assert mask is job.objects is None
        assert "mode=random_noise never looks at the source prompt" in said
        assert "a global edit" in said
        assert "pair up" not in said
        return
    assert "2 objects, a mask each" in said
    assert (z - X)[..., 2:6, 3:].abs().max() < 1e-5
    assert (z - X)[..., 2:6, :3].abs().mean() > 0.05
    assert (mask[..., 2:6, 3:] == 0).all()
    assert (mask[..., 2:6, :3] == 1).all()
    facts = {(each["source"], each["target"]): each for each in job.facts}
    pair = ("fox", "nothing") if options is GONE else ("nothing", "fox")
    assert (facts[pair]["kept"], facts["car", "car"]["kept"]) == (False, True)
    assert (facts[pair]["sites"], facts["car", "car"]["sites"]) == (0.2656, 0.3125)


@pytest.mark.parametrize("mode", ["inversion", "inversion_free"])
def test_two_that_go_have_a_mask_and_a_scale_each(mode):
    _, mask, job = edit(Reading, **EMPTY, mode=mode, object_guidance_scales=[2.0, 8.0], **HARD)
    assert job.settings.task == "remove"
    assert (mask[..., 2:6, :] == 1).all()
    assert [(each["source"], each["target"], each["guidance_scale"], each["sites"]) for each in job.facts] == [
        ("fox", "nothing", 2.0, 0.2656), ("car", "nothing", 8.0, 0.3125),
    ]  # fmt: skip
    said = of_region(job.brief)
    assert "fox → nothing, car → nothing" in said[-1]
    assert brief(settings(**EMPTY, mode=mode, **{"mask.objects": "joined"})).objects == ()


def test_an_object_on_one_side_alone_is_held_by_its_own_map_where_the_other_side_has_none():
    far = torch.full((1, 1, 2, 8, 8), 0.01)
    far[..., 7, :] = 1
    for shown, sides in (([[0, 1], [1]], (BOTH, far)), ([[1], [0, 1]], (RIGHT, torch.cat([LEFT, far], 1)))):
        mask = attention(*sides, shown=shown, decay=math.inf)
        mask(0)
        first, second = mask.object_votes()[:, 0, 0]
        assert first[3].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
        assert second[3].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
        assert first[1].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
        assert second[7].tolist() == [1] * 8
    waiting = attention(LEFT, None, decay=math.inf, shown=[[0], [1]])  # the other side's maps are still to come
    assert torch.equal(waiting(0), (LEFT > 0.1).float())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (GONE | {"target_words": "car, a"}, "task=remove takes no target_words, 'a':"),
        (COME | {"source_words": "car, a", "task": "add"}, "task=add takes no source_words, 'a':"),
        (GONE | {"source_words": "car"}, "task=remove takes no target_words, 'car':"),
        (GONE | {"source_words": "", "target_words": ""}, "task=remove needs source_words"),
    ],
)
def test_a_task_is_refused_words_of_the_other_side_that_are_not_kept(options, match):
    with pytest.raises(ValueError, match=match):
        check_words(settings(**({"task": "remove"} | options)))


def test_what_is_to_go_may_stay_is_said_of_its_own_words_alone():
    red = {"source": "a red fox and a red car", "source_words": "red fox, red car", "target_words": "red car"}
    assert not any(
        "still says" in text for text in of_region(brief(settings(**red, target="a red car", task="remove")))
    )
    (said,) = (
        text for text in of_region(brief(settings(**red, target="a fox, a red car", task="remove"))) if "still" in text
    )
    assert "still says fox:" in said


def test_steps_that_never_look_at_what_goes_are_refused():
    with pytest.raises(ValueError, match="source_words give no mask"):
        check_editor(brief(settings(**GONE, **{"mode.target_only_steps": 4, "steps": 4})), 4)
    check_editor(brief(settings(**COME, **{"mode.target_only_steps": 4, "steps": 4})), 4)


WAYS = [("inversion_free", None)] + [(m, s) for m in ("random_noise", "inversion") for s in SOLVERS]
WAYS.remove(("random_noise", "uni_inv"))  # a way up


@pytest.mark.parametrize("smooth", [0.0, 0.5])
@pytest.mark.parametrize(("mode", "solver"), WAYS)
def test_equal_own_scales_are_one_scale(mode, solver, smooth):
    options = TWO | {"mode": mode, "backbone": ToyBackbone, "target_guidance_scale": 3.0, "mask.decay": 4.0}
    options |= {"mask.smooth_steps": smooth} | ({"mode.solver": solver} if solver else {})
    one, own = edit(**options), edit(**options, object_guidance_scales=[3.0, 3.0])
    assert torch.allclose(one[0], own[0], atol=1e-5)
    assert torch.allclose(one[1], own[1], atol=1e-5)
    assert 0 < (one[1] == 1).float().mean() < 1


def test_looking_at_the_weights_changes_no_mask_and_they_follow_the_newest_maps():
    def run(look):
        given = iter([BOTH, 3 * BOTH.flip(1)] if look else [(BOTH + 3 * BOTH.flip(1)) / 2])
        mask = attention(BOTH, decay=math.inf, smooth_steps=0.5)
        mask._sides, mask._maps = [lambda: next(given, None)], [BOTH]
        seen = [mask.weights()[:, 0, 0, 3, 4].tolist() for _ in range(look)]
        return mask(0), mask.object_votes(), seen

    plain, looked = run(0), run(3)
    assert torch.equal(plain[0], looked[0])
    assert torch.equal(plain[1], looked[1])
    assert looked[2] == [[0, 1], [1, 0], [1, 0]]


def test_a_user_mask_that_joins_is_guided_by_the_target_s_scale():
    hard = {"mask.user": "join", "mask.decay": math.inf}
    chosen = compose.compose(TWO | {"object_guidance_scales": [2.0, 8.0], "user_mask": "m.png"} | hard)
    assert brief(chosen).scales["target"] == (2.0, 8.0, 2.5)
    field, user = Seeing(), torch.zeros(1, 1, 2, 8, 8)
    user[..., 7, :] = 1
    prompts, _ = velocities.bind(brief(chosen), field, (1.0, 0.0))
    with region.region(brief(chosen), field, prompts, (8, 8), slice(None), user) as where:
        u = torch.cat([torch.full_like(X, scale) for scale in brief(chosen).scales["target"]])
        mixed = where.guided(lambda z, t: u)(X, 0.5)
        assert (where.mask(0)[..., 7, :] == 1).all()
    assert (mixed[..., 7, :] == 2.5).all()
    assert (mixed[..., 4, 1] == 2).all()
    assert (mixed[..., 4, 6] == 8).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            TWO | {"object_guidance_scales": [3.0]},
            r"object_guidance_scales 3: give 2 numbers, .*fox → panda, car → apple",
        ),
        (KEPT | {"object_guidance_scales": "3,5"}, r"3,5: give 1 number, for the object .*\(fox → panda\)"),
        (TWO | {"object_guidance_scales": "3,-1"}, "out of range: 0 to 100 each"),
        (TWO | {"object_guidance_scales": "3,x"}, "object_guidance_scales.*list of numbers"),
        (TWO | {"mask.objects": "both"}, "apart, joined"),
    ],
    ids=str,
)
def test_what_is_refused(options, match):
    with pytest.raises(ValueError, match=match) as caught:
        network_evaluations(settings(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["5,8", "[5, 8]", "5, 8.0", [5, 8], (5.0, 8.0)])
def test_scales_are_given_with_or_without_brackets(text):
    assert settings(**TWO, object_guidance_scales=text).object_guidance_scales == (5.0, 8.0)


def test_an_edit_s_file_holds_scales_as_a_list(tmp_path):
    data = TWO | {"clip": "a.mp4", "object_guidance_scales": [5, 8]}
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump(data))
    row = edit_file.read_edit(path)
    assert compose.compose(row).object_guidance_scales == (5.0, 8.0)
    path.write_text(yaml.safe_dump(data | {"object_guidance_scales": ["${oc.env:HOME}"]}))
    with pytest.raises(ValueError, match="list of numbers"):
        edit_file.read_edit(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TWO | {"object_guidance_scales": [3.0, 5.0]}, set()),
        (TWO | {"object_guidance_scales": [3.0, 5.0], "target_guidance_scale": 2.0}, {"target_guidance_scale=2.0"}),
        (TWO | {"mask.objects": "joined"}, set()),
        ({"source_words": "a", "mask.objects": "joined"}, {"mask.objects=joined"}),
        ({"source_words": "a", "object_guidance_scales": [3.0]}, {"object_guidance_scales=(3.0,)"}),
        (
            TWO | {"mask.objects": "joined", "object_guidance_scales": [3.0, 5.0]},
            {"object_guidance_scales=(3.0, 5.0)"},
        ),
        (TWO | {"object_guidance_scales": [1.0, 1.0], "negative_prompt": "blur"}, {"negative_prompt=blur"}),
    ],
    ids=str,
)
def test_what_has_no_effect_is_said(options, said):
    made = brief(compose.compose(options | {"attention.objects": "auto"}))
    assert {text.partition(" has no effect")[0] for text in of_unused(made)} == said


def test_a_method_of_a_bench_may_have_scales_for_objects_that_its_clips_bring():
    for options in (["object_guidance_scales=3"], ["object_guidance_scales=[3,5]"], ["mask.objects=joined"]):
        (method,), _ = methods(["inversion_free"], overrides=options)
        assert method.notices == []


def test_unequal_numbers_of_words_are_joined_with_a_notice():
    (said,) = of_region(brief(settings(**(TWO | {"target_words": "panda"}))))
    assert said == "2 source words and 1 target words do not pair up: one mask for all of them"
    (said,) = of_region(brief(settings(**KEPT)))
    assert "2 objects, a mask each: fox → panda, car (kept)" in said
    assert of_region(brief(settings(**(TWO | {"mask.objects": "joined"})))) == []


def test_each_object_has_its_colour_and_a_kept_one_an_outline_alone():
    frames = np.full((2, 64, 96, 3), 90, np.uint8)
    areas = [np.zeros((2, 64, 96), np.float32) for _ in range(2)]
    areas[0][:, 10:30, 10:40], areas[1][:, 30:60, 50:90] = 1, 1
    drawn = pictures.overlays(frames, areas, ["fox to panda", "car (kept)"], [False, True])
    strip = drawn.shape[1] - 64
    assert strip % 2 == 0
    picture = drawn[:, strip:]
    wanted = 90 + 0.4 * (np.array(pictures.COLOURS[0]) - 90)
    assert np.abs(picture[0, 20, 25] - wanted).max() <= 1
    assert (picture[0, 45, 70] == 90).all()
    assert (picture[0, 30, 70] == pictures.COLOURS[1]).all()
    for k, half in enumerate(np.split(drawn[0, :strip], 2, axis=1)):
        own, other = ((half == pictures.COLOURS[colour]).all(-1).sum() for colour in (k, 1 - k))
        assert (own, other) == ((100, 64)[k], 0)  # a swatch of 10 x 10; its frame of 2 alone


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A fox beside a car over grass, as a file."""
    from fractions import Fraction

    from flowedit.media.writer import Writer
    from flowedit.pocket import Spec, Thing
    from flowedit.pocket import scene as render

    things = (Thing("fox", "right", x=0.27, scale=0.46, travel=0.16), Thing("car", "still", x=0.73, scale=0.46))
    frames = render(Spec(things)).frames
    path = tmp_path_factory.mktemp("scene") / "two.mp4"
    with Writer(path, frames.shape[1:3], Fraction(8), crf=0) as out:
        out.write(frames)
    return path


@pytest.fixture(scope="module")
def pocket():
    return flowedit.load(
        "pocket", **{"runtime.device": "cpu", "runtime.dtype": "bfloat16", "quality": "best", "steps": 5}
    )


PLACE = "over green grass"


def frames_of(path):
    info = probe.probe(path)
    return np.concatenate(list(reader.read(info, range(info.frames)))).astype(int)


def test_two_objects_from_file_to_files(scene, pocket, tmp_path):
    result = pocket.edit(
        scene,
        source=f"a fox moves right and a car stands still {PLACE}",
        target=f"a panda moves right and an apple stands still {PLACE}",
        source_words="fox, car",
        target_words="panda, apple",
        object_guidance_scales="2,5",
        out=tmp_path / "o",
    )
    made = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert [(each["source"], each["target"], each["guidance_scale"]) for each in made["objects"]] == [
        ("fox", "panda", 2.0),
        ("car", "apple", 5.0),
    ]
    assert all(0.02 < each["sites"] < 0.7 for each in made["objects"])
    held = float((result.latent_mask == 1).float().mean())
    assert held == pytest.approx(sum(each["sites"] for each in made["objects"]), abs=2e-4)
    picture, before = frames_of(result.mask), frames_of(scene)
    assert (picture.shape[1] > 384, picture.shape[2]) == (True, 384)  # enlarged, so that its words can be read
    tint = picture[:, -384:] - before.repeat(3, 1).repeat(3, 2)
    left, right = tint[..., :144, :].mean((0, 1, 2)), tint[..., 240:, :].mean((0, 1, 2))
    assert left[0] > left[2]  # red over the fox
    assert right[2] > right[0]  # blue over the car


def test_a_kept_object_changes_less_than_one_that_only_stands_by(scene, pocket, tmp_path):
    prompts = {
        "source": f"a fox moves right and a car stands still {PLACE}",
        "target": f"a panda moves right and a car stands still {PLACE}",
    }
    moved = {}
    for name, more in (("alone", ("fox", "panda")), ("kept", ("fox, car", "panda, car"))):
        result = pocket.edit(scene, **prompts, source_words=more[0], target_words=more[1], out=tmp_path / name)
        change = (result.latents - result.source_latents).abs().mean((0, 1, 2))
        moved[name] = change[:, 10:].mean().item(), change[:, :6].mean().item()
    assert moved["kept"][0] < 0.9 * moved["alone"][0]
    assert moved["kept"][1] > 0.5 * moved["alone"][1]


def test_a_user_mask_beside_several_objects_has_a_colour_of_its_own(scene, pocket, tmp_path):
    corner = np.zeros((128, 128), np.uint8)
    corner[:32, 96:] = 255
    cv2.imwrite(str(tmp_path / "m.png"), corner)
    options = {"user_mask": tmp_path / "m.png", "strength": 0.4, **TWO}
    options |= {"source": f"a fox and a car {PLACE}", "target": f"a panda and an apple {PLACE}"}
    joined = pocket.edit(scene, out=tmp_path / "j", **options, **{"mask.user": "join"})
    assert (joined.latent_mask[0, 0, :, :4, 12:] == 1).all()
    assert len(joined.run["objects"]) == 2
    replaced = pocket.edit(scene, out=tmp_path / "r", **options)
    assert "objects" not in replaced.run
    assert (replaced.latent_mask[0, 0, :, 8:, :8] < 1).all()


def test_the_fox_goes_and_the_car_beside_it_is_kept(scene, pocket, tmp_path):
    prompts = {"source": f"a fox moves right and a car stands still {PLACE}", "target": f"a car stands still {PLACE}"}
    result = pocket.edit(scene, **prompts, source_words="fox, car", target_words="car", out=tmp_path / "o")
    assert result.run["settings"]["task"] == "remove"
    named = [(each["source"], each["target"], each["kept"]) for each in result.run["objects"]]
    assert named == [("fox", "nothing", False), ("car", "car", True)]
    change = (result.latents - result.source_latents).abs().mean((0, 1, 2))
    assert change[:, 10:].mean() < 0.5 * change[:, :6].mean()
    picture, before = frames_of(result.mask), frames_of(scene)
    tint = (picture[:, -384:] - before.repeat(3, 1).repeat(3, 2)).mean((0, 1))
    assert tint[:144, 0].mean() > tint[:144, 2].mean() + 5  # red over the fox
