"""The metrics by name. Each is one `Metric`, added in the module of its function, in a plug-in or in a script."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import numpy as np

from flowedit.declare import Registry
from flowedit.messages import InputError
from flowedit.metrics.part import ModelView, Need, Part, Tools

Group = Literal["truth", "source", "time", "prompt", "cost"]
"""What an edit is compared with, or the cost of a run; tables show their columns in this order."""

MASK: frozenset[Need] = frozenset({"mask"})
PAIRS: frozenset[Need] = frozenset({"pairs"})
TARGET: frozenset[Need] = frozenset({"target"})
TRUTH: frozenset[Need] = frozenset({"truth"})


def mean(rows: np.ndarray, _tools: Tools) -> float:
    """The join of most metrics: the mean over frames, or over pairs of neighbours."""
    return float(rows.mean())


def ratio(scale: float, nothing: str) -> Callable[[np.ndarray, Tools], float]:
    """The join of rows (sum, number): scale x sum / number, ValueError with the text `nothing` if the number is 0."""

    def join(rows: np.ndarray, _tools: Tools) -> float:
        total, number = rows.sum(0)
        if not number:
            raise InputError(nothing)
        return float(scale * total / number)

    return join


@dataclass(frozen=True)
class Metric:
    """One metric: what tables call it, where the better values lie, and how it is computed.

    `better` is None for a value that is neither. `part` gives rows (n, ...), one a frame or a pair of neighbours, and
    `join` makes the clip's value of all its rows. Metrics with the same part, or with the same part and join, share
    the results; a join that gives many values gives them by the metrics' names. `model` in their place gives the value
    of a shot from the backbone in use; a clip's is the mean over its shots, by their frames. Without either the value
    comes from the run itself or from `flowedit bench`, and nobody can ask for it. Raises ValueError for an unknown
    group.
    """

    label: str
    group: Group
    better: Literal["higher", "lower"] | None
    _: KW_ONLY
    decimals: int = 2
    share: bool = False
    """Whether the values are zeros and ones, so that their mean is a share."""
    part: Callable[[Part], np.ndarray] | None = None
    join: Callable[[np.ndarray, Tools], float | Mapping[str, float]] = mean
    model: Callable[[ModelView], float] | None = None
    needs: frozenset[Need] = frozenset()
    download: str | None = None
    """What is fetched when the metric first runs, and its size."""
    back: bool = False
    """Whether it is of the edit edited back, with the prompts swapped, in place of the edit: a second edit."""
    default: bool = False
    """Whether it runs without being asked for."""
    five: bool = False
    """Whether it belongs to the protocol of FiVE-Bench (Li et al. 2025)."""
    about: str = ""
    """One sentence, for a label that does not explain itself."""

    def __post_init__(self) -> None:
        if self.group not in get_args(Group):
            raise InputError(f"metric {self.label!r}: group {self.group!r} is none of {', '.join(get_args(Group))}")

    @property
    def rewards_nothing(self) -> bool:
        """Whether leaving the clip alone scores as well as anything can, or nearly so."""
        return self.better is not None and self.group in ("source", "time")

    @property
    def askable(self) -> bool:
        """Whether it can be asked for by name."""
        return self.part is not None or self.model is not None

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        return self.label + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]


METRICS: Registry[Metric] = Registry("flowedit.metrics", "metric", package="flowedit.metrics", entry=Metric)


def column_order() -> tuple[str, ...]:
    """All names in the order of a table's columns, which is the same whatever was imported first.

    By group; in a group first what a run measures itself, then our modules by name, then plug-ins and scripts; in a
    module as it adds them.
    """
    return tuple(sorted(METRICS, key=_place))


def default_names() -> tuple[str, ...]:
    """What runs without being asked for; ours need no download."""
    return tuple(name for name in column_order() if METRICS[name].default)


def five_names() -> tuple[str, ...]:
    """What FiVE-Bench's protocol scores (Li et al. 2025)."""
    return tuple(name for name in column_order() if METRICS[name].five)


def label(name: str) -> str:
    """What tables call a metric; its name where rows hold one that is not here, of a plug-in that is gone."""
    return METRICS[name].label if name in METRICS else name


def is_cost(name: str) -> bool:
    """Whether a metric says what a run cost, and nothing about the quality of its edit."""
    return METRICS[name].group == "cost"


def _place(name: str) -> tuple[int, bool, str]:
    metric = METRICS[name]
    made = metric.part or metric.model
    module = "" if made is None else made.__module__
    return get_args(Group).index(metric.group), bool(module) and not module.startswith("flowedit."), module
