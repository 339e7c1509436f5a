"""Frame rates: what is typed, what a file's times mean, where a gap leaves the frames before it."""

from fractions import Fraction

import pytest

from flowedit.media.rates import frame_rate, meant, places


@pytest.mark.parametrize(
    ("typed", "rate"),
    [
        ("29.97", Fraction(30000, 1001)),
        (29.97, Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (Fraction(5994, 100), Fraction(60000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        (12, Fraction(12)),
        (27.02, Fraction(2702, 100)),
    ],
)
def test_frame_rate(typed, rate):
    assert frame_rate(typed) == rate


@pytest.mark.parametrize("typed", ["1e-9", 1e-9, 0, -5, "nan", float("inf"), "fast", "1/0", 1001])
def test_frame_rate_refuses(typed):
    with pytest.raises(ValueError, match=r"is not a frame rate: give a number of 0\.001 to 1000"):
        frame_rate(typed)


def without(times, *missing):
    return [time for place, time in enumerate(times) if place not in missing]


@pytest.mark.parametrize("rate", [8, 10, 12, 15, 16, Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 60])
@pytest.mark.parametrize("base", [1000, 12288, 90000])
@pytest.mark.parametrize("missing", [(), (5, 6, 15), (200,), tuple(range(40, 90))])
def test_the_rate_is_measured_with_frames_missing(rate, base, missing):
    times = without([round(i * base / rate) for i in range(240)], *missing)
    assert meant(times, Fraction(1, base)) == rate


def test_a_rate_that_is_nobodys_stays():
    assert meant([round(i * 90000 / 29.5) for i in range(300)], Fraction(1, 90000)) == Fraction(59, 2)


def test_places_of_uneven_frames_and_their_end():
    base = Fraction(1, 1000)
    assert places([40, 120, 160], 0, base) == (0, Fraction(80, 1000), Fraction(120, 1000), Fraction(200, 1000))
    assert places([40, 120, 160], 500, base)[-1] == Fraction(620, 1000)
