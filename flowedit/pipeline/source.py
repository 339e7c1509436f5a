"""The clip that is edited: which frames, at which working size, and what the user should hear about both."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from flowedit import messages
from flowedit.config.schema import Settings
from flowedit.flow import windows
from flowedit.media import cuts, probe, reader
from flowedit.media.fit import Fit, lay, mask_to_working, to_working, working_size
from flowedit.media.frames import LazyFrames, by_chunks
from flowedit.messages import InputError
from flowedit.types import Backbone, Frames, Geometry, Monitor

Notice = Callable[[str], None]


@dataclass(frozen=True)
class SourceClip:
    """A file, the frames taken from it, the model's shape for them, and how the two sizes lie on each other.

    A scene of a clip is one too; `first` is then the place of its first frame among the frames of the clip.
    """

    info: probe.Video
    selection: reader.Selection
    geometry: Geometry
    fit: Fit
    windows: tuple[windows.Window, ...]
    first: int = 0


def plan(
    settings: Settings, backbone: Backbone, path: str, notice: Notice, monitor: Monitor
) -> tuple[SourceClip, list[SourceClip]]:
    """Probe the file, choose frames and working size, and part it at its cuts: the clip, and its scenes.

    Without a cut the one scene is the clip itself; of several, the clip's shape is that of their latents one after the
    other. Raises as `video.probe`, `video.select` and `cuts.check` do.
    """
    info = probe.probe(path)
    selection = reader.select(info, settings.start, settings.frames, settings.rate)
    found = cut_places(settings, info, selection, notice, monitor)
    size = settings.frame_size
    if size is None:
        size = working_size(info.size, backbone.spec.native_area, backbone.spec.multiple, backbone.spec.max_side)
    scenes = []
    for first, end in pairwise([0, *found, len(selection.indices)]):
        geometry = backbone.geometry(end - first, size)
        fit = lay(info.size, geometry.size, settings.fit)
        places = tuple(windows_of(settings, backbone, geometry.latent[1]))
        scenes.append(SourceClip(info, selection.between(first, end), geometry, fit, places, first))
    announce_scenes(settings, backbone, [scene.geometry for scene in scenes], notice)
    return (replace(scenes[0], selection=selection, geometry=_joined(scenes)) if found else scenes[0]), scenes


def _joined(scenes: Sequence[SourceClip]) -> Geometry:
    """The shape of the scenes' latents one after the other."""
    parts = [scene.geometry for scene in scenes]
    channels, _, height, width = parts[0].latent
    latents = sum(part.latent[1] for part in parts)
    frames, source_frames = sum(part.frames for part in parts), sum(part.source_frames for part in parts)
    return Geometry(source_frames, frames, parts[0].size, (channels, latents, height, width))


def cut_places(
    settings: Settings, info: probe.Video, selection: reader.Selection, notice: Notice, monitor: Monitor
) -> Sequence[int]:
    """The frames, counted among those that are read, at which new scenes begin: found, with a notice, or given."""
    count = len(selection.indices)
    cuts.check(settings.cuts, count)
    if settings.cuts != "auto":
        return () if settings.cuts == "none" else settings.cuts
    if count == 1:
        return ()
    monitor.phase("find cuts", count)

    def seen() -> Iterator[np.ndarray]:
        for frame in reader.read_small(info, selection.indices, 2 * cuts.SIDE):
            yield frame
            monitor.advance()

    if found := cuts.find(seen()):
        notice(cuts.notice(found, float(selection.fps)))
    return found


def listed(scenes: Sequence[SourceClip]) -> list[dict[str, Any]]:
    """The scenes for run.yaml: their frames, counted among those that are read, and what the model has of them."""
    return [
        {
            "first_frame": scene.first,
            "frames": scene.geometry.source_frames,
            "working_frames": scene.geometry.frames,
            "latent_frames": scene.geometry.latent[1],
        }
        for scene in scenes
    ]


def announce_scenes(settings: Settings, backbone: Backbone, shapes: Sequence[Geometry], notice: Notice) -> None:
    """As `announce`, for every scene of a clip; what several have in common is said once."""
    said: dict[str, list[str]] = {}
    for number, shape in enumerate(shapes, 1):

        def heard(text: str, number: int = number) -> None:
            said.setdefault(text, []).append(str(number))

        announce(settings, backbone, shape, heard)
    for text, numbers in list(said.items())[: cuts.MOST]:
        where = f"scene{'s' if len(numbers) > 1 else ''} {messages.listed(numbers)}: "
        notice(text if len(numbers) == len(shapes) else where + text)
    if (more := len(said) - cuts.MOST) > 0:
        notice(f"and {more} more notices of this kind, of other scenes")


