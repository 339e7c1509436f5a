"""CogVideoX: group norms on the way up to latents, norms that see the latent on the way back."""

from math import log2

from flowedit.backbones.coders.memory.walk import CACHED, Walk, Walked
from flowedit.backbones.sheet import Config


def _causal(walk: Walk, held: float, c_in: int, c_out: int, sites: float, area: float) -> None:
    """A causal convolution over three frames: its input, the same with the frames kept, what is kept, its output."""
    walk.weights += 27 * c_in * c_out + c_out
    joined = c_in * (sites + CACHED * area)
    walk.keep(CACHED * c_in * area)
    walk.at(held + c_in * sites + joined + c_out * sites)


def _seeing_norm(walk: Walk, held: float, c: int, z: int, sites: float) -> None:
    """A norm with a scale and a shift from the latent, which its two convolutions keep at the size of the input."""
    walk.weights += 2 * c + 2 * (z * c + c)
    walk.keep(2 * z * sites)
    walk.at(held + 6 * c * sites + z * sites)


def _blocks(walk: Walk, c_in: int, c_out: int, z: int | None, count: int, frames: int, area: float) -> None:
    """So many residual blocks; all the while their caller holds what went into the first."""
    for i in range(count):
        _block(walk, c_out if i else c_in, c_out, z, frames, area, c_in * frames * area if i else 0.0)


def _block(walk: Walk, c_in: int, c_out: int, z: int | None, frames: int, area: float, around: float) -> None:
    """A residual block; `z` are the channels of the latent that its norms see, None for plain norms."""
    sites, outer = frames * area, around + c_in * frames * area
    for c, held in ((c_in, around), (c_out, outer)):
        if z is None:
            walk.weights += 2 * c
            walk.at(held + 3 * c * sites)
        else:
            _seeing_norm(walk, held, c, z, sites)
        _causal(walk, outer, c, c_out, sites, area)
    if c_in != c_out:
        walk.weights += c_in * c_out + c_out
        walk.at(outer + 2 * c_out * sites)


def _encoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    channels, area = vae["block_out_channels"], float(size[0] * size[1])
    _causal(walk, 0.0, vae["in_channels"], channels[0], frames * area, area)
    before = channels[0]
    for level, c in enumerate(channels):
        _blocks(walk, before, c, None, vae["layers_per_block"], frames, area)
        before = c
        if level + 1 < len(channels):
            halved = level < log2(vae["temporal_compression_ratio"]) and frames > 1
            after = (frames + 1) // 2 if halved else frames
            walk.weights += 9 * c * c + c
            walk.at(c * area * (2 * frames + after) if halved else 2.25 * c * area * frames)
            frames, area = after, area / 4
    _blocks(walk, before, before, None, 2, frames, area)
    walk.weights += 2 * before
    _causal(walk, 0.0, before, 2 * vae["latent_channels"], frames * area, area)


def _decoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    channels, z, area = vae["block_out_channels"][::-1], vae["latent_channels"], float(size[0] * size[1])
    _causal(walk, 0.0, z, channels[0], frames * area, area)
    before = channels[0]
    _blocks(walk, before, before, z, 2, frames, area)
    for level, c in enumerate(channels):
        _blocks(walk, before, c, z, vae["layers_per_block"] + 1, frames, area)
        before = c
        if level + 1 < len(channels):
            doubled = level < log2(vae["temporal_compression_ratio"]) and frames > 1
            frames_in, frames = frames, 2 * frames - frames % 2 if doubled else frames
            area *= 4
            walk.weights += 9 * c * c + c
            walk.at(c * area * (frames_in / 4 + 3 * frames))
    _seeing_norm(walk, 0.0, before, z, frames * area)
    _causal(walk, 0.0, before, vae["out_channels"], frames * area, area)


MEMORY = Walked(_encoder, _decoder, replaces=False)
