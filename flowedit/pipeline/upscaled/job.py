"""`flowedit upscale`: a clip made larger by an upscaler, and all else of it kept as an edit keeps it."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from flowedit import machine
from flowedit.backbones.memory import of_host
from flowedit.config.schema import Settings
from flowedit.media.formats.resolve import form_of, of_file
from flowedit.media.pixels import Size
from flowedit.media.probe import Video, probe
from flowedit.media.stills.write import AnimationWriter, FolderWriter, FrameWriter, evenly
from flowedit.media.writer import Beside
from flowedit.messages import InputError
from flowedit.pipeline.outputs import LARGER_FRAMES, UPSCALE, check_place, inputs_of, staging
from flowedit.pipeline.record import Session
from flowedit.pipeline.render import sound_of, written
from flowedit.pipeline.resume import Journal, code_of, forget_others, unfinished
from flowedit.pipeline.source import Clip, open_clip
from flowedit.pipeline.upscaled.pictures import LargerPictures, SeenPicture, put_back, seen
from flowedit.results import UpscaledClip
from flowedit.types import Monitor
from flowedit.upscaling.asked import SUFFIX, asked
from flowedit.upscaling.catalogue import Upscaler
from flowedit.upscaling.larger import Larger, Opened

MOST = 8
"""How many times the sides a clip may be made, at most."""

LONGEST_SIDE = 8192
"""Pixels of a side, at most: more than that few players show."""

CHUNK, LARGE = 4, 2_000_000
"""Frames that are made, written and kept together; one by one where they have more pixels than this."""

ENCODERS = {"h264": 140, "h265": 340, "prores": 60}
"""Bytes of memory for each pixel of a larger frame that a codec's encoder takes, with the frames that wait for it."""

PLAIN, INVENTED, STORED = 40, 70, 100
"""And those that make a frame, hold and steady what a network made up, and put it into planes of more bits."""


OF_AN_EDIT = {
    "edit.png": "picture.png",
    "edit_frames": LARGER_FRAMES,
    "edit.": "video.",
    "the edit is made in": "it is made larger in",
    "what it leaves keeps": "what stays alike keeps",
    "edited": "taken",
}
"""What is said of a clip that is edited, and of one that is made larger."""


def worded(text: str, path: str) -> str:
    """A notice of an edit of the file at this path, which stays as it is, in words of what happens here."""
    parts = text.split(path)
    for old, new in OF_AN_EDIT.items():
        parts = [part.replace(old, new) for part in parts]
    return path.join(parts)


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


def memory_of(size: Size, settings: Settings, video: Video, upscaler: Upscaler) -> float:
    """GiB of the host's memory that frames of this (height, width) take, beside the network and one of its tiles."""
    encoder = ENCODERS.get(form_of(settings.file, video).codec, ENCODERS["h264"])
    each = encoder + PLAIN + INVENTED * upscaler.invents + STORED * video.planar
    return each * size[0] * size[1] / machine.GIB


def _check_memory(needed: float, size: Size) -> None:
    """Raise InputError for more GiB than are free, where the system tells."""
    free = of_host()[0]
    if free is not None and needed > free:
        raise InputError(
            f"frames of {size[1]}x{size[0]} need about {needed:.2g} GiB of memory, and {free:.2g} are free: give a "
            "smaller number of times, or free some"
        )


