"""Noise as a pure function of seed, step and draw, made on the CPU so that a seed means the same on every device."""

import hashlib

import torch

from flowedit.types import Noise


def gaussian(seed: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Noise:
    """noise(step, draw): standard normal float32 of `shape`; equal arguments give equal bytes, in any order."""

    def noise(step: int, draw: int) -> torch.Tensor:
        # A hash as the key, so that neighbouring seeds, steps and draws share no stream.
        key = hashlib.sha256(f"{seed}/{step}/{draw}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
        sample = torch.randn(shape, generator=generator, dtype=torch.float32)
        if torch.device(device).type == "cuda":
            sample = sample.pin_memory()  # so that the copy does not wait for the device
        return sample.to(device, non_blocking=True)

    return noise
