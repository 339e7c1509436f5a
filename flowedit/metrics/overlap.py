"""How well a found mask covers the true one."""

import numpy as np


def iou(found: np.ndarray, true: np.ndarray) -> float:
    """IoU = |A and B| / |A or B| of two boolean masks of one shape; 0 to 1, higher is better, 1 if both are empty.

    Raises ValueError for different shapes.
    """
    if found.shape != true.shape:
        raise ValueError(f"a mask of shape {found.shape} cannot be compared with {true.shape}")
    either = np.count_nonzero(found | true)
    return float(np.count_nonzero(found & true) / either) if either else 1.0


def centred_box(shape: tuple[int, int, int], share: float) -> np.ndarray:
    """A mask (F, H, W) whose box in the middle of each frame has `share` of each side: the floor of any mask."""
    box = np.zeros(shape, bool)
    top, left = (round(side * (1 - share) / 2) for side in shape[1:])
    box[:, top : shape[1] - top, left : shape[2] - left] = True
    return box
