"""Autoencoders without a cache of frames.

A way through one is a list of `Passage`s in the order in which they run: its parameters, and the numbers that are alive
while it runs, for an input of so many frames and (height, width).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from flowedit.backbones.sheet import Config


class Passage(NamedTuple):
    """A part of a network: its parameters, and the numbers alive while it runs."""

    weights: float
    alive: float


PassagesOf = Callable[[Config, int, tuple[int, int]], Iterator[Passage]]
"""(configuration, frames, size of what goes in) -> its parts."""


class BothWays(NamedTuple):
    """Both ways through an autoencoder."""

    encode: PassagesOf
    decode: PassagesOf

    def weights(self, vae: Config) -> float:
        """The parameters of both ways."""
        return sum(part.weights for way in self for part in way(vae, 9, (64, 64)))

    def peak(self, vae: Config, decode: bool, chunks: tuple[int, int], size: tuple[int, int]) -> float:
        """The most numbers that are alive while a chunk of a tile goes through; chunks keep nothing for each other."""
        way = self.decode if decode else self.encode
        return max(part.alive for part in way(vae, chunks[0], size))


def conv(c_in: int, c_out: int, sites_in: float, sites_out: float, held: float = 0.0) -> Passage:
    """A convolution over three frames and sites a side, beside what is held."""
    return Passage(27 * c_in * c_out + c_out, held + 2 * c_in * sites_in + c_out * sites_out)
