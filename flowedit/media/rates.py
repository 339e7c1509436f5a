"""Frame rates: what people type as a rate, and the rate at which a file's frames were meant to be shown."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

from flowedit.messages import InputError

NTSC = {
    Fraction(text): Fraction(1000 * whole, 1001)
    for whole, texts in (
        (24, ("23.976", "23.98")),
        (30, ("29.97",)),
        (48, ("47.952", "47.95")),
        (60, ("59.94",)),
        (120, ("119.88",)),
    )
    for text in texts
}
"""Rates that are written in decimals and mean a fraction."""

COMMON = sorted({Fraction(n) for n in range(1, 241)} | set(NTSC.values()))


def frame_rate(value: float | str | Fraction) -> Fraction:
    """What a person means by a rate: 8, "24000/1001", and 29.97 as 30000/1001; raises InputError for anything else."""
    try:
        rate = value if isinstance(value, Fraction) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):  # a word, nan, inf
        rate = Fraction(0)
    rate = NTSC.get(rate, rate)
    if not LEAST <= rate <= MOST:
        raise InputError(
            f"fps {value} is not a frame rate: give a number of 0.001 to 1000, such as 8, 23.976 or 24000/1001"
        )
    return rate


LEAST, MOST = Fraction(1, 1000), Fraction(1000)


def meant(times: Sequence[int], base: Fraction) -> Fraction:
    """The rate of frames at ascending display times, in units of `base` seconds, of which some are missing or late.

    Gaps are counted in their commonest length: n gaps over the whole time. The nearest common rate stands for what
    comes within 0.05 % of it, or within one unit of the time base.
    """
    gaps = sorted(b - a for a, b in itertools.pairwise(times) if b > a)
    if not gaps:
        return Fraction(25)
    commonest, span = gaps[len(gaps) // 2], sum(gaps)
    single = [gap for gap in gaps if round(gap / commonest) == 1]
    step = sum(single) / len(single)
    rate = sum(max(1, round(gap / step)) for gap in gaps) / (span * base)
    near = min(COMMON, key=lambda common: abs(common - rate))
    return near if abs(near / rate - 1) <= max(Fraction(1, 2000), Fraction(1, span)) else rate.limit_denominator(1001)


def leading(times: Sequence[int]) -> int:
    """How many of the frames at ascending display times come steadily before the first gap, if that lies near the end.

    0 where there is no gap, or where less than two thirds of the frames (or fewer than two) come before it.
    """
    gaps = [b - a for a, b in itertools.pairwise(times)]
    if len(gaps) < 2:
        return 0
    step = sorted(gaps)[len(gaps) // 2]
    slack = max(1, step // 10)
    count = next((place for place, gap in enumerate(gaps, 1) if abs(gap - step) > slack), 0)
    return count if count >= 2 and 3 * count >= 2 * len(times) else 0
