"""Quality: the share of a mode's own steps that is run, and with it the network evaluations that an edit takes."""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flowedit.declare import option, options_of


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """How many of the steps that a mode has in conf/ are run."""

    name: Literal["draft", "fast", "balanced", "best"] = option("how many of the mode's steps are run")
    share: float = option(
        "of the steps of the mode (as many as best runs) the share that is run",
        above=0,
        most=1,
        expected="above 0, at most 1",
        needs="grid_by_steps",
    )


class OverruledQuality(QualityOptions):
    """A quality that was chosen beside steps, which win: equal to any other, but a user is told."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QualityOptions) and (self.name, self.share) == (other.name, other.share)

    __hash__ = QualityOptions.__hash__


def steps_at(whole: int, share: float, strength: float = 1.0) -> int:
    """ceil(share whole), of a grid of `whole` steps, but no fewer than this strength needs to run one of them."""
    least = math.ceil(1.0 / strength - 1e-9) if strength > 0 else 1
    return max(math.ceil(share * whole - 1e-9), min(least, whole))


def at_quality(values: Mapping[str, Any], options: Any, by_hand: Container[str]) -> dict[str, Any]:
    """A composed configuration with its steps, and what else is counted in steps, brought to its quality.

    `options` is the class of the mode's options; what stands in `by_hand`, by its dotted key, was set by the user and
    is left as it is, and with `steps` among it, or with a grid that is given, all else is too.
    """
    share, steps, strength = values["quality"]["share"], values["steps"], values["strength"]
    plain = all(isinstance(each, (int, float)) for each in (share, steps, strength))  # else it is refused later
    counted = "steps" in by_hand or values["mode"].get("grid") == "given"
    if counted or not plain or not 0 < share < 1:
        return dict(values)
    mode = dict(values["mode"])
    for name, declared in options_of(options).items():
        if declared.counts_steps and f"mode.{name}" not in by_hand and isinstance(mode[name], int):
            mode[name] = max(min(1, mode[name]), int(share * mode[name] + 0.5))  # what is there stays
    return {**values, "steps": steps_at(steps, share, strength), "mode": mode}
