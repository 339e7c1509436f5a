"""Latents to the files of a job: decode, back to the source's size, composite, write, a chunk at a time."""

import platform
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit import clip, masks, video
from flowedit.meter import Meter
from flowedit.outputs import write_yaml
from flowedit.settings import Settings
from flowedit.sound import Sound
from flowedit.source_clip import SourceClip
from flowedit.types import Backbone, EditResult, Geometry, Monitor
from flowedit.writer import Writer

FLOOR = 0.05
"""Compositing treats a soft mask below this as outside, where the source's own pixels stand."""

GENERATED_FPS = Fraction(8)
"""CogVideoX's own rate, for a clip that has no source."""

PACKAGES = (
    "flowedit",
    "torch",
    "diffusers",
    "transformers",
    "av",
    "decord",
    "opencv-python-headless",
    "numpy",
)


class Job:
    """What one job gathers while it runs: notices, seconds, facts for run.yaml."""

    def __init__(self, settings: Settings, backbone: Backbone, monitor: Monitor) -> None:
        self.settings, self.backbone, self.monitor = settings, backbone, monitor
        self.meter = Meter(torch.device(backbone.describe()["device"]))
        self.notices: list[str] = []
        self._facts: dict[str, Any] = {}
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
        self._facts[name] = value

    def write_run(self, folder: Path, source: SourceClip | None, grid: list[float]) -> None:
        """run.yaml: resolved configuration, versions, shapes, seconds and peak memory of each phase."""
        settings = _plain(asdict(self.settings))
        self._run = {
            "trained": self.backbone.trained,
            "notices": self.notices,
            **self._facts,
            "phases": self.meter.phases,
            "backbone": self.backbone.describe(),
            "clip": None if source is None else _clip_facts(source),
            "times": [round(t, 9) for t in grid],
            "settings": settings,
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        }
        write_yaml(folder / "run.yaml", self._run)

    def result(self, folder: Path, z: Tensor, x_src: Tensor) -> EditResult:
        """The finished edit."""
        mask = folder / "mask.mp4"
        return EditResult(
            folder,
            folder / "edit.mp4",
            folder / "compare.mp4",
            mask if mask.exists() else None,
            z,
            x_src,
            self._run,
        )


def write_edit(
    job: Job, source: SourceClip, z: Tensor, mask: Tensor | None, pixels: np.ndarray | None, folder: Path
) -> None:
    """edit.mp4, compare.mp4 and, with a mask, mask.mp4 from the edited latent (1, C, F, h, w).

    `mask` (1, 1, F, h, w) is the soft latent mask of the edit; `pixels` (F, H, W), a user's mask at the source's
    size, takes its place where it alone says what may change. Both None: nothing is composited.
    """
    info, indices = source.info, source.selection.indices
    composite = job.settings.composite
    blended = (mask is not None or pixels is not None) and composite is not False
    if composite is True and not blended:
        job.notice("composite=true has no effect: there is no mask")
    sound = Sound(info.path, source.selection.start_seconds, source.selection.seconds) if info.has_audio else None
    fps, labels = (
        source.selection.fps,
        ["source", "edit" if job.backbone.trained else "edit (random weights: noise)"],
    )
    job.monitor.phase("decode, write", len(indices))
    originals, done = video.read(info, indices, chunk=1), 0
    with ExitStack() as stack:
        edit = stack.enter_context(Writer(folder / "edit.mp4", info.size, fps, sound, pixel_aspect=info.pixel_aspect))
        others: dict[str, Writer] = {}
        for part in _rechunked(job.backbone.decode(z), len(indices)):
            original = np.concatenate(list(islice(originals, len(part))))
            frames = clip.to_source(part, original, source.fit)
            shown = _pixel_mask(job, source, mask, pixels, range(done, done + len(part)))
            if shown is not None and blended:
                frames = clip.composite(frames, original, shown)
            edit.write(frames)
            pictures = {"compare.mp4": clip.side_by_side(original, frames, labels)}
            if shown is not None:
                pictures["mask.mp4"] = clip.overlay(original, shown)
            for name, picture in pictures.items():
                if name not in others:
                    size = (picture.shape[1], picture.shape[2])
                    others[name] = stack.enter_context(Writer(folder / name, size, fps))
                others[name].write(picture)
            done += len(part)
            job.monitor.advance(len(part))


def write_clip(job: Job, geometry: Geometry, z: Tensor, path: Path) -> None:
    """A generated clip at its working size, 8 frames a second unless `fps` says otherwise."""
    job.monitor.phase("decode, write", geometry.source_frames)
    with Writer(path, geometry.size, job.settings.rate or GENERATED_FPS) as writer:
        for part in _rechunked(job.backbone.decode(z), geometry.source_frames):
            writer.write(part)
            job.monitor.advance(len(part))


def _rechunked(chunks: Iterator[np.ndarray], frames: int, size: int = 8) -> Iterator[np.ndarray]:
    """The first `frames` frames of chunks of any length, at most `size` at a time."""
    left = frames
    for chunk in chunks:
        for start in range(0, min(len(chunk), left), size):
            yield chunk[start : min(start + size, left)]
        left -= min(len(chunk), left)


def _pixel_mask(
    job: Job, source: SourceClip, mask: Tensor | None, pixels: np.ndarray | None, frames: range
) -> np.ndarray | None:
    """The mask of these frames at the source's size, (f, H, W) float32 in [0, 1]; None without one."""
    if pixels is not None:
        return pixels[frames.start : frames.stop]
    if mask is None:
        return None
    latent = mask[:, :, job.backbone.leading_latents :]
    working = masks.to_pixels(latent, frames, job.backbone.frames_per_latent, source.geometry.size)
    cut = ((working - FLOOR) / (1.0 - FLOOR)).clamp(0.0, 1.0)
    return clip.mask_to_source(cut.cpu().numpy(), source.fit)


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


def _plain(value: Any) -> Any:
    """Tuples as lists, for safe YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
