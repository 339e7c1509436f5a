"""Frame rates: what people type as a rate, and the rate at which a file's frames were meant to be shown."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

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


def places(times: Sequence[int], last: int, base: Fraction) -> tuple[Fraction, ...]:
    """Seconds from the first of frames at ascending display times, in units of `base` seconds: of each, and of the end.

    `last` is how long the last frame is shown, 0 where that is unknown: then as long as most.
    """
    gaps = sorted(b - a for a, b in itertools.pairwise(times))
    end = times[-1] + (last if last > 0 else gaps[len(gaps) // 2])
    return tuple((time - times[0]) * base for time in (*times, end))


def of_header(stream: Any, times: Sequence[int | None]) -> tuple[Fraction, bool, int]:
    """The rate, whether the frames come steadily, and how many more frames' time the first is shown than the others.

    The average of the file's header is taken while no frame is off by more than half a frame's time.
    """
    average = Fraction(stream.average_rate or stream.guessed_rate or 25)
    known = sorted(t for t in times if t is not None)
    if len(known) < len(times) or len(known) < 2:
        return average, True, 0
    # some cameras hold the first frame (an edit list does it too), so steadiness is judged from the second on
    tail = known[1:] if len(known) > 3 else known
    step = Fraction(tail[-1] - tail[0], len(tail) - 1)
    # a tenth of a frame: the jitter of a camera's clock, and the rounding of coarse time bases
    slack = max(Fraction(1), step / 10)
    held = round((tail[0] - known[0]) / step) - 1 if step and len(known) > 3 else 0
    steady = step > 0 and all(abs(t - tail[0] - i * step) <= slack for i, t in enumerate(tail))
    if not steady or not 0 <= held <= len(known):  # the commonest spacing: what the camera aimed at
        steps = sorted(b - a for a, b in itertools.pairwise(known) if b > a) or [1]
        return 1 / (steps[len(steps) // 2] * stream.time_base), False, 0
    measured = 1 / (step * stream.time_base)
    exact = not held and abs(average / measured - 1) * len(known) < Fraction(1, 2)
    return (average if exact else measured.limit_denominator(100_000)), True, held
