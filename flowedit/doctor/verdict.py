"""Whether an edit fits: its memory by phase under each preset of conf/runtime, held to what is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowedit.backbones import memory, presets
from flowedit.backbones.presets import MemoryPreset
from flowedit.config.defaults import memory_presets
from flowedit.doctor.models import Model, Work

FULL_SIZE = 0.1
"""Parameters of a transformer, in billions, from which a CPU takes hours (backbones/families.py)."""

CPU = MemoryPreset("cpu")


@dataclass(frozen=True)
class Need:
    """GiB of each phase of an edit under a preset, and what must be free for all of it."""

    preset: MemoryPreset
    phases: dict[str, float]
    total: float
    streams: bool = False
    """Whether the text encoder comes block by block, as the whole does not fit beside what is free."""


@dataclass(frozen=True)
class Verdict:
    """A word on an edit: whether it fits, the preset that it takes, and why."""

    fits: bool
    preset: str | None
    text: str


def rows_of(model: Model) -> int:
    """Batch rows of a call of the network without a limit: both sides of the guidance, times the draws."""
    settings = model.settings
    scales = (settings.source_guidance_scale, settings.target_guidance_scale)
    return (1 if set(scales) == {1.0} else 2) * settings.draws


def need(model: Model, work: Work, preset: MemoryPreset, free: float | None = None) -> Need:
    """What an edit needs under a preset; `free` GiB decide whether the text encoder streams, as an edit decides it."""
    assert model.drawn is not None
    settings, on_host = model.settings, preset.name == CPU.name
    runtime, most = settings.runtime, rows_of(model)

    def totals(offload: str, text_here: bool = True) -> dict[str, float]:
        assert model.drawn is not None
        return memory.totals(
            memory.phases(
                model.drawn,
                work.seen,
                rows=min(preset.rows or most, most),
                draws=settings.draws,
                precision=memory.precisions(model.drawn, runtime.dtype, on_host),
                offload=offload,
                weights=runtime.weights,
                text_weights=runtime.text_weights,
                tiling=runtime.tiling,
                objects=0 if settings.mask.name == "none" else 1,
                text_here=text_here,
                cpu=on_host,
            )
        )

    whole = totals(preset.offload)
    if preset.offload == "parts" and not on_host and free is not None and memory.must_be_free(whole["text"]) > free:
        whole["text"] = totals("blocks")["text"]
        return Need(preset, whole, memory.must_be_free(max(whole.values())), streams=True)
    return Need(preset, whole, memory.must_be_free(max(whole.values()), on_host))


def needs(model: Model, work: Work, free: float | None, on_host: bool) -> list[Need]:
    """What an edit needs under every preset that the settings leave open, the one that needs most first.

    On the host alone with `on_host`: there is no card to speak of.
    """
    runtime = model.settings.runtime
    ladder = presets.asked(memory_presets(), runtime.offload, runtime.rows)
    found = [need(model, work, preset, free) for preset in ladder if preset.name != presets.USUAL.name]
    return [need(model, work, CPU), *found] if on_host else found


def verdict(model: Model, found: Sequence[Need], free: float | None, on_host: bool) -> Verdict:
    """A word for GiB that are free on a card, or on the host with `on_host`."""
    if free is None:
        return Verdict(False, None, "not known: this system does not tell how much memory is free")
    if on_host:
        return _of_host(model, next(each for each in found if each.preset.name == CPU.name), free)
    cards = [each for each in found if each.preset.name != CPU.name]
    for each in cards:
        if each.total <= free:
            name = each.preset.name
            plain = each.preset.rows == 0 and each.preset.offload != "blocks"
            streams = "; the text encoder streams" if each.streams else ""
            text = f"fits{'' if plain else f' with {name}'}: needs {each.total:.1f} of {free:.1f} GiB{streams}"
            return Verdict(True, name, text)
    least = min(cards, key=lambda each: each.total)
    return Verdict(
        False, None, f"does not fit: needs {least.total:.1f} GiB with {least.preset.name}, {free:.1f} are free"
    )


def _of_host(model: Model, needed: Need, free: float) -> Verdict:
    assert model.drawn is not None
    rest, block, count = memory.parameters(model.drawn, "transformer")
    large = rest + block * count >= FULL_SIZE * 1e9
    if needed.total > free:
        text = f"does not fit: no GPU, and on the CPU it needs {needed.total:.1f} GiB of memory, {free:.1f} are free"
        return Verdict(False, None, text)
    hours = ", and takes hours there (runtime.device=cpu)" if large else ""
    text = f"fits the CPU: needs {needed.total:.1f} of {free:.1f} GiB{hours}"
    return Verdict(True, CPU.name, text)
