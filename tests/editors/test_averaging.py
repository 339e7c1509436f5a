"""Guidance: classifier-free, and both forms of differential averaging."""

from itertools import combinations

import pytest
import torch

from flowedit.editors import averaging
from flowedit.flow import guidance

FLOWS = torch.randn((4, 3, 2, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_classifier_free_is_affine():
    negative, conditional = FLOWS[:1], FLOWS[1:2]
    assert torch.equal(guidance.classifier_free(negative, conditional, 0.0), negative)
    assert torch.allclose(guidance.classifier_free(negative, conditional, 1.0), conditional)
    assert torch.allclose(guidance.classifier_free(negative, conditional, 3.0), 3 * conditional - 2 * negative)


def test_published_average_over_all_subsets_cancels_and_ours_does_not():
    high = FLOWS.mean(0)
    differences = [high - FLOWS[list(s)].mean(0) for s in combinations(range(4), 2)]
    assert torch.stack(differences).mean(0).abs().max() < 1e-15
    for baseline in averaging.BASELINES:
        ours = averaging.differential(baseline, 2, 1.75)(FLOWS)
        assert (ours - high).norm() / high.norm() > 0.1


def test_first_baseline_is_the_mean_of_the_first_draws():
    expected = FLOWS.mean(0) + 1.75 * (FLOWS.mean(0) - FLOWS[:2].mean(0))
    assert torch.allclose(averaging.differential("first", 2, 1.75)(FLOWS)[0], expected)


def test_least_aligned_baseline_takes_the_lowest_cosines():
    high = FLOWS.mean(0).flatten()
    cosines = [(f.flatten() @ high / f.norm() / high.norm()).item() for f in FLOWS]
    low = sorted(range(4), key=cosines.__getitem__)[:2]
    expected = FLOWS.mean(0) + 2.75 * (FLOWS.mean(0) - FLOWS[low].mean(0))
    assert torch.allclose(averaging.differential("least_aligned", 2, 2.75)(FLOWS)[0], expected)


@pytest.mark.parametrize("baseline", averaging.BASELINES)
def test_weight_zero_is_the_plain_mean_and_zero_flows_stay_zero(baseline):
    assert torch.equal(averaging.differential(baseline, 2, 0.0)(FLOWS), averaging.mean(FLOWS))
    zero = averaging.differential(baseline, 2, 2.75)(torch.zeros_like(FLOWS))
    assert torch.equal(zero, torch.zeros_like(FLOWS[:1]))
    some = FLOWS.clone()
    some[1] = 0
    assert torch.isfinite(averaging.differential(baseline, 2, 2.75)(some)).all()


@pytest.mark.parametrize("size", [0, 4, 5])
@pytest.mark.parametrize("baseline", averaging.BASELINES)
def test_a_baseline_of_none_or_all_draws_is_refused(baseline, size):
    with pytest.raises(ValueError, match="draws = 4"):
        averaging.differential(baseline, size, 1.0)(FLOWS)


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="least_aligned"):
        averaging.differential("best", 2, 1.0)
