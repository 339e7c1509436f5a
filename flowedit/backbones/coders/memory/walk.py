"""Autoencoders that work chunk by chunk, and keep frames for the chunk that follows.

A walk through the network as diffusers runs it counts, at every layer, what is alive: the layer's own tensors, and
what causal convolutions keep of the chunk before and of the one at work. All in numbers, not in bytes.
"""

from collections.abc import Callable
from typing import NamedTuple

from flowedit.backbones.sheet import Config

CACHED = 2
"""Frames that a causal convolution over three frames keeps."""


class Walk:
    """What is alive on the way through a network: its weights, what is kept for the next chunk, the most in all.

    `before` is what was kept of the chunk before, None for the first; where a network `replaces` that layer by layer,
    nothing is added to it.
    """

    def __init__(self, before: float | None = None, replaces: bool = False) -> None:
        self.weights = self.kept = self.peak = 0.0
        self.first = before is None
        self._before, self._replaces = before or 0.0, replaces

    def at(self, alive: float) -> None:
        """A moment at which so many numbers are alive beside what is kept."""
        kept = max(self._before, self.kept) if self._replaces else self._before + self.kept
        self.peak = max(self.peak, kept + alive)

    def keep(self, numbers: float) -> None:
        """So many are kept for the next chunk."""
        self.kept += numbers


Way = Callable[[Config, int, tuple[int, int], Walk], None]
"""One way through a network: its configuration, frames and (height, width) of what goes in, and the walk."""


class Walked(NamedTuple):
    """Both ways through an autoencoder; where it `replaces` what it kept layer by layer, nothing is added to it."""

    encode: Way
    decode: Way
    replaces: bool

    def weights(self, vae: Config) -> float:
        """The parameters of both ways."""
        total = 0.0
        for way in (self.encode, self.decode):
            walk = Walk()
            way(vae, 1, (8, 8), walk)
            total += walk.weights
        return total

    def peak(self, vae: Config, decode: bool, chunks: tuple[int, int], size: tuple[int, int]) -> float:
        """The most numbers that are alive while a tile is encoded or decoded, without the weights.

        `chunks` are the frames of the first chunk, and of a later one or 0, and `size` (height, width) those of the
        tile: pixels on the way to latents, latents on the way back.
        """
        way, first = self.decode if decode else self.encode, Walk()
        way(vae, chunks[0], size, first)
        if not chunks[1]:
            return first.peak
        later = Walk(0.0)
        way(vae, chunks[1], size, later)
        steady = Walk(later.kept, self.replaces)
        way(vae, chunks[1], size, steady)
        return max(first.peak, steady.peak)
