"""HunyuanVideo: group norms, and convolutions over frames that are padded in front."""

from collections.abc import Iterator
from math import log2

from flowedit.backbones.coders.memory.passages import BothWays, Passage, conv
from flowedit.backbones.sheet import Config


def _normed(c: int, sites: float, held: float) -> Passage:
    """A group norm and what follows it, beside what is held."""
    return Passage(2 * c, held + 3 * c * sites)


def _resnet(c_in: int, c_out: int, sites: float) -> Iterator[Passage]:
    yield _normed(c_in, sites, 0.0)
    yield conv(c_in, c_out, sites, sites, 2 * c_in * sites)
    yield _normed(c_out, sites, c_in * sites)
    yield conv(c_out, c_out, sites, sites, (c_in + c_out) * sites)
    if c_in != c_out:
        yield Passage(c_in * c_out + c_out, (2 * c_in + 2 * c_out) * sites)


def _middle(vae: Config, c: int, sites: float) -> Iterator[Passage]:
    yield from _resnet(c, c, sites)
    if vae.get("mid_block_add_attention", True):
        yield Passage(4 * (c * c + c) + 2 * c, 7 * c * sites + sites**2)
    yield from _resnet(c, c, sites)


def _resized(vae: Config, i: int) -> tuple[bool, bool]:
    """Whether the level i, from the pixels on, is followed by half the frames, and by half a side."""
    levels = len(vae["block_out_channels"])
    last = i == levels - 1
    in_time = int(log2(vae.get("temporal_compression_ratio", 4)))
    return levels - 1 - in_time <= i and not last, i < int(log2(vae.get("spatial_compression_ratio", 8)))


def _encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, (h, w), latent = vae["block_out_channels"], size, vae["latent_channels"]
    c, sites = channels[0], frames * h * w
    yield conv(3, c, sites, sites)
    for i, after in enumerate(channels):
        for _ in range(vae["layers_per_block"]):
            yield from _resnet(c, after, sites)
            c = after
        in_time, in_space = _resized(vae, i)
        if in_time or in_space:
            before = sites
            frames = 1 + (frames - 1) // 2 if in_time else frames
            h, w = (h // 2, w // 2) if in_space else (h, w)
            sites = frames * h * w
            yield conv(c, c, before, sites)
    yield from _middle(vae, c, sites)
    yield _normed(c, sites, 0.0)
    yield conv(c, 2 * latent, sites, sites)
    yield Passage(4 * latent**2 + 2 * latent, 0.0)


def _decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, (h, w), latent = list(reversed(vae["block_out_channels"])), size, vae["latent_channels"]
    c, sites = channels[0], frames * h * w
    yield Passage(latent**2 + latent, 0.0)
    yield conv(latent, c, sites, sites)
    yield from _middle(vae, c, sites)
    for i, after in enumerate(channels):
        for _ in range(vae["layers_per_block"] + 1):
            yield from _resnet(c, after, sites)
            c = after
        in_time, in_space = _resized(vae, i)
        if in_time or in_space:
            before = sites
            frames = 2 * frames - 1 if in_time else frames
            h, w = (2 * h, 2 * w) if in_space else (h, w)
            sites = frames * h * w
            yield Passage(27 * c * c + c, c * before + 3 * c * sites)
    yield _normed(c, sites, 0.0)
    yield conv(c, 3, sites, sites)


MEMORY = BothWays(_encoder, _decoder)
