"""Scenes side by side: source, each method, truth."""

from collections.abc import Sequence

import cv2
import numpy as np

SIDE, LINE, GAP = 192, 22, 4


def examples(pictures: Sequence[tuple[str, dict[str, np.ndarray]]]) -> np.ndarray:
    """Clips by column → one RGB picture: a row a scene, its title above it, first and last frame of each clip."""
    names = list(pictures[0][1])
    cell = 2 * SIDE + GAP
    width = len(names) * (cell + 3 * GAP)
    rows = [_line(names, width, cell, 0.5)]
    for title, clips in pictures:
        cells = [_ends(clips[name]) for name in names]
        gap = np.full((SIDE, 3 * GAP, 3), 255, np.uint8)
        rows += [_line([title], width, width, 0.45), np.hstack([part for one in cells for part in (one, gap)])]
    return np.vstack(rows)


def _ends(clip: np.ndarray) -> np.ndarray:
    first, last = (cv2.resize(clip[i], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for i in (0, -1))
    return np.hstack([first, np.full((SIDE, GAP, 3), 255, np.uint8), last])


def _line(texts: Sequence[str], width: int, cell: int, scale: float) -> np.ndarray:
    line = np.full((LINE, width, 3), 255, np.uint8)
    for i, text in enumerate(texts):
        place = (i * (cell + 3 * GAP) + 2, LINE - 7)
        cv2.putText(line, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return line
