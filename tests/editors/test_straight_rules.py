"""The rules of the editors that go straight from the source, each against its own in NumPy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from edits import steered
from fields import Gaussian, ToyBackbone
from straight import (
    GRID,
    MASK,
    PARTS,
    SHAPE,
    SOURCE,
    TARGET,
    X,
    at,
    close,
    eps,
    options_of,
    run,
)

from flowedit.config import compose
from flowedit.editors.common import stretched
from flowedit.editors.straight.dvrf import rates
from flowedit.editors.straight.flowdc import LOOK, weakened
from flowedit.editors.straight.splitflow import aggregated, projected
from flowedit.masks.shapes import grow
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief


@pytest.mark.parametrize("merge", ["average", "projected", "aggregated"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
def test_splitflow_is_its_rule(merge, mask):
    m = 1 if mask is None else mask.numpy()
    x, split = X.numpy(), 2
    z, own = x, [x, x]
    for i in range(5):
        _, t, t_next, q = at(i)
        h, u_src = t_next - t, SOURCE(q, t)
        if i < split:
            own = [zk + h * m * (u(q + zk - x, t) - u_src) for zk, u in zip(own, PARTS, strict=True)]
            z = z + h * m * (TARGET(q + z - x, t) - u_src)
            if i == split - 1 and merge != "average":
                for k, zk in enumerate(own):
                    along = np.zeros_like(x)
                    for site in np.ndindex(SHAPE[2:]):
                        e, v = z[(0, slice(None), *site)], zk[(0, slice(None), *site)]
                        along[(0, slice(None), *site)] = (v @ e) / (e @ e) * e
                    own[k] = along
            if i == split - 1:
                z = sum(own) / 2
        elif i == split and merge == "aggregated":
            g = [u(q + zk - x, t) - u_src for zk, u in zip(own, PARTS, strict=True)]
            flow = np.zeros_like(x)
            for site in np.ndindex(SHAPE[2:]):
                a, b = (each[(0, slice(None), *site)] for each in g)
                alike = (a @ b) / np.sqrt((a @ a) * (b @ b))
                w = np.exp([alike, alike])
                flow[(0, slice(None), *site)] = (w[0] * a + w[1] * b) / w.sum()
            z = z + h * m * flow
        else:
            z = z + h * m * (TARGET(q + z - x, t) - u_src)
    ours = run("splitflow", parts=PARTS, mask=mask, options=options_of("splitflow", split_steps=split, merge=merge))
    assert close(ours, z)
    assert np.abs(z - x).max() > 0.1


def test_three_parts_are_weighed_by_how_far_they_agree():
    g = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, -1.0]]).view(3, 2, 1, 1, 1)
    agree = torch.tensor([0.8 + 0.0, 0.8 - 0.6, 0.0 - 0.6])
    expected = (agree.softmax(0).view(3, 1) * g.view(3, 2)).sum(0)
    assert torch.allclose(aggregated(g).flatten(), expected, atol=1e-6)
    assert torch.allclose(projected(g, g[:1])[1].flatten(), torch.tensor([0.8, 0.0]))


def test_splitflow_without_parts_is_flowedit_and_says_so():
    grid = {"mode.grid": "uniform", "mode.shift": 3.0, "steps": 5, "strength": 1.0}
    base = {"source": "a red fox runs", "target": "a big panda runs", "source_guidance_scale": 3.5, **grid}
    x = X.float().repeat(1, 1, 1, 3, 4)[..., :16, :16]
    split, plain = (
        compose.compose(base | {"mode": mode, "target_guidance_scale": 13.5}) for mode in ("splitflow", "flowedit")
    )
    assert torch.allclose(steered(split, ToyBackbone(), x).z, steered(plain, ToyBackbone(), x).z, atol=1e-4)
    assert any("mode=splitflow goes by the target alone" in text for text in of_unused(brief(split)))


def gram_schmidt(v, ways):
    """The part of v outside the span, by least squares."""
    a = np.stack([way.ravel() for way in ways], 1)
    return v - (a @ np.linalg.lstsq(a, v.ravel(), rcond=None)[0]).reshape(v.shape)


LEFT = {1: (0.1,), 3: (0.1, 0.37, 0.64), 7: (0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64)}
"""What FlowDC leaves of the part across in each of its first steps: its code's .1 to .64 in 7."""
LONG = (0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.2, 0.0)


