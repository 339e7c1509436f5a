"""What is kept of an edit: what is said while it runs, its seconds and memory, and run.yaml of it all."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from flowedit.language.words import NOTHING
from flowedit.machine import Meter, versions
from flowedit.messages import Cancelled
from flowedit.pipeline.plan import Brief, Plan, own_latents
from flowedit.pipeline.source import Shot
from flowedit.types import QUIET, Backbone, Evaluations, Monitor, Step


class Session:
    """Where one edit speaks: its phases and notices to a monitor, its steps to a callback; and what ends it early.

    `cancel`, once set, ends the edit at the next step or chunk with `Cancelled`; `said` was told before it began.
    """

    def __init__(
        self,
        device: torch.device,
        monitor: Monitor | None = None,
        callback: Callable[[Step], bool | Tensor | None] | None = None,
        cancel: threading.Event | None = None,
        said: Iterable[str] = (),
    ) -> None:
        self.meter, self.callback = Meter(device), callback
        self.notices: list[str] = list(said)
        self.shot, self.stopped = 1, False
        self._alike = 1
        self._announced: set[str] | None = None
        self.summary: str | None = None
        self.watch: Callable[[Step], None] | None = None
        """Hears each step before the callback, and saves what is asked of it."""
        self._monitor, self._cancel = QUIET if monitor is None else monitor, cancel

    def say(self, texts: Iterable[str]) -> None:
        """Tell the user each of these, and keep it, in the words of a monitor that has `worded`."""
        for text in map(getattr(self._monitor, "worded", str), texts):
            self.notices.append(text)
            self._monitor.notice(text)

    def start(self, text: str) -> None:
        """Tell a monitor that has `start`, in one line, what is about to run, and keep it."""
        self.summary = text
        if (hear := getattr(self._monitor, "start", None)) is not None:
            hear(text)

    def announce(self, name: str, total: int) -> None:
        """A phase of `total` units begins, for progress; 0 is unknown."""
        self.look()
        if self._announced is None:
            self._monitor.phase(name, total)
        elif name not in self._announced:
            self._announced.add(name)
            self._monitor.phase(name, total * self._alike)

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        self.look()
        self._monitor.advance(count)

    @contextmanager
    def phase(self, name: str, total: int = 0, timed: str | None = None) -> Iterator[None]:
        """A phase that is shown and timed, under `timed` where that is another name."""
        self.announce(name, total)
        with self.meter.phase(timed or name):
            yield

    @contextmanager
    def together(self, shots: int) -> Iterator[None]:
        """Announce each phase of this many shots once, with the units of all: for frames one by one, which are many."""
        self._alike, self._announced = shots, set() if shots > 1 else None
        try:
            yield
        finally:
            self._alike, self._announced = 1, None

    def look(self) -> None:
        """Raise Cancelled if the edit was cancelled."""
        look(self._cancel)


def look(cancel: threading.Event | None) -> None:
    """Raise Cancelled if this event is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("the edit was cancelled: nothing was written")


@dataclass(frozen=True, eq=False)
class Edited:
    """A shot and what became of it: latents (1, C, f, h, w) and the soft mask (1, 1, f, h, w) or None, on the host.

    `objects` are the soft masks of several objects, kept ones too, (K, 1, f, h, w); `row` what else the editor kept,
    latents as z.
    """

    shot: Shot
    x_src: Tensor
    z: Tensor
    mask: Tensor | None
    objects: Tensor | None
    sent: Evaluations
    reports: dict[str, float]
    row: tuple[Tensor, ...] = ()


def describe_run(plan: Plan, backbone: Backbone, edits: Sequence[Edited], session: Session) -> dict[str, Any]:
    """run.yaml: resolved configuration, versions, shapes, seconds and peak memory of each phase."""
    names = dict.fromkeys(name for each in edits for name in each.reports)
    worst = {name: max(each.reports[name] for each in edits if name in each.reports) for name in names}
    parts = [
        each.objects[:, :, own_latents(plan.spec, each.shot.geometry)] for each in edits if each.objects is not None
    ]
    return {
        "trained": plan.spec.trained,
        "summary": session.summary,
        "notices": session.notices,
        "network_evaluations": sum(each.sent.rows for each in edits),
        "token_evaluations": round(sum(each.sent.tokens for each in edits), 1),
        "windows": sum(len(each.shot.windows) for each in edits),
        **worst,
        **({"objects": of_objects(plan.brief, torch.cat(parts, 2))} if parts else {}),
        "shots": [_of_shot(shot) for shot in plan.shots],
        "phases": session.meter.phases,
        "backbone": backbone.describe(),
        "clip": _of_clip(plan),
        **_of_settings(plan.brief, plan.grid),
    }


def describe_generation(
    brief: Brief, backbone: Backbone, grid: Sequence[float], evaluations: int, session: Session
) -> dict[str, Any]:
    """The same for a clip that was made from a prompt alone."""
    return {
        "trained": backbone.spec.trained,
        "summary": session.summary,
        "notices": session.notices,
        "network_evaluations": evaluations,
        "token_evaluations": float(evaluations),
        "phases": session.meter.phases,
        "backbone": backbone.describe(),
        "clip": None,
        **_of_settings(brief, grid),
    }


def of_objects(brief: Brief, masks: Tensor) -> list[dict[str, Any]]:
    """What run.yaml keeps of each object, with its share of the clip's latent sites; masks (K, 1, F, h, w)."""
    own = brief.scales["target"] if brief.own_scales else repeat(brief.settings.target_guidance_scale)
    scales = iter(own)
    return [
        {
            "source": each.source or NOTHING,
            "target": each.target or NOTHING,
            "kept": each.kept,
            "guidance_scale": None if each.kept else next(scales),
            "sites": round(float((mask == 1).float().mean()), 4),
        }
        for each, mask in zip(brief.objects, masks, strict=True)
    ]


def plain(value: Any) -> Any:
    """Tuples as lists, for safe YAML."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _of_settings(brief: Brief, grid: Sequence[float]) -> dict[str, Any]:
    return {
        "times": [round(t, 9) for t in grid],
        "settings": plain(asdict(brief.settings)),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def _of_shot(shot: Shot) -> dict[str, Any]:
    """A shot's frames, counted among those that are read, and what the model has of them."""
    return {
        "first_frame": shot.first,
        "frames": shot.geometry.source_frames,
        "working_frames": shot.geometry.frames,
        "latent_frames": shot.geometry.latent[1],
    }


def _of_clip(plan: Plan) -> dict[str, Any]:
    clip, geometry = plan.clip, plan.geometry
    height, width = clip.size
    return {
        "file": None if clip.array is not None else str(clip.video.path),
        "size": f"{width}x{height}",
        "pixel_aspect": str(clip.video.pixel_aspect),
        "fps": str(clip.selection.fps),
        "frames": len(clip.selection.indices),
        "working_size": f"{geometry.size[1]}x{geometry.size[0]}",
        "working_frames": geometry.frames,
        "latent": list(geometry.latent),
    }
