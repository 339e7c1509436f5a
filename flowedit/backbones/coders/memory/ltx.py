"""LTX-Video: norms without weights, whose squares are in float32, and convolutions over padded frames."""

from collections.abc import Iterator

from flowedit.backbones.coders.memory.passages import BothWays, Passage, conv
from flowedit.backbones.sheet import Config

NORM = 6.0
"""Sizes of its input that a norm holds, in bfloat16."""


def _embedding(width: int) -> Passage:
    """What makes a time of 256 numbers so many."""
    return Passage(257 * width + (width + 1) * width, 0.0)


def _resnet(c_in: int, c_out: int, sites: float, noise: bool = False, timed: bool = False) -> Iterator[Passage]:
    yield Passage((2 * c_in if noise else 0) + (4 * c_in if timed else 0), NORM * c_in * sites)
    yield conv(c_in, c_out, sites, sites, c_in * sites)
    yield conv(c_out, c_out, sites, sites, c_in * sites)
    yield Passage(0.0, (c_in + NORM * c_out) * sites)
    if c_in != c_out:
        yield Passage(2 * c_in + c_in * c_out + c_out, (3 * c_in + 2 * c_out) * sites)


def _encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    patch, channels = vae.get("patch_size", 4), vae["block_out_channels"]
    layers, halves = vae["layers_per_block"], vae["spatio_temporal_scaling"]
    h, w = size[0] // patch, size[1] // patch
    yield conv(3 * patch**2, channels[0], frames * h * w, frames * h * w)
    c = channels[0]
    for i in range(len(channels)):
        after = channels[min(i + 1, len(channels) - 1)]
        for _ in range(layers[i]):
            yield from _resnet(c, c, frames * h * w)
        if halves[i]:
            before = frames * h * w
            frames, h, w = 1 + (frames - 1) // 2, h // 2, w // 2
            yield conv(c, c, before, frames * h * w)
        if after != c:
            yield from _resnet(c, after, frames * h * w)
        c = after
    for _ in range(layers[-1]):
        yield from _resnet(c, c, frames * h * w)
    yield conv(c, vae["latent_channels"] + 1, frames * h * w, frames * h * w)


def _decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    timed, patch = bool(vae.get("timestep_conditioning")), vae.get("patch_size", 4)
    channels = list(reversed(vae.get("decoder_block_out_channels", (128, 256, 512, 512))))
    layers = list(reversed(vae.get("decoder_layers_per_block", (4, 3, 3, 3, 4))))
    doubles = list(reversed(vae.get("decoder_spatio_temporal_scaling", (True, True, True, False))))
    noise = list(reversed(vae.get("decoder_inject_noise", (False,) * 5)))
    factors = list(reversed(vae.get("upsample_factor", (1, 1, 1, 1))))
    h, w = size
    c, sites = channels[0], frames * h * w
    yield conv(vae["latent_channels"], c, sites, sites)
    yield _embedding(4 * c) if timed else Passage(0.0, 0.0)
    for _ in range(layers[0]):
        yield from _resnet(c, c, sites, noise[0], timed)
    for i, factor in enumerate(factors):
        before, c = c // factor, channels[i] // factor
        yield _embedding(4 * before) if timed else Passage(0.0, 0.0)
        if before != c:
            yield from _resnet(before, c, sites, noise[i + 1], timed)
        if doubles[i]:
            few, sites = sites, (2 * frames) * 4 * h * w
            yield Passage(27 * c * factor * 8 * c + 8 * c, 2 * c * factor * few + 3 * c * sites)
            frames, h, w = 2 * frames - 1, 2 * h, 2 * w
            sites = frames * h * w
        for _ in range(layers[i + 1]):
            yield from _resnet(c, c, sites, noise[i + 1], timed)
    if timed:
        yield _embedding(2 * c)
        yield Passage(2 * c + 1, 0.0)
    yield conv(c, 3 * patch**2, sites, sites)


MEMORY = BothWays(_encoder, _decoder)
