"""The whole examination: the machine, the models, the clip on them, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowedit.backbones import presets
from flowedit.backbones.presets import CPU, MemoryVerdict
from flowedit.config.defaults import memory_presets
from flowedit.config.schema import Settings
from flowedit.doctor import here, report
from flowedit.doctor.here import Machine
from flowedit.doctor.models import AskedModel, models, work
from flowedit.doctor.report import Finding
from flowedit.media.probe import Video, probe
from flowedit.pipeline.plan import Brief, brief, foreseen, load_of

UNKNOWN = MemoryVerdict(False, None, "not known: its files are not here, and no release of this name is")


@dataclass(frozen=True, eq=False)
class Examined:
    """What was found: the machine, the clip, each model, and the GiB that were judged by."""

    here: Machine
    machine: bool
    """Whether the machine itself was asked about."""
    video: Video | None
    found: tuple[Finding, ...]
    free: float | None
    asked: bool
    """Whether a user named them."""


def examine(
    clip: str | None, flags: Mapping[str, Any], overrides: Sequence[str], free: float | None, machine: bool
) -> Examined:
    """Look at the machine and at the models; `free` GiB of a card in place of this machine's own.

    Raises InputError for a clip that is none, an unknown backbone, a folder that is no checkpoint, bad values.
    """
    asked = tuple(models(flags, overrides, here.hub()[0]))
    video = None if clip is None else probe(clip)
    device = asked[0].settings.runtime.device
    seen = here.look(device)
    own, on_host = seen.free if free is None else (free, device == "cpu")
    found = tuple(
        replace(_finding(model, video, own, on_host), host_free=seen.memory_free if free is None else None)
        for model in asked
    )
    return Examined(seen, machine, video, found, own, free is not None)


def _finding(model: AskedModel, video: Video | None, free: float | None, on_host: bool) -> Finding:
    laid = work(model, video)
    if laid is None or model.drawn is None:
        return Finding(model, None, (), UNKNOWN)
    settings, drawn, made = model.settings, model.drawn, edit_of(model.settings)
    load = load_of(made, laid.seen, len(laid.windows))
    waits = presets.host_need(drawn, load, settings.runtime, on_host)
    cost = None if video is None else len(laid.windows) * made.cost(foreseen(made))
    found = presets.needs(memory_presets(), drawn, load, settings.runtime, None if on_host else free)
    if not on_host:
        return Finding(model, laid, found, presets.verdict(found, free), cost, waits)
    host = presets.need(drawn, load, settings.runtime, CPU, free)
    return Finding(model, laid, [host, *found], presets.verdict_of_host(drawn, host, free), cost, waits)


def edit_of(settings: Settings) -> Brief:
    """The edit that memory and cost are reckoned for; one object of one word where no words are given yet."""
    if settings.mask.name in ("attention", "both") and not settings.source_words and not settings.target_words:
        settings = replace(settings, source_words="object", target_words="object")
    return brief(settings)


def as_json(found: Examined) -> str:
    """All of it for a program."""
    return report.words(report.plain(found.here if found.machine else None, found.video, found.found, found.free))


def lines(found: Examined, width: int) -> Iterator[str]:
    """All of it for a terminal; of all backbones a line or two each, of one that was asked for everything."""
    if not found.machine:
        for each in found.found:
            yield from report.one(each, found.video, found.here.disk_free, width)
        yield ""
        yield from report.hint(found.here.on_host, found.asked, width)
        return
    yield from report.machine(found.here, width)
    yield ""
    if found.video is None:
        yield from report.overview(found.found, width)
    else:
        yield from report.summary(found.found, found.video, found.here.disk_free, width)
    yield from report.hint(found.here.on_host, found.asked, width)
