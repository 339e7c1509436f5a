"""The target preference: its closed form for clips of one point, and what it refuses."""

import pytest
import torch

from flowedit.flow import noise
from flowedit.metrics.part import ModelView
from flowedit.metrics.preference import TIMES, preference

SHAPE = (1, 4, 3, 5, 6)
SOURCE, TARGET = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def view(x, source=SOURCE, target=TARGET, seed=0):
    """A model whose prompts each know one clip m: u(z, t) = (z - m) / t, so that E = |x - m|^2 / t^2."""
    velocities = {"source": lambda z, t: (z - source) / t, "target": lambda z, t: (z - target) / t}
    return ModelView(x, velocities, noise.gaussian(seed, SHAPE, torch.device("cpu")), torch.linspace(1, 0.01, 100))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_it_is_the_share_of_the_errors_of_both_prompts(share):
    x = (1 - share) * SOURCE + share * TARGET
    before, after = share**2, (1 - share) ** 2
    assert preference(view(x)) == pytest.approx(100 * (before - after) / (before + after), abs=1e-4)


def test_swapped_prompts_turn_its_sign_and_equal_ones_make_it_nothing():
    x = 0.3 * SOURCE + 0.7 * TARGET
    assert preference(view(x)) == pytest.approx(-preference(view(x, TARGET, SOURCE)))
    assert preference(view(x, SOURCE, SOURCE)) == 0


def test_each_time_counts_alike_and_is_a_knot():
    asked = []

    def velocity(z, t):
        asked.append(t)
        return torch.zeros_like(z)

    seen = ModelView(
        SOURCE, {"source": velocity, "target": velocity}, lambda step, draw: TARGET, torch.linspace(1, 0, 11)
    )
    assert preference(seen) == 0
    assert asked[::2] == asked[1::2]
    assert asked[::2] == pytest.approx([0.3, 0.5, 0.6, 0.8, 0.9], abs=0.051)
    assert len(asked) == 2 * len(TIMES)


def test_a_clip_without_error_is_refused():
    exact = dict.fromkeys(("source", "target"), lambda z, t: TARGET - SOURCE)
    with pytest.raises(ValueError, match="nothing to compare"):
        preference(ModelView(SOURCE, exact, lambda step, draw: TARGET, torch.linspace(1, 0, 11)))