@pytest.mark.parametrize(
    ("beside", "decay", "grid"), [(0, 3, GRID), (1, 3, GRID), (3, 3, GRID), (1, 1, GRID), (0, 7, LONG)]
)
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
def test_flowdc_is_its_rule(beside, decay, grid, mask):
    m = 1 if mask is None else mask.numpy()
    x = X.numpy()
    ways = [*(PARTS if beside else []), TARGET]
    states = [x] * len(ways)
    t2 = grid[2]
    looks = []
    for u in ways:
        qs = [(1 - t2) * x + t2 * eps(LOOK, d) for d in range(2)]
        looks.append(sum(u(q, t2) - SOURCE(q, t2) for q in qs) / 2)
    for i, (t, t_next) in enumerate(pairwise(grid)):
        q = (1 - t) * x + t * eps(i)
        if i >= beside:
            ways, states, looks = ways[-1:], states[-1:], looks[-1:]
        found = []
        for k, (u, z) in enumerate(zip(ways, states, strict=True)):
            v = u(q + z - x, t) - SOURCE(q, t)
            if i < decay:
                known = looks[: k + 1] if i == 0 else [each - x for each in states[: k + 1]]
                across = gram_schmidt(v, known)
                v = v - across + LEFT[decay][i] * across
            found.append(z + (t_next - t) * m * v)
        states = found
    options = options_of("flowdc", decay_steps=decay, look_step=2, look_draws=2, side_by_side_steps=beside)
    assert close(run("flowdc", parts=PARTS, grid=grid, mask=mask, options=options), states[-1], 1e-9)


