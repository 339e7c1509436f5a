"""Spec → pixels: sprites with subpixel motion over a procedural ground, with the visible share of every object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from flowedit.messages import InputError
from flowedit.pocket.world import (
    CLASSES,
    EVERYTHING,
    SIZES,
    TINTS,
    Scene,
    Spec,
    Thing,
    Vocabulary,
    draw,
    stream,
)

TILE, COLUMNS = 112, 8

SHADE, SQUASH, BLUR = 0.5, 0.5, 0.04
"""What a shadow takes of the light, its length in heights of its object, and the softness of its edge in its sides."""


@dataclass(frozen=True)
class Ground:
    """Two colours and the noise that mixes them: (weight, cells down, cells across) an octave."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    octaves: tuple[tuple[float, int, int], ...]
    stars: int = 0


LOOKS = {
    "grass": Ground((44, 110, 40), (120, 185, 70), ((0.6, 3, 3), (0.5, 5, 20))),
    "sand": Ground((200, 160, 90), (245, 215, 150), ((0.6, 3, 3), (0.5, 14, 4))),
    "sky": Ground((85, 150, 230), (235, 243, 252), ((1.0, 3, 2), (0.4, 7, 5))),
    "night": Ground((8, 10, 32), (44, 44, 92), ((1.0, 2, 2),), stars=14),
    "snow": Ground((205, 215, 232), (255, 255, 255), ((0.8, 3, 4), (0.4, 9, 9))),
    "water": Ground((16, 80, 130), (70, 165, 195), ((0.5, 3, 3), (0.6, 16, 4))),
    "road": Ground((86, 88, 94), (138, 138, 142), ((0.5, 3, 3), (0.5, 22, 22))),
    "leaves": Ground((96, 56, 28), (190, 118, 52), ((0.4, 3, 3), (0.8, 11, 11))),
}


def scene(
    what: int | Spec,
    size: tuple[int, int] = (128, 128),
    frames: int = 9,
    vocabulary: Vocabulary = EVERYTHING,
) -> Scene:
    """Render a spec, or the spec drawn from a seed, to `frames` frames of `size` (height, width), both even."""
    height, width = size
    if frames < 1 or height < 16 or width < 16 or height % 2 or width % 2:
        raise InputError(f"expected at least 1 frame of even size from 16, got {frames} of {height}x{width}")
    spec = what if isinstance(what, Spec) else draw(what, vocabulary)
    image = np.broadcast_to(_background(spec, height, width), (frames, height, width, 3)).copy()
    masks = np.empty((len(spec.things), frames, height, width), np.float32)
    shadows = np.zeros_like(masks)
    for i, thing in enumerate(spec.things):  # on the ground, and so below all objects
        if thing.shadow:
            shadows[i] = _shadow(thing, _slant(spec.texture), frames, height, width)
            image *= 1 - SHADE * shadows[i][..., None]
    for i, thing in enumerate(spec.things):
        layer = _layer(thing, frames, height, width)
        alpha = layer[..., 3:]
        image *= 1 - alpha
        image += layer[..., :3]
        masks[:i] *= 1 - alpha[..., 0]
        shadows *= 1 - alpha[..., 0]
        masks[i] = alpha[..., 0]
    image *= _light(spec.texture, height, width)
    return Scene(spec, np.rint(np.clip(image, 0, 255, out=image)).astype(np.uint8), masks, shadows)


def _background(spec: Spec, height: int, width: int) -> np.ndarray:
    """Return the ground without light, float32 (H, W, 3); the same texture at every size."""
    look, rng = LOOKS[spec.ground], stream(spec.texture, spec.ground)
    mix = np.full((height, width), 0.5, np.float32)
    for weight, down, across in look.octaves:
        grid = rng.standard_normal((down + 1, across + 1)).astype(np.float32)
        mix += 0.35 * weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    np.clip(mix, 0, 1, out=mix)
    low, high = np.array(look.low, np.float32), np.array(look.high, np.float32)
    image = low + mix[..., None] * (high - low)
    if look.stars:
        y, x = (np.arange(n, dtype=np.float32)[None] / n - rng.random((look.stars, 1)) for n in (height, width))
        glow = np.exp(-((y / 0.018) ** 2)).T @ np.exp(-((x / 0.018) ** 2))
        image = image + 190 * np.clip(glow, 0, 1)[..., None].astype(np.float32)
    return image


def _light(texture: int, height: int, width: int) -> np.ndarray:
    """Return brightness with a slope in a random direction, float32 (H, W, 1)."""
    brightness, dy, dx = stream(texture, "light").uniform(-1, 1, 3)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    light: np.ndarray = (0.98 + 0.08 * brightness + 0.07 * (dy * y + dx * x)).astype(np.float32)
    return light[..., None]


