"""A marked object followed through a shot by optical flow: a box, or a point that grows to what it lies on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from flowedit.masks.marks import Mark

SIDE, LEAST = 256, 32
"""The longer side of the pictures that are looked at, and the least of the shorter."""

APART, SHARE = 0.5, 0.05
"""Pixels of flow by which an object moves otherwise than what is around it; the share of a box that it is at least."""

ALIKE, MOVING, ALONG = 30.0, 3.0, 0.4
"""What looks like a point: CIE76 distance from its colour; so many times that where it moves otherwise than the frame;
and what moves with it: the difference of its flow, as a share of by how much the point moves otherwise."""

SEEN = 0.2
"""Of a box, the share that is to be in the frame for its motion to be seen; else it goes on as it went."""

Boxes = np.ndarray
"""(n, 4) float64: x, y, width, height in each frame of a shot."""


@dataclass(frozen=True, eq=False)
class Track:
    """An object through a shot that begins at frame `first`: `boxes` (n, 4) in shares of the frame's sides.

    `shape` (h, w) in [0, 1] is what of the box, stretched to any size, is the object; None for all of it.
    """

    first: int
    boxes: Boxes
    shape: np.ndarray | None = None

    def box(self, frame: int, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """x, y, width, height in a frame of `size` (height, width); None outside the shot."""
        if not 0 <= frame - self.first < len(self.boxes):
            return None
        x, y, across, down = self.boxes[frame - self.first] * (size[1], size[0], size[1], size[0])
        return float(x), float(y), float(across), float(down)

    def mask(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        """The object in a frame of `size` (height, width), uint8 (H, W), 255 inside."""
        mask, box = np.zeros(size, np.uint8), self.box(frame, size)
        if box is None:
            return mask
        x, y, across, down = box
        if self.shape is None:
            mask[_pixels(y, y + down), _pixels(x, x + across)] = 255
            return mask
        (h, w), shape = self.shape.shape, self.shape.astype(np.float32)
        matrix = np.array([[across / w, 0, x + 0.5 * across / w - 0.5], [0, down / h, y + 0.5 * down / h - 0.5]])
        return np.asarray(np.rint(255 * cv2.warpAffine(shape, matrix, size[::-1], flags=cv2.INTER_LINEAR)), np.uint8)


def _pixels(start: float, end: float) -> slice:
    """Those of a line between two places, one at least, without what lies before the first."""
    first, last = round(start), round(end)
    if first == last:
        first = int((start + end) // 2)
        last = first + 1
    return slice(max(0, first), max(0, last))


def looked_at(picture: np.ndarray) -> np.ndarray:
    """A frame uint8 (H, W, 3) at the size that it is followed at: the longer side SIDE, none below LEAST."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(LEAST, round(width * scale)), max(LEAST, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def follow(mark: Mark, pictures: Sequence[np.ndarray], first: int, shown: tuple[int, int]) -> Track:
    """The track of a mark through a shot that begins at frame `first`; `pictures` are its frames as `looked_at` gives.

    `shown` is the (height, width) that the mark's pixels count in. From its own frame a box is followed forward and
    backward, frame by frame (`moved`).
    """
    start = mark.frame - first
    height, width = pictures[0].shape[:2]
    scale = np.array([width / shown[1], height / shown[0]])
    region = None
    if mark.kind == "box":
        box = np.asarray(mark.numbers) * np.tile(scale, 2)
    else:
        region = grown(pictures, start, np.asarray(mark.numbers) * scale)
        x, y, across, down = cv2.boundingRect(region.astype(np.uint8))
        box, region = np.array([x, y, across, down], float), region[y : y + down, x : x + across]
    return carried(ShotFlow(pictures), start, box, region, first)


class ShotFlow:
    """Optical flow between pictures uint8 (h, w, 3) of a shot, found when first asked for; the last MOST are kept."""

    MOST = 256

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self.greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, before: int, after: int) -> np.ndarray:
        """(h, w, 2) float32, as `flow` gives it."""
        found = self._found.pop((before, after), None)
        if found is None:
            found = flow(self.greys[before], self.greys[after])
        self._found[before, after] = found  # the newest last
        if len(self._found) > self.MOST:
            del self._found[next(iter(self._found))]
        return found


def carried(
    flows: ShotFlow, start: int, box: np.ndarray, region: np.ndarray | None, first: int, otherwise: bool = True
) -> Track:
    """The track of a box in pixels of the pictures, forward and backward from picture `start`, frame by frame.

    `region` (h, w) is what of the box is the object, None for all of it; the shot begins at frame `first`; `otherwise`
    is as in `moved`.
    """
    count, (height, width) = len(flows.greys), flows.greys[0].shape
    boxes = np.empty((count, 4))
    boxes[start] = box
    for step in (1, -1):
        last, now = np.zeros(2), box
        for place in range(start + step, count if step == 1 else -1, step):
            now, last = moved(flows, place - step, place, now, last, region, otherwise)
            boxes[place] = now
    return Track(first, boxes / np.tile((width, height), 2), region)


