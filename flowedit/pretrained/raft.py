"""RAFT: optical flow by torchvision's network and weights (Teed & Deng 2020)."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from flowedit.messages import InputError
from flowedit.pretrained import hub

CHUNK = 4
"""Pairs a call: the correlation of all pixels with all others is what weighs."""

LEAST, MULTIPLE = 128, 8

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""flow(a, b): uint8 (n, H, W, 3) RGB twice to float32 (n, H, W, 2), where each pixel of a went in b: (dx, dy)."""


@cache
def load(device: torch.device) -> Flow:
    """The large network with torchvision's default weights (21 MB); raises ConnectionError if they cannot be had."""
    from torchvision.models.optical_flow import raft_large  # a second of import

    model = raft_large(weights=None)
    model.load_state_dict(_weights())
    model.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.shape != b.shape or len(a) == 0:
            raise InputError(f"flow is between frames of one shape, not between {a.shape} and {b.shape}")
        top, left = (_border(side) for side in a.shape[1:3])
        found = []
        for start in range(0, len(a), CHUNK):
            pair = [pad(signed(x[start : start + CHUNK], device), (*left, *top), mode="replicate") for x in (a, b)]
            found.append(model(*pair)[-1][:, :, top[0] :, left[0] :])
        return torch.cat(found)[:, :, : a.shape[1], : a.shape[2]].permute(0, 2, 3, 1).cpu().numpy()

    return flow


def _border(side: int) -> tuple[int, int]:
    """What is added before and after a side, so that the network takes it."""
    more = max(LEAST, -(-side // MULTIPLE) * MULTIPLE) - side
    return more // 2, more - more // 2


def signed(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W) in [-1, 1], as networks of torchvision's kind want it."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _weights() -> dict[str, Any]:
    from torchvision.models.optical_flow import Raft_Large_Weights

    weights = Raft_Large_Weights.DEFAULT
    advice = f"run once where it can be reached, or bring the file to {torch.hub.get_dir()}/checkpoints"
    with redirect_stdout(sys.stderr):  # torch.hub prints what it downloads; stdout is for results
        return hub.download(
            f"RAFT large (21 MB) from {weights.url}",
            advice,
            lambda: dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True)),
        )
