"""What autoencoders without a cache of frames take, from their configuration alone; nothing here needs torch.

A way through one is a list of `Passage`s in the order in which they run: its parameters, and the numbers that are alive
while it runs, for an input of so many frames and (height, width).
"""

from collections.abc import Callable, Iterator
from math import log2
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


# LTX-Video: norms without weights, whose squares are in float32, and convolutions over padded frames.

NORM = 6.0
"""Sizes of its input that a norm holds, in bfloat16."""


def _conv(c_in: int, c_out: int, sites_in: float, sites_out: float, held: float = 0.0) -> Passage:
    return Passage(27 * c_in * c_out + c_out, held + 2 * c_in * sites_in + c_out * sites_out)


def _embedding(width: int) -> Passage:
    """What makes a time of 256 numbers so many."""
    return Passage(257 * width + (width + 1) * width, 0.0)


def _resnet(c_in: int, c_out: int, sites: float, noise: bool = False, timed: bool = False) -> Iterator[Passage]:
    yield Passage((2 * c_in if noise else 0) + (4 * c_in if timed else 0), NORM * c_in * sites)
    yield _conv(c_in, c_out, sites, sites, c_in * sites)
    yield _conv(c_out, c_out, sites, sites, c_in * sites)
    yield Passage(0.0, (c_in + NORM * c_out) * sites)
    if c_in != c_out:
        yield Passage(2 * c_in + c_in * c_out + c_out, (3 * c_in + 2 * c_out) * sites)


def _ltx_encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    patch, channels = vae.get("patch_size", 4), vae["block_out_channels"]
    layers, halves = vae["layers_per_block"], vae["spatio_temporal_scaling"]
    h, w = size[0] // patch, size[1] // patch
    yield _conv(3 * patch**2, channels[0], frames * h * w, frames * h * w)
    c = channels[0]
    for i in range(len(channels)):
        after = channels[min(i + 1, len(channels) - 1)]
        for _ in range(layers[i]):
            yield from _resnet(c, c, frames * h * w)
        if halves[i]:
            before = frames * h * w
            frames, h, w = 1 + (frames - 1) // 2, h // 2, w // 2
            yield _conv(c, c, before, frames * h * w)
        if after != c:
            yield from _resnet(c, after, frames * h * w)
        c = after
    for _ in range(layers[-1]):
        yield from _resnet(c, c, frames * h * w)
    yield _conv(c, vae["latent_channels"] + 1, frames * h * w, frames * h * w)


def _ltx_decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    timed, patch = bool(vae.get("timestep_conditioning")), vae.get("patch_size", 4)
    channels = list(reversed(vae.get("decoder_block_out_channels", (128, 256, 512, 512))))
    layers = list(reversed(vae.get("decoder_layers_per_block", (4, 3, 3, 3, 4))))
    doubles = list(reversed(vae.get("decoder_spatio_temporal_scaling", (True, True, True, False))))
    noise = list(reversed(vae.get("decoder_inject_noise", (False,) * 5)))
    factors = list(reversed(vae.get("upsample_factor", (1, 1, 1, 1))))
    h, w = size
    c, sites = channels[0], frames * h * w
    yield _conv(vae["latent_channels"], c, sites, sites)
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
    yield _conv(c, 3 * patch**2, sites, sites)


LTX = BothWays(_ltx_encoder, _ltx_decoder)


# HunyuanVideo: group norms, and convolutions over frames that are padded in front.


def _normed(c: int, sites: float, held: float) -> Passage:
    """A group norm and what follows it, beside what is held."""
    return Passage(2 * c, held + 3 * c * sites)


def _hunyuan_resnet(c_in: int, c_out: int, sites: float) -> Iterator[Passage]:
    yield _normed(c_in, sites, 0.0)
    yield _conv(c_in, c_out, sites, sites, 2 * c_in * sites)
    yield _normed(c_out, sites, c_in * sites)
    yield _conv(c_out, c_out, sites, sites, (c_in + c_out) * sites)
    if c_in != c_out:
        yield Passage(c_in * c_out + c_out, (2 * c_in + 2 * c_out) * sites)


def _hunyuan_middle(vae: Config, c: int, sites: float) -> Iterator[Passage]:
    yield from _hunyuan_resnet(c, c, sites)
    if vae.get("mid_block_add_attention", True):
        yield Passage(4 * (c * c + c) + 2 * c, 7 * c * sites + sites**2)
    yield from _hunyuan_resnet(c, c, sites)


def _resized(vae: Config, i: int) -> tuple[bool, bool]:
    """Whether the level i, from the pixels on, is followed by half the frames, and by half a side."""
    levels = len(vae["block_out_channels"])
    last = i == levels - 1
    in_time = int(log2(vae.get("temporal_compression_ratio", 4)))
    return levels - 1 - in_time <= i and not last, i < int(log2(vae.get("spatial_compression_ratio", 8)))


