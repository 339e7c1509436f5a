"""Noise as a pure function of seed, step and draw, made on the CPU so that a seed means the same on every device."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from flowedit.tensors import Tensor, torch
from flowedit.types import Noise


def gaussian(seed: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Noise:
    """noise(step, draw): standard normal float32 of `shape`; equal arguments give equal bytes, in any order."""

    def noise(step: int, draw: int) -> Tensor:
        # A hash as the key, so that neighbouring seeds, steps and draws share no stream.
        key = hashlib.sha256(f"{seed}/{step}/{draw}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
        sample = torch.randn(shape, generator=generator, dtype=torch.float32)
        if torch.device(device).type == "cuda":
            sample = sample.pin_memory()  # so that the copy does not wait for the device
        return sample.to(device, non_blocking=True)

    return noise


def antithetic(noise: Noise, draws: int = 1, several: int | None = None) -> Noise:
    """Pairs (eps, -eps): over the draws of the steps that take several, over every two of the steps that take one.

    `draws` are taken in each of the first `several` steps (None: in all), one in each step after them. What is odd
    in the noise cancels in the mean over a pair (Hammersley & Morton 1956).
    """
    first = 0 if draws == 1 else several

    def paired(step: int, draw: int) -> Tensor:
        if first is None or step < first:
            eps, place = noise(step, draw // 2), draw
        else:
            eps, place = noise(first + (step - first) // 2, draw), step - first
        return -eps if place % 2 else eps

    return paired


def correlated(noise: Noise, grid: Sequence[float]) -> Noise:
    """e_i = sqrt(a_i) e_(i-1) + sqrt(1 - a_i) eps_i, e_0 = eps_0, a_i = clip((1 - t_i) / 0.75, 0, 1), of each draw.

    Each e_i is standard normal; from t = 0.25 down all steps have the same. Source: DynaEdit (arXiv 2603.17989), which
    starts from t = 1, where a = 0.
    """
    held: dict[int, tuple[int, Tensor]] = {}

    def following(step: int, draw: int) -> Tensor:
        if draw not in held or held[draw][0] > step:
            held[draw] = 0, noise(0, draw)
        last, eps = held[draw]
        for i in range(last + 1, step + 1):
            a = min(max((1.0 - grid[i]) / KEPT_BELOW, 0.0), 1.0)
            eps = math.sqrt(a) * eps + math.sqrt(1.0 - a) * noise(i, draw)
        held[draw] = step, eps
        return eps

    return following


KEPT_BELOW = 0.75
"""1 - t from which `correlated` noise is kept whole."""
