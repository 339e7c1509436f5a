"""What memory one tile takes in CogVideoX's, Wan's or an image's autoencoder, by its configuration, without torch.

A walk through the network as diffusers runs it counts, at every layer, what is alive: the layer's own tensors, and
what causal convolutions keep of the chunk before and of the one at work. All in numbers, not in bytes.
"""

from collections.abc import Callable, Mapping
from math import log2
from typing import Any

CACHED = 2
"""Frames that a causal convolution over three frames keeps."""


class _Walk:
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


Way = Callable[[Mapping[str, Any], int, tuple[int, int], _Walk], None]
"""One way through a network: its configuration, frames and (height, width) of what goes in, and the walk."""


def weights(vae: Mapping[str, Any]) -> float:
    """The parameters of an autoencoder, both ways."""
    total = 0.0
    for decode in (False, True):
        walk = _Walk()
        _way(vae, decode)(vae, 1, (8, 8), walk)
        total += walk.weights
    return total


def peak(vae: Mapping[str, Any], decode: bool, chunks: tuple[int, int], size: tuple[int, int]) -> float:
    """The most numbers that are alive while a tile is encoded or decoded, without the weights.

    `chunks` are the frames of the first chunk, and of a later one or 0, and `size` (height, width) those of the tile:
    pixels on the way to latents, latents on the way back.
    """
    way, replaces = _way(vae, decode), not is_cogvideox(vae)
    first = _Walk()
    way(vae, chunks[0], size, first)
    if not chunks[1]:
        return first.peak
    later = _Walk(0.0)
    way(vae, chunks[1], size, later)
    steady = _Walk(later.kept, replaces)
    way(vae, chunks[1], size, steady)
    return max(first.peak, steady.peak)


def is_cogvideox(vae: Mapping[str, Any]) -> bool:
    """Whether this is CogVideoX's autoencoder, of the three kinds that are walked here."""
    return "temporal_compression_ratio" in vae


def is_image(vae: Mapping[str, Any]) -> bool:
    """Whether this is the autoencoder of images, AutoencoderKL, of the three kinds that are walked here; else Wan's."""
    return "block_out_channels" in vae and not is_cogvideox(vae)


def _way(vae: Mapping[str, Any], decode: bool) -> Way:
    if is_image(vae):
        return _image_decoder if decode else _image_encoder
    if is_cogvideox(vae):
        return _cogvideox_decoder if decode else _cogvideox_encoder
    return _wan_decoder if decode else _wan_encoder


# Images: group norms, plain convolutions, attention in the middle.


def _plain(walk: _Walk, held: float, c_in: int, c_out: int, area: float) -> None:
    """A convolution over three sites a side."""
    walk.weights += 9 * c_in * c_out + c_out
    walk.at(held + (c_in + c_out) * area)


def _image_block(walk: _Walk, c_in: int, c_out: int, area: float, around: float = 0.0) -> None:
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


def _image_blocks(walk: _Walk, c_in: int, c_out: int, count: int, area: float) -> None:
    """So many residual blocks; all the while their caller holds what went into the first."""
    for i in range(count):
        _image_block(walk, c_out if i else c_in, c_out, area, c_in * area if i else 0.0)


def _image_middle(walk: _Walk, vae: Mapping[str, Any], c: int, area: float) -> None:
    _image_block(walk, c, c, area)
    if vae.get("mid_block_add_attention", True):
        walk.weights += 2 * c + 4 * (c * c + c)
        walk.at(7 * c * area)  # the input, its norm, q, k and v, and what comes of them
    _image_block(walk, c, c, area)


def _image_encoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    channels, area = vae["block_out_channels"], float(size[0] * size[1])
    _plain(walk, 0.0, vae["in_channels"], channels[0], area)
    before = channels[0]
    for level, c in enumerate(channels):
        _image_blocks(walk, before, c, vae["layers_per_block"], area)
        before = c
        if level + 1 < len(channels):
            walk.weights += 9 * c * c + c
            walk.at(2.25 * c * area)  # padded by a copy
            area /= 4
    _image_middle(walk, vae, before, area)
    walk.weights += 2 * before
    _plain(walk, before * area, before, z := 2 * vae["latent_channels"], area)
    walk.weights += z * z + z if vae.get("use_quant_conv", True) else 0


