"""What a number of network evaluations buys: the steps of a method, and what else is counted in steps."""

from collections.abc import Container
from dataclasses import replace
from typing import Any

from flowedit.config.schema import Settings
from flowedit.declare import options_of
from flowedit.messages import InputError
from flowedit.pipeline.plan import intervals, network_evaluations

MOST_STEPS = 1000
"""A model's own knots are no more."""


def at_steps(settings: Settings, steps: int, by_hand: Container[str] = ()) -> Settings:
    """The settings at so many steps, with what else is counted in steps in proportion: of what there is, 1 at least.

    What stands in `by_hand`, by its dotted key, was set by the user and is left as it is.
    """
    share, mode = steps / settings.steps, settings.mode
    counts = [name for name, declared in options_of(type(mode)).items() if declared.counts_steps]
    own = {name: getattr(mode, name) for name in counts if f"mode.{name}" not in by_hand}
    scaled: dict[str, Any] = {name: max(1, int(share * count + 0.5)) for name, count in own.items() if count > 0}
    return replace(settings, steps=steps, mode=replace(mode, **scaled) if scaled else mode)


def within(settings: Settings, budget: int, by_hand: Container[str] = ()) -> Settings:
    """The settings with the fewest steps whose cost comes nearest to `budget` network evaluations from below.

    What counts steps goes with them, see `at_steps`; what stands in `by_hand` was set by the user, and stays. A
    strength of 0 runs none, and an editor whose cost does not depend on them keeps its own. Raises InputError for a
    budget that does not pay one step, or the editor, and for a given grid of another cost: its steps stand.
    """
    least = _shortest(settings, by_hand)
    if least is None:
        return settings
    name, cost = settings.mode.preset or settings.mode.name, network_evaluations(least)
    if settings.mode.grid == "given":
        if cost != budget:
            raise InputError(f"mode.grid=given takes {cost} network evaluations, not {budget}: choose evaluations=own")
        return settings
    fixed = has_fixed_cost(settings, by_hand)
    if cost > budget:
        paid, whatever = ("", ", whatever its steps") if fixed else ("one step of ", "")
        raise InputError(
            f"{budget} network evaluations do not pay {paid}{name}, which takes {cost}{whatever}: give --evaluations "
            f"{cost} or more"
        )
    if fixed:
        return settings
    best = least
    for steps in range(least.steps + 1, MOST_STEPS + 1):
        tried = at_steps(settings, steps, by_hand)
        if (more := network_evaluations(tried)) > budget:
            break
        if more > cost:
            best, cost = tried, more
    return best


def has_fixed_cost(settings: Settings, by_hand: Container[str] = ()) -> bool:
    """Whether no number of steps changes what these settings cost, though the editor runs: so with one look alone."""
    least = _shortest(settings, by_hand)
    if least is None or settings.mode.grid == "given":
        return False
    return network_evaluations(least) == network_evaluations(at_steps(settings, MOST_STEPS, by_hand))


def _shortest(settings: Settings, by_hand: Container[str]) -> Settings | None:
    """The settings with the fewest steps of which one is run, a given grid as it is; None where none ever is."""
    if settings.mode.grid == "given":
        return settings if intervals(settings) else None
    tried = (at_steps(settings, steps, by_hand) for steps in range(1, MOST_STEPS + 1))
    return next((each for each in tried if intervals(each)), None) if settings.strength else None