def upscale_clip(
    settings: Settings, factor: float, monitor: Monitor | None = None, cancel: threading.Event | None = None
) -> UpscaledClip:
    """The clip of these settings, `factor` times as large, in a folder of its own; one that was killed goes on.

    `settings.upscale` says by what. Raises InputError and FileError for what cannot be used, before a model is loaded.
    """
    chosen, inputs = settings.upscale or "", inputs_of(settings)
    upscaler = asked(chosen)
    check_place(settings.out, UPSCALE, inputs, "upscale")
    clip = open_clip(settings, probe(settings.clip or ""))
    size = larger_size(clip.size, factor)
    needed = memory_of(size, settings, clip.video, upscaler)
    _check_memory(needed, size)
    device = machine.find_device(settings.runtime.device)
    if settings.runtime.threads is not None:
        torch.set_num_threads(settings.runtime.threads)
    session = Session(device, monitor, cancel=cancel)
    session.start(
        f"{clip.size[1]}x{clip.size[0]} to {size[1]}x{size[0]} by {chosen}, on {machine.device_name(device)}; about "
        f"{needed:.2g} GiB of memory beside the network's"
    )
    session.say(worded(text, str(clip.video.path)) for text in of_file(settings.file, clip.video))
    told = {
        "upscale": chosen,
        "factor": factor,
        "clip": str(clip.video.path),
        "size": f"{size[1]}x{size[0]}",
        "frames": len(clip.selection.indices),
        "first_frame": clip.selection.indices[0],
        "fps": str(clip.selection.fps),
    }
    versions = machine.versions(*upscaler.packages)
    key, stem = _key(told, settings, clip, upscaler, versions), Path(os.path.abspath(clip.video.path)).stem
    with (
        staging(settings.out, stem, UPSCALE, inputs, "upscale") as stage,
        unfinished(stage, key, session) as journal,
    ):
        with session.phase("upscale", len(clip.selection.indices)), torch.no_grad(), ExitStack() as stack:
            writers = [stack.enter_context(each) for each in _writers(clip, settings, size, stage.folder)]
            beside = stack.enter_context(Beside())
            for frames, part in _made(clip, size, Opened(chosen, device), journal):
                beside(partial(_write, clip.video, writers, frames, part))
                session.advance(len(part))
        run = stage.told({"notices": session.notices, "phases": session.meter.phases, **told, "versions": versions})
        name = writers[0].path.name
        folder = stage.commit()
        forget_others(stage, key)
    return UpscaledClip(folder, folder / name, run)


def _made(
    clip: Clip, size: Size, upscaler: Opened, journal: Journal
) -> Iterator[tuple[Sequence[SeenPicture], np.ndarray]]:
    """A few frames at a time with what they become, uint8 (f, H, W, 3); what an earlier run had made is read again.

    What follows depends on the frame before and on what was given back for it, and so is the same as without a stop.
    """
    larger, given = Larger(upscaler), seen(clip.video, clip.selection.indices)
    number, count = 0, CHUNK if size[0] * size[1] <= LARGE else 1
    while frames := list(islice(given, count)):
        name = f"part-{number:05}"
        if (found := journal.load(name)) is not None:
            part = np.stack([_unpacked(found[0][key]) for key in sorted(found[0])])
            larger.remember(frames[-1][0], part[-1])
        else:
            part = larger(np.stack([frame for frame, _ in frames]), size)
            if journal.keeps:
                journal.save(name, {f"{place:05}": _packed(frame) for place, frame in enumerate(part)})
        yield frames, part
        number += 1


def _packed(frame: np.ndarray) -> torch.Tensor:
    """A frame as the bytes of a PNG, which loses nothing."""
    return torch.from_numpy(cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].reshape(-1))


def _unpacked(data: torch.Tensor) -> np.ndarray:
    return np.asarray(cv2.imdecode(data.numpy(), cv2.IMREAD_COLOR))


def _write(video: Video, writers: Sequence[FrameWriter], frames: Sequence[SeenPicture], part: np.ndarray) -> None:
    for (frame, picture), larger in zip(frames, part, strict=True):
        made = larger[None] if picture is None else [put_back(video, picture, frame, larger)]
        for each in writers:
            each.write(made)


def _writers(clip: Clip, settings: Settings, size: Size, folder: Path) -> Iterator[Any]:
    """A writer of the clip as an edit's, and of a folder or an animation one of its like beside it."""
    video, chosen = clip.video, clip.selection
    of = None if video.pictures is None else LargerPictures(**vars(video.pictures), larger=size)
    name = "picture" if video.still else "video"
    yield written(clip, settings.file, folder / name, size, of, sound_of(video, chosen))
    if of is not None and of.kind == "folder":
        yield FolderWriter(folder / LARGER_FRAMES, of, chosen.indices)
    elif of is not None and of.kind == "animation":
        even = evenly(len(chosen.indices), chosen.fps) if video.times and not chosen.times else None
        yield AnimationWriter(folder / f"video.{of.format.lower()}", of, chosen.indices, even)


def _key(
    told: Mapping[str, Any], settings: Settings, clip: Clip, upscaler: Upscaler, versions: Mapping[str, str | None]
) -> dict[str, Any]:
    """All that decides the result, by name."""
    path, file = clip.video.path, Path(settings.upscale or "")
    pictures = () if clip.video.pictures is None else clip.video.pictures.files
    return {
        **told,
        "clip": [machine.digest_file(each) for each in (pictures or (path,))],
        "indices": list(clip.selection.indices),
        "weights": machine.digest_file(file) if file.suffix.lower() == SUFFIX else None,
        "device": str(settings.runtime.device),
        "threads": torch.get_num_threads(),
        "versions": versions,
        "code": code_of(upscaler.open),
    }
