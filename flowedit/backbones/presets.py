"""How an edit is laid into a device's memory: the presets as a ladder, the fastest that fits, and the next smaller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


def smaller(ladder: Sequence[MemoryPreset], now: MemoryPreset, networks_leave: bool = False) -> MemoryPreset | None:
    """The next of the ladder that needs less than `now`; None where there is none.

    With `networks_leave` only one by which networks leave the device: what is at work is another than the transformer.
    """
    for preset in ladder:
        if preset.order > now.order and not (networks_leave and now.offload != "none"):
            return preset
    return None
