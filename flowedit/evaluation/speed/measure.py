"""One shape, measured: whole edits, the bare network between their steps, the recorder, and how others do the same."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.config.compose import compose
from flowedit.config.schema import Settings
from flowedit.evaluation.speed.shapes import PROMPTS, WORDS, SpeedShape, save_clip, save_network
from flowedit.language.words import token_indices
from flowedit.machine import Meter, read_json
from flowedit.messages import OutOfMemoryError
from flowedit.networks import peers
from flowedit.networks.guided import placed, texts_of
from flowedit.networks.recorder import block_indices
from flowedit.pipeline import run
from flowedit.pipeline.record import Session
from flowedit.types import Conditioning

TIMES = 5
"""How often what is small enough is measured; tables show the median."""


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of this process's processors, which other programs disturb less."""

    seconds: float
    cpu_seconds: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


def now(device: torch.device) -> Spent:
    """The two clocks, once the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Spent(time.perf_counter(), time.process_time())


def spent(device: torch.device, call: Callable[[], Any]) -> Spent:
    """What one call takes, the device idle before and after."""
    start = now(device)
    call()
    return now(device) - start


@dataclass(eq=False)
class Interleaved:
    """A monitor that runs the bare network after each step of an edit, so that both see the same machine.

    `bare(rows)` is one call of the network; `rows` counts the calls since it was cleared, by their rows.
    """

    device: torch.device
    bare: Callable[[int], Any]
    rows: Counter[int]
    calls: Counter[int] = field(default_factory=Counter)
    """Those of the edit alone."""
    floors: dict[int, list[Spent]] = field(default_factory=dict)
    """What the bare network took with so many rows, after each step that called it with them."""
    loop: Spent = Spent(0.0, 0.0)
    _since: Spent | None = None

    def phase(self, name: str, total: int) -> None:
        """The clock runs while the editor does."""
        self._stop()
        if name == "edit":
            self.rows.clear()
            self._since = now(self.device)

    def advance(self, count: int = 1) -> None:
        """After a step the clock stands, and the floor of each kind of call that the step made is measured."""
        if self._since is None:
            return
        self._stop()
        self.calls.update(self.rows)
        for rows in list(self.rows):
            self.floors.setdefault(rows, []).append(spent(self.device, partial(self.bare, rows)))
        self.rows.clear()
        self._since = now(self.device)

    def notice(self, text: str) -> None:
        """Not for a benchmark."""

    def _stop(self) -> None:
        if self._since is not None:
            self.loop, self._since = self.loop + now(self.device) - self._since, None

    @property
    def floor(self) -> Spent:
        """calls × floor."""
        total = Spent(0.0, 0.0)
        for rows, count in self.calls.items():
            one = _median(self.floors[rows])
            total = total + Spent(count * one.seconds, count * one.cpu_seconds)
        return total


@contextmanager
def counted(network: torch.nn.Module) -> Iterator[Counter[int]]:
    """How many calls of the network had how many rows, inside the block."""
    rows: Counter[int] = Counter()

    def note(module: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        rows[len(args[0] if args else kwargs["hidden_states"])] += 1

    hook = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        hook.remove()


class Rig:
    """A shape's clip, settings and backbone, in a folder of its own."""

    def __init__(self, shape: SpeedShape, folder: Path, device: str, options: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.shape = folder, shape
        checkpoint = folder / "checkpoint"
        if not (checkpoint / "model_index.json").is_file():
            save_network(checkpoint, shape)
        flags = {
            "clip": str(save_clip(folder / "clip.mp4", shape)),
            "backbone": "folder",
            "backbone.path": str(checkpoint),
            "size": "x".join(map(str, reversed(shape.size))),
            "steps": shape.steps,
            "runtime.device": device,
            "runtime.cache": "null",
            "cuts": "none",
        }
        self.settings: Settings = compose({**flags, **PROMPTS, **WORDS, **options})
        backbone = run.load_backbone(self.settings)
        assert isinstance(backbone, Adapter)
        self.backbone, self.device = backbone, backbone.device
        self.geometry = backbone.geometry(shape.frames, shape.size)
        self.prompts = {text: backbone.embed(text) for text in (PROMPTS["target"], "")}
        backbone.ready()

    @property
    def tokens(self) -> int:
        """Those of the video, in the network."""
        own = self.backbone.architecture.patch
        frames, height, width = (side // p for side, p in zip(self.geometry.latent[1:], own, strict=True))
        return frames * height * width

    @property
    def prompt(self) -> Conditioning:
        """What the target prompt says."""
        return self.prompts[PROMPTS["target"]]

    def latent(self, rows: int = 1) -> Tensor:
        """Noise in the shape of the clip's latent, on the device."""
        return torch.randn(rows, *self.geometry.latent, generator=torch.Generator().manual_seed(0)).to(self.device)

    def network(self) -> Any:
        """The transformer, on the device."""
        return self.backbone.components.place(self.backbone.components.transformer)

    @torch.no_grad()
    def bare(self, rows: int) -> Tensor:
        """One call of the network on tensors that lie ready: what no edit can do without."""
        key = f"_bare_{rows}"
        if key not in vars(self):
            own, dtype = self.backbone.architecture, self.backbone.dtype
            timestep = torch.full((rows,), own.timestep(0.5), device=self.device)
            texts = placed(texts_of([self.prompt], rows), self.device, dtype)
            vars(self)[key] = self.latent(rows).to(dtype), timestep, *texts
        return self.backbone.architecture.call(self.network(), *vars(self)[key])

    def edit(self, name: str) -> dict[str, Any]:
        """One whole edit: its phases, its calls and their rows, and edit loop ÷ (calls × floor).

        No ratio where the network was not called as a whole.
        """
        for rows in (1, 2):  # what is made at the first call is no edit's
            self.bare(rows)
        with counted(self.network()) as rows_of:
            monitor = Interleaved(self.device, self.bare, rows_of)
            session = Session(self.device, monitor)
            made = run.edit_clip(self.settings, self.backbone, session, out=self.folder / name, keep=False).run
        floor, loop, host = monitor.floor, monitor.loop, self.device.type == "cpu"
        phases = {key: dict(value) for key, value in made["phases"].items()}
        phases["edit"]["seconds"] = round(loop.seconds, 3)  # without the bare calls between its steps
        return {
            "phases": phases,
            "network_evaluations": made["network_evaluations"],
            "calls": sum(monitor.calls.values()),
            "rows_a_call": max(monitor.calls, default=0),
            "loop": vars(loop),
            "floor": vars(floor),
            "ratio": loop.seconds / floor.seconds if monitor.calls else None,
            "cpu_ratio": loop.cpu_seconds / floor.cpu_seconds if monitor.calls and host else None,
        }

    @torch.no_grad()
    def ways(self, times: int = TIMES) -> dict[str, Any]:
        """A guided velocity by several ways, one after the other and so `times` over: medians of seconds.

        `plain` without a recorder, `recorded` with it, `full maps` with the whole matrix of weights in memory (None
        where it does not fit), `unbatched` one row a call.
        """
        z, (blocks, modules) = self.latent(), self.read()
        tokens = token_indices(self.prompt.prompt, WORDS["target_words"], self.prompt.spans, "target_words")
        text = self.backbone.architecture.text_queries

        def plain() -> None:
            velocity(z, 0.5)

        def recorded() -> None:
            with self.backbone.record({self.prompt: [tokens]}, self.depths):
                velocity(z, 0.5)

        def full() -> None:
            peers.with_full_maps([modules[i] for i in blocks], tokens, slice(1, 2), text, plain)

        def unbatched() -> None:
            self.bare(1)
            self.bare(1)

        velocity = self.backbone.velocity(self.prompt, 6.0, self.prompts[""])
        ways = {"plain": plain, "recorded": recorded, "full maps": full, "unbatched": unbatched}
        found: dict[str, list[Spent]] = {name: [] for name in ways}
        peaks: dict[str, float] = {}
        for turn in range(times + 1):
            for name, way in ways.items():
                meter = Meter(self.device)
                try:
                    with meter.phase(name):
                        took = spent(self.device, way)
                except OutOfMemoryError:
                    continue
                peaks[name] = max(peaks.get(name, 0.0), meter.phases[name]["peak_memory_mib"])
                if turn:  # the first warms up
                    found[name].append(took)
        return {
            name: {**vars(_median(each)), "peak_memory_mib": peaks[name]} if each else None
            for name, each in found.items()
        }

    def read(self) -> tuple[list[int], Any]:
        """The blocks whose attention an edit reads, and the network's attention modules."""
        modules = self.backbone.architecture.attention(self.network())
        return block_indices(self.depths, len(modules)), modules

    @property
    def depths(self) -> tuple[float, ...]:
        """Where attention is read; one block for `auto`, whichever: all cost alike."""
        blocks = self.settings.mask.blocks
        return (0.5,) if blocks == "auto" else blocks

    @torch.no_grad()
    def pipeline(self) -> dict[str, Any]:
        """diffusers' video-to-video pipeline with the same network and latent, for as many steps as the edit runs."""
        network, steps = self.network(), round(self.settings.strength * self.shape.steps)
        scheduler = read_json(self.backbone.checkpoint.path / "scheduler" / "scheduler_config.json")
        vae, negative = self.backbone.components.vae, self.prompts[""]
        x, prompt = self.latent(), self.prompt
        with counted(network) as rows:
            took = spent(
                self.device,
                lambda: peers.video_to_video(network, vae, scheduler, x, prompt.embedding, negative.embedding, steps),
            )
            calls = Counter(rows)
        floor = sum(
            count * median(spent(self.device, partial(self.bare, each)).seconds for _ in range(3))
            for each, count in calls.items()
        )
        return {
            "seconds": took.seconds,
            "calls": sum(calls.values()),
            "rows_a_call": max(calls),
            "ratio": took.seconds / floor,
        }


def _median(each: list[Spent]) -> Spent:
    return Spent(median(one.seconds for one in each), median(one.cpu_seconds for one in each))
