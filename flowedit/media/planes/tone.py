"""What a model sees of colours far from BT.709, and the way back: signal, light, gamut, tone, signal.

Each step has an exact inverse, so a colour that both can show comes back as it was, to a level of the 8 bits between.
Light is linear, 1 is diffuse white (203 cd/m2 of HDR: ITU-R BT.2408-7, 2.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from flowedit.media.colours import BT709, BT2020, HLG, PQ, PRIMARIES, UNSPECIFIED, Colour

WHITE = 203.0
"""cd/m2 of diffuse white."""

LEVELS = 65535
"""Of a signal that is looked up in a table."""

KNEE = 0.5
"""Of diffuse white: up to here light stays as it is, and beyond it highlights are drawn together."""

CHROMATICITIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.3290)),
}
"""x, y of red, green, blue and white, by the number of the primaries (ITU-T H.273, table 2)."""


@dataclass(frozen=True)
class Curve:
    """A transfer function: signal in [0, 1] to light, and back; `peak` is the light of signal 1."""

    light: Callable[[np.ndarray], np.ndarray]
    signal: Callable[[np.ndarray], np.ndarray]
    peak: float = 1.0
    scene: bool = False
    """Its light is that before a camera, of which BT.709 has a curve of its own."""


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """F_D = 10000 (max(E^(1/m2) - c1, 0) / (c2 - c3 E^(1/m2)))^(1/m1) cd/m2 (ITU-R BT.2100-2, table 4)."""
    root = signal ** (1 / M2)
    return 10000 / WHITE * (np.maximum(root - C1, 0) / (C2 - C3 * root)) ** (1 / M1)


def _pq_signal(light: np.ndarray) -> np.ndarray:
    power = (np.clip(light, 0, None) * (WHITE / 10000)) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


M1, M2 = 2610 / 16384, 2523 / 4096 * 128
C1, C2, C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """E = E'^2 / 3 up to E' = 1/2, (exp((E' - c) / a) + b) / 12 beyond (ITU-R BT.2100-2, table 5); scene light."""
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12)


def _hlg_signal(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, None)
    high = HLG_A * np.log(np.maximum(12 * light - HLG_B, 1e-6)) + HLG_C
    return np.where(light <= 1 / 12, np.sqrt(3 * light), high)


HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073

SYSTEM, NOMINAL = 1.2, 1000.0
"""HLG's gamma of the whole system, and the peak in cd/m2 of the display that it is for (BT.2100-2, note 5f)."""


def _log(decades: float) -> Curve:
    """E' = 1 + log10(E) / decades, from E = 10^-decades on (H.273, table 3)."""
    least = 10.0**-decades
    return Curve(
        lambda signal: np.where(signal > 0, 10 ** (decades * (signal - 1)), 0),
        lambda light: 1 + np.log10(np.maximum(light, least)) / decades,
        scene=True,
    )


CURVES = {
    8: Curve(lambda signal: signal, lambda light: light, scene=True),
    9: _log(2.0),
    10: _log(2.5),
    PQ: Curve(_pq_light, _pq_signal, 10000 / WHITE),
    HLG: Curve(_hlg_light, _hlg_signal, NOMINAL / WHITE),
}
"""By the number of the transfer function, what differs from a display's own curve."""


def _display_light(signal: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1), from signal to the light of a display."""
    return np.where(signal < 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _display_signal(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, None)
    return np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


DISPLAY = Curve(_display_light, _display_signal)
"""A display's curve, of which those of BT.709's displays, of BT.2020's and of sRGB's are near relatives."""


def _camera_light(signal: np.ndarray) -> np.ndarray:
    """BT.709's own curve, from signal to the light of the scene (ITU-R BT.709-6, 1.2)."""
    return np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))


def _camera_signal(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, None)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


CAMERA = Curve(_camera_light, _camera_signal)


def squeezed(light: np.ndarray, peak: float) -> np.ndarray:
    """y = x up to k = KNEE, k + (1 - k) f((x - k)/(1 - k)) beyond, f(t) = t (1 + t/w^2)/(1 + t), w that of `peak`.

    f is Reinhard's curve with a white (Photographic Tone Reproduction, 2002, eq. 4): 0 to 0, w to 1, slope 1 at 0.
    """
    w, t = (peak - KNEE) / (1 - KNEE), np.maximum(light - KNEE, 0) / (1 - KNEE)
    return np.minimum(light, KNEE) + (1 - KNEE) * (t * (1 + t / w**2) / (1 + t))


def stretched(light: np.ndarray, peak: float) -> np.ndarray:
    """The inverse of `squeezed`: t = (s - 1 + sqrt((s - 1)^2 + 4 s/w^2)) w^2/2 for s = f(t)."""
    w, s = (peak - KNEE) / (1 - KNEE), np.maximum(light - KNEE, 0) / (1 - KNEE)
    t = (s - 1 + np.sqrt((s - 1) ** 2 + 4 * s / w**2)) * w**2 / 2
    return np.minimum(light, KNEE) + (1 - KNEE) * t


def gamut_to_bt709(primaries: int) -> np.ndarray:
    """Linear R, G, B of these primaries to BT.709's, each white to the other's (SMPTE RP 177); float64 (3, 3)."""
    own, ours = _to_xyz(primaries), _to_xyz(1)
    adapted = np.diag((_white(1) / _white(primaries)).ravel())
    return np.asarray(np.linalg.inv(ours) @ adapted @ own)


