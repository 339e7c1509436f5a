"""The whole examination: the machine, the models, the clip on them, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from flowedit.backbones import presets
from flowedit.backbones.presets import CPU, Load, MemoryVerdict
from flowedit.config.defaults import default_of, memory_presets
from flowedit.doctor import here, report
from flowedit.doctor.here import Machine
from flowedit.doctor.models import AskedModel, models, work
from flowedit.doctor.report import Finding
from flowedit.media.probe import Video, probe
from flowedit.pipeline.plan import Brief, brief, load_of

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
    found = tuple(_finding(model, video, own, on_host) for model in asked)
    return Examined(seen, machine, video, found, own, free is not None)


def _finding(model: AskedModel, video: Video | None, free: float | None, on_host: bool) -> Finding:
    laid = work(model, video)
    if laid is None or model.drawn is None:
        return Finding(model, None, (), UNKNOWN)
    settings, drawn = model.settings, model.drawn
    load = _load(model, laid.seen)
    found = presets.needs(memory_presets(), drawn, load, settings.runtime, None if on_host else free)
    if not on_host:
        return Finding(model, laid, found, presets.verdict(found, free))
    host = presets.need(drawn, load, settings.runtime, CPU, free)
    return Finding(model, laid, [host, *found], presets.verdict_of_host(drawn, host, free))


def _load(model: AskedModel, latent: tuple[int, int, int, int]) -> Load:
    """What memory follows from; what the settings alone do not tell is asked of the brief, which imports torch."""
    settings, mode = model.settings, cast(Mapping[str, Any], model.settings.mode)
    apart = settings.edit_strength is not None or settings.object_guidance_scales is not None
    plain = mode.get("name", default_of("mode")[0]) == default_of("mode")[0] and not mode.get("region")
    return load_of(settings if plain and not apart else _brief(model), latent)


def _brief(model: AskedModel) -> Brief:
    from flowedit.config.compose import compose

    return brief(compose(model.flags, model.overrides))


def counted(found: Finding) -> Finding:
    """The finding with the network evaluations of a clip; counting them imports the editors, and so torch."""
    if found.work is None:
        return found
    return replace(found, evaluations=len(found.work.windows) * _brief(found.model).cost)


def as_json(found: Examined) -> str:
    """All of it for a program."""
    every = [counted(each) if found.video is not None else each for each in found.found]
    return report.words(report.plain(found.here if found.machine else None, found.video, every, found.free))


def lines(found: Examined, width: int) -> Iterator[str]:
    """All of it for a terminal; a clip's network evaluations come last, as counting them takes a second more."""
    if found.machine:
        yield from report.machine(found.here, width)
        yield ""
    if found.machine and found.video is None:
        yield from report.overview(found.found, width)
        yield from report.hint(found.here.on_host, found.asked, width)
        return
    for number, each in enumerate(found.found):
        if number:
            yield ""
        yield from report.one(each, found.video, found.here.disk_free, width)
    yield ""
    yield from report.hint(found.here.on_host, found.asked, width)
    if found.video is not None:
        yield from report.costs([counted(each) for each in found.found], width)
