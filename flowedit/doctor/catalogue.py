"""The backbones with a name, a row each: what a user chooses by, and whether each fits this machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from flowedit.backbones.sheet import Blueprint, Latent
from flowedit.doctor.examine import examine
from flowedit.doctor.report import Finding

HEAD = ("name", "size, frames, rate", "TFLOP", "GPU GiB", "download", "this machine")
UNITS = (
    "TFLOP: 10^12 operations of one network evaluation; flowedit doctor CLIP says how many an edit makes",
    "GPU GiB: the memory that it needs on a GPU, in brackets with --runtime gpu_8gb; flowedit doctor says what fits",
)


def named() -> tuple[Finding, ...]:
    """The backbones that flowedit and its plug-ins name, as the doctor finds them; no torch is loaded."""
    return examine(None, {}, (), None, False).found


def rows(found: Sequence[Finding]) -> Iterator[tuple[str, ...]]:
    """A row of each under HEAD, the least work first."""
    yield HEAD
    yield from map(_row, sorted(found, key=_work))


def licenses(found: Sequence[Finding]) -> Iterator[str]:
    """A line for each license: its name, and the backbones that are under it."""
    under: dict[str, list[str]] = {}
    for each in found:
        license = (each.model.settings.backbone.license or "not named").partition(" (")[0]
        under.setdefault(license, []).append(each.model.name)
    yield from (f"{license}: {', '.join(names)}" for license, names in under.items())


def _work(each: Finding) -> float:
    """TFLOP of one network evaluation; infinite where nobody can tell, so that such a one stands last."""
    model = each.model
    if each.work is None or model.spec is None or model.drawn is None:
        return math.inf
    return teraflops(model.drawn, each.work.geometry.latent)


def _row(each: Finding) -> tuple[str, ...]:
    model, chosen, work = each.model, each.model.settings.backbone, _work(each)
    shape, operations = "as its files say", "-"
    if each.work is not None and model.spec is not None and math.isfinite(work):
        height, width = each.work.geometry.size
        clip = f"{each.work.geometry.frames}, {model.spec.fps} a second"
        shape = f"{width}x{height}, {'pictures' if model.spec.still else clip}"
        operations = f"{float(f'{work:.2g}'):.6g}"
    held = "none" if chosen.packaged else (chosen.memory or "not known").partition(" and ")[0]
    return (
        model.name,
        shape,
        operations,
        held.replace(" of GPU memory", "").replace(" GiB", "").replace(" with --runtime gpu_8gb", ""),
        (model.download or "nothing").removeprefix("about "),
        each.verdict.text.partition(":")[0],
    )


def teraflops(drawn: Blueprint, latent: Latent) -> float:
    """10^12 operations of one network evaluation, one row."""
    return float(drawn.work(latent) / 1e12)
