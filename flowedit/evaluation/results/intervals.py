"""Means and shares with 95 % confidence intervals, over scenes or over pairs of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

from scipy.special import stdtrit

from flowedit.messages import InputError

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Interval:
    """A mean of n values and its 95 % confidence interval; low and high are NaN where one value cannot tell."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Interval:
    """Mean of measured values with Student's interval, mean -+ t_{n-1} s / sqrt(n); raises ValueError for no value.

    An infinite value, the PSNR of equal frames, makes an infinite mean without an interval, or with its opposite none.
    """
    if not values:
        raise InputError("no value to average")
    n = len(values)
    middle = mean(values) if all(map(math.isfinite, values)) else sum(values)
    if n == 1 or not math.isfinite(middle):
        return Interval(middle, math.nan, math.nan, n)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, n)


def share(values: Sequence[float]) -> Interval:
    """Share of ones among zeros and ones with Wilson's score interval (Wilson 1927), which never has no width.

    (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n). Raises ValueError for no value, or another one.
    """
    if not values or not set(values) <= {0.0, 1.0}:
        raise InputError(f"a share is of zeros and ones, not of {values}")
    n, p = len(values), mean(values)
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half), n)


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of second - first with Student's interval, over the same scenes in the same order; inf less inf is 0."""
    return interval([0.0 if a == b else b - a for a, b in zip(first, second, strict=True)])


def share_difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Difference of two shares over the same scenes, with the interval of Agresti & Min 2005.

    With b, c the scenes that only the first, only the second has right, and half a scene added to each of the four
    cells: d = (c - b) / (n + 2), d -+ z sqrt(b + c + 1 - (c - b)^2 / (n + 2)) / (n + 2), cut to -1 ... 1; `mean` is
    (c - b) / n.
    """
    n = len(first)
    b = sum(one > two for one, two in zip(first, second, strict=True))
    c = sum(two > one for one, two in zip(first, second, strict=True))
    middle = (c - b) / (n + 2)
    half = Z * math.sqrt(b + c + 1 - (c - b) ** 2 / (n + 2)) / (n + 2)
    return Interval((c - b) / n, max(-1.0, middle - half), min(1.0, middle + half), n)
