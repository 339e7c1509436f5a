"""Mean velocities in closed form: which solvers they are exact with, which way, and which are refused in one line."""

import math
from itertools import pairwise

import pytest
import torch

from flowedit.editors.spec import EDITORS
from flowedit.flow import intervals
from flowedit.flow.intervals import on_grid
from flowedit.flow.solvers import SOLVERS, solve, way_down
from flowedit.messages import InputError

K = 3.0
GRID = [1.0, 0.75, 0.5, 0.25, 0.0]
ONE = torch.ones((1, 1, 1, 1, 1), dtype=torch.float64)


def mean(z, t, t_next):
    """Of dz/dt = K z: the mean over [t_next, t] on the flow from z at t."""
    h = t_next - t
    return K * z if h == 0 else z * math.expm1(K * h) / h


def even(steps):
    return [1.0 - i / steps for i in range(steps)] + [0.0]


def came_back(name, grid):
    """How far from the start the way up by this solver and its way down end."""
    velocity = on_grid(mean, grid)
    top = solve(velocity, ONE, grid[::-1], SOLVERS[name])
    return abs(float(solve(velocity, top, grid, SOLVERS[way_down(name)])) - 1.0)


@pytest.mark.parametrize("grid", [GRID, [1.0, 0.0], [0.9, 0.89, 0.2, 0.0]])
def test_euler_down_is_the_flow_itself_on_any_grid(grid):
    found = solve(on_grid(mean, grid), ONE, grid)
    assert float(found) == pytest.approx(math.exp(-K * grid[0]), abs=1e-12)


@pytest.mark.parametrize(("name", "ends"), [("midpoint", 0.0402), ("heun", 0.108), ("fireflow", 0.104)])
def test_all_that_is_refused_misses_the_flow_by_far(name, ends):
    found = float(solve(on_grid(mean, GRID), ONE, GRID, SOLVERS[name]))
    assert found == pytest.approx(ends, abs=5e-4)
    assert abs(found - math.exp(-K)) > 0.009


def test_uni_inv_up_is_its_recursion_with_the_mean_of_each_step():
    rising, z = GRID[::-1], 1.0
    v = K * z  # at the clean end, where no step begins
    for t, t_next in pairwise(rising):
        h = t_next - t
        v = (z + h * v) * (1.0 - math.exp(-K * h)) / h
        z += h * v
    assert float(solve(on_grid(mean, GRID), ONE, rising, SOLVERS["uni_inv"])) == pytest.approx(z, rel=1e-12)


def test_a_way_up_by_uni_inv_comes_back_an_order_better_than_by_euler():
    order = {name: math.log2(came_back(name, even(64)) / came_back(name, even(128))) for name in ("uni_inv", "euler")}
    assert order["uni_inv"] == pytest.approx(2.0, abs=0.15)
    assert order["euler"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("rises", [True, False])
def test_every_solver_that_looks_elsewhere_than_at_a_step_s_upper_end_is_refused(name, rises):
    if name in ("euler", "uni_inv"):
        intervals.check_solver("anyflow", name, rises)
        return
    with pytest.raises(InputError, match=f"anyflow knows mean velocities .*mode.solver={name} looks") as caught:
        intervals.check_solver("anyflow", name, rises)
    assert "\n" not in str(caught.value)
    assert ("uni_inv" in str(caught.value)) == rises


def test_editors_of_two_ways_say_by_which_solver_they_go_up():
    fixed = {name: each.solver(None) for name, each in EDITORS.items() if each.rises(None, 4) and name != "inversion"}
    by_uni_inv = dict.fromkeys(("uniedit_flow", "steerflow", "flowopt", "dnaedit"), "uni_inv")
    assert fixed == by_uni_inv | {"rf_inversion": "euler"}