def _xyz(place: tuple[float, float]) -> np.ndarray:
    x, y = place
    return np.array([x / y, 1, (1 - x - y) / y])


def _white(primaries: int) -> np.ndarray:
    return _xyz(CHROMATICITIES[primaries][3])


def _to_xyz(primaries: int) -> np.ndarray:
    columns = np.stack([_xyz(place) for place in CHROMATICITIES[primaries][:3]], 1)
    return np.asarray(columns * np.linalg.solve(columns, _white(primaries)))


@dataclass(frozen=True, eq=False)
class Tone:
    """A file's colours as BT.709 of 8 bits, and back. Between near relatives both are the identity."""

    source: Curve | None
    """None: neither a curve nor a gamut stands between."""
    shown: Curve
    matrix: np.ndarray
    """From light of the file's primaries to that of BT.709's, float64 (3, 3)."""

    def forward(self, signal: np.ndarray) -> np.ndarray:
        """R'G'B' uint16 (H, W, 3) of full scale to what a model sees, uint8 (H, W, 3)."""
        if self.source is None:
            return np.asarray(cv2.convertScaleAbs(signal, alpha=255 / LEVELS))
        light = self._light[signal]
        if self.source is CURVES[HLG]:
            light *= _power(_luminance(light), SYSTEM - 1, self.source.peak)
        light = cv2.transform(light, self.matrix.astype(np.float32))
        if self.source.peak > 1:
            light *= self._squeeze[_rooted(_most(light), self.source.peak)][..., None]
        return self._levels[_rooted(light, 1)]

    def back(self, seen: np.ndarray) -> np.ndarray:
        """What a model gives, uint8 (H, W, 3), to R'G'B' of the file's colours, float32 (H, W, 3) in [0, 1]."""
        if self.source is None:
            return seen.astype(np.float32) / 255
        light = self._steps[seen]
        if self.source.peak > 1:
            light *= self._stretch[_most(seen)][..., None]
        light = np.maximum(cv2.transform(light, np.linalg.inv(self.matrix).astype(np.float32)), 0)
        if self.source is CURVES[HLG]:
            light *= _power(_luminance(light) / self.source.peak, 1 / SYSTEM - 1, 1 / self.source.peak)
        return np.asarray(np.clip(self.source.signal(light), 0, 1), np.float32)

    @cached_property
    def _light(self) -> np.ndarray:
        """The light of each of LEVELS + 1 signals."""
        assert self.source is not None
        return self.source.light(np.arange(LEVELS + 1) / LEVELS).astype(np.float32)

    @cached_property
    def _squeeze(self) -> np.ndarray:
        """What the tone curve multiplies by, by the root of the brightest channel."""
        assert self.source is not None
        most = self.source.peak * _squares()
        return (squeezed(most, self.source.peak) / most).astype(np.float32)

    @cached_property
    def _levels(self) -> np.ndarray:
        """The level of 8 bits, by the root of light."""
        return np.rint(255 * self.shown.signal(_squares())).astype(np.uint8)

    @cached_property
    def _steps(self) -> np.ndarray:
        """The light of each level of 8 bits."""
        return self.shown.light(np.arange(256) / 255).astype(np.float32)

    @cached_property
    def _stretch(self) -> np.ndarray:
        """What the tone curve divided by, by the level of the brightest channel."""
        assert self.source is not None
        most = np.maximum(self.shown.light(np.arange(256) / 255), 1e-9)
        return (stretched(most, self.source.peak) / most).astype(np.float32)


def tone_of(colour: Colour) -> Tone:
    """The way from a file's colours to a model's, and back."""
    unsaid = BT2020 if colour.transfer in (PQ, HLG) else BT709.primaries
    primaries = unsaid if colour.primaries == UNSPECIFIED else colour.primaries
    near = PRIMARIES[primaries].kept
    if near and colour.transfer not in CURVES:
        return Tone(None, DISPLAY, np.eye(3))
    source = CURVES.get(colour.transfer, DISPLAY)
    return Tone(source, CAMERA if source.scene else DISPLAY, np.eye(3) if near else gamut_to_bt709(primaries))


def _squares() -> np.ndarray:
    """Light in [0, 1], in steps that grow with it as `_rooted` counts them; not quite 0."""
    return np.maximum(np.arange(LEVELS + 1) / LEVELS, 1e-6) ** 2


def _rooted(light: np.ndarray, peak: float) -> np.ndarray:
    """The place of light in a table of LEVELS + 1 squares up to `peak`."""
    within = np.clip(light, 0, peak)
    return np.asarray(np.sqrt(within * np.float32(1 / peak)) * LEVELS + 0.5).astype(np.uint16)


def _most(values: np.ndarray) -> np.ndarray:
    red, green, blue = cv2.split(values)
    return np.maximum(np.maximum(red, green), blue)


def _luminance(light: np.ndarray) -> np.ndarray:
    """Y of BT.2020's R, G, B (BT.2100-2, table 5)."""
    return cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], np.float32))


def _power(values: np.ndarray, exponent: float, scale: float) -> np.ndarray:
    """scale * values^exponent, (H, W, 1)."""
    return np.asarray(np.float32(scale) * cv2.pow(np.maximum(values, 1e-9), exponent))[..., None]
