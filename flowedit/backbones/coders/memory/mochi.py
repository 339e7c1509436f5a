"""Mochi: group norms of each frame, attention over the frames of a site on the way to latents."""

from collections.abc import Iterator

from flowedit.backbones.coders.memory.passages import BothWays, Passage, conv
from flowedit.backbones.sheet import Config


def _resnet(c: int, sites: float) -> Iterator[Passage]:
    for _ in range(2):
        yield Passage(2 * c, 4 * c * sites)
        yield conv(c, c, sites, sites, 2 * c * sites)


def _over_frames(c: int, sites: float) -> Passage:
    """Attention of each site to itself in other frames: its norm, projections without a bias, and the way out."""
    return Passage(2 * c + 4 * c * c + c, 7 * c * sites)


def _level(c: int, count: int, attends: bool, sites: float) -> Iterator[Passage]:
    for _ in range(count):
        yield from _resnet(c, sites)
        if attends:
            yield _over_frames(c, sites)


def _encoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, layers, attends = (
        vae[name] for name in ("encoder_block_out_channels", "layers_per_block", "add_attention_block")
    )
    c, (h, w) = channels[0], size
    sites = frames * h * w
    yield Passage((vae["in_channels"] + 1) * c, (2 * vae["in_channels"] + 2 * c) * sites)
    yield from _level(c, layers[0], attends[0], sites)
    for i, after in enumerate(channels[1:]):
        in_time, in_space = vae["temporal_expansions"][i], vae["spatial_expansions"][i]
        before, frames, h, w = sites, 1 + (frames - 1) // in_time, h // in_space, w // in_space
        sites = frames * h * w
        yield Passage(c * after * in_time * in_space**2 + after, 2 * c * before + after * sites)
        c = after
        yield from _level(c, layers[i + 1], attends[i + 1], sites)
    yield from _level(c, layers[-1], attends[-1], sites)
    yield Passage(2 * c + 2 * c * vae["latent_channels"], 3 * c * sites)


def _decoder(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    """Beside each part lies what the convolutions keep of the chunk before: two frames each."""
    kept = 0.0
    levels = zip(reversed(vae["decoder_block_out_channels"]), reversed(vae["layers_per_block"][:-1]), strict=True)
    area = size[0] * size[1]
    for i, (c, count) in enumerate(levels):
        resnets = count + (0 if i else vae["layers_per_block"][-1])
        kept += resnets * 2 * FRAMES_KEPT * c * area
        area *= [*reversed(vae["spatial_expansions"]), 1][i] ** 2
    for part in _decoder_alone(vae, frames, size):
        yield Passage(part.weights, part.alive + kept)


FRAMES_KEPT = 2
"""Frames that a convolution over three of them needs of the chunk before."""


def _decoder_alone(vae: Config, frames: int, size: tuple[int, int]) -> Iterator[Passage]:
    channels, layers = vae["decoder_block_out_channels"], vae["layers_per_block"]
    c, (h, w) = channels[-1], size
    sites = frames * h * w
    yield Passage((vae["latent_channels"] + 1) * c, 2 * c * sites)
    yield from _level(c, layers[-1], False, sites)
    for i in range(len(channels) - 1):
        yield from _level(c, layers[-i - 2], False, sites)
        in_time, in_space, after = (
            vae["temporal_expansions"][-i - 1],
            vae["spatial_expansions"][-i - 1],
            channels[-i - 2],
        )
        many = in_time * in_space**2
        yield Passage((c + 1) * after * many, 2 * c * sites + 2 * after * many * sites)
        frames, h, w, c = frames * in_time, h * in_space, w * in_space, after
        sites = frames * h * w
    yield from _level(c, layers[0], False, sites)
    yield Passage((c + 1) * vae["out_channels"], 2 * c * sites)


MEMORY = BothWays(_encoder, _decoder)