def moved(
    flows: ShotFlow,
    before: int,
    after: int,
    box: np.ndarray,
    last: np.ndarray,
    region: np.ndarray | None = None,
    otherwise: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """A box of one picture in the next, and by how much its middle went; `last` is by how much it went before.

    The middle goes by the median flow of the object's pixels: of those in the box (and in its `region`) whose flow
    comes back to where it began, and `otherwise` those of them that move otherwise than the median of the ring around
    the box, if there are enough: a box holds ground too. The sides stretch by the median ratio of their distances from
    the middle. With too little of the box in the frame it goes on as it went. Source: median flow (Kalal et al. 2010),
    with dense flow (Kroeger et al. 2016).
    """
    height, width = flows.greys[before].shape
    x, y, across, down = box
    ys, xs = np.mgrid[0:height, 0:width]
    inside = (xs + 0.5 >= x) & (xs + 0.5 < x + across) & (ys + 0.5 >= y) & (ys + 0.5 < y + down)
    if inside.sum() < max(SEEN * across * down, 4):
        return np.array([x + last[0], y + last[1], across, down]), last
    there, back = flows(before, after), flows(after, before)
    ring = (xs >= x - across / 2) & (xs < x + 1.5 * across) & (ys >= y - down / 2) & (ys < y + 1.5 * down) & ~inside
    returns = np.hypot(*np.moveaxis(there + _at(back, xs + there[..., 0], ys + there[..., 1]), -1, 0))
    good = inside & (returns <= max(1.0, float(np.median(returns[inside]))))
    if region is not None:
        rows = np.clip(((ys + 0.5 - y) / down * region.shape[0]).astype(int), 0, region.shape[0] - 1)
        columns = np.clip(((xs + 0.5 - x) / across * region.shape[1]).astype(int), 0, region.shape[1] - 1)
        good &= region[rows, columns] > 0
    if otherwise and ring.any():
        apart = good & (np.hypot(*np.moveaxis(there - np.median(there[ring], 0), -1, 0)) > APART)
        good = apart if apart.sum() >= SHARE * inside.sum() else good
    if good.sum() < 4:
        return np.array([x + last[0], y + last[1], across, down]), last
    step, middle = np.median(there[good], 0), np.array([x + across / 2, y + down / 2])
    stretch = _stretch(np.stack([xs, ys], -1)[good] + 0.5 - middle, there[good] - step)
    sides = np.array([across, down]) * stretch
    return np.array([*(middle + step - sides / 2), *sides]), step


def _stretch(places: np.ndarray, flows: np.ndarray) -> float:
    """By how much an object's pixels move apart: the median of |p + f| / |p| over those away from its middle."""
    far = np.hypot(*places.T)
    away = far > max(2.0, float(np.median(far)))
    if away.sum() < 8:
        return 1.0
    ratio = np.hypot(*(places[away] + flows[away]).T) / far[away]
    return float(np.clip(np.median(ratio), 0.9, 1.1))


def grown(pictures: Sequence[np.ndarray], start: int, place: np.ndarray) -> np.ndarray:
    """What a point lies on: the pixels connected to it that look like it and move with it, bool (h, w).

    (|Lab - Lab_0| / a)^2 + (|flow - flow_0| / b)^2 <= 1, Lab_0 and flow_0 the medians of the 5x5 pixels around the
    point, the flow that to the next frame (of the last: to the one before). m = |flow_0 - median flow| says whether it
    moves: b = max(APART, ALONG m), and a = MOVING ALIKE where m > APART, else ALIKE. So of what moves all colours
    count, of what stands still its own. Gaps of a pixel are closed, holes filled; a disc of 1/24 of the shorter side
    is the least. Ours.
    """
    picture = pictures[start]
    height, width = picture.shape[:2]
    x, y = int(np.clip(place[0], 0, width - 1)), int(np.clip(place[1], 0, height - 1))
    near = slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3)
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (3, 3), 0).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    motion = np.zeros((height, width, 2), np.float32)
    if len(pictures) > 1:
        other = start + 1 if start + 1 < len(pictures) else start - 1
        motion = flow(*(cv2.cvtColor(pictures[i], cv2.COLOR_RGB2GRAY) for i in (start, other)))
    own = np.median(motion[near].reshape(-1, 2), 0)
    moves = float(np.linalg.norm(own - np.median(motion.reshape(-1, 2), 0)))
    look = ALIKE * (MOVING if moves > APART else 1.0)
    apart = (np.linalg.norm(lab - np.median(lab[near].reshape(-1, 3), 0), axis=-1) / look) ** 2
    apart += (np.linalg.norm(motion - own, axis=-1) / max(APART, ALONG * moves)) ** 2
    like = cv2.morphologyEx((apart <= 1).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    cv2.circle(like, (x, y), max(2, round(min(height, width) / 24)), 1, -1)
    _, labels = cv2.connectedComponents(like)
    whole = (labels == labels[y, x]).astype(np.uint8)
    outlines, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(whole, outlines, -1, 1, -1) > 0)


def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(h, w, 2) float32: where each pixel of a grey frame is in the other, x first, by OpenCV's DIS."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # a new one: it keeps the last call's flow
    found: Any = finder.calc(before, after, None)  # type: ignore[call-overload]
    return np.asarray(found)


def _at(values: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    return np.asarray(
        cv2.remap(
            values, xs.astype(np.float32), ys.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
