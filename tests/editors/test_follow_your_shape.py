"""Follow-Your-Shape as a preset: its numbers, and what it does over several steps, in NumPy, with what it takes."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from edits import steered
from fields import ToyBackbone
from presets import FULL, carries

from flowedit.config import compose
from flowedit.networks.control.controller import Controller
from flowedit.networks.control.options import rounded
from flowedit.pipeline.checks import check_attention, check_brief
from flowedit.pipeline.plan import brief, make_grid

STEPS = (pytest.approx(10 / 15, abs=1e-4), pytest.approx(14 / 15, abs=1e-4))
NUMBERS = (
    15 * 2 * (1 + 2),
    {"mode.name": "inversion", "mode.solver": "midpoint", "steps": 15, "strength": 1.0, "mask.name": "difference"}
    | {"source_guidance_scale": 1.0, "target_guidance_scale": 3.0, "mask.threshold": "otsu", "mask.close": 0.0}
    | {"attention.keys": 1.0, "attention.values": 1.0, "attention.queries": 0.0, "attention.fade": 0.0}
    | {"attention.keys_inside": 0.0, "attention.values_inside": 0.0, "attention.keys_steps": STEPS}
    | {"attention.values_steps": STEPS, "attention.blocks": (pytest.approx(39 / 57, abs=1e-3), 1.0)},
)
X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
BASE = {"source": "a red fox runs", "target": "a big panda runs", "mode": "follow_your_shape", "window": "whole"}


def test_it_carries_the_published_numbers_on_every_backbone():
    carries("follow_your_shape", *NUMBERS)


def test_its_steps_and_blocks_are_those_of_its_code():
    attention = compose.compose({"mode": "follow_your_shape", **FULL}).attention
    assert rounded(attention.keys_steps, 15) == rounded(attention.values_steps, 15) == (10, 14)
    assert int(attention.blocks[0] * (19 + 38)) == 19 + 20  # single block 20, counted from 0


def test_it_is_not_refused_and_needs_no_words():
    made = brief(compose.compose(BASE))
    check_brief(made)
    check_attention(made)


def test_what_it_takes_is_the_source_s_outside_the_mask_in_its_steps_alone(monkeypatch):
    """Share 1 of keys and values outside, 0 inside, and nothing before and after."""
    found, whole = [], Controller._shares_at

    def seen(controller, t):
        found.append((controller._step(t), whole(controller, t)))
        return found[-1][1]

    monkeypatch.setattr(Controller, "_shares_at", seen)
    few = {"mask.threshold": "quantile", "mask.quantile": 0.98, "mask.decay": "inf", "mask.pool": 0.0}
    made = steered(compose.compose({**BASE, **few, "attention.blocks": [0.0, 1.0]}), ToyBackbone(2.0), X)
    assert torch.isfinite(made.z).all()
    taken = {step for step, shares in found if shares}
    assert taken == set(range(10, 14))
    for shares in (shares for _, shares in found if shares):
        assert set(shares) == {"keys", "values"}
        for share in shares.values():
            assert set(share.unique().tolist()) == {0.0, 1.0}


def test_it_is_its_rule_over_several_steps():
    """Midpoint both ways; S sums |v_tgt - v_inv|; outside the mask of S the way down follows the way up."""
    settings, masks, states = compose.compose({**BASE, "steps": 4, "attention": "none"}), [], []

    def heard(step):
        masks.append(step.mask)
        states.append(step.z)

    backbone = ToyBackbone(2.0)
    done = steered(settings, backbone, X, callback=heard)
    grid = make_grid(settings, backbone)
    source = backbone.velocity(backbone.embed(settings.source))
    target = backbone.velocity(backbone.embed(settings.target), 3.0, backbone.embed(""))
    z, path = X, [X]
    for t, t_next in pairwise(grid[::-1]):
        z = midpoint(source, z, t, t_next)
        path.append(z)
    path = path[::-1]
    for i, (t, t_next) in enumerate(pairwise(grid)):
        z = midpoint(target, z, t, t_next)
        m = masks[4 + i] ** ((t - t_next) / grid[0])
        z = path[i + 1] + m * (z - path[i + 1])
        assert np.abs((z - states[4 + i]).numpy()).max() < 1e-5
    assert (done.z - X).abs().max() > 0.1
    assert 0 < done.mask.mean() < 1


def midpoint(velocity, z, t, t_next):
    h = t_next - t
    return z + h * velocity(z + 0.5 * h * velocity(z, t), t + 0.5 * h)
