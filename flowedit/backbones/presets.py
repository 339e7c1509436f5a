"""How an edit is laid into a device's memory: the presets as a ladder, the fastest that fits, and the next smaller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flowedit.backbones import memory
from flowedit.backbones.options import RuntimeOptions
from flowedit.backbones.sheet import Blueprint
from flowedit.machine import GIB

OFFLOADS = ("none", "parts", "blocks")
"""What waits in the host's memory, the least first."""


@dataclass(frozen=True)
class MemoryPreset:
    """What a preset of conf/runtime says of memory; neither changes the edit beyond the last bits of its numbers."""

    name: str
    """That of its file, or what it says."""
    offload: str = "parts"
    rows: int = 0
    """Most batch rows in one call of the network; 0 for no limit."""

    @property
    def order(self) -> tuple[int, float]:
        """It rises as the memory that is needed falls."""
        return OFFLOADS.index(self.offload), 1 / self.rows if self.rows else 0.0


USUAL = MemoryPreset("auto")
"""Where the device does not say how much memory it has free: one network at a time, all rows at once."""


def ladder_of(files: Mapping[str, Mapping[str, object]]) -> tuple[MemoryPreset, ...]:
    """The presets in files of conf/runtime that say both, by the files' names; the one that needs most comes first."""
    presets = [
        MemoryPreset(name, str(values["offload"]), int(str(values["rows"])))
        for name, values in files.items()
        if "auto" not in (values.get("offload", "auto"), values.get("rows", "auto")) and "device" not in values
    ]
    return tuple(sorted(presets, key=lambda preset: preset.order))


def asked(ladder: Sequence[MemoryPreset], offload: str, rows: int | str) -> tuple[MemoryPreset, ...]:
    """The ladder, and the usual preset, with what a user chose in the place of what each says; "auto" is no choice.

    One is left where both are chosen. Each bears the name of the ladder's that says the same, if there is one.
    """
    names = {(preset.offload, preset.rows): preset.name for preset in reversed((*ladder, USUAL))}
    chosen = (_chosen(preset, offload, rows) for preset in (*ladder, USUAL))
    made = [MemoryPreset(names.get(pair, "offload={} rows={}".format(*pair)), *pair) for pair in chosen]
    return tuple(sorted(dict.fromkeys(made), key=lambda preset: preset.order))


def able(ladder: Sequence[MemoryPreset], runtime: object) -> tuple[MemoryPreset, ...]:
    """Those of the ladder that go together with what else `runtime` says (`networks.acceleration.check`).

    Compiled blocks and a second device need the transformer whole; several processes lie as is usual.
    """
    if getattr(runtime, "context_parallel", 1) > 1:
        return tuple(preset for preset in ladder if (preset.offload, preset.rows) == (USUAL.offload, USUAL.rows))
    whole = getattr(runtime, "compile", False) or getattr(runtime, "split_guidance", None) is not None
    return tuple(preset for preset in ladder if not (whole and preset.offload == "blocks"))


def called(ladder: Sequence[MemoryPreset], offload: str, rows: int | str) -> str:
    """What a user may have typed for these: the preset of the ladder that says both, or the offload alone."""
    names = [preset.name for preset in ladder if (preset.offload, preset.rows) == (offload, rows)]
    return f"--runtime {names[0]} (offload={offload})" if names else f"runtime.offload={offload}"


def falls(ladder: Sequence[MemoryPreset], offload: str, rows: int | str) -> tuple[MemoryPreset, ...]:
    """Where an edit may fall to: the presets that were asked for; from a preset by name, those below it.

    None below it takes more rows than it: `rows` is the most that a call has.
    """
    left = asked(ladder, offload, rows)
    if "auto" in (offload, rows) or all((offload, rows) != (preset.offload, preset.rows) for preset in ladder):
        return left
    return tuple(preset for preset in ladder if rows == 0 or 0 < preset.rows <= int(rows))


def usual(presets: Sequence[MemoryPreset], offload: str, rows: int | str) -> MemoryPreset:
    """The usual one of the presets that `asked` gives for these."""
    pair = _chosen(USUAL, offload, rows)
    return next(preset for preset in presets if (preset.offload, preset.rows) == pair)


def _chosen(preset: MemoryPreset, offload: str, rows: int | str) -> tuple[str, int]:
    return preset.offload if offload == "auto" else offload, preset.rows if rows == "auto" else int(rows)


def fastest(
    ladder: Sequence[MemoryPreset], needs: Callable[[MemoryPreset], float], free: float
) -> tuple[MemoryPreset, bool]:
    """The first of the ladder that needs no more than is free, and True; its last and False where none does."""
    for preset in ladder:
        if needs(preset) <= free:
            return preset, True
    return ladder[-1], False


def smaller(
    ladder: Sequence[MemoryPreset],
    now: MemoryPreset,
    networks_leave: bool = False,
    needs: Callable[[MemoryPreset], float] | None = None,
) -> MemoryPreset | None:
    """The next of the ladder that needs less than `now`; None where there is none.

    With `networks_leave` only one by which networks leave the device: what is at work is another than the transformer.
    `needs` gives the GiB of a preset where they are known: blocks that stream with all rows may need more than a whole
    network with one.
    """
    for preset in ladder:
        leave = now.offload == "none" and preset.offload != "none"
        if preset.order > now.order and (leave or not networks_leave) and (not needs or needs(preset) < needs(now)):
            return preset
    return None


