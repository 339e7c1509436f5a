"""The clip that is edited: which frames, at which working size, and what the user should hear about both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowedit import clip, video
from flowedit.settings import Settings
from flowedit.types import Backbone, Geometry, Monitor

Notice = Callable[[str], None]


@dataclass(frozen=True)
class SourceClip:
    """A file, the frames taken from it, the model's shape for them, and how the two sizes lie on each other."""

    info: video.VideoInfo
    selection: video.Selection
    geometry: Geometry
    fit: clip.Fit


def plan(settings: Settings, backbone: Backbone, path: str, notice: Notice) -> SourceClip:
    """Probe the file, choose frames and working size; raises as `video.probe` and `video.select` do."""
    info = video.probe(path)
    selection = video.select(info, settings.start, settings.frames, settings.rate)
    size = settings.frame_size
    if size is None:
        size = clip.working_size(info.size, backbone.native_area, backbone.multiple, backbone.max_side)
    geometry = backbone.geometry(len(selection.indices), size)
    announce(settings, backbone, geometry, notice)
    return SourceClip(info, selection, geometry, clip.fit(info.size, geometry.size, settings.fit))


def announce(settings: Settings, backbone: Backbone, geometry: Geometry, notice: Notice) -> None:
    """Say where the model's shape differs from what was asked, and where it leaves what the model was trained on."""
    height, width = geometry.size
    if settings.frame_size is not None and settings.frame_size != geometry.size:
        notice(
            f"size {settings.size} is not a multiple of {backbone.multiple}: the nearest valid one is {width}x{height}"
        )
    if geometry.frames != geometry.source_frames:
        extra = geometry.frames - geometry.source_frames
        notice(f"{geometry.source_frames} frames: the last is repeated {extra} times for the model, and dropped again")
    if geometry.source_frames > backbone.trained_frames:
        notice(
            f"{geometry.source_frames} frames are more than the {backbone.trained_frames} that {backbone.name} was "
            "trained on; the clip runs whole (--frames takes fewer)"
        )


def read(source: SourceClip, monitor: Monitor) -> np.ndarray:
    """The working frames, uint8 (frames after padding, H, W, 3), read and resized by chunks."""
    monitor.phase("read", len(source.selection.indices))
    parts = []
    for frames in video.read(source.info, source.selection.indices):
        parts.append(clip.to_working(frames, source.fit))
        monitor.advance(len(frames))
    return clip.pad_frames(np.concatenate(parts), source.geometry.frames)


def cut(source: SourceClip, mask: np.ndarray) -> list[str]:
    """A notice if part of a user's mask (F, H, W) lies in the margins that fit=crop leaves as they are."""
    if source.fit.how != "crop":
        return []
    top, left, height, width = source.fit.window
    margins = mask[:, :top], mask[:, top + height :], mask[:, :, :left], mask[:, :, left + width :]
    lost = any(margin.any() for margin in margins)
    return ["part of the mask lies in margins that fit=crop does not edit (fit=pad edits all)"] if lost else []


def working_mask(source: SourceClip, mask: np.ndarray) -> np.ndarray:
    """A user's mask uint8 (F, H, W) at the working size, float32 in [0, 1], padded in time as the clip is."""
    frames = [clip.mask_to_working(frame[None].astype(np.float32) / 255, source.fit) for frame in mask]
    return clip.pad_frames(np.concatenate(frames), source.geometry.frames)


def native_size(backbone: Backbone) -> tuple[int, int]:
    """(height, width) in pixels that the backbone was trained at."""
    height, width = backbone.latent_size
    scale = round((backbone.native_area / (height * width)) ** 0.5)
    return height * scale, width * scale
