"""Frames as pixels: resize, composite, feather."""

from __future__ import annotations

import cv2
import numpy as np

from flowedit.messages import InputError

Size = tuple[int, int]  # (height, width)


def resize(frames: np.ndarray, size: Size) -> np.ndarray:
    """Frames or masks (F, H, W[, 3]) at another size: by area along sides that shrink, cubic (masks linear) else."""
    height, width = frames.shape[1:3]
    if (height, width) == size:
        return frames
    # one after the other: where one side shrinks and the other grows, OpenCV averages neither
    shrunk = min(height, size[0]), min(width, size[1])
    larger = cv2.INTER_CUBIC if frames.dtype == np.uint8 else cv2.INTER_LINEAR  # cubic leaves [0, 1]
    result = np.empty((len(frames), *size, *frames.shape[3:]), frames.dtype)
    for out, frame in zip(result, frames, strict=True):
        small = frame if shrunk == (height, width) else cv2.resize(frame, shrunk[::-1], interpolation=cv2.INTER_AREA)
        out[:] = small if shrunk == size else cv2.resize(small, size[::-1], interpolation=larger)
    return result


def composite(edit: np.ndarray, original: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """original + mask·(edit − original), uint8 (F, H, W, 3); exact where `mask`, float32 (F, H, W), is 0 or 1."""
    expect(original, edit.shape[1:3], 4, "original", frames=len(edit))
    expect(mask, edit.shape[1:3], 3, "mask", frames=len(edit))
    result = np.empty(edit.shape, np.uint8)
    for out, new, old, share in zip(result, edit, original, mask, strict=True):
        base = old.astype(np.float32)
        out[:] = np.clip(np.rint(base + share[..., None] * (new - base)), 0, 255)
    return result


def feather(mask: np.ndarray) -> np.ndarray:
    """A mask float32 (F, H, W) with its edge softened inwards over 1/100 of the shorter side; 0 stays exactly 0."""
    sigma = min(mask.shape[1:]) / 200
    blurred = [cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for frame in mask]
    return np.minimum(mask, np.stack(blurred))


def expect(array: np.ndarray, size: Size, axes: int, name: str, frames: int | None = None) -> None:
    kind = np.uint8 if axes == 4 else np.float32
    shape = (len(array) if frames is None else frames, *size, *([3] if axes == 4 else []))
    if array.shape != shape or array.dtype != kind:
        raise InputError(
            f"{name} has shape {array.shape} and type {array.dtype}: expected {shape} and {np.dtype(kind)}"
        )
