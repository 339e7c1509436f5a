"""Grids of times: the model's own knots, uniform, shifted, or a user's; and where on a grid an edit starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from flowedit.messages import InputError
from flowedit.tensors import Tensor


class ModelTimes(NamedTuple):
    """What a grid of times is made of, of a model: its knots (T,) descending, and what `BackboneSpec` says of both."""

    knots: Tensor
    shift: float = 1.0
    strength_shift: float | None = None


def chosen(
    of: ModelTimes,
    kind: str,
    steps: int,
    strength: float,
    *,
    shift: float = 1.0,
    given_times: Sequence[float] | None = None,
) -> list[float]:
    """The times that are run: a whole grid (model, uniform, shifted by `shift`, or given), cut to its strength.

    The model's own grid is its knots in trailing spacing, or shifted, where its checkpoint says so. So that a strength
    is the same noise on every model, it is cut where `strength_shift` says, not at a share of its knots. Raises
    InputError for what no grid can be.
    """
    run = intervals(strength, steps)
    if of.strength_shift is not None and kind != "given" and 0 < run < steps:
        return _cut_alike(of, kind, run, run / steps, shift)
    grids = {
        "given": lambda: given(given_times, float(of.knots[0])),
        "shifted": lambda: shifted(of.knots, steps, shift),
        "uniform": lambda: uniform(of.knots, steps),
        "model": lambda: model(of.knots, steps) if of.shift == 1.0 else shifted(of.knots, steps, of.shift),
    }
    return start(grids[kind](), strength)


def _cut_alike(of: ModelTimes, kind: str, run: int, share: float, shift: float) -> list[float]:
    """The last `run` times, from the noise that this strength is on every released backbone."""
    if kind != "model":
        return shifted(of.knots, run, shift if kind == "shifted" else 1.0, share)
    top = shifted_time(share, of.strength_shift or 1.0)
    if of.shift == 1.0:
        return model_below(of.knots, run, top)
    return shifted(of.knots, run, of.shift, share=top / (of.shift - (of.shift - 1.0) * top))


def intervals(strength: float, steps: int) -> int:
    """How many intervals of a grid of so many a strength runs."""
    return min(int(strength * steps + 1e-9), steps)


def model(knots: Tensor, steps: int) -> list[float]:
    """`steps` of the model's own knots (T,) in trailing spacing, then 0 (Lin et al. 2024, table 2)."""
    _require_steps(steps, len(knots))
    last = len(knots)
    # Trailing spacing counts timesteps down from T; a knot's place in the descending list is T - timestep.
    places = [last - round(last - j * last / steps) for j in range(steps)]
    return [float(knots[p]) for p in places] + [0.0]


def uniform(knots: Tensor, steps: int) -> list[float]:
    """t_i = t_max (1 - i / steps), i = 0 ... steps; as `shifted` by 1, so no time but 0 is below the smallest knot."""
    return shifted(knots, steps, shift=1.0)


def model_below(knots: Tensor, steps: int, top: float) -> list[float]:
    """`steps` of the knots (T,) from the one nearest to `top` down, in trailing spacing, then 0.

    Where so many knots do not lie below it, it begins at the first that has them.
    """
    _require_steps(steps, len(knots))
    nearest = int((knots - top).abs().argmin())
    return model(knots[min(nearest, len(knots) - steps) :], steps)


def shifted_time(s: float, shift: float) -> float:
    """t = shift s / (1 + (shift - 1) s), of s in [0, 1] (Esser et al. 2024, eq. 23)."""
    return shift * s / (1.0 + (shift - 1.0) * s)


def shifted(knots: Tensor, steps: int, shift: float, share: float = 1.0) -> list[float]:
    """t_max shift s / (1 + (shift - 1) s) over s = share (1 - i / steps) (Esser et al. 2024, eq. 23), then 0.

    The model was not trained below its smallest knot: a grid that goes lower is squeezed to end there before 0.
    Raises ValueError for shift <= 0.
    """
    if not shift > 0:
        raise InputError(f"grid shift {shift} must be above 0; 1 is uniform, 3 to 12 take more of the steps near noise")
    _require_steps(steps)
    top, bottom = float(knots[0]), float(knots[-1])
    s = [share * (1.0 - i / steps) for i in range(steps)]
    times = [top * shifted_time(x, shift) for x in s]
    if times[-1] < bottom and steps > 1:
        first = times[0]
        stretch = (first - bottom) / (first - times[-1])
        times = [first - (first - t) * stretch for t in times]
    return [*(min(top, t) for t in times), 0.0]  # rounding must not leave [0, 1]


def shift_of(schedule: Mapping[str, Any]) -> tuple[float, float]:
    """The shift at no tokens, and what its logarithm grows by with each: e^mu, mu linear in the picture's tokens.

    mu is base_shift at base_image_seq_len tokens and max_shift at max_image_seq_len (`calculate_shift` of diffusers'
    FluxPipeline). Without use_dynamic_shifting it is the file's `shift`, whatever the size.
    """
    if not schedule.get("use_dynamic_shifting"):
        return float(schedule.get("shift", 1.0)), 0.0
    first, last = float(schedule.get("base_shift", 0.5)), float(schedule.get("max_shift", 1.15))
    few, many = int(schedule.get("base_image_seq_len", 256)), int(schedule.get("max_image_seq_len", 4096))
    growth = (last - first) / (many - few)
    return math.exp(first - growth * few), growth


def given(times: Sequence[float] | None, top: float = 1.0) -> list[float]:
    """A user's own grid; raises ValueError for none, and unless it falls strictly, from at most 1 to exactly 0.

    Nor does it begin above `top`, the largest time of a model.
    """
    if times is None:
        raise InputError("mode.grid=given needs mode.times, such as mode.times=[1,0.9,0.7,0]")
    grid = [float(t) for t in times]
    falls = all(a > b for a, b in pairwise(grid))
    if len(grid) < 2 or not falls or grid[0] > 1.0 or grid[-1] != 0.0:
        raise InputError(f"a grid must fall strictly from at most 1 to exactly 0, not {grid}")
    if grid[0] > top:
        raise InputError(f"mode.times begins at {grid[0]:g}, and this model was trained up to {top:.4g}: begin there")
    return grid


def start(grid: Sequence[float], strength: float) -> list[float]:
    """The last int(strength * steps) intervals of a grid, as in diffusers; [0] at strength 0.

    Raises ValueError for a strength outside [0, 1], and as `check_run` does.
    """
    if not 0.0 <= strength <= 1.0:
        raise InputError(f"strength {strength} is outside [0, 1]; 0 keeps the clip, 1 starts from pure noise")
    steps = len(grid) - 1
    run = intervals(strength, steps)
    check_run(run, steps, strength)
    return list(grid[steps - run :])


def check_run(run: int, steps: int, strength: float) -> None:
    """Raise ValueError for a strength above 0 at which none of the grid's steps is run."""
    if strength > 0 and run == 0:
        raise InputError(f"strength {strength} of {steps} steps runs none; use at least {1 / steps:.3g}, or more steps")


def _require_steps(steps: int, most: int | None = None) -> None:
    if steps < 1 or (most is not None and steps > most):
        raise InputError(f"steps {steps} must be at least 1" + (f" and at most {most}" if most else ""))
