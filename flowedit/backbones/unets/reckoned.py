"""What a UNet of diffusers weighs and takes, from its configuration alone; nothing here needs torch.

A walk through it as it runs: residual layers, attention frame by frame, and, in a video's, the same over time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.backbones.sheet import Blueprint, Config, Latent

TEXT = 77
"""Tokens of text that CLIP reads."""

Kind = Literal["residual", "attention", "resize"]


@dataclass(frozen=True)
class Layer:
    """One layer at a level (0 at the latent's own size), from `c_in` channels to `c`, `depth` blocks of attention."""

    kind: Kind
    level: int
    c_in: int
    c: int
    depth: int = 1


@dataclass(frozen=True)
class Stage:
    """A block of diffusers: on the way down, in the middle, or up."""

    way: Literal["down", "mid", "up"]
    layers: Sequence[Layer]


def is_video(config: Config) -> bool:
    """Whether it has layers over time too."""
    return any(kind.endswith("3D") for kind in config["down_block_types"])


def stages(config: Config) -> Iterator[Stage]:
    """Its blocks in the order in which they run."""
    widths, count = list(config["block_out_channels"]), int(config.get("layers_per_block", 2))
    last, depths = len(widths) - 1, _depths(config)
    before, skips = widths[0], [widths[0]]
    for level, (c, kind) in enumerate(zip(widths, config["down_block_types"], strict=True)):
        layers = []
        for _ in range(count):
            layers += [Layer("residual", level, before, c), *_attention(kind, level, c, depths[level])]
            before = c
            skips.append(c)
        if level < last:
            layers.append(Layer("resize", level + 1, c, c))
            skips.append(c)
        yield Stage("down", layers)
    middle = Layer("residual", last, before, before)
    yield Stage("mid", [middle, *_attention("CrossAttn", last, before, depths[last]), middle])
    for level, kind in zip(range(last, -1, -1), config["up_block_types"], strict=True):
        c, layers = widths[level], []
        for _ in range(count + 1):
            layers += [Layer("residual", level, before + skips.pop(), c), *_attention(kind, level, c, depths[level])]
            before = c
        if level:
            layers.append(Layer("resize", level - 1, c, c))
        yield Stage("up", layers)


def seeing(config: Config) -> int:
    """Its blocks that see text."""
    return sum(layer.depth for stage in stages(config) for layer in stage.layers if layer.kind == "attention")


def _depths(config: Config) -> list[int]:
    depth, levels = config.get("transformer_layers_per_block", 1), len(config["block_out_channels"])
    return [depth] * levels if isinstance(depth, int) else list(depth)


def _attention(kind: str, level: int, c: int, depth: int) -> list[Layer]:
    return [Layer("attention", level, c, c, depth)] if kind.startswith("CrossAttn") else []


# Weights.


def parameters(drawn: Blueprint) -> tuple[float, float, int]:
    """Numbers in its weights: beside its blocks, in one, and the blocks.

    Its blocks are unlike: counted are as many of the largest as they weigh, and a rest. The middle is no block that
    streams.
    """
    config = drawn.denoiser
    weights = [(stage.way, sum(_weight(config, layer) for layer in stage.layers)) for stage in stages(config)]
    streamed = [size for way, size in weights if way != "mid"]
    largest, whole = max(streamed), _outside(config) + sum(size for _, size in weights)
    count = int(sum(streamed) // largest)
    return whole - count * largest, largest, count


def _outside(config: Config) -> float:
    """What is in no block: convolutions in and out, the embeddings of time and of what else it is told."""
    first = config["block_out_channels"][0]
    time = 4 * first
    total = 9 * first * (config["in_channels"] + config["out_channels"]) + first + config["out_channels"] + 2 * first
    total += (first + 1) * time + (time + 1) * time
    if is_video(config):
        inner = 8 * config["attention_head_dim"]
        total += 2 * first + 2 * first * inner + inner + first + _block(inner, None)
    elif told := config.get("projection_class_embeddings_input_dim"):
        total += (told + 1) * time + (time + 1) * time
    return total


def _weight(config: Config, layer: Layer) -> float:
    c_in, c, video = layer.c_in, layer.c, is_video(config)
    if layer.kind == "resize":
        return 9 * c * c + c
    if layer.kind == "attention":
        own = 4 * c + 2 * c * c + layer.depth * _block(c, config["cross_attention_dim"])
        return own + (4 * c + 2 * c * c + _block(c, None) if video else 0)
    time = 4 * config["block_out_channels"][0]
    total = 2 * c_in + 9 * c_in * c + c + (time + 1) * c + 2 * c + 9 * c * c + c
    total += (c_in + 1) * c if c_in != c else 0
    return total + (4 * (3 * c * c + 3 * c) if video else 0)


def _block(d: int, text: int | None) -> float:
    """A block of two attentions, of which the second sees text `text` wide, or itself, and a feed-forward."""
    return 6 * d + 4 * d * d + d + 2 * d * d + 2 * (text or d) * d + d + 12 * d * d + 9 * d


def widest(drawn: Blueprint) -> int:
    """Numbers of its widest layer's weight: the first convolution of the middle's way up."""
    return max(
        9 * layer.c_in * layer.c for stage in stages(drawn.denoiser) for layer in stage.layers if layer.kind != "resize"
    )


# Work and memory.


def work(drawn: Blueprint, latent: Latent) -> float:
    """Operations of one evaluation: two for each weight of its layers at each of their sites, and of its attention.

    Attention of width D from N queries to M keys takes 4 D N M; frame by frame N = M = h w and M = 77, over time F.
    """
    config, total = drawn.denoiser, 0.0
    for stage in stages(config):
        for layer in stage.layers:
            sites, frames = _sites(latent, layer.level), latent[1]
            total += 2 * _weight(config, layer) * sites * frames
            if layer.kind == "attention":
                total += 4 * layer.c * sites * frames * layer.depth * (sites + TEXT)
                total += 8 * layer.c * sites * frames**2 if is_video(config) else 0
    return total


def _sites(latent: Latent, level: int) -> int:
    height, width = latent[2:]
    for _ in range(level):
        height, width = -(-height // 2), -(-width // 2)
    return height * width


def held(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """The most numbers alive at a layer: what it works on, and what waits for the way up."""
    config, frames, most = drawn.denoiser, latent[1], 0.0
    first = config["block_out_channels"][0] * _sites(latent, 0) * frames
    skips = [first]
    for stage in stages(config):
        for layer in stage.layers:
            sites = _sites(latent, layer.level) * frames
            if stage.way == "up" and layer.kind == "residual":
                skips.pop()
            most = max(most, sum(skips) + _alive(config, layer, itemsize) * sites)
            ends = layer.kind == "attention" or (layer.kind == "residual" and not _attended(stage, layer))
            if stage.way == "down" and (ends or layer.kind == "resize"):
                skips.append(layer.c * sites)
    return most


def _attended(stage: Stage, layer: Layer) -> bool:
    return any(each.kind == "attention" and each.level == layer.level for each in stage.layers)


FEED = 4 + 8 + 4
"""Of a block's feed-forward, in sizes of its input: what goes in around it, both halves of its gate, their product."""

TURNED = 1
"""A copy that attention over time makes of all sites, beside what the layer holds."""


def _alive(config: Config, layer: Layer, itemsize: int) -> float:
    """Numbers a site that a layer holds at its widest."""
    if layer.kind == "resize":
        return 2.0 * layer.c
    if layer.kind == "attention":
        return (FEED + (TURNED if is_video(config) else 0)) * layer.c
    return max(3 * layer.c_in + layer.c, layer.c_in + 4 * layer.c)
