"""Latents to frames and files: decode, back to the source's size, composite, write, a chunk at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.masks import grids
from flowedit.masks.tracking import Track
from flowedit.media import fit, pictures
from flowedit.media.formats.forms import FileOptions
from flowedit.media.formats.resolve import form_of
from flowedit.media.pixels import Size, composite, feather, resize
from flowedit.media.planes.blend import Depth
from flowedit.media.planes.picture import Planar
from flowedit.media.probe import Video
from flowedit.media.reader import Selection
from flowedit.media.sound import Sound
from flowedit.media.stills.pictures import Pictures
from flowedit.media.stills.write import (
    AnimationWriter,
    FolderWriter,
    FrameWriter,
    StillWriter,
    beside,
    in_hundredths,
)
from flowedit.media.writer import Beside, Writer
from flowedit.metrics.health import Health
from flowedit.pipeline.looks.settings_file import settings_text
from flowedit.pipeline.notices.shape import of_health
from flowedit.pipeline.outputs import ROW
from flowedit.pipeline.plan import Plan
from flowedit.pipeline.record import Edited, Session
from flowedit.pipeline.source import Clip, Shot
from flowedit.pipeline.upscaled.back import WayBack, opened
from flowedit.types import Backbone, Frames, Geometry

PICTURE = 960
"""The widest that each picture of compare.mp4 and mask.mp4 is; they are to be looked at, not worked with."""

LEGIBLE = 320
"""The narrowest that mask.mp4 is where it holds the words of several objects."""

PLAIN_CRF = 4
"""x264's quality of mask_plain.mp4, which is read again: nearly lossless."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """Some frames of a shot: the source's and the edit's, uint8 (f, H, W, 3), and the mask (f, H, W) or None.

    `stored` is the edit in the source's own planes, where uint8 RGB does not hold all of it.
    """

    edited: Edited
    places: range
    source: np.ndarray
    edit: np.ndarray
    mask: np.ndarray | None
    stored: Sequence[Planar] = ()


def blends(plan: Plan, edits: Sequence[Edited], pixels: Frames | None) -> bool:
    """Whether the edit is blended into the source's own pixels: there is a mask, and `composite` is not off."""
    masked = pixels is not None or any(edited.mask is not None for edited in edits)
    return masked and plan.settings.composite is not False


def rendered(
    plan: Plan, backbone: Backbone, edits: Sequence[Edited], pixels: Frames | None, session: Session
) -> Iterator[Rendered]:
    """The frames of all shots in their order, at the source's size, a few at a time; then a word if they show nothing.

    `pixels` uint8 (F, H, W), a user's mask at the source's size, takes the place of the edits' soft latent masks where
    it alone says what may change. Without either nothing is composited.
    """
    made, given = Health(), Health()
    blended, originals = blends(plan, edits, pixels), plan.clip.originals()
    upscaler = opened(plan, backbone.device)
    for edited in edits:
        done, shot = 0, edited.shot
        way_back = WayBack(shot.fit, upscaler)
        for part in _rechunked(backbone.decode(edited.z), shot.geometry.source_frames):
            places = range(done, done + len(part))
            taken = list(islice(originals, len(part)))
            original = np.stack([frame for frame, _ in taken])
            stored = [picture for _, picture in taken if picture is not None]
            made.add(part)
            given.add(original)
            # Nothing was run at strength 0: the clip itself, not what the autoencoder makes of it.
            mask = _pixel_mask(plan, edited, pixels, places)
            seen = mask if blended else None
            frames = way_back(part, original, seen) if plan.settings.strength else original
            share = _share(plan.clip.video, seen, stored)
            edit = frames if share is None else composite(frames, original, share)
            back = put_back(plan.clip.video, stored, original, frames, share)
            yield Rendered(edited, places, original, edit, mask, back)
            done += len(part)
    if plan.settings.strength and given.sign() is None:
        session.say(of_health(made, backbone.spec))


