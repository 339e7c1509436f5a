"""Many metrics of one clip, read once as a stream of parts: each has a value, or the reason why it has none."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from flowedit.messages import InputError, first_line
from flowedit.metrics.catalogue import METRICS
from flowedit.metrics.part import ERRORS, Once, Part, Stretch, Tools


@dataclass(frozen=True)
class Scores:
    """By name, in the order asked: a metric's value, or why there is none; every name is in exactly one of the two."""

    values: Mapping[str, float]
    failures: Mapping[str, str]


def check(names: Iterable[str]) -> None:
    """Raises ValueError for an unknown name, with the nearest ones, and for what only a run itself measures."""
    for name in names:
        if name not in METRICS and name not in METRICS.broken:
            near = get_close_matches(name, [each for each in METRICS if METRICS[each].askable], 3, 0)
            raise InputError(f"unknown metric {name!r}: did you mean {' or '.join(near)}?")
        if not METRICS[name].askable:
            raise InputError(f"metric {name!r} cannot be asked for: runs and flowedit bench measure it by themselves")


class Scorer:
    """The metrics of one clip whose frames are added as disjoint consecutive parts; one frame is held between them.

    tools.total must be the number of frames that come. A metric that lacks what it needs, raises or is NaN is a
    failure and is not asked again; the others go on. Raises ValueError for unknown names.
    """

    def __init__(self, names: Sequence[str], tools: Tools) -> None:
        check(names)
        self._names, self._tools = tuple(names), tools
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self._failed: dict[str, str] = {}
        self._last: Stretch | None = None
        self._start = 0

    def add(self, frames: Stretch, beside: Once | None = None) -> None:
        """Score the next frames; `beside` is shared with the scorers of other edits of these very source frames.

        Raises ValueError for frames that do not fit each other or those before.
        """
        part = _after(self._last, frames, self._start, self._tools, beside)
        for name in [name for name in self._rows if name not in self._failed]:
            try:
                self._rows[name].append(_rows(name, part))
            except ERRORS as error:
                self._failed[name] = first_line(error)
        self._start += len(frames.source)
        self._last = Stretch._make(None if shown is None else shown[-1:].copy() for shown in frames)

    def scores(self) -> Scores:
        """The values of all frames; raises ValueError if there were none."""
        if not self._start:
            raise InputError("no frames to score")
        values, failed, join = {}, dict(self._failed), Once()
        for name in [name for name in self._rows if name not in failed]:
            try:
                values[name] = _value(name, self._rows.pop(name), self._tools, join)
            except ERRORS as error:
                failed[name] = first_line(error)
        return Scores(values, {name: failed[name] for name in self._names if name in failed})


def score(names: Sequence[str], parts: Iterable[Stretch], tools: Tools) -> Scores:
    """The metrics of a clip whose frames come as disjoint consecutive parts, by a `Scorer`.

    Raises as it does; what `parts` raises is passed on.
    """
    scorer = Scorer(names, tools)
    for frames in parts:
        scorer.add(frames)
        del frames  # before the next ones are read
    return scorer.scores()


def _after(last: Stretch | None, frames: Stretch, start: int, tools: Tools, beside: Once | None) -> Part:
    """The part of these frames, behind the last frame that came before them."""
    new, shared = len(frames.source), beside or Once()
    checked = Part(frames, new, start, tools, shared)
    if last is None:
        return checked
    try:
        joined = [None if b is None or a is None else np.concatenate([a, b]) for a, b in zip(last, frames, strict=True)]
    except ValueError as error:
        raise InputError(f"frames of {frames.source.shape[1:]} cannot follow {last.source.shape[1:]}") from error
    return Part(Stretch._make(joined), new, start, tools, shared)


def _rows(name: str, part: Part) -> np.ndarray:
    metric = METRICS[name]
    for need in sorted(metric.needs):
        part.require(need)
    if metric.part is None:
        raise InputError("is asked of a backbone, and not of frames")
    return part.once(metric.part)


def _value(name: str, rows: list[np.ndarray], tools: Tools, once: Once) -> float:
    metric = METRICS[name]
    joined = once((metric.part, metric.join), lambda: metric.join(np.concatenate(rows), tools))
    value = joined[name] if isinstance(joined, Mapping) else joined
    if math.isnan(value):
        raise InputError("the value is not a number")
    return float(value)
