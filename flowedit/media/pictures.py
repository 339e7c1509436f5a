"""Clips made to be looked at: labelled, side by side, with a mask drawn over them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, takewhile
from typing import Any, Protocol

import cv2
import numpy as np

from flowedit.media.pixels import composite, resize
from flowedit.messages import InputError


def grid(clips: Sequence[np.ndarray], labels: Sequence[str], columns: int | None = None) -> np.ndarray:
    """Clips uint8 (F, h, w, 3), each under a strip with its label, in rows of `columns`, all by default; even sides.

    All are brought to the first one's height, and to one width in each column. Raises ValueError for unequal numbers
    of frames or labels.
    """
    frames = {len(clip) for clip in clips}
    if len(frames) != 1 or len(labels) != len(clips):
        raise InputError(f"{len(clips)} clips of {sorted(frames)} frames, {len(labels)} labels: they do not match")
    height, columns = clips[0].shape[1], columns or len(clips)
    sized = [resize(clip, (height, max(round(clip.shape[2] * height / clip.shape[1]), 1))) for clip in clips]
    widths = [max(clip.shape[2] for clip in sized[place::columns]) for place in range(columns)]
    cells = [
        _labelled(clip, label, widths[place % columns])
        for place, (clip, label) in enumerate(zip(sized, labels, strict=True))
    ]
    blank = np.full_like(cells[0], STRIP)
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        missing = [blank[:, :, :1].repeat(width, 2) for width in widths[len(row) :]]
        rows.append(np.concatenate([*row, *missing], axis=2))
    whole = np.concatenate(rows, axis=1)
    odd = [(0, 0), (0, whole.shape[1] % 2), (0, whole.shape[2] % 2), (0, 0)]
    return np.pad(whole, odd, mode="edge")


STRIP = 24
"""The grey of what is behind labels."""


def overlay(
    frames: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = (255, 40, 90), tint: float = 0.4
) -> np.ndarray:
    """Frames, uint8 (F, H, W, 3), tinted where `mask`, float32 (F, H, W), is, with a contour at 0.5."""
    tinted = composite(np.broadcast_to(np.array(colour, np.uint8), frames.shape), frames, mask * np.float32(tint))
    thickness = max(round(min(frames.shape[1:3]) / 200), 1)
    for frame, area in zip(tinted, mask, strict=True):
        contours, _ = cv2.findContours((area >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(frame, contours, -1, colour, thickness)
    return tinted


COLOURS = ((255, 40, 90), (40, 150, 255), (255, 190, 30), (60, 200, 110), (190, 90, 255), (0, 200, 210))
"""One for each of several objects, again from the first after the last."""


def overlays(
    frames: np.ndarray, masks: Sequence[np.ndarray], labels: Sequence[str], outlined: Sequence[bool]
) -> np.ndarray:
    """Frames, uint8 (F, H, W, 3), under a strip of swatches and labels, each mask in a colour of its own.

    `masks` float32 (F, H, W) are drawn as by `overlay`, those of `outlined` without their tint.
    """
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(masks))]
    for mask, colour, thin in zip(masks, colours, outlined, strict=True):
        frames = overlay(frames, mask, colour, 0.0 if thin else 0.4)
    count, height, width, _ = frames.shape
    strip = np.full((2 * (max(height // 12, 20) // 2), width, 3), STRIP, np.uint8)
    side, margin = len(strip) // 2, len(strip) // 4
    for k, (label, colour, thin) in enumerate(zip(labels, colours, outlined, strict=True)):
        cell = strip[:, k * width // len(labels) : (k + 1) * width // len(labels)]
        swatch = cell[margin : margin + side, margin : margin + side]
        swatch[:] = colour
        if thin:
            swatch[2:-2, 2:-2] = STRIP
        _write(cell[:, margin + side :], label)
    return np.concatenate([np.broadcast_to(strip, (count, *strip.shape)), frames], axis=1)


class Followed(Protocol):
    """What is outlined: `box(frame, (height, width))` is x, y, width, height in pixels, or None."""

    def box(self, frame: int, size: tuple[int, int]) -> tuple[float, float, float, float] | None: ...


def followed(frames: np.ndarray, first: int, tracks: Sequence[Followed]) -> np.ndarray:
    """Frames uint8 (F, H, W, 3), the first of them number `first`, each with the outlines of what is followed there.

    A line goes where the outline's middle is in the whole stretch that it is followed through.
    """
    if not tracks:
        return frames
    frames, size = frames.copy(), (frames.shape[1], frames.shape[2])
    thickness = max(round(min(size) / 200), 1)
    for k, track in enumerate(tracks):
        colour = COLOURS[(k + 1) % len(COLOURS)]
        boxes = {first + place: track.box(first + place, size) for place in range(len(frames))}
        path = [_middle(box) for box in _whole(track, next((f for f, box in boxes.items() if box), None), size)]
        for frame, box in zip(frames, boxes.values(), strict=True):
            if box is None:
                continue
            x, y, across, down = box
            cv2.polylines(frame, [np.array(path, np.int32)], False, colour, thickness, cv2.LINE_AA)
            cv2.rectangle(frame, (round(x), round(y)), (round(x + across), round(y + down)), colour, thickness)
            cv2.circle(frame, _middle(box), 2 * thickness, colour, -1)
    return frames


def _whole(track: Followed, frame: int | None, size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """All outlines of a stretch that holds this frame, in their order."""
    if frame is None:
        return []
    before = list(_until_none(lambda k: track.box(frame - k, size)))
    return before[:0:-1] + list(_until_none(lambda k: track.box(frame + k, size)))


def _until_none(box: Callable[[int], tuple[float, float, float, float] | None]) -> Iterator[Any]:
    """box(0), box(1), ... up to the first None."""
    return takewhile(lambda each: each is not None, map(box, count()))


def _middle(box: tuple[float, float, float, float]) -> tuple[int, int]:
    x, y, across, down = box
    return round(x + across / 2), round(y + down / 2)


def _labelled(frames: np.ndarray, label: str, width: int) -> np.ndarray:
    """The frames in the middle of `width`, under a strip with their label."""
    count, height, own, _ = frames.shape
    strip = max(height // 12, 20)
    cell = np.full((count, strip + height, width, 3), STRIP, np.uint8)
    left = (width - own) // 2
    cell[:, strip:, left : left + own] = frames
    line = cell[0, :strip].copy()
    _write(line, label)
    cell[:, :strip] = line
    return cell


def _write(strip: np.ndarray, text: str) -> None:
    """Write one line of text into a view of the strip, as large as it goes."""
    height, width = strip.shape[:2]
    font, margin = cv2.FONT_HERSHEY_SIMPLEX, height // 4
    (length, tall), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(0.5 * height / max(tall, 1), (width - 2 * margin) / max(length, 1))
    if scale <= 0:
        return
    picture = np.ascontiguousarray(strip)
    baseline = round((height + tall * scale) / 2)
    cv2.putText(
        picture, text, (margin, baseline), font, scale, (235, 235, 235), max(round(1.5 * scale), 1), cv2.LINE_AA
    )
    strip[:] = picture