def _share(video: Video, mask: np.ndarray | None, stored: Sequence[Planar]) -> np.ndarray | None:
    """How much of each pixel is the edit's, float32 (f, H, W): none where nothing can be seen; None for all of all."""
    if not video.alpha or not stored:
        return mask
    seen = np.stack([video.upright(picture.alpha > 0) for picture in stored if picture.alpha is not None])
    return seen.astype(np.float32) if mask is None else mask * seen


def put_back(
    video: Video, stored: Sequence[Planar], seen: np.ndarray, edit: np.ndarray, share: np.ndarray | None
) -> list[Planar]:
    """The edit in the source's own planes."""
    depth, result = Depth(video.colour), []
    for place, picture in enumerate(stored):
        mask = np.ones(seen.shape[1:3], np.float32) if share is None else share[place]
        result.append(depth.blended(picture, *map(video.stored, (seen[place], edit[place], mask))))
    return result


def write_edit(
    plan: Plan,
    backbone: Backbone,
    edits: Sequence[Edited],
    pixels: Frames | None,
    folder: Path,
    session: Session,
    tracks: Sequence[Track] = (),
) -> None:
    """The edit, compare.mp4 and, with a mask, mask.mp4 and mask_plain.mp4, as `rendered` gives them; a still's as PNG.

    The edit is edit.mp4, or what its options say. Beside the mp4 of a folder of frames lies a folder of frames, beside
    that of an animation one of its format.
    """
    clip, selection = plan.clip, plan.clip.selection
    video = clip.video
    sound = None if clip.array is not None else sound_of(video, selection)
    labels = ["source", "edit" if plan.spec.trained else "edit (random weights: noise)"]
    size = _picture_size(video)
    even = selection.fps if video.times and not selection.times else None
    session.announce("decode, write", len(selection.indices))
    with ExitStack() as stack:
        others_too = beside(video.pictures, folder, selection.indices, even) if plan.settings.format == "auto" else []
        told = settings_text(plan.settings)
        own = written(clip, plan.settings.file, folder / "edit", clip.size, video.pictures, sound, told)
        edits_to = [*map(stack.enter_context, (own, *others_too))]
        others: dict[str, FrameWriter] = {}
        masked = pixels is not None or any(edited.mask is not None for edited in edits)
        if masked:
            plain = _writer(plan, folder / "mask_plain", clip.size, PLAIN_CRF, video.pixel_aspect)
            others["mask_plain"] = stack.enter_context(plain)

        def write(part: Rendered, plainly: np.ndarray | None) -> None:
            for each in edits_to:
                each.write(part.stored or part.edit)
            shown = {"compare": pictures.grid([resize(part.source, size), resize(part.edit, size)], labels)}
            if part.mask is not None:
                shown["mask"] = _mask_picture(plan, part, part.mask, size, tracks)
            if plainly is not None:
                shown["mask_plain"] = plainly
            for name, picture in shown.items():
                if name not in others:
                    others[name] = stack.enter_context(_writer(plan, folder / name, picture.shape[1:3]))
                others[name].write(picture)

        with Beside() as meanwhile:
            for part in rendered(plan, backbone, edits, pixels, session):
                # here, as a user's mask is read once and in order
                meanwhile(partial(write, part, _plain_mask(plan, part, pixels) if masked else None))
                session.advance(len(part.places))


def sound_of(video: Video, selection: Selection) -> Sound | None:
    """All that plays beside the pictures of these frames: sound, subtitles, chapters; None beside pictures alone."""
    return None if video.pictures else Sound(video, selection.start_seconds, selection.seconds, video.tracks)