def _slant(texture: int) -> float:
    """How far to the side a shadow falls, in heights of its object: away from where the light of the scene is."""
    return float(-0.6 * stream(texture, "light").uniform(-1, 1, 3)[2])


def _path(thing: Thing, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the middle (x, y) and the side of the object's sprite in each frame, in pixels."""
    phase = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    dx = {"left": -1, "right": 1}.get(thing.motion, 0) * thing.travel * (phase - 0.5)
    dy = {"up": -1, "down": 1}.get(thing.motion, 0) * thing.travel * (phase - 0.5)
    if thing.motion == "bounce":
        dy = dy + 0.5 * thing.travel * (0.5 - np.sin(np.pi * phase) ** 2)
    grow = {"approach": 0.3, "recede": -0.3}.get(thing.motion, 0) * (2 * phase - 1)
    side = min(height, width) * thing.scale * SIZES[thing.size] * (1 + grow)
    return (thing.x + dx) * width, (thing.y + dy) * height, side


def _sprite(thing: Thing, side: np.ndarray) -> np.ndarray:
    """Return the smallest sprite of the object that is not enlarged at any of these sides, or the largest."""
    levels = _pyramid(thing.kind, thing.tint)
    return next((level for level in reversed(levels) if len(level) >= side.max()), levels[0])


def _layer(thing: Thing, frames: int, height: int, width: int) -> np.ndarray:
    """Return the object alone as premultiplied float32 (F, H, W, 4), colour 0..255 and alpha 0..1."""
    x, y, side = _path(thing, frames, height, width)
    sprite = _sprite(thing, side)
    layer = np.empty((frames, height, width, 4), np.float32)
    for f in range(frames):
        scale = side[f] / len(sprite)
        shift = 0.5 * scale - 0.5 - 0.5 * side[f]
        matrix = np.array([[scale, 0, x[f] + shift], [0, scale, y[f] + shift]])
        cv2.warpAffine(sprite, matrix, (width, height), layer[f], flags=cv2.INTER_LINEAR)
    return layer


def _shadow(thing: Thing, slant: float, frames: int, height: int, width: int) -> np.ndarray:
    """Return how much of the light the object takes from each place of the ground, float32 (F, H, W) in 0..1.

    A point of its silhouette at the height h above its foot falls SQUASH h below the foot and slant h to the side; the
    edge is soft.
    """
    x, y, side = _path(thing, frames, height, width)
    sprite = np.ascontiguousarray(_sprite(thing, side)[..., 3])
    foot = 1.0 + np.flatnonzero(sprite.max(1) > 0.5)[-1]
    shadow = np.empty((frames, height, width), np.float32)
    for f in range(frames):
        scale = side[f] / len(sprite)
        across, down = -slant * scale, -SQUASH * scale
        # a sprite's pixel (u, v) has its middle at (u + 0.5, v + 0.5), and so has one of the frame
        left = x[f] - 0.5 * side[f] + slant * scale * foot + 0.5 * (scale + across) - 0.5
        top = y[f] - 0.5 * side[f] + (1 + SQUASH) * scale * foot + 0.5 * down - 0.5
        matrix = np.array([[scale, across, left], [0, down, top]])
        cv2.warpAffine(sprite, matrix, (width, height), shadow[f], flags=cv2.INTER_LINEAR)
        shadow[f] = cv2.GaussianBlur(shadow[f], (0, 0), BLUR * side[f], borderType=cv2.BORDER_REPLICATE)
    return shadow


@cache
def _pyramid(kind: str, tint: str) -> tuple[np.ndarray, ...]:
    """Return the tinted sprite at halving sizes, premultiplied float32 (S, S, 4), the largest first."""
    row, column = divmod(CLASSES.index(kind), COLUMNS)
    tile = _atlas()[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
    alpha, colour = tile[..., 3:] / np.float32(255), tile[..., 2::-1].astype(np.float32)
    if rgb := TINTS[tint]:
        grey = colour @ np.array([0.3, 0.59, 0.11], np.float32)
        colour = np.clip(0.15 * colour + grey[..., None] * np.array(rgb, np.float32) / 150, 0, 255)
    sprite = np.concatenate([colour * alpha, alpha], -1)
    # a clear rim keeps the edge soft where the sprite is enlarged
    levels = [cv2.copyMakeBorder(sprite, 2, 2, 2, 2, cv2.BORDER_CONSTANT)]
    while len(levels[-1]) > 12:
        half = len(levels[-1]) // 2
        levels.append(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA))
    return tuple(levels)


@cache
def _atlas() -> np.ndarray:
    data = files("flowedit.pocket").joinpath("sprites/atlas.png").read_bytes()
    atlas = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert atlas is not None  # shipped with the package
    return atlas