CPU = MemoryPreset("cpu")
"""On the host, where what is read stays."""

FULL_SIZE = 1e8
"""Parameters of a transformer from which a CPU takes hours."""


@dataclass(frozen=True)
class Load:
    """What an edit asks of a model: the latent (C, F, H, W) that the network sees at once, rows of a call, draws."""

    latent: tuple[int, int, int, int]
    rows: int = 2
    """Most batch rows in one call: both sides of the guidance, times the draws."""
    draws: int = 1
    objects: int = 1
    """Objects whose attention is read."""
    packed: tuple[int, int] = (0, 0)
    """(rows, lanes) of the widest call of a region pass: a row packs one whole row and others of the region.

    How large a region becomes is known when it is there, so each lane counts whole.
    """

    taken: float = 0.0
    """Queries, keys or values of a row of the source that a control of attention holds, each of all blocks."""
    waits: float = 0.0
    """The same that wait in the host's memory, of all windows and times of a way up; at most so many."""

    def rows_within(self, most: int) -> int:
        """Whole rows that one call holds where it may have `most` of them, 0 for no limit."""
        plain, packed = (min(most or each, each) for each in (self.rows, self.packed[0]))
        return max(plain, packed * self.packed[1])


@dataclass(frozen=True)
class MemoryNeed:
    """GiB of each phase of an edit under a preset, and what must be free for all of it."""

    preset: MemoryPreset
    phases: Mapping[str, float]
    total: float
    streams: bool = False
    """Whether the text encoder comes block by block, as it has no room whole."""


@dataclass(frozen=True)
class MemoryVerdict:
    """A word on an edit: whether it fits, under which preset, and in words."""

    fits: bool
    preset: str | None
    text: str


def host_need(drawn: Blueprint, load: Load, runtime: RuntimeOptions, on_host: bool) -> float:
    """GiB of the host's memory that what is taken of the source's attention waits in."""
    itemsize = memory.precisions(drawn, runtime.dtype, on_host)[0]
    return load.waits * drawn.layers * drawn.tokens(load.latent) * drawn.width * itemsize / GIB


def need(drawn: Blueprint, load: Load, runtime: RuntimeOptions, preset: MemoryPreset, free: float | None) -> MemoryNeed:
    """What an edit needs under a preset; with `free` GiB too few for the text encoder whole, it streams."""
    on_host = preset.name == CPU.name

    def totals(offload: str) -> dict[str, float]:
        return memory.totals(
            memory.phases(
                drawn,
                load.latent,
                rows=load.rows_within(preset.rows),
                draws=load.draws,
                precision=memory.precisions(drawn, runtime.dtype, on_host),
                offload=offload,
                weights=runtime.weights,
                text_weights=runtime.text_weights,
                tiling=runtime.tiling,
                objects=load.objects,
                taken=load.taken,
                cpu=on_host,
            )
        )

    whole = totals(preset.offload)
    streams = preset.offload == "parts" and not on_host and free is not None
    if streams and memory.must_be_free(whole["text"]) > (free or 0.0):
        whole["text"] = totals("blocks")["text"]
        return MemoryNeed(preset, whole, memory.must_be_free(max(whole.values())), streams=True)
    return MemoryNeed(preset, whole, memory.must_be_free(max(whole.values())))


def needs(
    ladder: Sequence[MemoryPreset], drawn: Blueprint, load: Load, runtime: RuntimeOptions, free: float | None
) -> list[MemoryNeed]:
    """What an edit needs under every preset of the ladder that the runtime's options leave open, the largest first."""
    left = asked(able(ladder, runtime), runtime.offload, runtime.rows)
    return [need(drawn, load, runtime, preset, free) for preset in left if preset.name != USUAL.name]


def verdict(found: Sequence[MemoryNeed], free: float | None) -> MemoryVerdict:
    """A word on a card with `free` GiB: the fastest of the presets that fits it."""
    if free is None:
        return MemoryVerdict(False, None, "not known: this system does not tell how much memory is free")
    for each in found:
        if each.total <= free:
            plain = each.preset.rows == 0 and each.preset.offload != "blocks"
            word = "fits" if plain else f"fits with {each.preset.name}"
            streams = "; the text encoder streams" if each.streams else ""
            return MemoryVerdict(True, each.preset.name, f"{word}: needs {each.total:.1f} of {free:.1f} GiB{streams}")
    least = min(found, key=lambda each: each.total)
    text = f"does not fit: needs {least.total:.1f} GiB with {least.preset.name}, {free:.1f} are free"
    return MemoryVerdict(False, None, text)


def verdict_of_host(drawn: Blueprint, needed: MemoryNeed, free: float | None) -> MemoryVerdict:
    """A word where there is no GPU; `needed` is that of CPU."""
    rest, block, count = memory.parameters(drawn, drawn.sheet.denoiser.folder)
    if free is None:
        return verdict([needed], None)
    if needed.total > free:
        text = f"does not fit: no GPU, and on the CPU it needs {needed.total:.1f} GiB of memory, {free:.1f} are free"
        return MemoryVerdict(False, None, text)
    hours = ", and takes hours there (runtime.device=cpu)" if rest + block * count >= FULL_SIZE else ""
    return MemoryVerdict(True, CPU.name, f"fits the CPU: needs {needed.total:.1f} of {free:.1f} GiB{hours}")
