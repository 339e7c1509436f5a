"""RGB to the planes of a video: the matrix, and chroma at fewer samples such that reading undoes it."""

from __future__ import annotations

import functools

import cv2
import numpy as np

LUMA = {
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""What red and blue weigh in luma, by a matrix's number in ITU-T H.273: all that `colours` keeps."""


@functools.cache
def to_yuv(matrix: int) -> np.ndarray:
    """R, G, B, 1 to Y, Cb, Cr in limited range (ITU-T H.273), all from 0 to 255; float32 (3, 4)."""
    red, blue = LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    differences = ([0, 0, 1] - luma) / (1 - blue), ([1, 0, 0] - luma) / (1 - red)
    rows = np.stack([219 / 255 * luma, *(112 / 255 * each for each in differences)])
    return np.column_stack([rows, (16, 128, 128)]).astype(np.float32)


_HALF = (0.64484, 0.30880, -0.15432, -0.00014, 0.02324), (0.54823, 0.04390, -0.15755, 0.06208, 0.00334)

ACROSS = np.array(_HALF[0][:0:-1] + _HALF[0], np.float32)
DOWN = np.array(_HALF[1][::-1] + _HALF[1], np.float32)
ONE = np.ones(1, np.float32)
"""Chroma to half its samples, which H.264 places on every other column and between two rows. These are inverses from
the left of the cubic kernel by which FFmpeg doubles them again (a = -0.6), near to the ideal low pass: another pass of
reading and writing takes nothing away. FFmpeg's own kernels blur colours and shift them by a quarter of a sample."""


def yuv_of(frame: np.ndarray, matrix: int, sampling: str = "444", depth: int = 8) -> list[np.ndarray]:
    """Y, Cb, Cr of an RGB frame, uint8 (H, W, 3), in limited range, each rounded to the nearest.

    They are of `depth` bits, uint8 or uint16. `sampling` 420 halves both sides of chroma, 422 its width.
    """
    luma, *chroma = cv2.split(cv2.transform(frame.astype(np.float32), to_yuv(matrix)))
    if sampling == "420":
        # beyond an edge FFmpeg repeats the sample there, which lies between two rows and on a column
        chroma = [cv2.sepFilter2D(each, -1, ONE, DOWN, None, (0, 4), 0, cv2.BORDER_REFLECT)[::2] for each in chroma]
    if sampling in ("420", "422"):
        chroma = [
            cv2.sepFilter2D(each, -1, ACROSS, ONE, None, (4, 0), 0, cv2.BORDER_REPLICATE)[:, ::2] for each in chroma
        ]
    steps, kind = 2 ** (depth - 8), np.uint8 if depth == 8 else np.uint16
    return [np.clip(np.rint(each * steps), 0, 2**depth - 1).astype(kind) for each in (luma, *chroma)]
