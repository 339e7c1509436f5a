"""What one job gathers while it runs: notices, seconds and memory, facts, and run.yaml of it all."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.machine import Meter, versions
from flowedit.pipeline.outputs import write_yaml
from flowedit.pipeline.source import SourceClip
from flowedit.types import Backbone, EditResult, Monitor


@dataclass(frozen=True, eq=False)
class Edited:
    """A scene and what became of it: latents (1, C, f, h, w) and the soft mask (1, 1, f, h, w) or None, on the host.

    `objects` are the soft masks of several objects, kept ones too, (K, 1, f, h, w).
    """

    scene: SourceClip
    x_src: Tensor
    z: Tensor
    mask: Tensor | None
    objects: Tensor | None = None


class Job:
    """What one job gathers while it runs: notices, seconds, facts for run.yaml."""

    def __init__(self, settings: Settings, backbone: Backbone, monitor: Monitor) -> None:
        self.settings, self.backbone, self.monitor = settings, backbone, monitor
        self.meter = Meter(backbone.device)
        self.notices: list[str] = []
        self.facts: dict[str, Any] = {}
        self.objects: Tensor | None = None
        """The soft latent mask of each of several objects of the last scene, kept ones too, (K, 1, F, h, w)."""
        self._run: dict[str, Any] = {}

    def notice(self, text: str) -> None:
        """Say it to the user, and keep it."""
        self.notices.append(text)
        self.monitor.notice(text)

    def say(self, texts: Iterable[str]) -> None:
        """Several notices."""
        for text in texts:
            self.notice(text)

    def fact(self, name: str, value: Any) -> None:
        """Keep a value for run.yaml."""
        self.facts[name] = value

    def add(self, name: str, value: float) -> None:
        """Keep the sum of the values given under this name, over the scenes of a clip."""
        self.facts[name] = self.facts.get(name, 0) + value

    def write_run(self, folder: Path, source: SourceClip | None, grid: list[float]) -> None:
        """run.yaml: resolved configuration, versions, shapes, seconds and peak memory of each phase."""
        settings = plain(asdict(self.settings))
        self._run = {
            "trained": self.backbone.spec.trained,
            "notices": self.notices,
            **self.facts,
            "phases": self.meter.phases,
            "backbone": self.backbone.describe(),
            "clip": None if source is None else _clip_facts(source),
            "times": [round(t, 9) for t in grid],
            "settings": settings,
            "versions": versions(),
        }
        write_yaml(folder / "run.yaml", self._run)

    def result(self, folder: Path, edits: Sequence[Edited]) -> EditResult:
        """The finished edit of all scenes."""
        mask, masks = folder / "mask.mp4", [edited.mask for edited in edits if edited.mask is not None]
        return EditResult(
            folder=folder,
            video=folder / "edit.mp4",
            compare=folder / "compare.mp4",
            mask=mask if mask.exists() else None,
            latents=torch.cat([edited.z for edited in edits], dim=2),
            source_latents=torch.cat([edited.x_src for edited in edits], dim=2),
            latent_mask=torch.cat(masks, dim=2) if masks else None,
            run=self._run,
        )


def _clip_facts(source: SourceClip) -> dict[str, Any]:
    height, width = source.info.size
    return {
        "file": str(source.info.path),
        "size": f"{width}x{height}",
        "fps": str(source.selection.fps),
        "frames": len(source.selection.indices),
        "working_size": f"{source.geometry.size[1]}x{source.geometry.size[0]}",
        "working_frames": source.geometry.frames,
        "latent": list(source.geometry.latent),
    }


def plain(value: Any) -> Any:
    """Tuples as lists, for safe YAML."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
