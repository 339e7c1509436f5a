"""Direction-aware correction and decoupling: what each keeps, drops and stresses, and their limits."""

import numpy as np
import pytest
import torch

from flowedit.editors.corrections import amplified, decoupled, direction_aware, in_turn

FLOW, SOURCE = torch.randn((2, 1, 4, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def dot(a, b):
    return (a * b).sum(1, keepdim=True)


def test_what_points_along_the_source_is_dropped_and_what_points_against_it_is_stressed():
    along = dot(FLOW, SOURCE) >= 0
    out = direction_aware(0.25)(FLOW, SOURCE)
    after, before = dot(out, SOURCE), dot(FLOW, SOURCE)
    assert along.any()
    assert not along.all()
    assert after[along].abs().max() < 1e-9
    assert torch.allclose(after[~along], 1.25 * before[~along])
    unit = SOURCE / SOURCE.norm(dim=1, keepdim=True)
    across = FLOW - dot(FLOW, unit) * unit
    assert torch.allclose(out - dot(out, unit) * unit, across)  # what stands across it is left as it is


def test_a_source_of_zero_leaves_the_flow():
    assert torch.equal(direction_aware(0.25)(FLOW, torch.zeros_like(FLOW)), FLOW)


def test_the_source_s_length_does_not_matter():
    assert torch.allclose(direction_aware(0.5)(FLOW, 100 * SOURCE), direction_aware(0.5)(FLOW, SOURCE))


def test_a_flow_of_zero_stays_zero():
    zero = torch.zeros_like(FLOW)
    assert torch.equal(direction_aware(0.25, 2)(zero, SOURCE), zero)


@pytest.mark.parametrize("patch", [1, 2, 3, 8])
def test_over_a_patch_it_is_the_same_on_the_patch_s_one_vector(patch):
    out = direction_aware(0.25, patch)(FLOW, SOURCE)
    for f in range(FLOW.shape[2]):
        for i in range(0, FLOW.shape[3], patch):
            for j in range(0, FLOW.shape[4], patch):
                at = (0, slice(None), f, slice(i, i + patch), slice(j, j + patch))
                flow, source = (x[at].reshape(1, -1, 1, 1, 1) for x in (FLOW, SOURCE))
                assert torch.allclose(out[at].reshape(1, -1, 1, 1, 1), direction_aware(0.25)(flow, source))


def test_a_patch_of_no_sites_is_refused():
    with pytest.raises(ValueError, match="direction_patch 0"):
        direction_aware(0.25, 0)


def test_decoupling_spares_the_mean_over_time_by_phi():
    mean = FLOW.mean(2, keepdim=True).expand_as(FLOW)
    assert torch.allclose(decoupled(0.01, 0.3)(FLOW), 0.01 * (FLOW - mean) + 0.01 * 0.7 * mean)
    assert torch.equal(decoupled(0.01, 0.0)(FLOW), 0.01 * FLOW)
    assert decoupled(0.01, 1.0)(mean).abs().max() < 1e-15  # a change of appearance alone is free
    motion = FLOW - mean
    assert torch.allclose(decoupled(0.01, 1.0)(motion), 0.01 * motion)


def test_amm_strengthens_by_the_number_of_frames():
    flow = torch.randn((1, 4, 9, 3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = flow.numpy().mean(1, keepdims=True)
    c = (mean - mean.min()) / (mean.max() - mean.min())
    expected = (1 + 1.5 * np.log(9) / np.log(21) * c) * flow.numpy()
    assert np.abs(amplified(1.5)(flow, flow).numpy() - expected).max() < 1e-9
    assert torch.equal(amplified(1.0)(flow[:, :, :1], flow), flow[:, :, :1])  # one frame: as it is
    assert torch.equal(amplified(1.0)(torch.zeros_like(flow), flow), torch.zeros_like(flow))
    assert in_turn() is None
    assert torch.equal(in_turn(amplified(1.0), lambda v, s: v + s)(flow, flow), amplified(1.0)(flow, flow) + flow)
