"""Agreement of maps in closed form: equal maps, flat ones, perfect and useless ones against a mask."""

import pytest
import torch

from flowedit.masks.agreement import Agreement, agreement, auc, by_block, correlation, depths, joined
from flowedit.networks.recorder import block_indices


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_is_one_of_a_stretched_map_and_nothing_of_a_flat_one():
    x = normal(2, 4, 4)
    assert correlation(x, 3 * x + 7) == pytest.approx(1)
    assert correlation(x, -x) == pytest.approx(-1)
    assert correlation(x, torch.ones(2, 4, 4)) == 0
    other = normal(2, 4, 4, seed=1)
    assert correlation(x, other) == pytest.approx(float(torch.corrcoef(torch.stack([x, other]).flatten(1))[0, 1]))


def test_auc_of_a_perfect_map_is_one_of_noise_one_half_and_of_the_reverse_nothing():
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 10:30, 20:50] = True
    assert auc(mask.float(), mask) == 1
    assert auc(-mask.float(), mask) == 0
    assert auc(torch.ones(1, 64, 64), mask) == 0.5  # ties count as half
    assert auc(normal(1, 64, 64), mask) == pytest.approx(0.5, abs=0.03)
    assert auc(normal(1, 64, 64), torch.ones_like(mask)) is None
    assert auc(normal(1, 64, 64), torch.zeros_like(mask)) is None


def test_auc_is_the_share_of_pairs_that_are_in_order():
    values, mask = torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0]), torch.tensor([True, False, True, False, False])
    pairs = [(a, b) for a in values[mask] for b in values[~mask]]
    want = sum(float(a > b) + 0.5 * float(a == b) for a, b in pairs) / len(pairs)
    assert auc(values, mask) == pytest.approx(want)


def test_agreement_is_over_draws_and_with_a_place():
    place = normal(3, 4, 4)
    same = place.expand(4, 3, 4, 4)
    assert agreement([same, same], place) == pytest.approx((1, 1))
    # the same wherever the noise lies, but not where the place is: as a block that sees positions alone
    fixed = agreement([normal(3, 4, 4, seed=5).expand(4, 3, 4, 4)], place)
    assert fixed.draws == pytest.approx(1)
    assert abs(fixed.place) < 0.4
    apart = agreement([normal(4, 3, 4, 4)], place)
    assert abs(apart.draws) < 0.3
    assert agreement([place[None]], -place) == pytest.approx((1, -1))  # a single draw has nothing to differ from
    assert Agreement(0.9, -0.4).least == -0.4
    assert Agreement(0.1, 0.8).least == 0.1


@pytest.mark.parametrize("count", [1, 3, 6, 30, 42])
def test_depths_name_each_block_once_as_they_are_printed_too(count):
    assert [block_indices(each, count) for each in depths(count)] == [[i] for i in range(count)]
    assert [block_indices([float(f"{each[0]:.3g}")], count) for each in depths(count)] == [[i] for i in range(count)]


def test_maps_of_groups_come_apart_and_objects_join_in_units_of_their_means():
    maps = torch.arange(2 * 6 * 2.0).view(2, 6, 1, 1, 2) + 1  # three groups of two objects
    parts = list(by_block(maps, 3))
    assert [part[0, :, 0, 0, 0].tolist() for part in parts] == [[1, 3], [5, 7], [9, 11]]
    whole = joined(torch.stack([torch.ones(1, 2, 2), 10 * torch.eye(2)[None]])[None], [0, 1])
    assert torch.equal(whole[0, 0], 1 + 2 * torch.eye(2))
    assert torch.equal(
        joined(torch.stack([torch.ones(1, 2, 2), torch.eye(2)[None]])[None], [1])[0, 0], 2 * torch.eye(2)
    )