def announce(settings: Settings, backbone: Backbone, geometry: Geometry, notice: Notice) -> None:
    """Say where the model's shape differs from what was asked, and where it leaves what the model was trained on."""
    height, width = geometry.size
    if settings.frame_size is not None and settings.frame_size != geometry.size:
        notice(
            f"size {settings.size} is not a multiple of {backbone.spec.multiple}: "
            f"the nearest valid one is {width}x{height}"
        )
    if geometry.frames != geometry.source_frames:
        extra = geometry.frames - geometry.source_frames
        notice(f"{geometry.source_frames} frames: the last is repeated {extra} times for the model, and dropped again")
    if told := _told(settings, backbone, geometry):
        notice(told)


def _told(settings: Settings, backbone: Backbone, geometry: Geometry) -> str | None:
    """How many windows a clip is run in, where that is more than one or not what the model was trained on."""
    places = windows_of(settings, backbone, geometry.latent[1])
    count, trained = (
        geometry.source_frames,
        f"the {backbone.spec.trained_frames} that {backbone.spec.name} was trained on",
    )
    if len(places) == 1:
        if count > backbone.spec.trained_frames:
            return f"{count} frames are more than {trained}; the clip runs whole (--window auto runs it in windows)"
        if isinstance(settings.window, int):
            return f"window={settings.window} has no effect: the {count} frames of the clip fit one window"
        return None
    (start, end), (following, _) = places[:2]
    frames = 1 + (end - start - backbone.spec.leading_latents - 1) * backbone.spec.frames_per_latent
    overlap = (end - following) * backbone.spec.frames_per_latent
    told = f"run in {len(places)} windows of {frames} frames, of which neighbours share about {overlap}"
    if frames > backbone.spec.trained_frames:
        return f"{count} frames {told}; a window is longer than {trained}"
    return f"{count} frames are more than {trained}: {told}" if settings.window == "auto" else f"{count} frames {told}"


def windows_of(settings: Settings, backbone: Backbone, latents: int) -> list[windows.Window]:
    """Where a clip of `latents` latent frames is seen by the network, in one window or several.

    A window of n frames is the latents that hold them at the start of a clip, in whole patches of the network. Raises
    ValueError for one that is longer than the network knows places for.
    """
    if settings.window == "whole":
        window = latents
    else:
        frames = backbone.spec.trained_frames if settings.window == "auto" else settings.window
        held = 1 - (-(frames - 1) // backbone.spec.frames_per_latent) + backbone.spec.leading_latents
        window = min(latents, -(-held // backbone.spec.patch_frames) * backbone.spec.patch_frames)
    if backbone.spec.max_latents is not None and window > backbone.spec.max_latents:
        longest, given = (1 + (n - 1) * backbone.spec.frames_per_latent for n in (backbone.spec.max_latents, window))
        raise InputError(
            f"window {settings.window} is {given} frames of this clip, longer than {longest}, the most that "
            f"{backbone.spec.name} knows at once: give that many or fewer, or auto"
        )
    return windows.places(latents, window, settings.window_overlap, backbone.spec.patch_frames)


def read(source: SourceClip) -> Frames:
    """The working frames, uint8 (frames after padding, H, W, 3), read and resized when they are asked for."""
    taken = source.selection.indices
    indices = taken + taken[-1:] * (source.geometry.frames - len(taken))

    def opened(start: int) -> Iterator[np.ndarray]:
        for frames in reader.read(source.info, indices[start:], chunk=8):
            yield to_working(frames, source.fit)

    return LazyFrames((len(indices), *source.geometry.size, 3), opened)


def cut(source: SourceClip, mask: Frames) -> list[str]:
    """A notice if part of a user's mask (F, H, W) lies in the margins that fit=crop leaves as they are."""
    if source.fit.how != "crop":
        return []
    top, left, height, width = source.fit.window

    def margins(part: np.ndarray) -> Iterator[np.ndarray]:
        yield from (part[:, :top], part[:, top + height :], part[:, :, :left], part[:, :, left + width :])

    lost = any(margin.any() for part in by_chunks(mask) for margin in margins(part))
    return ["part of the mask lies in margins that fit=crop does not edit (fit=pad edits all)"] if lost else []


def working_mask(source: SourceClip, mask: Frames) -> Frames:
    """A user's mask uint8 (F, H, W) at the working size, float32 in [0, 1], padded in time as the clip is."""
    count, last = source.geometry.frames, len(mask) - 1

    def opened(start: int) -> Iterator[np.ndarray]:
        frame: np.ndarray | None = None
        for place in range(start, count):
            if frame is None or place <= last:
                held = mask[min(place, last) : min(place, last) + 1]
                frame = mask_to_working(held.astype(np.float32) / 255, source.fit)
            yield frame

    return LazyFrames((count, *source.geometry.size), opened)


def native_size(backbone: Backbone) -> tuple[int, int]:
    """(height, width) in pixels that the backbone was trained at."""
    height, width = backbone.spec.latent_size
    scale = round((backbone.spec.native_area / (height * width)) ** 0.5)
    return height * scale, width * scale