def _hunyuan_encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, (h, w), latent = vae["block_out_channels"], size, vae["latent_channels"]
    c, sites = channels[0], frames * h * w
    yield _conv(3, c, sites, sites)
    for i, after in enumerate(channels):
        for _ in range(vae["layers_per_block"]):
            yield from _hunyuan_resnet(c, after, sites)
            c = after
        in_time, in_space = _resized(vae, i)
        if in_time or in_space:
            before = sites
            frames = 1 + (frames - 1) // 2 if in_time else frames
            h, w = (h // 2, w // 2) if in_space else (h, w)
            sites = frames * h * w
            yield _conv(c, c, before, sites)
    yield from _hunyuan_middle(vae, c, sites)
    yield _normed(c, sites, 0.0)
    yield _conv(c, 2 * latent, sites, sites)
    yield Passage(4 * latent**2 + 2 * latent, 0.0)


def _hunyuan_decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, (h, w), latent = list(reversed(vae["block_out_channels"])), size, vae["latent_channels"]
    c, sites = channels[0], frames * h * w
    yield Passage(latent**2 + latent, 0.0)
    yield _conv(latent, c, sites, sites)
    yield from _hunyuan_middle(vae, c, sites)
    for i, after in enumerate(channels):
        for _ in range(vae["layers_per_block"] + 1):
            yield from _hunyuan_resnet(c, after, sites)
            c = after
        in_time, in_space = _resized(vae, i)
        if in_time or in_space:
            before = sites
            frames = 2 * frames - 1 if in_time else frames
            h, w = (2 * h, 2 * w) if in_space else (h, w)
            sites = frames * h * w
            yield Passage(27 * c * c + c, c * before + 3 * c * sites)
    yield _normed(c, sites, 0.0)
    yield _conv(c, 3, sites, sites)


HUNYUAN = BothWays(_hunyuan_encoder, _hunyuan_decoder)


# Mochi: group norms of each frame, attention over the frames of a site on the way to latents.


def _mochi_resnet(c: int, sites: float) -> Iterator[Passage]:
    for _ in range(2):
        yield Passage(2 * c, 4 * c * sites)
        yield _conv(c, c, sites, sites, 2 * c * sites)


def _over_frames(c: int, sites: float) -> Passage:
    """Attention of each site to itself in other frames: its norm, projections without a bias, and the way out."""
    return Passage(2 * c + 4 * c * c + c, 7 * c * sites)


def _mochi_level(c: int, count: int, attends: bool, sites: float) -> Iterator[Passage]:
    for _ in range(count):
        yield from _mochi_resnet(c, sites)
        if attends:
            yield _over_frames(c, sites)


def _mochi_encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, layers, attends = (
        vae[name] for name in ("encoder_block_out_channels", "layers_per_block", "add_attention_block")
    )
    c, (h, w) = channels[0], size
    sites = frames * h * w
    yield Passage((vae["in_channels"] + 1) * c, (2 * vae["in_channels"] + 2 * c) * sites)
    yield from _mochi_level(c, layers[0], attends[0], sites)
    for i, after in enumerate(channels[1:]):
        in_time, in_space = vae["temporal_expansions"][i], vae["spatial_expansions"][i]
        before, frames, h, w = sites, 1 + (frames - 1) // in_time, h // in_space, w // in_space
        sites = frames * h * w
        yield Passage(c * after * in_time * in_space**2 + after, 2 * c * before + after * sites)
        c = after
        yield from _mochi_level(c, layers[i + 1], attends[i + 1], sites)
    yield from _mochi_level(c, layers[-1], attends[-1], sites)
    yield Passage(2 * c + 2 * c * vae["latent_channels"], 3 * c * sites)


def _mochi_decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    """Beside each part lies what the convolutions keep of the chunk before: two frames each."""
    kept = 0.0
    levels = zip(reversed(vae["decoder_block_out_channels"]), reversed(vae["layers_per_block"][:-1]), strict=True)
    area = size[0] * size[1]
    for i, (c, count) in enumerate(levels):
        resnets = count + (0 if i else vae["layers_per_block"][-1])
        kept += resnets * 2 * FRAMES_KEPT * c * area
        area *= [*reversed(vae["spatial_expansions"]), 1][i] ** 2
    for part in _mochi_decoder_alone(vae, frames, size):
        yield Passage(part.weights, part.alive + kept)


FRAMES_KEPT = 2
"""Frames that a convolution over three of them needs of the chunk before."""


def _mochi_decoder_alone(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, layers = vae["decoder_block_out_channels"], vae["layers_per_block"]
    c, (h, w) = channels[-1], size
    sites = frames * h * w
    yield Passage((vae["latent_channels"] + 1) * c, 2 * c * sites)
    yield from _mochi_level(c, layers[-1], False, sites)
    for i in range(len(channels) - 1):
        yield from _mochi_level(c, layers[-i - 2], False, sites)
        in_time, in_space, after = (
            vae["temporal_expansions"][-i - 1],
            vae["spatial_expansions"][-i - 1],
            channels[-i - 2],
        )
        many = in_time * in_space**2
        yield Passage((c + 1) * after * many, 2 * c * sites + 2 * after * many * sites)
        frames, h, w, c = frames * in_time, h * in_space, w * in_space, after
        sites = frames * h * w
    yield from _mochi_level(c, layers[0], False, sites)
    yield Passage((c + 1) * vae["out_channels"], 2 * c * sites)


MOCHI = BothWays(_mochi_encoder, _mochi_decoder)
