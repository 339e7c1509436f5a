"""What a UNet of diffusers weighs and takes, from its configuration alone; nothing here needs torch.

A walk through it as it runs: residual layers, attention frame by frame, and, in a video's, the same over time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flowedit.backbones.sheet import Blueprint, Config, Latent

TEXT = 77
"""Tokens of text that CLIP reads."""

LayerKind = Literal["residual", "attention", "resize"]


@dataclass(frozen=True)
class Layer:
    """One layer at a level (0 at the latent's own size), from `c_in` channels to `c`, `depth` blocks of attention."""

    kind: LayerKind
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

    The middle is none that streams, as it is in no list of modules.
    """
    config = drawn.denoiser
    weights = [(stage.way, _weights(config, stage)) for stage in stages(config)]
    streamed = [size for way, size in weights if way != "mid"]
    rest = _outside(config) + sum(size for way, size in weights if way == "mid")
    return rest, sum(streamed) / len(streamed), len(streamed)


def _weights(config: Config, stage: Stage) -> float:
    return sum(_weight(config, layer) for layer in stage.layers)


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
    if is_video(config):  # attention over time at the entry, of a width of its own
        inner, entered = 8 * config["attention_head_dim"], _sites(latent, 0) * latent[1]
        total += 2 * (_block(inner, None) + 2 * inner * config["block_out_channels"][0]) * entered
        total += 8 * inner * entered * latent[1]
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


SPATIAL, TEMPORAL = 22, 20
"""What a block of attention holds at its feed-forward, in sizes of its input: both halves of its gate, which are eight
times as wide, their product, four, and what waits around them."""

RESIDUAL = 3
"""What a residual layer holds of its input: it, its norm and what comes of that."""


def held(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """The most numbers alive at a layer: what it works on, and what waits for the way up.

    In a video's UNet it is attention over time at the entry, which is wider than the first level.
    """
    return max(_entry(drawn, latent), *(alive for _, alive in _alive(drawn, latent)))


def beside(drawn: Blueprint, latent: Latent, activations: float) -> float:
    """Numbers of its blocks' weights that count beside `held` where they stream: a block's, and of the one before.

    Activations are so many times as large as weights. The widest layers are light, and the heaviest narrow.
    """
    config, before, most = drawn.denoiser, 0.0, activations * _entry(drawn, latent)
    for stage, alive in _alive(drawn, latent):
        own = 0.0 if stage.way == "mid" else _weights(config, stage)
        most = max(most, before + own + activations * alive)
        before = before if stage.way == "mid" else own
    return most - activations * held(drawn, latent, 0)


def _entry(drawn: Blueprint, latent: Latent) -> float:
    config = drawn.denoiser
    if not is_video(config):
        return 0.0
    wide = TEMPORAL * 8 * config["attention_head_dim"] + config["block_out_channels"][0]
    return float(wide * _sites(latent, 0) * latent[1])


def _alive(drawn: Blueprint, latent: Latent) -> Iterator[tuple[Stage, float]]:
    """Of each block the most numbers alive in it."""
    config, frames = drawn.denoiser, latent[1]
    waiting = [float(config["block_out_channels"][0] * _sites(latent, 0) * frames)]
    for stage in stages(config):
        made, most = list[float](), 0.0
        for layer in stage.layers:
            size = _sites(latent, layer.level) * frames
            wide = SPATIAL * layer.c if layer.kind == "attention" else RESIDUAL * layer.c_in + layer.c
            most = max(most, sum(waiting) + sum(made) + wide * size)
            if layer.kind != "attention":  # what comes of a residual layer waits, through attention or not
                made.append(float(layer.c * size))
        yield stage, most
        if stage.way == "down":
            waiting += made
        elif stage.way == "up":
            del waiting[-sum(layer.kind == "residual" for layer in stage.layers) :]
