"""Latents to the files of a job: decode, back to the source's size, composite, write, a chunk at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from flowedit.masks import grids
from flowedit.media import fit, pictures, probe, reader
from flowedit.media.pixels import Size, feather, resize
from flowedit.media.pixels import composite as blend
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer
from flowedit.pipeline.plan import objects
from flowedit.pipeline.record import Edited, Job
from flowedit.pipeline.source import SourceClip
from flowedit.types import Backbone, Frames, Geometry

PICTURE = 960
"""The widest that each picture of compare.mp4 and mask.mp4 is; they are to be looked at, not worked with."""

LEGIBLE = 320
"""The narrowest that mask.mp4 is where it holds the words of several objects."""

FLOOR = 0.05
"""Compositing treats a soft mask below this as outside, where the source's own pixels stand."""


def write_edit(job: Job, source: SourceClip, edits: Sequence[Edited], pixels: Frames | None, folder: Path) -> None:
    """edit.mp4, compare.mp4 and, with a mask, mask.mp4 from the edited latents of all scenes, in their order.

    `pixels` uint8 (F, H, W), a user's mask at the source's size, takes the place of the edits' soft latent masks where
    it alone says what may change. Without either nothing is composited.
    """
    info, indices = source.info, source.selection.indices
    composite = job.settings.composite
    blended = (pixels is not None or any(edited.mask is not None for edited in edits)) and composite is not False
    if composite is True and not blended:
        job.notice("composite=true has no effect: there is no mask")
    sound = Sound(info.path, source.selection.start_seconds, source.selection.seconds) if info.has_audio else None
    fps, labels = (
        source.selection.fps,
        ["source", "edit" if job.backbone.spec.trained else "edit (random weights: noise)"],
    )
    size = _picture_size(info)
    job.monitor.phase("decode, write", len(indices))
    originals = reader.read(info, indices, chunk=1)
    with ExitStack() as stack:
        edit = stack.enter_context(Writer(folder / "edit.mp4", info.size, fps, sound, pixel_aspect=info.pixel_aspect))
        others: dict[str, Writer] = {}
        for edited, part, places in _decoded(job.backbone, edits):
            original = np.concatenate(list(islice(originals, len(part))))
            # Nothing was run at strength 0: the clip itself, not what the autoencoder makes of it.
            frames = fit.to_source(part, original, source.fit) if job.settings.strength else original
            shown = _pixel_mask(job.backbone, edited, pixels, places)
            if shown is not None and blended:
                frames = blend(frames, original, shown)
            edit.write(frames)
            before, after = resize(original, size), resize(frames, size)
            shots = {"compare.mp4": pictures.grid([before, after], labels)}
            if shown is not None:
                shots["mask.mp4"] = _mask_picture(job, edited, original, shown, size, places)
            for name, picture in shots.items():
                if name not in others:
                    others[name] = stack.enter_context(Writer(folder / name, picture.shape[1:3], fps))
                others[name].write(picture)
            job.monitor.advance(len(part))


def write_clip(job: Job, geometry: Geometry, z: Tensor, path: Path) -> None:
    """A generated clip at its working size and, unless `fps` says otherwise, the backbone's own rate."""
    job.monitor.phase("decode, write", geometry.source_frames)
    with Writer(path, geometry.size, job.settings.rate or Fraction(job.backbone.spec.fps)) as writer:
        for part in _rechunked(job.backbone.decode(z), geometry.source_frames):
            writer.write(part)
            job.monitor.advance(len(part))


def _mask_picture(
    job: Job, edited: Edited, original: np.ndarray, shown: np.ndarray, size: Size, frames: range
) -> np.ndarray:
    """The mask drawn over the source; of several objects each in its colour, under a strip with their words."""
    if edited.objects is None:
        return resize(pictures.overlay(original, shown), size)
    found, enlarged = objects(job.settings), -(-LEGIBLE // size[1])
    size = size[0] * enlarged, size[1] * enlarged
    masks = [_at_source(job.backbone, edited.scene, mask[None], frames) for mask in edited.objects]
    labels = [str(pair).replace("→", "to") for pair in found]  # the font has no arrow
    if job.settings.user_mask is not None:
        changed = np.sum([mask for mask, pair in zip(masks, found, strict=True) if not pair.kept], 0)
        masks, labels = [*masks, np.clip(shown - changed, 0, 1)], [*labels, "user mask"]
    outlined = [k < len(found) and found[k].kept for k in range(len(masks))]
    return pictures.overlays(resize(original, size), [resize(m, size) for m in masks], labels, outlined)


def _picture_size(info: probe.Video) -> Size:
    """(height, width) of a picture: square pixels, even sides, at most PICTURE wide."""
    height, width = info.size[0], float(info.size[1] * info.pixel_aspect)
    scale = min(1.0, PICTURE / width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _decoded(backbone: Backbone, edits: Sequence[Edited]) -> Iterator[tuple[Edited, np.ndarray, range]]:
    """The working frames of every scene, some at a time, with their places in it."""
    for edited in edits:
        done = 0
        for part in _rechunked(backbone.decode(edited.z), edited.scene.geometry.source_frames):
            yield edited, part, range(done, done + len(part))
            done += len(part)


def _rechunked(chunks: Iterator[np.ndarray], frames: int, size: int = 8) -> Iterator[np.ndarray]:
    """The first `frames` frames of chunks of any length, at most `size` at a time."""
    left = frames
    for chunk in chunks:
        for start in range(0, min(len(chunk), left), size):
            yield chunk[start : min(start + size, left)]
        left -= min(len(chunk), left)


def _pixel_mask(backbone: Backbone, edited: Edited, pixels: Frames | None, frames: range) -> np.ndarray | None:
    """The mask of these frames of a scene at the source's size, (f, H, W) float32 in [0, 1]; None without one."""
    scene = edited.scene
    if pixels is not None:
        part = pixels[scene.first + frames.start : scene.first + frames.stop]
        return feather(part.astype(np.float32) / 255)
    return None if edited.mask is None else _at_source(backbone, scene, edited.mask, frames)


def _at_source(backbone: Backbone, scene: SourceClip, mask: Tensor, frames: range) -> np.ndarray:
    """A soft latent mask (1, 1, F, h, w) of a scene's frames at the source's size, (f, H, W) float32."""
    latent = mask[:, :, backbone.spec.leading_latents :]
    working = grids.to_pixels(latent, frames, backbone.spec.frames_per_latent, scene.geometry.size)
    return fit.mask_to_source(grids.cut(working, FLOOR).cpu().numpy(), scene.fit)
