"""A backbone's place in the device's memory: chosen before an edit, and smaller from where memory ran out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import torch

from flowedit.backbones import presets
from flowedit.backbones.components import Components
from flowedit.backbones.presets import MemoryNeed, MemoryPreset
from flowedit.machine import free_memory, out_of_memory
from flowedit.networks.guided import GuidedNetwork

T = TypeVar("T")

Phase = Literal["encode", "embed", "edit", "decode"]

DOING = {"encode": "encoding", "embed": "reading the prompts", "edit": "a step", "decode": "decoding"}


class Fallback:
    """Lays the networks into memory by a preset, and by the next smaller one where memory runs out.

    `offload` and `rows` are those of RuntimeOptions: with "auto" `fit` chooses, and without `fit` the usual preset
    stands, one network at a time and all rows at once.
    """

    def __init__(
        self,
        components: Components,
        guided: GuidedNetwork,
        device: torch.device,
        ladder: Sequence[MemoryPreset],
        offload: str,
        rows: int | str,
    ) -> None:
        self._components, self._guided, self._device = components, guided, device
        self._asked, self._falls = presets.asked(ladder, offload, rows), presets.falls(ladder, offload, rows)
        self._needs: Callable[[MemoryPreset, float | None], MemoryNeed] | None = None
        self._say: Callable[[str], None] = lambda text: None
        self._usual = presets.usual(self._asked, offload, rows)
        self._lay(self._usual)

    def fit(self, needs: Callable[[MemoryPreset, float | None], MemoryNeed] | None, say: Callable[[str], None]) -> None:
        """Take the fastest of the asked presets of which the GiB that it `needs` are free; `say` hears of what follows.

        `needs` hears of a preset and of the GiB that are free, as the text encoder streams where it has no room whole.
        A fall in a step passes by what needs no less in steps.
        The usual preset stands for a network of which nobody knows what it needs (None), and on a device that does not
        tell its free memory.
        """
        self._say, self._needs, self._components.text_streams = say, needs, False
        free = free_memory(self._device)
        if needs is None or free is None or len(self._asked) == 1:
            self._lay(self._usual)  # wherever an edit before fell to
            return
        free += self._components.on_device()
        needed = {preset: needs(preset, free).total for preset in self._asked}
        preset, fits = presets.fastest(self._asked, needed.__getitem__, free)
        self._lay(preset)
        if not fits:
            say(f"this edit needs about {needed[preset]:.1f} GiB with --runtime {preset.name}, and {free:.1f} are free")

    def encoder(self, folder: str) -> Any:
        """A text encoder, ready to be called; one that has no room whole streams through the device."""
        components = self._components
        if (lacks := components.encoder_lacks(folder)) is not None:
            components.text_streams = True
            self._say(
                f"the text encoder streams through the GPU block by block: whole it needs {lacks[0]:.1f} GiB, and "
                f"{lacks[1]:.1f} are free"
            )
        return components.place(components.encoder(folder))

    def run(self, phase: Phase, work: Callable[[], T]) -> T:
        """What `work` gives; where it runs out of memory it is done again with less, as long as there is less."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._lowers(phase):
                    raise
            # Past the handler: the error is gone, and with it what the call had in memory.
            self._lower(phase)

    def chunks(self, phase: Phase, made: Callable[[], Iterator[T]]) -> Iterator[T]:
        """The same for what comes in chunks: what was given stays given, and the next comes from a new iterator."""
        done, left = 0, made()

        def following() -> list[T]:
            nonlocal left
            try:
                return [next(left)]
            except StopIteration:
                return []
            except Exception:
                left = _after(done, made)
                raise

        while found := self.run(phase, following):
            done += 1
            yield found[0]

    def _lay(self, preset: MemoryPreset) -> None:
        self.preset = preset
        self._components.lay(preset.offload)
        self._guided.rows = preset.rows

    def _next(self, phase: Phase) -> MemoryPreset | None:
        if phase != "edit":
            return presets.smaller(self._falls, self.preset, networks_leave=True)
        asked = self._needs
        return presets.smaller(
            self._falls, self.preset, needs=None if asked is None else lambda preset: asked(preset, None).phases["edit"]
        )

    def _text_can_stream(self, phase: Phase) -> bool:
        parts = self._components
        return phase == "embed" and parts.offload == "parts" and not parts.text_streams

    def _lowers(self, phase: Phase) -> bool:
        return self._next(phase) is not None or self._text_can_stream(phase)

    def _lower(self, phase: Phase) -> None:
        where, found = DOING[phase], self._next(phase)
        self._components.clear()
        if found is not None:
            self._lay(found)
            self._say(f"memory ran out in {where}: the edit goes on from there with --runtime {found.name}")
        else:
            self._components.text_streams = True
            self._say(f"memory ran out in {where}: the text encoder streams through the device block by block")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _after(count: int, made: Callable[[], Iterator[T]]) -> Iterator[T]:
    chunks = made()
    for _ in range(count):
        next(chunks)
    yield from chunks


class Told:
    """Progress of work that may be done again: what was told is told once."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress, self._most = progress, 0

    def anew(self) -> Callable[[int], None] | None:
        """Where the work tells of its units, from its start."""
        if (progress := self._progress) is None:
            return None
        done = 0

        def told(units: int) -> None:
            nonlocal done
            done += units
            if done > self._most:
                new, self._most = done - self._most, done
                progress(new)

        return told
