"""WANAlign2.1 as a preset: its numbers, and FlowAlign's rule with its own, inside a mask, in NumPy."""

from itertools import pairwise

import numpy as np
import pytest
from presets import FULL, carries
from straight import GRID, MASK, NOISE, SOURCE, TARGET, X, close, eps, on_torch

from flowedit.config import compose
from flowedit.editors.spec import EDITORS, EditorInputs
from flowedit.networks.recorder import block_indices

NUMBERS = (
    3 * 35,
    {"steps": 50, "strength": 0.7, "draws": 1, "averaging.name": "mean", "mode.grid": "shifted", "mode.shift": 3.0}
    | {"source_guidance_scale": 1.0, "target_guidance_scale": 19.5, "mode.target_negative": "source"}
    | {"mode.decoupling": 1e-3, "mode.decoupling_appearance": 0.0, "mode.direction_aware": False}
    | {"mask.name": "attention", "mask.threshold": "mean", "mask.decay": float("inf"), "mask.preserve": False}
    | {"mask.blocks": tuple(pytest.approx(layer / 30, abs=1e-4) for layer in range(11, 18))},
)
OMEGA = 19.5


def test_it_carries_the_published_numbers_on_every_backbone():
    carries("wan_align", *NUMBERS)


def test_a_layer_of_wan_is_a_block_of_its_depth():
    blocks = compose.compose({"mode": "wan_align", **FULL}).mask.blocks
    assert block_indices(blocks, 30) == list(range(11, 18))


def test_it_is_its_rule_over_several_steps():
    """v_p = v(p, src) + omega [v(p, tgt) - v(p, src)]; Z += M {h (v_p - v_q) + zeta [(q - t v_q) - (p - t v_p)]}."""
    x, m, zeta = X.numpy(), (MASK > 0.5).double(), 1e-3
    z = x

    def guided(p, t):
        return SOURCE(p, t) + OMEGA * (TARGET(p, t) - SOURCE(p, t))

    for i, (t, t_next) in enumerate(pairwise(GRID)):
        q = (1 - t) * x + t * eps(i)
        p = q + z - x
        v_p, v_q = guided(p, t), SOURCE(q, t)
        z = z + m.numpy() * ((t_next - t) * (v_p - v_q) + zeta * ((q - t * v_q) - (p - t * v_p)))
    velocities = {"source": on_torch(SOURCE), "target": on_torch(guided)}
    mode = compose.compose({"mode": "wan_align"}).mode
    ours = EDITORS["inversion_free"].run(EditorInputs(X, velocities, GRID, NOISE, mask=m), mode)
    assert close(ours, z, 1e-9)
    assert np.abs(z - x).max() > 0.1
