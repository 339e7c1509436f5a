"""What `flowedit doctor` says: plain values for programs, and lines for a terminal, of any width from 60 columns up."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowedit.backbones.presets import MemoryNeed, MemoryVerdict
from flowedit.doctor.here import Machine
from flowedit.doctor.models import AskedModel, ClipWork
from flowedit.machine import GIB
from flowedit.media.probe import Video

PHASES = ("encode", "text", "edit", "decode")
LABEL = 11
"""Columns of what a line is about."""

RECKONED = "GiB, reckoned from the configuration, within 15 % of what is counted; no model was loaded"
"""What is said of every figure of memory."""


@dataclass(frozen=True, eq=False)
class Finding:
    """A model, how the clip lies on it, what that needs, and the word for it; `about` says why there is none."""

    model: AskedModel
    work: ClipWork | None
    needs: Sequence[MemoryNeed]
    verdict: MemoryVerdict
    evaluations: int | None = None
    """Batch rows through the network, for a clip."""
    waits: float = 0.0
    """GiB of the host's memory in which what is taken of the source's attention waits."""
    host_free: float | None = None
    """GiB of the host's memory that are free; None where the system does not tell."""


def plain(here: Machine | None, video: Video | None, found: Sequence[Finding], free: float | None) -> dict[str, Any]:
    """All of it as plain values for JSON; memory in GiB."""
    told: dict[str, Any] = {} if here is None else {"machine": _machine(here)}
    told["free_gib"] = free
    if video is not None:
        told["clip"] = {"path": str(video.path), "size": list(video.shown[::-1]), "frames": video.frames}
    told["backbones"] = {each.model.name: _finding(each) for each in found}
    return told


def _machine(here: Machine) -> dict[str, Any]:
    return {
        "gpu": None if here.gpu is None else vars(here.gpu),
        "no_gpu": here.no_gpu,
        "memory_free_gib": here.memory_free,
        "memory_gib": here.memory_total,
        "cache": str(here.cache),
        "disk_free_gib": here.disk_free,
        "system": here.system,
        "versions": here.versions,
        "decodes": list(here.decodes),
        "encodes": list(here.encodes),
        "hub": {"address": here.hub, "answer": here.hub_answer},
        "extras": here.extras,
    }


def _finding(each: Finding) -> dict[str, Any]:
    model, work = each.model, each.work
    told: dict[str, Any] = {
        "downloaded": model.folder is not None,
        "download": model.download,
        "fits": each.verdict.fits,
        "preset": each.verdict.preset,
        "verdict": each.verdict.text,
        "reckoned": True,
    }
    if work is not None:
        shape = work.geometry
        told |= {
            "size": [shape.size[1], shape.size[0]],
            "frames": shape.source_frames,
            "windows": len(work.windows),
            "evaluations": each.evaluations,
            "attention_host_gib": each.waits,
            "memory_gib": {need.preset.name: {**need.phases, "must_be_free": need.total} for need in each.needs},
        }
    return told


def machine(here: Machine, width: int) -> Iterator[str]:
    """What this machine has, a label and a value a line."""
    yield "this machine"
    gpu, versions = here.gpu, here.versions
    device = f"no GPU: {here.no_gpu}"
    if gpu is not None:
        device = f"{gpu.name}, {gpu.free:.1f} of {gpu.total:.1f} GiB free, driver {gpu.driver}"
    yield from _line("device", device, width)
    memory = "not told by this system"
    if here.memory_free is not None and here.memory_total is not None:
        memory = f"{here.memory_free:.1f} of {here.memory_total:.1f} GiB free, beside the GPU's"
    yield from _line("memory", memory, width)
    disk = "not told" if here.disk_free is None else f"{here.disk_free:.0f} GiB free for downloads, at {here.cache}"
    yield from _line("disk", disk, width)
    packages = ("flowedit", "torch", "diffusers", "transformers")
    told = ", ".join(f"{name} {versions[name] or 'is missing'}" for name in packages)
    yield from _line("versions", f"Python {versions['python']} on {here.system}; {told}", width)
    readers = ", ".join(f"{name} {versions[name] or '(not installed)'}" for name in ("av", "decord"))
    written = ", ".join(here.encodes) or "nothing: this PyAV has no encoder"
    yield from _line("video", f"{readers}; reads {', '.join(here.decodes)}; writes {written}", width)
    yield from _line("hub", f"{here.hub_answer} ({here.hub})", width)
    has, lacks = ([name for name, there in here.extras.items() if there == wanted] for wanted in (True, False))
    told = f"{', '.join(has) or 'none'} installed"
    if lacks:
        told += f'; not {", ".join(lacks)} (pip install "flowedit[{lacks[0]}]")'
    yield from _line("extras", told, width)


def overview(found: Sequence[Finding], width: int) -> Iterator[str]:
    """All models, two lines each: where it is and at what shape it works; and the word for it."""
    yield "backbones, each at the size and length that it was trained at"
    most = max(LABEL, *(2 + len(each.model.name) for each in found))
    for each in found:
        told = [_shape(each), _place(each.model), *filter(None, [_world(each.model), _waits(each)])]
        yield from _line(each.model.name, "; ".join(told), width, most)
        yield from _line("", each.verdict.text, width, most)
    yield from textwrap.wrap(f"memory: {RECKONED}", width)