def written(
    clip: Clip,
    asked: FileOptions,
    place: Path,
    size: Size,
    of: Pictures | None = None,
    sound: Sound | None = None,
    told: str | None = None,
) -> FrameWriter:
    """The writer of a clip's frames at a (height, width), as is asked and as the clip is; `place` lacks its suffix.

    `of` lends what frames of pictures keep, and is of that size. `told` takes the place of the clip's own comment.
    """
    video, chosen, form = clip.video, clip.selection, form_of(asked, clip.video)
    if video.still:
        return StillWriter(place.with_suffix(".png"), of, video.labels, told)
    path = place.with_name(form.file.replace("edit", place.name, 1))
    if form.format == "png":
        return FolderWriter(path, of, chosen.indices, told, video)
    if form.format == "gif":
        own = of is not None and of.kind == "animation" and chosen.fps == video.fps
        lasting = None if own else in_hundredths([chosen.time(frame) for frame in range(len(chosen.indices) + 1)])
        return AnimationWriter(path, of, chosen.indices, lasting, told, video)
    as_stored = video.planar and clip.array is None
    turned = as_stored and video.rotation % 180
    aspect = video.pixel_aspect * Fraction(clip.size[1] * size[0], clip.size[0] * size[1])
    return Writer(
        path,
        size[::-1] if turned else size,
        chosen.fps,
        sound,
        crf=asked.crf,
        pixel_aspect=1 / aspect if turned else aspect,
        colour=video.colour,
        labels=video.labels if told is None else (*video.labels, ("comment", told)),
        form=form,
        times=chosen.times,
        matrix=video.matrix if as_stored else None,
        pictures=of.read(chosen.indices) if of is not None and form.alpha else None,
    )


def _writer(plan: Plan, path: Path, size: Size, crf: int | None = None, aspect: Fraction = Fraction(1)) -> FrameWriter:
    """A writer of pictures of this size at the clip's rate, or of one where the clip is a still."""
    video = plan.clip.video
    if video.still:
        return StillWriter(path.with_suffix(".png"))
    chosen, colour = plan.clip.selection, video.seen_colour
    mp4 = path.with_suffix(".mp4")
    return Writer(mp4, size, chosen.fps, crf=crf, pixel_aspect=aspect, colour=colour, times=chosen.times)


def write_row(plan: Plan, backbone: Backbone, edits: Sequence[Edited], folder: Path, session: Session) -> None:
    """row_0.mp4, row_1.mp4 ... of the results of `row_of`, in their order, or .png of a still; mostly none."""
    for name, parts in zip(ROW, row_of(plan, backbone, edits, session), strict=False):
        with _writer(plan, folder / name, plan.clip.size, aspect=plan.clip.video.pixel_aspect) as writer:
            for part in parts:
                writer.write(part.edit)


def row_of(plan: Plan, backbone: Backbone, edits: Sequence[Edited], session: Session) -> Iterator[Iterator[Rendered]]:
    """What an editor kept beside the edit, each result part by part, to be taken in this order; mostly none.

    A shot that was stopped has none, and then there is none of any.
    """

    def parts(number: int) -> Iterator[Rendered]:
        session.announce(f"decode result {number} of the row", len(plan.clip.selection.indices))
        kept = [replace(edited, z=edited.row[number]) for edited in edits]
        for part in rendered(plan, backbone, kept, None, session):
            yield part
            session.advance(len(part.places))

    yield from map(parts, range(min(len(edited.row) for edited in edits)))


def write_clip(
    backbone: Backbone, geometry: Geometry, z: Tensor, path: Path, settings: Settings, session: Session
) -> None:
    """A generated clip at its working size, at the settings' rate or the backbone's own; a picture as PNG."""
    made, told = Health(), settings_text(settings, from_text=True)
    session.announce("decode, write", geometry.source_frames)

    def opened() -> FrameWriter:
        if backbone.spec.still:
            return StillWriter(path, comment=told)
        rate = settings.rate or Fraction(backbone.spec.fps)
        return Writer(path, geometry.size, rate, labels=[("comment", told)])

    with opened() as writer, Beside() as beside:
        for part in _rechunked(backbone.decode(z), geometry.source_frames):
            beside(partial(writer.write, part))
            made.add(part)
            session.advance(len(part))
    session.say(of_health(made, backbone.spec))


