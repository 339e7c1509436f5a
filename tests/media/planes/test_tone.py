"""Colours far from BT.709 as a model sees them, and back: closed forms of the standards, and inverses."""

import numpy as np
import pytest

from flowedit.media.colours import HLG, PQ, Colour
from flowedit.media.planes.tone import CURVES, KNEE, WHITE, gamut_to_bt709, squeezed, stretched, tone_of

STRANGE = [
    Colour(9, PQ, 9),
    Colour(9, HLG, 9),
    Colour(1, PQ, 1),
    Colour(9, 14, 9),
    Colour(12, 13, 5),
    Colour(11, 1, 1),
    Colour(4, 1, 1),
    Colour(8, 1, 1),
    Colour(1, 8, 1),
    Colour(12, 10, 6),
]


@pytest.mark.parametrize(("nits", "signal"), [(0.1, 0.0623), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (10000, 1)])
def test_pq_has_the_levels_of_the_standard(nits, signal):
    """BT.2408-7, table 1, and BT.2100-2, table 4."""
    assert CURVES[PQ].light(np.array(signal)) * WHITE == pytest.approx(nits, rel=0.003)
    assert CURVES[PQ].signal(np.array(nits / WHITE)) == pytest.approx(signal, abs=1e-4)


def test_hlg_shows_diffuse_white_at_three_quarters():
    """BT.2408-7, table 1: a grey of 75 % is 203 cd/m2 on a display of 1000."""
    scene = CURVES[HLG].light(np.array(0.75))
    assert 1000 * scene**1.2 == pytest.approx(203, rel=0.005)
    assert CURVES[HLG].light(np.array(1.0)) == pytest.approx(1, abs=1e-4)
    assert CURVES[HLG].light(np.array(0.5)) == pytest.approx(1 / 12)
    grey = np.full((1, 1, 3), round(0.75 * 65535), np.uint16)
    level = tone_of(Colour(9, HLG, 9)).forward(grey)
    assert (level == level[0, 0, 0]).all()
    light = KNEE + (1 - KNEE) * 0.5  # of white, but for the curve's own white: t = 1
    assert level[0, 0, 0] == pytest.approx(255 * (1.055 * light ** (1 / 2.4) - 0.055), abs=3)


@pytest.mark.parametrize("number", CURVES)
def test_every_curve_has_its_inverse(number):
    signal = np.linspace(0, 1, 4001)
    np.testing.assert_allclose(CURVES[number].signal(CURVES[number].light(signal)), signal, atol=1e-6)


@pytest.mark.parametrize("peak", [1000 / WHITE, 10000 / WHITE])
def test_the_tone_curve_is_smooth_and_has_its_inverse(peak):
    light = np.linspace(0, peak, 100_001)
    shown = squeezed(light, peak)
    assert (shown[0], shown[-1]) == (0, pytest.approx(1))
    assert (np.diff(shown) > 0).all()
    np.testing.assert_array_equal(shown[light <= KNEE], light[light <= KNEE])
    knee = np.searchsorted(light, KNEE)
    np.testing.assert_allclose(np.diff(shown)[knee - 2 : knee + 2] / np.diff(light)[0], 1, atol=0.01)
    np.testing.assert_allclose(stretched(shown, peak), light, rtol=1e-9, atol=1e-9)


def test_primaries_become_bt709s():
    """BT.2087-0, table 1, the inverse; BT.601's come from SMPTE RP 177."""
    wide = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(gamut_to_bt709(9), wide, atol=1e-4)
    np.testing.assert_allclose(gamut_to_bt709(1), np.eye(3), atol=1e-12)
    for number in (4, 5, 6, 8, 9, 11, 12):
        np.testing.assert_allclose(gamut_to_bt709(number) @ np.ones(3), np.ones(3), atol=1e-9)


@pytest.mark.parametrize("colour", STRANGE, ids=str)
def test_what_is_seen_goes_back_and_comes_again(colour):
    """Greys and colours of middling strength that every one of these can say, to a level."""
    tone = tone_of(colour)
    values = np.random.default_rng(0).integers(70, 200, (64, 64, 3)).astype(np.uint8)
    values[0, :, :] = np.linspace(40, 255, 64).astype(np.uint8)[:, None]
    signal = np.rint(tone.back(values) * 65535).astype(np.uint16)
    assert np.abs(tone.forward(signal).astype(int) - values).max() <= 1


@pytest.mark.parametrize("colour", STRANGE, ids=str)
def test_greys_stay_grey_and_ordered(colour):
    ramp = np.repeat(np.linspace(0, 65535, 500).astype(np.uint16)[None, :, None], 3, 2)
    seen = tone_of(colour).forward(ramp)[0].astype(int)
    assert np.ptp(seen, axis=1).max() <= 1
    assert (np.diff(seen[:, 1]) >= 0).all()
    assert seen[-1, 1] >= 250


@pytest.mark.parametrize("colour", [Colour(), Colour(5, 6, 5), Colour(2, 2, 6), Colour(1, 14, 9)])
def test_near_relatives_are_seen_as_they_are(colour):
    tone = tone_of(colour)
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(tone.forward(values.astype(np.uint16) * 257), values)
    np.testing.assert_array_equal(np.rint(tone.back(values) * 255), values)
