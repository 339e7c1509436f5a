"""Editors through noise of other publications: exact where their rule is, else held to the rule in NumPy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from fields import Gaussian, ToyBackbone, noises

from flowedit.config import compose
from flowedit.editors.through_noise.dnaedit import dnaedit
from flowedit.editors.through_noise.inversion import inversion
from flowedit.editors.through_noise.random_noise import random_noise
from flowedit.editors.through_noise.rf_inversion import pulls, rf_inversion
from flowedit.editors.through_noise.steerflow import closed, odd, steerflow
from flowedit.editors.through_noise.uniedit_flow import uniedit_flow
from flowedit.pipeline import resume
from flowedit.pipeline.checks import check
from flowedit.pipeline.notices.unused import of_unused, value_at
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.plan import brief, make_grid, network_evaluations
from flowedit.pipeline.record import Session
from flowedit.pipeline.source import array_clip
from flowedit.pipeline.steer import steer

SHAPE = (1, 2, 3, 4, 5)
C = 0.6
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
M_SRC, M_TGT = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
SOURCE, TARGET = Gaussian(M_SRC, C), Gaussian(M_TGT, C)
GRID, WHOLE = [0.9, 0.7, 0.4, 0.15, 0.0], [1.0, 0.97, 0.9, 0.7, 0.2, 0.0]
NOISE = noises(SHAPE)
MASK = torch.zeros(1, 1, *SHAPE[2:], dtype=torch.float64)
MASK[..., :2] = 1


def waves(z, t):
    return torch.sin(3 * z) + t * z


def ripples(z, t):
    return torch.sin(2 * z + 1) + t * z


def uniform(t0, steps):
    return [float(t) for t in np.linspace(t0, 0, steps + 1)]


def order(run, exact, coarse=40):
    errors = [(run(n) - exact).norm().item() for n in (coarse, 2 * coarse)]
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("grid", [GRID, WHOLE])
def test_rf_inversion_with_full_pull_up_is_random_noise_and_down_is_the_source(grid):
    led_up = rf_inversion(X, waves, ripples, grid, NOISE, gamma=1.0)
    assert (led_up - random_noise(X, ripples, grid, NOISE)).abs().max() < 1e-12
    led_down = rf_inversion(X, waves, ripples, grid, NOISE, gamma=0.4, eta=[1.0] * (len(grid) - 1))
    assert (led_down - X).abs().max() < 1e-12
    assert (rf_inversion(X, waves, ripples, grid, NOISE, gamma=0.4) - X).abs().max() > 0.1


def test_rf_inversion_without_pulls_is_inversion():
    found = rf_inversion(X, waves, ripples, GRID, NOISE, gamma=0.0, eta=[0.0, 0.0])
    assert torch.equal(found, inversion(X, waves, ripples, GRID))


@pytest.mark.parametrize("stochastic", [False, True])
def test_rf_inversion_is_its_recursion(stochastic):
    gamma, eta, x = 0.5, pulls(0.9, 0.5, 2.0, 4), X.numpy()
    assert eta == [0.9, 0.9 * 0.75**2]
    z, eps = x, NOISE(0, 0).numpy()
    for t, t_next in pairwise(GRID[::-1]):
        u = waves(torch.tensor(z), t).numpy()
        z = z + (t_next - t) * (u + gamma * ((eps - z) / (1 - t) - u))
    for i, (t, t_next) in enumerate(pairwise(GRID)):
        u, pull = ripples(torch.tensor(z), t).numpy(), [*eta, 0, 0][i]
        v = (1 - pull) * u + pull * (z - x) / t
        if stochastic and i:
            fresh = math.sqrt(2 * t / (1 - t) * (t - t_next)) * NOISE(i, 0).numpy()
            z = z + (t - t_next) * (2 * -v - z / (1 - t)) + fresh
        else:
            z = z + (t_next - t) * v
    found = rf_inversion(X, waves, ripples, GRID, NOISE, gamma=gamma, eta=eta, stochastic=stochastic)
    assert np.abs(found.numpy() - z).max() < 1e-12


def test_the_stochastic_way_down_has_the_marginals_of_the_flow():
    """From z(1) = eps: mean m and variance c^2; site j hears of the noise of step j alone, as all is linear."""
    n, m = 800, 0.7
    x = torch.zeros(1, 1, 1, 1, n, dtype=torch.float64)
    field = Gaussian(torch.full_like(x, m), C)

    def run(size):
        def noise(step, draw):
            eps = torch.zeros_like(x)
            eps[..., step] = size
            return eps

        return rf_inversion(x, field, field, uniform(1.0, n), noise, gamma=1.0, stochastic=True)

    mean, responses = run(0.0), run(1.0) - run(0.0)
    assert (mean - m).abs().max() < 0.01
    assert responses.square().sum().item() == pytest.approx(C**2, rel=0.01)


def test_uniedit_flow_is_its_recursion():
    omega, x = 5.0, X.numpy()
    z, last = x, None
    for t, t_next in pairwise(GRID[::-1]):
        last = SOURCE(torch.tensor(z), t).numpy() if last is None else last
        last = SOURCE(torch.tensor(z + (t_next - t) * last), t_next).numpy()
        z = z + (t_next - t) * last
    for t, t_next in pairwise(GRID):
        s, g = waves(torch.tensor(z), t).numpy(), ripples(torch.tensor(z), t).numpy()
        s = SOURCE(torch.tensor(z), t).numpy()
        g = g - s
        m = np.abs(g).mean(1, keepdims=True)
        m = (m - m.min()) / (m.max() - m.min())
        z = z + (t_next - t) * (m * (s + g) + (1 - m) * s + (1 + m) * omega * g)
    found = uniedit_flow(X, SOURCE, ripples, GRID, omega=omega)
    assert np.abs(found.numpy() - z).max() < 1e-9 * np.abs(z).max()
    assert (uniedit_flow(X, SOURCE, ripples, GRID, omega=2.0) - found).abs().max() > 0.1


@pytest.mark.parametrize("edit", [uniedit_flow, steerflow])
def test_equal_prompts_give_the_source_back_to_order_two(edit):
    """What goes up by Uni-Inv comes down by Euler; of SteerFlow no more than a share of that error is left."""
    assert order(lambda n: edit(X, SOURCE, SOURCE, uniform(0.9, n)), X) > 1.85
    assert (edit(X, SOURCE, SOURCE, uniform(0.9, 40)) - X).abs().max() < 0.01


def test_uniedit_flow_on_gaussians_goes_as_far_as_its_mask_says():
    """m = 0 and 1 at the sites of least and greatest |m_tgt - m_src|, and there the field is affine: u_src + w g."""
    shift = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64).view(1, 1, 1, 1, 3)
    x = torch.zeros_like(shift)
    source, target = Gaussian(x, C), Gaussian(shift, C)
    found = uniedit_flow(x, source, target, GRID, omega=2.0).flatten()
    z, grid = 0.0, GRID
    for t, t_next in pairwise(grid):  # the source's path stays at its mean, 0
        g = -(source.k(t) * (1 - t) + 1) * 3.0
        z = z + (t_next - t) * (source.k(t) * z + (1 + 2.0 * 2) * g)
    assert found[0].item() == pytest.approx(0, abs=1e-12)
    assert found[2].item() == pytest.approx(z, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steerflow_gives_the_source_back_to_the_bit_outside_its_mask(dtype):
    x = X.to(dtype)
    z = steerflow(x, waves, ripples, uniform(0.95, 9), closing=1, mask=MASK.to(dtype))
    outside = (MASK == 0).expand_as(x)
    assert torch.equal(z[outside], x[outside])
    assert (z - x)[~outside].abs().max() > 0.1


@pytest.mark.parametrize("masked", [False, True])
def test_steerflow_is_its_recursion(masked):
    alpha, path, last = 4.5, [X.numpy()], None
    for t, t_next in pairwise(GRID[::-1]):
        last = waves(torch.tensor(path[-1]), t).numpy() if last is None else last
        last = waves(torch.tensor(path[-1] + (t_next - t) * last), t_next).numpy()
        path.append(path[-1] + (t_next - t) * last)
    path, z, given = path[::-1], path[-1], MASK.numpy()[0, 0] * 0.8

    def extreme(mask, pick):
        """Of every site's square of three sites a side, as much as lies inside the frame."""
        f, h, w = mask.shape
        found = np.empty_like(mask)
        for y in range(h):
            for x in range(w):
                part = mask[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                found[:, y, x] = pick(part.reshape(f, -1), axis=1)
        return found

    for i, (t, t_next) in enumerate(pairwise(GRID)):
        h = t_next - t
        along = (path[i + 1] - path[i]) / h
        u = ripples(torch.tensor(z), t).numpy()
        cosine = (u * along).sum(1) / np.sqrt((u**2).sum(1) * (along**2).sum(1))
        c = (1 - t_next**alpha) * cosine.mean()
        size = np.sqrt(((u - along) ** 2).sum(1))[0]
        low, high = np.quantile(size, [0.05, 0.95])
        own = 1 / (1 + np.exp(-15 * ((size - low) / (high - low) - 0.5)))
        m = np.maximum(own, given) if masked else own
        m = extreme(extreme(np.pad(m, ((0, 0), (1, 1), (1, 1))), np.max), np.min)[:, 1:-1, 1:-1]
        m = m * (given if masked else 1)
        z = z + h * (along + m * c * (u - along))
    found = steerflow(X, waves, ripples, GRID, alpha=alpha, closing=3, mask=0.8 * MASK if masked else None)
    assert np.abs(found.numpy() - z).max() < 1e-12


def test_a_closing_fills_a_gap_and_adds_nothing_else():
    mask = torch.zeros(1, 1, 1, 7, 9)
    mask[..., 1:6, 1:4] = mask[..., 1:6, 5:8] = 1.0
    joined = mask.clone()
    joined[..., 1:6, 4] = 1.0
    assert torch.equal(closed(mask, 3), joined)
    assert torch.equal(closed(mask, 1), mask)
    assert [odd(0.078, side) for side in (8, 60, 64)] == [1, 5, 5]


@pytest.mark.parametrize("grid", [GRID, WHOLE])
def test_dnaedit_gives_the_source_back_under_equal_prompts_on_any_grid(grid):
    assert (dnaedit(X, waves, waves, grid, NOISE, eta=1.0) - X).abs().max() < 1e-12
    assert (dnaedit(X, waves, ripples, grid, NOISE, eta=1.0) - X).abs().max() > 0.1


def test_dnaedit_from_pure_noise_is_exact_on_gaussians():
    found = dnaedit(X, SOURCE, TARGET, WHOLE, NOISE, eta=1.0)
    assert (found - (X + M_TGT - M_SRC)).abs().max() < 1e-12


def test_dnaedit_is_its_recursion():
    """As its code has it: the noise is moved by the error of the velocity."""
    eta, z, eps, kept = 0.8, X.numpy(), NOISE(0, 0).numpy(), []
    for t, t_next in pairwise(GRID[::-1]):
        step = t_next - t
        moved = z + step / (1 - t) * (eps - z)
        v = waves(torch.tensor(moved), t_next).numpy()
        error = (moved - z) / step - v
        z, eps = moved - error * step, eps - error * (1 - t)
        kept.append((error * step, v))
    ref = X.numpy()
    for t, t_next in pairwise(GRID):
        (d, v), h = kept.pop(), t_next - t
        w = ripples(torch.tensor(z + d), t).numpy()
        ref = ref + h * (w - v)
        z = z + h * (eta * w + (1 - eta) * (z - ref) / t)
    assert np.abs(dnaedit(X, waves, ripples, GRID, NOISE, eta=eta).numpy() - z).max() < 1e-12


EDITS = {
    "rf_inversion": lambda **k: rf_inversion(X, waves, ripples, GRID, NOISE, eta=[0.5], **k),
    "rf_inversion, stochastic": lambda **k: rf_inversion(X, waves, ripples, GRID, NOISE, stochastic=True, **k),
    "uniedit_flow": lambda **k: uniedit_flow(X, waves, ripples, GRID, omega=0.5, **k),
    "steerflow": lambda **k: steerflow(X, waves, ripples, GRID, closing=1, **k),
    "dnaedit": lambda **k: dnaedit(X, waves, ripples, GRID, NOISE, **k),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_mask_keeps_the_source_and_is_asked_once_a_step_and_callbacks_hear_both_ways(edit):
    asked, heard = [], []

    def mask(step):
        asked.append(step)
        return MASK

    z = edit(mask=mask, callback=lambda step: heard.append((step.index, step.total)))
    outside = (MASK == 0).expand_as(X)
    assert (z - X)[outside].abs().max() < 1e-12
    assert (z - X)[~outside].abs().max() > 0.05
    assert asked == [0, 1, 2, 3]
    assert heard == [(i, 8) for i in range(8)]
    soft = torch.where(MASK > 0, 0.7, 0.3)
    pinned = edit(mask=soft, preserve=True)
    assert (pinned - X)[outside].abs().max() < 1e-12
    assert (edit(mask=soft) - X)[outside].abs().max() > 1e-3


def test_no_steps_return_the_source_without_an_evaluation():
    def never(z, t):
        raise AssertionError("evaluated")

    for edit in (rf_inversion, dnaedit):
        assert torch.equal(edit(X, never, never, [0.0], NOISE), X)
    for edit in (uniedit_flow, steerflow):
        assert torch.equal(edit(X, never, never, [0.0]), X)


class Killed(BaseException):
    pass


LATENT = torch.randn((1, 3, 3, 8, 8), generator=torch.Generator().manual_seed(0))
PROMPTS = {"source": "a red fox runs", "target": "a big panda runs", "target_words": "panda", "mask": "attention"}
KINDS = {
    "rf_inversion": {},
    "rf_inversion, stochastic": {"mode.stochastic": True, "mode.down_pull": 0.5, "mode.pull_share": 0.5},
    "uniedit_flow": {"mode.omega": 0.5},
    "steerflow": {},
    "dnaedit": {},
    "fireflow": {"attention": "none"},  # what it takes of the way up is not kept: with it an edit starts anew
    "ddim_inversion": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_edit_goes_on_to_the_same_bytes(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "SHARE", 0.0)
    options = PROMPTS | {"mode": kind.partition(",")[0], "steps": 4, "strength": 1.0} | KINDS[kind]
    made = brief(compose.compose(options))

    def run(folder, callback=None):
        backbone, journal = ToyBackbone(), resume.Journal(folder)
        session, grid = Session(backbone.device, callback=callback), tuple(make_grid(made.settings, backbone))
        return steer(made, backbone, LATENT, grid, ((0, 3),), slice(None), session, journal=journal)

    whole = run(None)
    assert whole.z.isfinite().all()
    assert whole.evaluations == network_evaluations(made.settings)
    for at in range(0, 8, 1):
        folder = tmp_path / str(at)
        folder.mkdir()

        def kill(step, at=at):
            if step.index == at:
                raise Killed

        with pytest.raises(Killed):
            run(folder, kill)
        seen = []
        done = run(folder, lambda step, seen=seen: seen.append(step.index))
        assert seen == list(range(at + 1, 8))
        assert torch.equal(done.z, whole.z)
        assert done.evaluations == whole.evaluations


INJECTED = {"attention.values": 1.0, "attention.values_steps": (0.0, 1 / 8), "attention.keys": 0.0}
NUMBERS = {
    "rf_inversion": (28 + 2 * 28, {"strength": 1.0, "target_guidance_scale": 3.5, "mode.up_pull": 0.5}),
    "uniedit_flow": (3 * 12 + 1, {"strength": 0.8, "target_guidance_scale": 1.0, "mode.omega": 5.0}),
    "steerflow": (31 + 2 * 30, {"strength": 1.0, "target_guidance_scale": 6.5, "mode.alpha": 5.5}),
    "dnaedit": (27 + 2 * 27, {"strength": 0.675, "target_guidance_scale": 3.5, "mode.target_share": 0.8}),
    "fireflow": (9 + 2 * 9, {"strength": 1.0, "target_guidance_scale": 2.0, "mode.solver": "fireflow"} | INJECTED),
    "ddim_inversion": (150, {"strength": 1.0, "target_guidance_scale": 7.5, "mode.solver": "euler"}),
}


@pytest.mark.parametrize("mode", NUMBERS)
def test_a_mode_carries_the_published_numbers_and_pays_for_them(mode):
    cost, numbers = NUMBERS[mode]
    settings = compose.compose({"mode": mode, "backbone": "cogvideox-2b", "source": "a fox", "target": "a panda"})
    assert {key: value_at(settings, key) for key in numbers} == numbers
    assert settings.mask.name == "none"
    assert network_evaluations(settings) == cost
    assert of_unused(brief(settings)) == []


def test_a_way_up_under_the_empty_prompt_needs_no_source_and_takes_no_words_of_it():
    options = {"mode": "rf_inversion", "target": "a panda", "mask": "attention", "source_words": "fox"}
    settings = compose.compose(options | {"source_words": ""})
    clip = array_clip(np.zeros((9, 64, 64, 3), np.uint8), 8, settings)
    made = check(settings, clip)
    assert not made.reads_source
    made = brief(compose.compose(options | {"source": "a fox", "target_words": "panda", "edit_strength": 2.0}))
    assert made.sides == {"target": "panda"}
    assert made.scales["target"] == (3.5,)
    assert any("never looks at the source prompt" in text for text in of_region(made))
    assert any(text.startswith("edit_strength=2.0 has no effect") for text in of_unused(made))
    with pytest.raises(ValueError, match="no source prompt"):
        check(compose.compose({"mode": "rf_inversion", "target": "a panda", "mode.up_prompt": "source"}), clip)
