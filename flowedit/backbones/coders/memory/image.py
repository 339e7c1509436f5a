"""The autoencoder of images, AutoencoderKL: group norms, plain convolutions, attention in the middle."""

from flowedit.backbones.coders.memory.walk import Walk, Walked
from flowedit.backbones.sheet import Config


def _plain(walk: Walk, held: float, c_in: int, c_out: int, area: float) -> None:
    """A convolution over three sites a side."""
    walk.weights += 9 * c_in * c_out + c_out
    walk.at(held + (c_in + c_out) * area)


def _block(walk: Walk, c_in: int, c_out: int, area: float, around: float = 0.0) -> None:
    """A residual block, which holds its input for the shortcut, adds to it, and divides the sum by one."""
    held = around + c_in * area
    walk.weights += 2 * c_in + 2 * c_out
    walk.at(held + 2 * c_in * area)
    _plain(walk, held, c_in, c_out, area)
    walk.at(held + 2 * c_out * area)
    _plain(walk, held, c_out, c_out, area)
    if c_in != c_out:
        walk.weights += c_in * c_out + c_out
        held += c_out * area
    walk.at(held + 3 * c_out * area)


def _blocks(walk: Walk, c_in: int, c_out: int, count: int, area: float) -> None:
    """So many residual blocks; all the while their caller holds what went into the first."""
    for i in range(count):
        _block(walk, c_out if i else c_in, c_out, area, c_in * area if i else 0.0)


def _middle(walk: Walk, vae: Config, c: int, area: float) -> None:
    _block(walk, c, c, area)
    if vae.get("mid_block_add_attention", True):
        walk.weights += 2 * c + 4 * (c * c + c)
        walk.at(7 * c * area)  # the input, its norm, q, k and v, and what comes of them
    _block(walk, c, c, area)


def _encoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    channels, area = vae["block_out_channels"], float(size[0] * size[1])
    _plain(walk, 0.0, vae["in_channels"], channels[0], area)
    before = channels[0]
    for level, c in enumerate(channels):
        _blocks(walk, before, c, vae["layers_per_block"], area)
        before = c
        if level + 1 < len(channels):
            walk.weights += 9 * c * c + c
            walk.at(2.25 * c * area)  # padded by a copy
            area /= 4
    _middle(walk, vae, before, area)
    walk.weights += 2 * before
    _plain(walk, before * area, before, z := 2 * vae["latent_channels"], area)
    walk.weights += z * z + z if vae.get("use_quant_conv", True) else 0


def _decoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    channels, z, area = vae["block_out_channels"][::-1], vae["latent_channels"], float(size[0] * size[1])
    walk.weights += z * z + z if vae.get("use_post_quant_conv", True) else 0
    _plain(walk, 0.0, z, channels[0], area)
    before = channels[0]
    _middle(walk, vae, before, area)
    for level, c in enumerate(channels):
        _blocks(walk, before, c, vae["layers_per_block"] + 1, area)
        before = c
        if level + 1 < len(channels):
            walk.weights += 9 * c * c + c
            area *= 4
            walk.at(2 * c * area)
    walk.weights += 2 * before
    walk.at(2 * before * area)
    _plain(walk, 0.0, before, vae["out_channels"], area)


MEMORY = Walked(_encoder, _decoder, replaces=True)
