"""The backbones with a name, a row each: what a user chooses by, and whether each fits this machine."""

from __future__ import annotations

from collections.abc import Iterator

from flowedit.backbones.sheet import Blueprint, Latent
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
            clip = f"{each.work.geometry.frames}, {model.spec.fps} a second"
            shape = f"{width}x{height}, {'pictures' if model.spec.still else clip}"
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


def teraflops(drawn: Blueprint, latent: Latent) -> float:
    """10^12 operations of one network evaluation, one row."""
    return float(drawn.work(latent) / 1e12)
