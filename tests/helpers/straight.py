"""What the tests of editors that go straight share: fields in NumPy, and a run of an editor on them."""

import numpy as np
import torch
from fields import Gaussian, noises

from flowedit.config import compose
from flowedit.editors.spec import EDITORS, EditorInputs

SHAPE = (1, 3, 3, 6, 5)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
GRID = (0.95, 0.8, 0.6, 0.35, 0.15, 0.0)
NOISE = noises(SHAPE, 5)
STRAIGHT = tuple(
    name
    for name, each in EDITORS.items()
    if each.run.__module__.startswith("flowedit.editors.straight.") and name != "inversion_free"
)
"""All but `inversion_free`, which has tests of its own; one that is added is among them by itself."""
MASK = torch.rand((1, 1, *SHAPE[2:]), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
MASK[..., 0] = 0.0
MASK[..., 1] = 1.0


def field(k):
    """A non-linear field that mixes neighbours, in NumPy."""
    return lambda z, t: np.tanh(z * (1 + 0.3 * k) + t * np.roll(z, 1, 3)) - 0.4 * z + 0.5 * np.sin(2 * z + k)


SOURCE, TARGET, *PARTS = (field(k) for k in range(4))


def on_torch(function):
    return lambda z, t: torch.from_numpy(function(z.numpy(), t))


def options_of(name, **values):
    """The options of a mode as conf/ has them, with others."""
    return compose.compose({"mode": name}, [f"mode.{key}={value}" for key, value in values.items()]).mode


def run(name, source=SOURCE, target=TARGET, parts=(), grid=GRID, mask=None, draws=1, options=None, **more):
    sides = [each if isinstance(each, Gaussian) else on_torch(each) for each in (source, target)]
    inputs = EditorInputs(
        x_src=X,
        velocities=dict(zip(("source", "target"), sides, strict=True)),
        grid=grid,
        noise=NOISE,
        mask=mask,
        draws=draws,
        parts=tuple(each if isinstance(each, Gaussian) else on_torch(each) for each in parts),
        **more,
    )
    return EDITORS[name].run(inputs, options or options_of(name))


def eps(i, draw=0):
    return NOISE(i, draw).numpy()


def at(i):
    """(x, t, t_next, q) of step i, with its first noise."""
    x, t = X.numpy(), GRID[i]
    return x, t, GRID[i + 1], (1 - t) * x + t * eps(i)


def close(ours, theirs, within=1e-12):
    return np.abs(ours.numpy() - theirs).max() < within * max(1, np.abs(theirs).max())
