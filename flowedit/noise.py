"""Noise as a pure function of (seed, step, draw), drawn on the CPU so that a seed means the same on every device."""

import hashlib

import torch

from flowedit.types import Noise


def gaussian(seed: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Noise:
    """noise(step, draw): standard normal float32 of `shape`; equal arguments give equal bytes, in any order."""

    def noise(step: int, draw: int) -> torch.Tensor:
        # Hashed, so that neighbouring seeds, steps and draws share no stream.
        key = hashlib.sha256(f"{seed}/{step}/{draw}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(device)

    return noise