def summary(found: Sequence[Finding], video: Video, disk: float | None, width: int) -> Iterator[str]:
    """A clip on all models, a line each, of the columns for which there is room; and how to ask for more."""
    yield f"the edit of {_clip(video)}"
    # what fits stands first, and before a model that knows no real clips
    found = sorted(found, key=lambda each: (not each.verdict.fits, _world(each.model) is not None))
    rows = [HEAD, *(_row(each) for each in found)]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [i for i in range(len(sizes)) if 2 * (i + 1) + sum(sizes[: i + 1]) <= width]
    for row in rows:
        yield "  " + "  ".join(row[i].ljust(sizes[i]) for i in shown).rstrip()
    for each in found:
        told = [text for text in (_world(each.model), _waits(each), _room(each.model, disk)) if text]
        if told:
            yield from textwrap.wrap(f"{each.model.name}: {'; '.join(told)}", width, break_on_hyphens=False)
    yield from textwrap.wrap(EVALUATIONS, width)
    more = f"flowedit doctor {video.path.name} --backbone NAME: windows, and memory by phase under each preset"
    yield from textwrap.wrap(more, width, break_on_hyphens=False)


EVALUATIONS = (
    "evaluations: how often the edit runs the network; how long once takes here is not known. Memory is reckoned"
)

HEAD = ("backbone", "verdict", "size", "evaluations", "to download")


def _row(each: Finding) -> tuple[str, ...]:
    """A model's part of the table: the word for it alone, the working size, the cost and the download."""
    size = "not known"
    if each.work is not None:
        height, width = each.work.geometry.size
        size = f"{width}x{height}"
    cost = "not known" if each.evaluations is None else str(each.evaluations)
    word = each.verdict.text.partition(":")[0]
    if each.verdict.fits and _world(each.model) is not None:
        word = "drawn clips only"
    return each.model.name, word, size, cost, each.model.download or "nothing"


def hint(on_host: bool, asked: bool, width: int) -> Iterator[str]:
    """How to ask for a card that is not here, where the host was judged by; `asked`: whether a user named one."""
    if on_host and not asked:
        text = "judged for this machine's CPU: --memory 12 judges for a card with 12 GiB free"
        yield from textwrap.wrap(text, width)


def one(finding: Finding, video: Video | None, disk: float | None, width: int) -> Iterator[str]:
    """One model: the clip on it, the download, memory by phase under each preset, and the word."""
    model = finding.model
    yield model.name
    if video is not None:
        yield from _line("clip", _clip(video), width)
    yield from _line("runs", _shape(finding), width)
    if (small := _world(model)) is not None:
        yield from _line("knows", small, width)
    yield from _line("download", "; ".join(filter(None, [_place(model), _room(model, disk)])), width)
    if finding.evaluations is not None:
        yield from _line(
            "takes", f"{finding.evaluations} network evaluations; how long one takes here is not known", width
        )
    if waits := _waits(finding):
        yield from _line("attention", waits, width)
    if finding.needs:
        yield from _line("memory", RECKONED, width)
        yield from table(finding.needs)
    yield from _line("verdict", finding.verdict.text, width)


def table(needs: Sequence[MemoryNeed]) -> Iterator[str]:
    """GiB of each phase under each preset, and what must be free."""
    head = " ".join(f"{name:>7}" for name in PHASES)
    yield f"  {'runtime':<{LABEL}}{head}   must be free"
    for need in needs:
        figures = " ".join(f"{need.phases[name]:>7.1f}" for name in PHASES)
        yield f"  {need.preset.name:<{LABEL}}{figures} {need.total:>14.1f}"


def _clip(video: Video) -> str:
    lasts = "a still" if video.still else f"{video.frames} frames, {float(video.seconds):.1f} s"
    return f"{video.path.name}, {video.shown[1]}x{video.shown[0]}, {lasts}"


def _world(model: AskedModel) -> str | None:
    """What a model of a drawn world knows, and what a user should hear of it; None of all others."""
    return None if model.spec is None or model.spec.world is None else "only its own drawn world, no real clips"


def _waits(finding: Finding) -> str:
    """What attention keeps in the host's memory, and whether that is refused; empty where it keeps nothing."""
    if not finding.waits:
        return ""
    size = f"{finding.waits:.1f} GiB" if finding.waits >= 0.1 else "less than 0.1 GiB"
    told, free = f"keeps {size} of the source's attention in the host's memory", finding.host_free
    return told if free is None or finding.waits <= free else f"{told}, and {free:.1f} are free: it will be refused"


def _shape(finding: Finding) -> str:
    if finding.work is None:
        return "at a shape that its files, which are not here, would tell"
    work = finding.work
    height, width = work.geometry.size
    frames, count = work.geometry.source_frames, len(work.windows)
    inside = "" if count == 1 else f", in {count} windows"
    return f"at {width}x{height}, {frames} frame{'' if frames == 1 else 's'}{inside}"


def _place(model: AskedModel) -> str:
    if model.download is None:
        return "nothing to download"
    return f"{model.download} to download" if model.download != "unknown" else "a download of unknown size"


def _room(model: AskedModel, disk: float | None) -> str:
    """Whether the disk has room for the download; empty where nothing is to say."""
    found = re.search(r"([\d.]+) GB", model.download or "")
    if found is None or disk is None or disk >= float(found[1]) * 1e9 / GIB:
        return ""
    return f"the disk has {disk:.0f} GiB free, too little"


def _line(label: str, text: str, width: int, columns: int = LABEL) -> list[str]:
    """A label of so many columns, and a text that goes on under itself."""
    lead = f"  {label:<{columns}}"
    return textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]  # fmt: skip


def words(told: Mapping[str, Any]) -> str:
    """Plain values as JSON."""
    return json.dumps(told, indent=2)
