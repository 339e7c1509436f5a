"""The region pass above the seam: when the whole frame is evaluated, what moves, and what stays to the bit."""

import pytest
import torch
from fields import noises

from flowedit.editors.averaging import differential
from flowedit.editors.corrections import decoupled, direction_aware
from flowedit.editors.region import RegionPass, around
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.masks.held import HeldMaps
from flowedit.masks.shapes import soften
from flowedit.types import Chosen

SHAPE = (1, 3, 2, 8, 10)
GRID = [1.0, 0.9, 0.7, 0.5, 0.3, 0.15, 0.0]


def source(z, t):
    return torch.tanh(z + 0.3 * z.roll(1, 4)) - 0.2 * t * z


def target(z, t):
    return torch.sin(2 * z + z.roll(1, 3)) + 0.1 * t


def square(row=2, column=3, side=2):
    mask = torch.zeros((1, 1, *SHAPE[2:]))
    mask[..., row : row + side, column : column + side] = 1.0
    return mask


class Watched:
    """Velocities and a pair that note how they are called."""

    def __init__(self, mask, margin=0.0, refresh=3):
        self.calls, self.looks = [], []

        def whole(z, t):
            self.calls.append("whole")
            return target(z, t)

        def inside(q, p, t, parts):
            (chosen,) = parts
            self.calls.append(int(chosen.sites.sum()))
            u = source(q, t)
            return u, torch.where(chosen.sites, target(p, t), u)

        def choose(region):
            return (Chosen(region, region.flatten().nonzero()[:, 0]),)

        def looks(part):
            self.looks.append(None if part is None else int(part.sum()))

        self.passes = RegionPass(source, whole, inside, choose, mask, margin, refresh, looks)

    def edit(self, x, **options):
        return inversion_free(
            x, source, self.passes.target, GRID, noises(SHAPE), mask=self.passes.mask, pair=self.passes.pair, **options
        )


def test_a_known_mask_needs_no_whole_step():
    watched = Watched(soften(square(), 1.0), margin=1.0)
    watched.edit(torch.randn(SHAPE, dtype=torch.float64))
    assert watched.calls == [2 * 12] * 6  # 2 x 2 sites and a cross around them, in two frames
    assert watched.looks == watched.calls


def test_a_mask_of_words_is_looked_for_in_the_first_step_and_every_so_many_after():
    watched = Watched(lambda step: square(side=1 + step), refresh=3)
    watched.edit(torch.randn(SHAPE, dtype=torch.float64))
    assert watched.calls == ["whole", 2 * 1, 2 * 1, "whole", 2 * 16, 2 * 16]
    assert watched.looks == [None, 2, 2, None, 32, 32]


def test_steps_that_follow_the_target_alone_are_whole():
    watched = Watched(square())
    x = torch.randn(SHAPE, dtype=torch.float64)
    z = watched.edit(x, target_only_steps=2)
    assert watched.calls == [8] * 4 + ["whole"] * 2
    assert watched.looks[-2:] == [None, None]
    assert torch.equal(z * (1 - square()), x * (1 - square()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"draws": 3, "average": differential("least_aligned", 2, 2.0), "fixed_noise_steps": 2},
        {"correct": direction_aware(0.25, 3), "decouple": decoupled(0.2, 0.7)},
        {"preserve": True, "target_only_steps": 1},
    ],
)
def test_what_lies_outside_the_region_is_the_source_to_the_bit(options):
    """A soft mask reaches everywhere; the region does not, whatever else a step does. It moves with its object."""
    places = [square(1, 1, 3), square(2, 5, 3)]
    masks = [soften(each, 0.3) for each in places]
    watched, x = Watched(lambda step: masks[step >= 3], margin=1.0), torch.randn(SHAPE, dtype=torch.float64)
    z = watched.edit(x, **options)
    inside = around(masks[1], 1.0)
    assert torch.equal(z[~inside.expand_as(z)], x[~inside.expand_as(z)])
    assert (z - x).abs()[around(masks[1], 0.0).expand_as(z)].min() > 0
    plain = inversion_free(x, source, target, GRID, noises(SHAPE), mask=lambda step: masks[step >= 3], **options)
    assert options.get("preserve") or (plain - x).abs()[~inside.expand_as(z)].min() > 0


def test_the_whole_frame_as_the_region_is_the_plain_edit():
    x = torch.randn(SHAPE, dtype=torch.float64)
    masks = soften(square(), 0.3)
    for mask in (masks, lambda step: masks):
        z = Watched(mask, margin=20.0).edit(x, draws=2)
        assert torch.equal(z, inversion_free(x, source, target, GRID, noises(SHAPE), mask=masks, draws=2))


def test_the_margin_is_a_distance_in_its_frame():
    mask = torch.zeros(1, 1, 2, 9, 9)
    mask[0, 0, 0, 4, 4] = 0.5
    mask[0, 0, 1, 0, 0] = 0.49
    for margin, count in ((0.0, 1), (1.0, 5), (1.5, 9), (2.0, 13)):
        region = around(mask, margin)
        assert region[0, 0, 0].sum() == count
        assert not region[0, 0, 1].any()


def test_a_pass_that_goes_on_chooses_as_the_one_before_it():
    mask = lambda step: square(side=1 + step)  # noqa: E731
    one, two, x = Watched(mask), Watched(mask), torch.randn(SHAPE)
    one.passes.pair(x, x, 0.5, 0)
    one.passes.mask(0)
    two.passes.restore(one.passes.state(), torch.device("cpu"))
    for step in (1, 2, 3):
        for each in (one, two):
            each.passes.pair(x, x, 0.5, step)
            each.passes.mask(step)
    assert one.calls[1:] == two.calls == [2, 2, "whole"]


def test_maps_of_a_part_are_completed_by_the_last_whole_ones():
    given = []
    held, part = HeldMaps(lambda: given.pop() if given else None), square().bool()
    assert held() is None
    whole, new = torch.rand(2, 1, *SHAPE[2:]), torch.rand(2, 1, *SHAPE[2:])
    given.append(whole)
    assert torch.equal(held(), whole)
    held.part = part
    given.append(new)
    made = held()
    assert torch.equal(made, torch.where(part, new, whole))
    assert held() is None
    other = HeldMaps(lambda: new[:1])
    other.part = part
    other.restore(held.state(), torch.device("cpu"))
    assert torch.equal(other(), torch.where(part, new[:1], made.mean(0, keepdim=True)))  # one row where there were two
    held.part = None
    given.append(new)
    assert torch.equal(held(), new)
