"""`flowedit upscale`: a clip made larger by an upscaler, its sound, rate and length kept."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from flowedit import machine
from flowedit.config.schema import Settings
from flowedit.media.pixels import Size, resize
from flowedit.media.probe import Video, probe
from flowedit.media.sound import Sound
from flowedit.media.stills.decode import Decoded
from flowedit.media.stills.pictures import Pictures
from flowedit.media.stills.write import AnimationWriter, FolderWriter, FrameWriter, StillWriter
from flowedit.media.writer import Beside, Writer
from flowedit.messages import InputError
from flowedit.pipeline.outputs import LARGER_FRAMES, UPSCALE, staging, write_yaml
from flowedit.pipeline.record import Session
from flowedit.pipeline.resume import Journal, forget_others, unfinished
from flowedit.pipeline.source import Clip, open_clip
from flowedit.results import UpscaledClip
from flowedit.types import Monitor
from flowedit.upscaling.asked import asked
from flowedit.upscaling.larger import Larger, Opened

MOST = 8
"""How many times the sides a clip may be made, at most."""

LONGEST_SIDE = 8192
"""Pixels of a side, at most: more than that few players show."""

CHUNK = 4
"""Frames that are kept together of a run that is killed."""


def larger_size(size: Size, factor: float) -> Size:
    """The (height, width) of a clip made `factor` times as large; raises InputError for a factor that is none."""
    if not 1 < factor <= MOST:
        raise InputError(f"{factor:g} times is not larger: give a number above 1, up to {MOST}, such as 2")
    height, width = (round(side * factor) for side in size)
    if max(height, width) > LONGEST_SIDE:
        raise InputError(
            f"{factor:g} times {size[1]}x{size[0]} is {width}x{height}: give a smaller number, so that no side is over "
            f"{LONGEST_SIDE} pixels"
        )
    return height, width


def upscale_clip(
    settings: Settings, factor: float, monitor: Monitor | None = None, cancel: threading.Event | None = None
) -> UpscaledClip:
    """The clip of these settings, `factor` times as large, in a folder of its own; one that was killed goes on.

    `settings.upscale` says by what. Raises InputError and FileError for what cannot be used, before a model is loaded.
    """
    chosen = settings.upscale or ""
    asked(chosen)
    clip = open_clip(settings, probe(settings.clip or ""))
    size = larger_size(clip.size, factor)
    device = machine.find_device(settings.runtime.device)
    if settings.runtime.threads is not None:
        torch.set_num_threads(settings.runtime.threads)
    session = Session(device, monitor, cancel=cancel)
    session.say(clip.video.notices)
    told = {
        "upscale": chosen,
        "factor": factor,
        "clip": str(clip.video.path),
        "size": f"{size[1]}x{size[0]}",
        "frames": len(clip.selection.indices),
        "first_frame": clip.selection.indices[0],
        "fps": str(clip.selection.fps),
    }
    key = _key(told, settings, clip)
    with (
        staging(settings.out, Path(os.path.abspath(clip.video.path)).stem, UPSCALE, [str(clip.video.path)]) as stage,
        unfinished(stage, key, session) as journal,
    ):
        name = "picture.png" if clip.video.still else "video.mp4"
        with session.phase("upscale", len(clip.selection.indices)), torch.no_grad(), ExitStack() as stack:
            writers = [stack.enter_context(each) for each in _writers(clip, size, stage.folder, name)]
            beside = stack.enter_context(Beside())
            for part in _made(clip, size, Opened(chosen, device), journal):
                beside(partial(_write, writers, part))
                session.advance(len(part))
        run = {"notices": session.notices, "phases": session.meter.phases, **told, "versions": machine.versions()}
        write_yaml(stage.folder / "run.yaml", run)
        folder = stage.commit()
        forget_others(stage, key)
    return UpscaledClip(folder, folder / name, run)


def _made(clip: Clip, size: Size, upscaler: Opened, journal: Journal) -> Iterator[np.ndarray]:
    """The larger frames, uint8 (f, H, W, 3), a few at a time; those that an earlier run had made are read again.

    What follows depends on the frame before and on what was given back for it, and so is the same as without a stop.
    """
    larger = Larger(upscaler)
    for number, frames in enumerate(clip.read(clip.selection.indices, chunk=CHUNK)):
        name = f"part-{number:05}"
        if (found := journal.load(name)) is not None:
            part = np.stack([_unpacked(found[0][key]) for key in sorted(found[0])])
            larger.remember(frames[-1], part[-1])
        else:
            part = larger(frames, size)
            if journal.keeps:
                journal.save(name, {f"{place:05}": _packed(frame) for place, frame in enumerate(part)})
        yield part


def _packed(frame: np.ndarray) -> torch.Tensor:
    """A frame as the bytes of a PNG, which loses nothing."""
    return torch.from_numpy(cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].reshape(-1))


def _unpacked(data: torch.Tensor) -> np.ndarray:
    return np.asarray(cv2.imdecode(data.numpy(), cv2.IMREAD_COLOR))


def _write(writers: list[FrameWriter], part: np.ndarray) -> None:
    for each in writers:
        each.write(part)


@dataclass(frozen=True)
class LargerPictures(Pictures):
    """The pictures of a clip at another size, for their alpha and for what is kept of their colours."""

    larger: Size = (0, 0)

    def read(self, indices: Any) -> Iterator[Decoded]:
        """Yield the pictures at ascending indices, pixels and alpha at the larger size."""
        for each in super().read(indices):
            alpha = None if each.alpha is None else resize(each.alpha[None], self.larger)[0]
            yield replace(each, pixels=resize(each.pixels[None], self.larger)[0], alpha=alpha)


def _writers(clip: Clip, size: Size, folder: Path, name: str) -> Iterator[FrameWriter]:
    """A writer of the clip, and of a folder or an animation one of its like beside it."""
    video, indices = clip.video, clip.selection.indices
    of = None if video.pictures is None else LargerPictures(**vars(video.pictures), larger=size)
    if video.still:
        yield StillWriter(folder / name, of, video.labels)
        return
    yield _video_writer(video, folder / name, size, clip)
    if of is not None and of.kind == "folder":
        yield FolderWriter(folder / LARGER_FRAMES, of, indices)
    elif of is not None:
        yield AnimationWriter(folder / f"video.{of.format.lower()}", of, indices)


def _video_writer(video: Video, path: Path, size: Size, clip: Clip) -> Writer:
    """The mp4: the clip's rate, colours, labels and sound, and the shape of its pixels as far as whole ones allow."""
    height, width = clip.size
    aspect = video.pixel_aspect * Fraction(width * size[0], height * size[1])
    sound = Sound(video, clip.selection.start_seconds, clip.selection.seconds) if video.has_audio else None
    return Writer(path, size, clip.selection.fps, sound, pixel_aspect=aspect, colour=video.colour, labels=video.labels)


def _key(told: Mapping[str, Any], settings: Settings, clip: Clip) -> dict[str, Any]:
    """All that decides the result, by name."""
    path, file = clip.video.path, Path(settings.upscale or "")
    pictures = () if clip.video.pictures is None else clip.video.pictures.files
    return {
        **told,
        "clip": [machine.digest_file(each) for each in (pictures or (path,))],
        "weights": machine.digest_file(file) if file.is_file() else None,
        "device": str(settings.runtime.device),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
    }
