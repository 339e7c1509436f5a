"""How much neighbouring frames of an edit differ."""

from itertools import pairwise

import numpy as np


def temporal_flicker(edit: np.ndarray) -> np.ndarray:
    """(255 - mean |e_i - e_{i+1}|) / 255 of each pair of neighbours, float64 (F - 1,), in 0 ... 1; higher is steadier.

    1 is a still picture: motion counts as flicker, so compare edits of one source. edit: uint8 (F, H, W, 3); the
    clip's value is the mean over pairs. VBench's temporal flickering (Huang et al. 2024).
    """
    return np.array([1 - np.abs(b.astype(np.int16) - a).mean() / 255 for a, b in pairwise(edit)])
