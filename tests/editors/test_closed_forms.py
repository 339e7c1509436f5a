"""Every editor and solver against exact flows of Gaussians, and against its recursion written out in NumPy."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from fields import Gaussian, noises

from flowedit.editors import averaging
from flowedit.editors.common import blend
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.editors.through_noise.inversion import inversion
from flowedit.editors.through_noise.random_noise import random_noise
from flowedit.flow.noise import antithetic
from flowedit.flow.solvers import SOLVERS, solve, times, way_down

SHAPE = (1, 2, 3, 4, 5)
C = 0.6
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
M_SRC, M_TGT = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
SOURCE, TARGET = Gaussian(M_SRC, C), Gaussian(M_TGT, C)
GRIDS = {
    "uniform": list(np.linspace(1, 0, 8)),
    "shifted": [1.0, 0.97, 0.9, 0.7, 0.2, 0.0],
    "one": [1.0, 0.0],
}
ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "fireflow": 2, "uni_inv": 1}
# s(t)^2 is a quadratic in t, for which the midpoint rule gains an order; `Wave` shows its plain one.
ON_GAUSSIANS = ORDERS | {"midpoint": 3}
# FireFlow's error of order 2 is small there beside that of order 3: it is seen in fine grids.
COARSE = dict.fromkeys(ORDERS, 40) | {"fireflow": 1280}


def uniform(t0, steps):
    return [float(t) for t in np.linspace(t0, 0, steps + 1)]


def moved(t0):
    """How far an exact edit of equal covariances carries a clip from time t0, as a share of m_tgt - m_src."""
    return 1 - (1 - t0) * C / math.sqrt((1 - t0) ** 2 * C**2 + t0**2)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("draws", [1, 3])
def test_inversion_free_from_pure_noise_is_exact_on_any_grid(grid, draws):
    z = inversion_free(X, SOURCE, TARGET, grid, noises(SHAPE), draws=draws)
    assert (z - (X + M_TGT - M_SRC)).abs().max() < 1e-12


@pytest.mark.parametrize("coupling", [0.0, 0.3, 1.0])
def test_a_coupling_follows_its_recursion_on_gaussians(coupling):
    """V = k (kappa D - (1 - t) dm) - dm for D = Z - X, dm = m_tgt - m_src: whatever the noise."""
    grid, share = uniform(0.8, 7), 0.0
    for t, t_next in pairwise(grid):
        kappa = 1 - t + coupling * t
        share += (t_next - t) * (SOURCE.k(t) * (kappa * share - (1 - t)) - 1)
    z = inversion_free(X, SOURCE, TARGET, grid, noises(SHAPE), coupling=coupling)
    assert (z - (X + share * (M_TGT - M_SRC))).abs().max() < 1e-12


def waves(z, t):
    return torch.sin(3 * z) + t * z


def test_a_coupling_of_one_is_plain_to_the_bit_and_of_zero_noises_the_edit_as_the_source():
    grid, noise = uniform(0.9, 5), noises(SHAPE)
    plain = inversion_free(X, SOURCE, waves, grid, noise)
    assert torch.equal(inversion_free(X, SOURCE, waves, grid, noise, coupling=1.0), plain)
    z = X
    for i, (t, t_next) in enumerate(pairwise(grid)):  # DDS (Hertz et al. 2023), on the bridge
        eps = noise(i, 0)
        z = z + (t_next - t) * (waves((1 - t) * z + t * eps, t) - SOURCE((1 - t) * X + t * eps, t))
    found = inversion_free(X, SOURCE, waves, grid, noise, coupling=0.0)
    assert (found - z).abs().max() < 1e-12
    assert (found - plain).abs().max() > 1e-2


def test_single_draws_are_those_of_an_edit_with_one_draw_and_come_last():
    grid, noise = uniform(0.9, 6), noises(SHAPE)
    run = partial(inversion_free, X, SOURCE, waves, grid, noise)
    assert torch.equal(run(draws=3, single_draw_steps=6), run(draws=1))
    assert torch.equal(run(draws=3, single_draw_steps=9), run(draws=1))
    assert torch.equal(run(draws=3, single_draw_steps=0), run(draws=3))
    taken = []
    inversion_free(
        X, SOURCE, waves, grid, lambda i, d: taken.append((i, d)) or noise(i, d),
        draws=2, single_draw_steps=2, fixed_noise_steps=1, target_only_steps=1,
    )  # fmt: skip
    assert taken == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 0)]


def test_antithetic_draws_cancel_what_is_odd_in_the_noise():
    """V = z_tgt - 2 z_src is linear in the noise: with pairs no edit depends on the seed."""
    doubled, grid = lambda z, t: 2 * z, uniform(0.8, 5)
    run = partial(inversion_free, X, doubled, lambda z, t: z, grid, draws=2)
    first, second = (run(antithetic(noises(SHAPE, seed), 2)) for seed in (1, 2))
    assert (first - second).abs().max() < 1e-12
    assert (run(noises(SHAPE, 1)) - run(noises(SHAPE, 2))).abs().max() > 1e-2


def measured_order(run, exact, coarse=40):
    errors = [(run(n) - exact).norm().item() for n in (coarse, 2 * coarse, 4 * coarse)]
    return math.log2(errors[1] / errors[2]), errors


@pytest.mark.parametrize("t0", [0.4, 0.8])
def test_inversion_free_converges_at_order_one(t0):
    order, errors = measured_order(
        lambda n: inversion_free(X, SOURCE, TARGET, uniform(t0, n), noises(SHAPE)), X + moved(t0) * (M_TGT - M_SRC)
    )
    assert order == pytest.approx(1, abs=0.1), errors


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("t0", [0.5, 0.9])
def test_inversion_converges_at_the_order_of_its_solver(name, t0):
    order, errors = measured_order(
        lambda n: inversion(X, SOURCE, TARGET, uniform(t0, n), method=SOLVERS[name]),
        X + moved(t0) * (M_TGT - M_SRC),
        COARSE[name],
    )
    assert order == pytest.approx(ON_GAUSSIANS[name], abs=0.1), errors


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("t0", [0.5, 1.0])
def test_random_noise_converges_at_the_order_of_its_solver(name, t0):
    start = (1 - t0) * X + t0 * noises(SHAPE)(0, 0)
    order, errors = measured_order(
        lambda n: random_noise(X, TARGET, uniform(t0, n), noises(SHAPE), method=SOLVERS[name]),
        TARGET.flow(start, t0, 0.0),
        COARSE[name],
    )
    assert order == pytest.approx(ON_GAUSSIANS[name], abs=0.1), errors


class Wave:
    """dz/dt = -z^2 cos 3t, whose solution is 1 / (1 / z0 + (sin 3t - sin 3t0) / 3)."""

    def __call__(self, z, t):
        return -z.square() * math.cos(3 * t)

    def flow(self, z, t, t_next):
        return 1 / (1 / z + (math.sin(3 * t_next) - math.sin(3 * t)) / 3)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("grid", [(1.0, 0.0), (0.1, 0.9)])
def test_solvers_show_their_order_both_ways(name, grid):
    start, field = 0.5 + torch.rand(SHAPE, dtype=torch.float64), Wave()
    order, errors = measured_order(
        lambda n: solve(field, start, list(np.linspace(*grid, n + 1)), SOLVERS[name]),
        field.flow(start, *grid),
        coarse=200,
    )
    assert order == pytest.approx(ORDERS[name], abs=0.1), errors


def test_inversion_free_is_its_recursion():
    grid, noise, last = [0.9, 0.7, 0.4, 0.15, 0.0], noises(SHAPE, 3), 2
    ours = inversion_free(X, SOURCE, TARGET, grid, noise, draws=2, target_only_steps=last)
    z = x = X.numpy()
    for i in range(4 - last):
        t, flow = grid[i], 0
        for d in range(2):
            q = (1 - t) * x + t * noise(i, d).numpy()
            p = q + (z - x)
            flow = flow + (TARGET(torch.tensor(p), t) - SOURCE(torch.tensor(q), t)).numpy() / 2
        z = z + (grid[i + 1] - t) * flow
    z = (1 - grid[2]) * x + grid[2] * noise(2, 0).numpy() + (z - x)
    for i in range(2, 4):
        z = z + (grid[i + 1] - grid[i]) * TARGET(torch.tensor(z), grid[i]).numpy()
    assert np.abs(ours.numpy() - z).max() < 1e-12


def test_up_by_uni_inv_and_down_by_euler_gives_the_start_back_an_order_better():
    start, field = 0.5 + torch.rand(SHAPE, dtype=torch.float64), Wave()

    def there_and_back(n, name):
        grid = list(np.linspace(0.1, 0.9, n + 1))
        return solve(field, solve(field, start, grid, SOLVERS[name]), grid[::-1])

    for name, expected in (("uni_inv", 2), ("euler", 1)):
        order, errors = measured_order(lambda n, name=name: there_and_back(n, name), start, coarse=200)
        assert order == pytest.approx(expected, abs=0.1), errors


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("down", [False, True])
def test_a_solver_evaluates_at_the_times_that_it_says(name, steps, down):
    seen, grid = [], list(np.linspace(*((0.9, 0.0) if down else (0.0, 0.9)), steps + 1)) if steps else [0.0]
    solve(lambda z, t: seen.append(t) or z, X, grid, SOLVERS[name])
    assert seen == times(name, grid)


def test_a_solver_remembers_nothing_of_another_way():
    """The memory is an editor's, for both of its ways: each begins anew."""
    memory, grid = {}, uniform(0.9, 3)
    first = solve(SOURCE, X, grid[::-1], SOLVERS["fireflow"], memory=memory)
    assert set(memory) == {"velocity"}
    assert torch.equal(
        solve(TARGET, first, grid, SOLVERS["fireflow"], memory=memory),
        solve(TARGET, first, grid, SOLVERS["fireflow"]),
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_inversion_is_its_recursion(name):
    grid = [0.9, 0.5, 0.2, 0.0]

    def path(field, z, times, name):
        last = None
        for t, t_next in pairwise(times):
            h, u = t_next - t, field(torch.tensor(z), t).numpy()
            if name in ("midpoint", "fireflow"):
                toward = u if last is None or name == "midpoint" else last
                last = u = field(torch.tensor(z + h / 2 * toward), t + h / 2).numpy()
            if name == "uni_inv":
                last = u = field(torch.tensor(z + h * (u if last is None else last)), t_next).numpy()
            if name == "heun" and t_next != 0:
                u = (u + field(torch.tensor(z + h * u), t_next).numpy()) / 2
            z = z + h * u
        return z

    top = path(SOURCE, X.numpy(), grid[::-1], name)
    z = path(TARGET, top, grid, way_down(name))
    ours = inversion(X, SOURCE, TARGET, grid, method=SOLVERS[name], down=SOLVERS[way_down(name)])
    assert np.abs(ours.numpy() - z).max() < 1e-12


def test_random_noise_is_its_recursion():
    grid, eps = [0.8, 0.3, 0.0], noises(SHAPE)(0, 0)
    z = 0.2 * X + 0.8 * eps
    z = z + (0.3 - 0.8) * TARGET(z, 0.8)
    z = z + (0.0 - 0.3) * TARGET(z, 0.3)
    assert (random_noise(X, TARGET, grid, noises(SHAPE)) - z).abs().max() < 1e-12


def test_reconstruction_error_is_that_of_the_way_back():
    told, grid = [], uniform(0.9, 20)
    inversion(X, SOURCE, TARGET, grid, reconstruction=told.append)
    back = solve(SOURCE, solve(SOURCE, X, grid[::-1]), grid)
    assert told == [pytest.approx((back - X).square().mean().sqrt().item(), rel=1e-12)]
    assert told[0] > 1e-4


AVERAGES = {
    "mean": (1, averaging.mean),
    "first": (4, averaging.differential("first", 2, 1.75)),
    "least_aligned": (3, averaging.differential("least_aligned", 2, 2.75)),
}


@pytest.mark.parametrize(("draws", "average"), AVERAGES.values(), ids=AVERAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_prompts_return_the_source_to_the_bit(draws, average, dtype):
    x, field = X.to(dtype), Gaussian(M_SRC.to(dtype), C)
    z = inversion_free(x, field, field, uniform(1.0, 7), noises(SHAPE, dtype=dtype), draws=draws, average=average)
    assert torch.equal(z, x)


def test_no_steps_return_the_source_without_an_evaluation():
    def never(z, t):
        raise AssertionError("evaluated")

    noise = noises(SHAPE)
    assert torch.equal(inversion_free(X, never, never, [0.0], noise), X)
    assert torch.equal(inversion(X, never, never, [0.0], noise), X)
    assert torch.equal(random_noise(X, never, [0.0], noise), X)


MASK = torch.zeros(1, 1, *SHAPE[2:], dtype=torch.float64)
MASK[..., :2] = 1
EDITORS = {
    "random_noise": lambda **k: random_noise(X, TARGET, uniform(0.8, 6), noises(SHAPE), **k),
    "inversion": lambda **k: inversion(X, SOURCE, TARGET, uniform(0.8, 6), **k),
    "inversion_free": lambda **k: inversion_free(X, SOURCE, TARGET, uniform(0.8, 6), noises(SHAPE), **k),
    "target_only": lambda **k: inversion_free(
        X, SOURCE, TARGET, uniform(0.8, 6), noises(SHAPE), target_only_steps=2, **k
    ),
}


@pytest.mark.parametrize("edit", EDITORS.values(), ids=EDITORS)
def test_a_mask_keeps_the_source_outside_and_the_edit_inside(edit):
    z = edit(mask=MASK)
    outside, inside = (MASK == 0).expand_as(X), (MASK == 1).expand_as(X)
    assert (z - X)[outside].abs().max() < 1e-12
    # these fields act on each site alone, so inside the mask nothing differs from the unmasked edit
    assert (z - edit())[inside].abs().max() < 1e-12
    assert (z - X)[inside].abs().max() > 0.1


@pytest.mark.parametrize("edit", EDITORS.values(), ids=EDITORS)
def test_a_mask_is_asked_for_once_a_step_in_order(edit):
    asked = []

    def mask(step):
        asked.append(step)
        return MASK

    edit(mask=mask)
    assert asked == list(range(6))


def test_random_noise_outside_a_mask_is_the_noised_source_at_every_step():
    seen, eps, grid = [], noises(SHAPE)(0, 0), uniform(0.8, 6)
    random_noise(X, TARGET, grid, noises(SHAPE), mask=MASK, callback=lambda s: seen.append(s.z))
    for z, t in zip(seen, grid[1:], strict=True):
        assert ((z - ((1 - t) * X + t * eps)) * (1 - MASK)).abs().max() < 1e-12


def test_inversion_outside_a_mask_follows_the_stored_way_up():
    up, down, grid = [], [], uniform(0.8, 4)

    def keep(step):
        (up if step.index < 4 else down).append(step.z)

    inversion(X, SOURCE, TARGET, grid, mask=MASK, callback=keep)
    for z, path in zip(down, [*reversed(up[:-1]), X], strict=True):
        assert ((z - path) * (1 - MASK)).abs().max() < 1e-12


@pytest.mark.parametrize("edit", EDITORS.values(), ids=EDITORS)
def test_preserve_pins_sites_whose_mask_is_below_one_half(edit):
    soft = torch.full_like(MASK, 0.3)
    soft[..., :2] = 0.7
    free, pinned = edit(mask=soft), edit(mask=soft, preserve=True)
    assert (pinned - X)[..., 2:].abs().max() < 1e-12
    assert (free - X)[..., 2:].abs().max() > 0.01
    assert torch.equal(pinned[..., :2], free[..., :2])


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_a_constant_soft_mask_acts_once_whatever_the_number_of_steps(steps):
    grid, z, outside = uniform(0.8, steps), torch.tensor([1.0], dtype=torch.float64), torch.zeros(1)
    for step in range(steps):
        z = blend(z, outside.double(), torch.tensor([0.3]), grid, step)
    assert z.item() == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("edit", EDITORS.values(), ids=EDITORS)
def test_callbacks_count_every_step(edit):
    steps = []
    edit(callback=steps.append)
    passes = 2 if edit is EDITORS["inversion"] else 1
    assert [s.index for s in steps] == list(range(6 * passes))
    assert {s.total for s in steps} == {6 * passes}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", EDITORS)
def test_a_state_that_is_not_finite_names_its_first_step_and_time(name, bad):
    grid = uniform(0.8, 6)

    def broken(z, t):
        return TARGET(z, t) + (bad if t < 0.5 else 0.0)

    run = {
        "random_noise": lambda: random_noise(X, broken, grid, noises(SHAPE)),
        "inversion": lambda: inversion(X, SOURCE, broken, grid),
        "inversion_free": lambda: inversion_free(X, SOURCE, broken, grid, noises(SHAPE)),
        "target_only": lambda: inversion_free(X, SOURCE, broken, grid, noises(SHAPE), target_only_steps=6),
    }[name]
    with pytest.raises(FloatingPointError, match=r"step 4 \(t = 0.4000\).*bfloat16"):
        run()


@pytest.mark.parametrize(("options", "match"), [({"draws": 0}, "draws"), ({"target_only_steps": 7}, "target_only")])
def test_counts_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        EDITORS["inversion_free"](**options)