def _image_decoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    channels, z, area = vae["block_out_channels"][::-1], vae["latent_channels"], float(size[0] * size[1])
    walk.weights += z * z + z if vae.get("use_post_quant_conv", True) else 0
    _plain(walk, 0.0, z, channels[0], area)
    before = channels[0]
    _image_middle(walk, vae, before, area)
    for level, c in enumerate(channels):
        _image_blocks(walk, before, c, vae["layers_per_block"] + 1, area)
        before = c
        if level + 1 < len(channels):
            walk.weights += 9 * c * c + c
            area *= 4
            walk.at(2 * c * area)
    walk.weights += 2 * before
    walk.at(2 * before * area)
    _plain(walk, 0.0, before, vae["out_channels"], area)


# CogVideoX: group norms on the way up to latents, norms that see the latent on the way back.


def _causal(walk: _Walk, held: float, c_in: int, c_out: int, sites: float, area: float) -> None:
    """A causal convolution over three frames: its input, the same with the frames kept, what is kept, its output."""
    walk.weights += 27 * c_in * c_out + c_out
    joined = c_in * (sites + CACHED * area)
    walk.keep(CACHED * c_in * area)
    walk.at(held + c_in * sites + joined + c_out * sites)


def _seeing_norm(walk: _Walk, held: float, c: int, z: int, sites: float) -> None:
    """A norm with a scale and a shift from the latent, which its two convolutions keep at the size of the input."""
    walk.weights += 2 * c + 2 * (z * c + c)
    walk.keep(2 * z * sites)
    walk.at(held + 6 * c * sites + z * sites)


def _cogvideox_blocks(walk: _Walk, c_in: int, c_out: int, z: int | None, count: int, frames: int, area: float) -> None:
    """So many residual blocks; all the while their caller holds what went into the first."""
    for i in range(count):
        _cogvideox_block(walk, c_out if i else c_in, c_out, z, frames, area, c_in * frames * area if i else 0.0)


def _cogvideox_block(
    walk: _Walk, c_in: int, c_out: int, z: int | None, frames: int, area: float, around: float
) -> None:
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


def _cogvideox_encoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    channels, area = vae["block_out_channels"], float(size[0] * size[1])
    _causal(walk, 0.0, vae["in_channels"], channels[0], frames * area, area)
    before = channels[0]
    for level, c in enumerate(channels):
        _cogvideox_blocks(walk, before, c, None, vae["layers_per_block"], frames, area)
        before = c
        if level + 1 < len(channels):
            halved = level < log2(vae["temporal_compression_ratio"]) and frames > 1
            after = (frames + 1) // 2 if halved else frames
            walk.weights += 9 * c * c + c
            walk.at(c * area * (2 * frames + after) if halved else 2.25 * c * area * frames)
            frames, area = after, area / 4
    _cogvideox_blocks(walk, before, before, None, 2, frames, area)
    walk.weights += 2 * before
    _causal(walk, 0.0, before, 2 * vae["latent_channels"], frames * area, area)


def _cogvideox_decoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    channels, z, area = vae["block_out_channels"][::-1], vae["latent_channels"], float(size[0] * size[1])
    _causal(walk, 0.0, z, channels[0], frames * area, area)
    before = channels[0]
    _cogvideox_blocks(walk, before, before, z, 2, frames, area)
    for level, c in enumerate(channels):
        _cogvideox_blocks(walk, before, c, z, vae["layers_per_block"] + 1, frames, area)
        before = c
        if level + 1 < len(channels):
            doubled = level < log2(vae["temporal_compression_ratio"]) and frames > 1
            frames_in, frames = frames, 2 * frames - frames % 2 if doubled else frames
            area *= 4
            walk.weights += 9 * c * c + c
            walk.at(c * area * (frames_in / 4 + 3 * frames))
    _seeing_norm(walk, 0.0, before, z, frames * area)
    _causal(walk, 0.0, before, vae["out_channels"], frames * area, area)


# Wan: norms over channels; a convolution pads a copy of what it joined.


def _wan_causal(walk: _Walk, held: float, c_in: int, c_out: int, sites: float, area: float) -> None:
    walk.weights += 27 * c_in * c_out + c_out
    padded = c_in * (sites + CACHED * area)
    kept = c_in * min(CACHED * area, sites) if walk.first else c_in * CACHED * area
    joined = 0.0 if walk.first else padded
    walk.at(held + c_in * sites + kept + padded + max(joined, c_out * sites))
    walk.keep(kept)