def test_what_lies_in_the_span_is_left_and_what_does_not_is_weakened():
    v, a, b = torch.randn((3, 1, 2, 2, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ways = torch.cat([a, b, a + b, torch.zeros_like(a)])  # the last two add nothing
    assert torch.allclose(weakened(2 * a - b, ways, 0.1), 2 * a - b)
    across = torch.from_numpy(gram_schmidt(v.numpy(), [a.numpy(), b.numpy()]))
    assert torch.allclose(weakened(v, ways, 0.25), v - 0.75 * across)


def test_dynaedit_is_its_rule():
    x, n, select, tau = X.numpy(), 3, 2, 0.5
    z, held, best = x, [], 0
    for i in range(5):
        _, t, t_next, _ = at(i)
        a = np.clip((1 - t) / 0.75, 0, 1)
        held = [eps(0, j) if i == 0 else np.sqrt(a) * held[j] + np.sqrt(1 - a) * eps(i, j) for j in range(n)]
        flows = []
        for e in held:
            q = (1 - t) * x + t * e
            flows.append(TARGET(q + z - x, t) - SOURCE(q, t))
        if i < select:
            foreseen = [z - t * v for v in flows]
            near = np.array([(each * x).sum() / np.sqrt((each**2).sum() * (x**2).sum()) for each in foreseen])
            w = np.exp(near / tau)
            best = int(w.argmax())
            flow = sum(wj * v for wj, v in zip(w / w.sum(), flows, strict=True))
        else:
            flow = flows[best]
        z = z + (t_next - t) * flow
    assert best != 0  # so that a choice was made
    ours = run("dynaedit", options=options_of("dynaedit", streams=n, select_steps=select, temperature=tau))
    assert close(ours, z, 1e-6)  # the weights are float32


def test_dynaedit_of_one_stream_is_inversion_free_with_correlated_noise():
    options = {"steps": 5, "strength": 1.0, "source_guidance_scale": 1.0, "target_guidance_scale": 2.0, "mask": "none"}
    base = {"source": "a red fox runs", "target": "a big panda runs", "mode.grid": "uniform", **options}
    x = X.float().repeat(1, 1, 1, 3, 4)[..., :16, :16]
    plain = compose.compose(base | {"mode.noise": "correlated", "mode.coupling": 1})
    for one in ({"mode.streams": 1}, {"mode.select_steps": 0}):
        alone = compose.compose(base | {"mode": "dynaedit", **one})
        assert torch.allclose(steered(alone, ToyBackbone(), x).z, steered(plain, ToyBackbone(), x).z, atol=1e-5)


HUMP = (0.0, 0.010173283619, 0.0287955232675, 0.0945772656635, 0.141347493932)
"""DVRF's step sizes on GRID, by the density of Beta(10, 8)."""


@pytest.mark.parametrize("rate", ["hump", "grid"])
@pytest.mark.parametrize("pull", [True, False])
def test_dvrf_is_its_rule(rate, pull):
    x, eta, n, z = X.numpy(), 0.8, 5, X.numpy()
    for i in range(n):
        _, t, t_next, q = at(i)
        c = eta * i / n
        noised = (1 - t) * z + t * eps(i) + c * t * (z - x)  # equation 6
        grad = TARGET(noised, t) - SOURCE(q, t) + (pull * (1 - c)) * (z - x)  # equation 8
        z = z - (HUMP[i] if rate == "hump" else t - t_next) * grad
    ours = run("dvrf", options=options_of("dvrf", coupling_end=eta, pull=pull, rate=rate))
    assert close(ours, z, 1e-11)
    assert np.abs(z - x).max() > 0.01


def test_the_step_sizes_of_dvrf_are_its_code_s_at_50_steps():
    grid = [3 * s / (1 + 2 * s) for s in np.linspace(1, 0, 51)]
    ours = rates(grid)
    # The density of Beta(10, 8) over its peak, at i / 77, its rates from gap / 4 to gap / 1.6, times 2.2.
    published = {0: 0.0, 10: 0.00239109, 25: 0.0100518, 43: 0.0377838, 49: 0.0345992}
    assert {i: ours[i] for i in published} == pytest.approx(published, rel=1e-5)
    assert rates([0.8, 0.0]) == [0.8]
    assert rates([0.8]) == []


def test_sam_flow_is_its_rule():
    options = options_of("sam_flow", ring=0.3, ring_end=0.2)
    masks = [torch.roll(MASK, i, -1) for i in range(5)]
    x, draws = X.numpy(), 2
    z = full = x
    soft = core = ring = np.zeros_like(MASK.numpy())
    for i in range(5):
        _, t, t_next, _ = at(i)
        flow = 0
        for d in range(draws):
            q = (1 - t) * x + t * eps(i, d)
            flow = flow + (TARGET(q + z - x, t) - SOURCE(q, t)) / draws
        full = full + (t_next - t) * flow
        m = masks[i].numpy()
        own = (m >= 0.5).astype(float)
        around = grow(torch.from_numpy(own), (0.3 - 0.1 * i / 5) * 5).numpy() - own
        m = np.where(own > 0, 1, m)
        soft = np.maximum(soft, m + 0.5 * around * (1 - m))
        core, ring = np.maximum(core, own), np.maximum(ring, around)
        z = x + (0.03 + 0.97 * soft) * (full - x)
    z = np.where(core > 0, z, np.where(ring > 0, x + 0.5 * soft * (full - x), x))
    assert close(run("sam_flow", mask=lambda i: masks[i], draws=draws, options=options), z)


def test_sam_flow_leaves_what_lies_outside_its_mask_to_the_bit():
    hard = (MASK > 0.9).double()
    z = run("sam_flow", mask=hard)
    outside = (grow(hard, 0.09375 * 5) == 0).expand_as(X)
    assert outside.any()
    assert torch.equal(z[outside], X[outside])
    assert (z - X)[hard.expand_as(X) > 0].abs().max() > 0.1
    assert torch.equal(run("sam_flow", mask=hard, preserve=True)[hard.expand_as(X) == 0], X[hard.expand_as(X) == 0])


@pytest.mark.parametrize("guide", ["mask", "difference"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
def test_streamgve_is_its_rule(mask, guide):
    x = z = X.numpy()
    for i in range(5):
        _, t, _, q = at(i)
        p = (1 - t) * z + t * eps(i)
        u_src, u_tgt = SOURCE(q, t), TARGET(p, t)
        size = np.abs(u_tgt - u_src).mean(1, keepdims=True)
        inside = (size - size.min()) / (size.max() - size.min())
        if mask is not None:
            inside = mask.numpy() * (inside if guide == "difference" else 1)
        z = p - t * (u_tgt + (1 - inside) * (eps(i) - x - u_src))
    assert close(run("streamgve", mask=mask, options=options_of("streamgve", guide=guide)), z)


def test_streamgve_s_clip_is_the_source_to_the_bit_where_nothing_is_to_change():
    assert torch.equal(run("streamgve", target=SOURCE), X)  # no difference: nothing is inside
    assert torch.equal(run("streamgve", target=SOURCE, mask=torch.zeros_like(MASK)), X)
    pinned = run("streamgve", mask=MASK, preserve=True)
    below = (MASK < 0.5).expand_as(X)
    assert torch.equal(pinned[below], X[below])
    assert (run("streamgve", mask=MASK) - X)[below].abs().max() > 0.01
    assert torch.equal(stretched(torch.ones(1, 1, 2, 2, 2)), torch.zeros(1, 1, 2, 2, 2))


@pytest.mark.parametrize("iterations", [0, 3])
def test_flowopt_is_its_rule_and_keeps_a_row(iterations):
    x, eta = X.numpy(), 0.05
    start, v = x, SOURCE(x, 0.0)
    for t, t_next in pairwise(GRID[::-1]):
        v = SOURCE(start + (t_next - t) * v, t_next)
        start = start + (t_next - t) * v
    row = []
    for _ in range(iterations + 1):
        z = start
        for t, t_next in pairwise(GRID):
            z = z + (t_next - t) * TARGET(z, t)
        row.append(z)
        start = start - eta * (z - x)
    kept = {}
    options = options_of("flowopt", iterations=iterations, step_size=eta)
    ours = run("flowopt", options=options, keep=kept.__setitem__)
    assert close(ours, row[-1])
    assert sorted(kept) == list(range(iterations + 1))
    assert all(close(kept[k], each) for k, each in enumerate(row))
    alone = {}
    run("flowopt", options=options_of("flowopt", iterations=iterations, row="false"), keep=alone.__setitem__)
    assert not alone


def test_flowopt_goes_from_free_to_faithful_on_gaussians():
    """f_k - X shrinks with k: the way down is a contraction of the start, and each pass takes some of it back."""
    mean = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kept = {}
    options = options_of("flowopt", iterations=6, step_size=0.3)
    run("flowopt", Gaussian(mean[0], 0.6), Gaussian(mean[1], 0.6), options=options, keep=kept.__setitem__)
    away = [(kept[k] - X).norm().item() for k in range(7)]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.5 * away[0]
