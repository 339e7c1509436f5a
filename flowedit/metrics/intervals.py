"""Means with 95 % confidence intervals, over scenes or over pairs of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

from scipy.special import stdtrit

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Interval:
    """A mean of n values and its 95 % confidence interval; low and high are NaN for a single value."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Interval:
    """Mean and interval of finite values: Student's t, or Wilson's score interval where all are 0 or 1.

    t: mean -+ t_{n-1} s / sqrt(n). Wilson 1927: (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n),
    which does not shrink to nothing where all succeed. Raises ValueError for no value.
    """
    if not values:
        raise ValueError("no value to average")
    n, middle = len(values), mean(values)
    if set(values) <= {0.0, 1.0}:
        centre = (middle + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * math.sqrt(middle * (1 - middle) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
        return Interval(middle, centre - half, centre + half, n)
    return _student(values)


def paired(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of second - first and its Student interval, over the same scenes in the same order."""
    return _student([b - a for a, b in zip(first, second, strict=True)])


def _student(values: Sequence[float]) -> Interval:
    n, middle = len(values), mean(values)
    if n == 1:
        return Interval(middle, math.nan, math.nan, 1)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, n)