def _wan_block(walk: _Walk, c_in: int, c_out: int, frames: int, area: float, around: float = 0.0) -> None:
    sites, held = frames * area, around + c_in * frames * area
    if c_in != c_out:
        walk.weights += c_in * c_out + c_out
        held += c_out * sites
    walk.weights += c_in + c_out
    walk.at(held + 3 * c_in * sites)
    _wan_causal(walk, held, c_in, c_out, sites, area)
    walk.at(held + 4 * c_out * sites)
    _wan_causal(walk, held, c_out, c_out, sites, area)


def _wan_middle(walk: _Walk, c: int, frames: int, area: float) -> None:
    sites = frames * area
    _wan_block(walk, c, c, frames, area)
    walk.weights += c + (3 * c * c + 3 * c) + (c * c + c)
    walk.at(9 * c * sites)  # q, k and v, and a copy of them
    _wan_block(walk, c, c, frames, area)


def _wan_encoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    """A residual one (Wan 2.2 5B) takes patches of pixels, and each level holds a copy of its input for a shortcut."""
    patch, residual = vae.get("patch_size") or 1, bool(vae.get("is_residual"))
    widths, area = [vae["base_dim"] * each for each in (1, *vae["dim_mult"])], float(size[0] * size[1]) / patch**2
    walk.weights += (2 * vae["z_dim"]) ** 2 + 2 * vae["z_dim"]
    _wan_causal(walk, 0.0, vae.get("in_channels", 3), widths[0], frames * area, area)
    before = widths[0]
    for level, c in enumerate(widths[1:]):
        copy = before * frames * area if residual else 0.0
        for i in range(vae["num_res_blocks"]):
            # the caller of a residual level holds what went into it, beside the copy
            _wan_block(walk, before if i == 0 else c, c, frames, area, copy * min(i + 1, 2))
        before = c
        if level + 2 < len(widths):
            walk.weights += 9 * c * c + c
            walk.at(2 * copy + 2.25 * c * frames * area)
            area /= 4
            if vae["temperal_downsample"][level]:
                walk.weights += 3 * c * c + c
                walk.keep(c * area)
                frames = (frames + 1) // 2
        walk.at(3 * copy + c * frames * area if residual else 0.0)
    _wan_middle(walk, before, frames, area)
    walk.weights += before
    _wan_causal(walk, 0.0, before, 2 * vae["z_dim"], frames * area, area)


def _wan_decoder(vae: Mapping[str, Any], frames: int, size: tuple[int, int], walk: _Walk) -> None:
    residual = bool(vae.get("is_residual"))
    base = vae.get("decoder_base_dim") or vae["base_dim"]
    widths = [base * each for each in (vae["dim_mult"][-1], *vae["dim_mult"][::-1])]
    area, lengthens = float(size[0] * size[1]), vae["temperal_downsample"][::-1]
    walk.weights += vae["z_dim"] ** 2 + vae["z_dim"]
    _wan_causal(walk, 0.0, vae["z_dim"], widths[0], frames * area, area)
    before = widths[0]
    _wan_middle(walk, before, frames, area)
    for level, c in enumerate(widths[1:]):
        came = before * frames * area
        copy = came if residual else 0.0
        for i in range(vae["num_res_blocks"] + 1):
            around = copy + (came if i else 0.0)  # the caller holds what went into the first
            _wan_block(walk, c if i else before, c, frames, area, around)
        before = c
        if level + 2 < len(widths):
            if lengthens[level]:
                walk.weights += 6 * c * c + 2 * c
                walk.keep(CACHED * c * area)
                frames = frames if walk.first else 2 * frames
            area *= 4
            after = c if residual else c // 2
            walk.weights += 9 * c * after + after
            walk.at(2 * copy + c * frames * area * 2.25)
            if residual:  # the shortcut repeats its input to the size of the output, and is cut and added
                walk.at(2 * copy + 3 * c * frames * area)
            before = after
    walk.weights += before
    _wan_causal(walk, 0.0, before, vae.get("out_channels", 3), frames * area, area)
