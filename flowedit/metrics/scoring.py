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
            near = get_close_matches(name, [each for each in METRICS if METRICS[each].part is not None], 3, 0)
            raise InputError(f"unknown metric {name!r}: did you mean {' or '.join(near)}?")
        if METRICS[name].part is None:
            raise InputError(f"metric {name!r} cannot be asked for: runs and flowedit bench measure it by themselves")


def score(names: Sequence[str], parts: Iterable[Stretch], tools: Tools) -> Scores:
    """The metrics of a clip whose frames come as disjoint consecutive parts; one part and one frame are held at a time.

    tools.total must be the number of frames that come. A metric that lacks what it needs, raises or is NaN is a
    failure and is not asked again; the others go on. Raises ValueError for unknown names, no frames, and parts whose
    frames do not fit each other; what `parts` raises is passed on.
    """
    check(names)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    last: Stretch | None = None
    start = 0
    for frames in parts:
        part = _after(last, frames, start, tools)
        for name in [name for name in rows if name not in failed]:
            try:
                rows[name].append(_rows(name, part))
            except ERRORS as error:
                failed[name] = first_line(error)
        start += len(frames.source)
        last = Stretch._make(None if shown is None else shown[-1:].copy() for shown in frames)
        del part, frames  # before the next ones are read
    if not start:
        raise InputError("no frames to score")
    values, join = {}, Once()
    for name in [name for name in rows if name not in failed]:
        try:
            values[name] = _value(name, rows.pop(name), tools, join)
        except ERRORS as error:
            failed[name] = first_line(error)
    return Scores(values, {name: failed[name] for name in names if name in failed})


def _after(last: Stretch | None, frames: Stretch, start: int, tools: Tools) -> Part:
    """The part of these frames, behind the last frame that came before them."""
    new = len(frames.source)
    checked = Part(frames, new, start, tools)
    if last is None:
        return checked
    try:
        joined = [None if b is None or a is None else np.concatenate([a, b]) for a, b in zip(last, frames, strict=True)]
    except ValueError as error:
        raise InputError(f"frames of {frames.source.shape[1:]} cannot follow {last.source.shape[1:]}") from error
    return Part(Stretch._make(joined), new, start, tools)


def _rows(name: str, part: Part) -> np.ndarray:
    metric = METRICS[name]
    for need in sorted(metric.needs):
        part.require(need)
    assert metric.part is not None
    return part.once(metric.part)


def _value(name: str, rows: list[np.ndarray], tools: Tools, once: Once) -> float:
    metric = METRICS[name]
    joined = once((metric.part, metric.join), lambda: metric.join(np.concatenate(rows), tools))
    value = joined[name] if isinstance(joined, Mapping) else joined
    if math.isnan(value):
        raise InputError("the value is not a number")
    return float(value)
