"""The backbones with a name, a row each: what a user chooses by, and whether each fits this machine."""

from __future__ import annotations

from collections.abc import Iterator

from flowedit.backbones.memory import Blueprint
from flowedit.doctor.examine import examine

HEAD = ("name", "size, frames, rate", "TFLOP", "GPU memory", "to download", "license", "this machine")


def rows() -> Iterator[tuple[str, ...]]:
    """The backbones that flowedit and its plug-ins name, under HEAD; no torch is loaded."""
    yield HEAD
    for each in examine(None, {}, (), None, False).found:
        model, chosen = each.model, each.model.settings.backbone
        shape, work = "as its files say", "-"
        if each.work is not None and model.spec is not None and model.drawn is not None:
            height, width = each.work.geometry.size
            shape = f"{width}x{height}, {each.work.geometry.frames}, {model.spec.fps} a second"
            work = f"{float(f'{teraflops(model.drawn, each.work.geometry.latent):.2g}'):.4g}"
        held = "none needed" if chosen.packaged else (chosen.memory or "not known").partition(" and ")[0]
        yield (
            model.name,
            shape,
            work,
            held.replace(" of GPU memory", ""),
            model.download or "nothing",
            (chosen.license or "not named").partition(" (")[0],
            each.verdict.text.partition(":")[0],
        )


def teraflops(drawn: Blueprint, latent: tuple[int, int, int, int]) -> float:
    """10^12 operations of one network evaluation, one row, of the blocks of width D on N tokens of video and T of text.

    Together: 24 D^2 (N + T) + 4 D (N + T)^2 a block. Text apart, with a feed-forward of width F:
    (12 D^2 + 4 D F) N + 4 D^2 T + 4 D N (N + T).
    """
    d, count = drawn.width, int(drawn.transformer["num_layers"])
    n, t = drawn.tokens(latent), drawn.text_tokens
    if drawn.wan:
        block = (12 * d * d + 4 * d * drawn.transformer["ffn_dim"]) * n + 4 * d * d * t + 4 * d * n * (n + t)
    else:
        block = 24 * d * d * (n + t) + 4 * d * (n + t) ** 2
    return float(count * block / 1e12)