def _mask_picture(plan: Plan, part: Rendered, mask: np.ndarray, size: Size, tracks: Sequence[Track]) -> np.ndarray:
    """The mask drawn over the source; of several objects each in its colour, under a strip with their words.

    Boxes and points that were followed are outlined, with the way that their middle goes.
    """
    if part.edited.objects is None:
        drawn = resize(pictures.overlay(part.source, mask), size)
        return pictures.followed(drawn, part.edited.shot.first + part.places.start, tracks)
    objects, enlarged = plan.brief.objects, -(-LEGIBLE // size[1])
    size = size[0] * enlarged, size[1] * enlarged
    masks = [_at_source(plan, part.edited.shot, each[None], part.places) for each in part.edited.objects]
    labels = [str(each).replace("→", "to") for each in objects]  # the font has no arrow
    if plan.settings.marked:
        changed = np.sum([m for m, each in zip(masks, objects, strict=True) if not each.kept], 0)
        masks, labels = [*masks, np.clip(mask - changed, 0, 1)], [*labels, "user mask"]
    outlined = [k < len(objects) and objects[k].kept for k in range(len(masks))]
    source = pictures.followed(resize(part.source, size), part.edited.shot.first + part.places.start, tracks)
    return pictures.overlays(source, [resize(m, size) for m in masks], labels, outlined)


def _plain_mask(plan: Plan, part: Rendered, pixels: Frames | None) -> np.ndarray:
    """The mask as a user's is read, at the source's size, uint8 (f, H, W, 3): white inside, black outside.

    Read again it gives the same sites of the latent, and the same soft edge around them.
    """
    shot, mask, frames = part.edited.shot, part.edited.mask, part.places
    if pixels is not None:
        values = pixels[shot.first + frames.start : shot.first + frames.stop]
    elif mask is None or part.mask is None:  # a shot that was stopped before its first mask
        values = np.zeros(part.source.shape[:3], np.uint8)
    else:
        latent = mask[:, :, plan.spec.leading_latents :]
        working = grids.to_plain(latent, frames, plan.spec.frames_per_latent, shot.geometry.size)
        values = np.rint(255 * fit.mask_to_source(working.cpu().numpy(), shot.fit)).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=-1)


def _picture_size(info: Video) -> Size:
    """(height, width) of a picture: square pixels, even sides, at most PICTURE wide."""
    height, width = info.shown
    scale = min(1.0, PICTURE / width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _rechunked(chunks: Iterator[np.ndarray], frames: int, size: int = 8) -> Iterator[np.ndarray]:
    """The first `frames` frames of chunks of any length, at most `size` at a time."""
    left = frames
    for chunk in chunks:
        for start in range(0, min(len(chunk), left), size):
            yield chunk[start : min(start + size, left)]
        left -= min(len(chunk), left)


def _pixel_mask(plan: Plan, edited: Edited, pixels: Frames | None, frames: range) -> np.ndarray | None:
    """The mask of these frames of a shot at the source's size, (f, H, W) float32 in [0, 1]; None without one."""
    if pixels is not None:
        part = pixels[edited.shot.first + frames.start : edited.shot.first + frames.stop]
        return feather(part.astype(np.float32) / 255)
    return None if edited.mask is None else _at_source(plan, edited.shot, edited.mask, frames)


def _at_source(plan: Plan, shot: Shot, mask: Tensor, frames: range) -> np.ndarray:
    return at_source(mask[:, :, plan.spec.leading_latents :], frames, plan.spec.frames_per_latent, shot.fit)


def at_source(latent: Tensor, frames: range, frames_per_latent: int, lies: fit.Fit) -> np.ndarray:
    """A soft latent mask (1, 1, F, h, w) of a shot's frames at the source's size, (f, H, W) float32 in [0, 1]."""
    working = grids.to_pixels(latent, frames, frames_per_latent, lies.working)
    return fit.mask_to_source(grids.cut(working, grids.FLOOR).cpu().numpy(), lies)
