"""One edit, from a clip to latents, through an editor, to a clip again."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit import machine
from flowedit.backbones import families
from flowedit.backbones.weights import asked
from flowedit.config.defaults import memory_presets
from flowedit.config.schema import Settings
from flowedit.masks.tracking import Track
from flowedit.media import mask_file
from flowedit.media.formats.resolve import of_file
from flowedit.media.frames import between
from flowedit.media.probe import Video
from flowedit.messages import FileError, InputError
from flowedit.metrics.pixels import psnr
from flowedit.networks import placement
from flowedit.networks.acceleration import Acceleration
from flowedit.pipeline.checks import (
    check,
    check_attending,
    check_means,
    check_packing,
    check_prompts,
    check_still,
    check_waiting,
)
from flowedit.pipeline.logs.asked import STEPS
from flowedit.pipeline.logs.finish import finish, watching
from flowedit.pipeline.logs.watcher import Watcher
from flowedit.pipeline.marked import joined, tracks_of
from flowedit.pipeline.notices import start
from flowedit.pipeline.notices.shape import of_cuts, of_flicker, of_margins, of_shots
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.notices.where import of_region
from flowedit.pipeline.outputs import EDIT, SHOWN, inputs_of, shown, staging
from flowedit.pipeline.plan import Brief, Plan, load_of, make_plan, own_latents, told
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.record import Edited, Session, describe_run
from flowedit.pipeline.region import has_region, user_latent
from flowedit.pipeline.render import blends, rendered, row_of, write_edit, write_row
from flowedit.pipeline.resume import Journal, forget_others, key_of, key_of_shot, unfinished
from flowedit.pipeline.source import Clip, Shot, cut_places, loses_margins, open_clip, working_frames, working_mask
from flowedit.pipeline.steer import encode, steer
from flowedit.results import EditedFrames, EditResult
from flowedit.types import Backbone, Evaluations, Frames

ROW = "row-"
"""The start of the names of latents that an editor kept beside its edit."""

CARRIES = 22.0
"""PSNR in dB of a clip after encoding and decoding, below which the user is told."""


def checkpoint(settings: Settings, fetch: bool = True, say: Callable[[str], None] = lambda text: None) -> Path | None:
    """The folder of the backbone that the settings name, downloaded first if it lies on the hub.

    Without `fetch` None stands for one that is not here yet. `say` hears of a download. Raises DownloadError for a hub
    that cannot be reached, InputError for a device or a folder that is not there, and for a full-size model without a
    GPU.
    """
    chosen, device = settings.backbone, settings.runtime.device
    place = machine.find_device(device)  # before a download
    if (found := families.here(chosen)) is not None:
        return found
    if chosen.repository is not None:
        if not fetch:
            return None
        families.require_device(chosen.name or chosen.repository, chosen.parameters, device, place)
        say(start.of_download(settings, place))
        return families.download(chosen.repository, chosen.download or "size unknown", families.replaced(chosen))
    raise InputError("backbone=folder needs backbone.path=DIR (on the command line, --backbone DIR)")


def load_backbone(settings: Settings, say: Callable[[str], None] = lambda text: None) -> Backbone:
    """The backbone that the settings name, on their device; weights are read when first needed. `say`: of a download.

    Raises DownloadError for a hub that cannot be reached, InputError for what cannot be used.
    """
    chosen, runtime, over = settings.backbone, settings.runtime, overlay(settings)
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if "int8" in (runtime.weights, runtime.text_weights):
        placement.require_torchao()  # before a download
    path = checkpoint(settings, say=say)
    assert path is not None
    return families.load(
        path,
        name=(chosen.name or chosen.repository) if chosen.path is None else None,
        device=runtime.device,
        dtype=runtime.dtype,
        rows=runtime.rows,
        tiling=runtime.tiling,
        cache=machine.cache_folder(runtime.cache),
        offload=runtime.offload,
        weights=runtime.weights,
        text_weights=runtime.text_weights,
        ladder=memory_presets(),
        how=Acceleration.of(runtime),
        overlay=over,
    )


def overlay(settings: Settings) -> asked.Overlay:
    """The LoRAs and single files of the settings; raises InputError and FileError for what is no such file."""
    chosen = settings.backbone
    return asked.overlay(settings.lora, chosen.transformer, chosen.transformer_2)


def check_backbone(settings: Settings) -> Path | None:
    """The folder of the backbone, or None for one that is to be downloaded first; nothing is opened or downloaded.

    Raises what `load_backbone` refuses before that.
    """
    chosen, runtime, over = settings.backbone, settings.runtime, overlay(settings)
    if "int8" in (runtime.weights, runtime.text_weights):
        placement.require_torchao()
    if (path := checkpoint(settings, fetch=False)) is not None:
        families.found(path, chosen.name, runtime.device, runtime.dtype, over)
    else:
        place = machine.find_device(runtime.device)
        families.require_device(chosen.name or chosen.repository or "", chosen.parameters, runtime.device, place)
    return path


@dataclass(frozen=True, eq=False)
class Prepared:
    """An edit that was refused nothing: its plan, and a user's mask (F, H, W) at the source's size or None."""

    plan: Plan
    mask: Frames | None
    tracks: tuple[Track, ...] = ()
    """Boxes and points of the user, which are in the mask already."""

    @property
    def pixels(self) -> Frames | None:
        """The mask that alone says what may change, on pixels; None where attention has a say."""
        return self.mask if self.plan.settings.mask.user == "replace" else None


def prepare(settings: Settings, backbone: Backbone, clip: Clip, session: Session, starts: bool = True) -> Prepared:
    """Everything that can be refused is refused here, before the networks run; and what is to be said is said.

    `starts`: whether the whole edit runs next, which is then told.
    """
    session.look()
    count = len(clip.selection.indices)
    made = told(check(settings, clip), backbone.spec)
    check_attending(made, backbone)
    check_means(made, backbone.spec)
    check_packing(made, backbone)
    session.say([*of_file(settings.file, clip.video), *instruction.explain(settings)])
    session.say(check_prompts(made, backbone))
    with session.meter.phase("find cuts"):
        cuts = cut_places(settings, clip, session)
    session.say(of_cuts(cuts if settings.cuts == "auto" else (), clip.selection.time))
    session.say(of_flicker(settings, count))
    check_still(settings, backbone.spec, count)
    plan = make_plan(made, backbone, clip, cuts)
    seen = max(end - start for shot in plan.shots for start, end in shot.windows)
    channels, _, *sides = plan.geometry.latent
    latent, most = (channels, seen, sides[0], sides[1]), max(len(shot.windows) for shot in plan.shots)
    check_waiting(made, backbone, latent, most)
    fit_memory(made, backbone, latent, most, session)
    if starts:
        inside = made.region is not None and has_region(backbone)
        session.start(start.of_start(made, backbone, start.Shape.of(plan), plan.evaluations, inside))
    session.say(of_shots(plan))
    mask: Frames | None = None
    texts: list[str] = []
    if settings.user_mask is not None:
        mask, texts = mask_file.read_mask(settings.user_mask, clip.video, clip.selection.indices)
    if tracks := tracks_of(settings.marks, clip, cuts, session):
        mask = joined(tracks, mask, clip.size, count)
    if mask is not None:
        session.say([*texts, *of_margins(loses_margins(plan.shots[0], mask))])
    session.say([*backbone.spec.notices, *of_region(made), *start.of_guidance(made, plan.spec.name)])
    session.say([*start.of_means(made, plan.spec), *start.of_largest(backbone, plan.grid)])
    session.say([*start.of_interval(made, plan.grid), *start.of_pass(made, backbone), *of_unused(made, most, count)])
    return Prepared(plan, mask, tracks)


def fit_memory(made: Brief, backbone: Backbone, latent: tuple[int, int, int, int], most: int, session: Session) -> None:
    """Let a backbone that has `fit`, as ours have, choose how it lies in memory for this edit, and hear what it says.

    `latent` (C, F, h, w) is what the network sees at once, in `most` windows of a shot.
    """
    if (fit := getattr(backbone, "fit", None)) is None:
        return
    fit(load_of(made, latent, most), lambda text: session.say([text]))


def edit_clip(
    settings: Settings,
    backbone: Backbone,
    session: Session | None = None,
    *,
    out: Path | None = None,
    video: Video | None = None,
    keep: bool = True,
    sources: Journal | None = None,
) -> EditResult:
    """One edit, from a file to a folder of files.

    A clip with hard cuts is edited shot by shot, each as if it stood alone, from the same seed, and written as one.
    `out` is where a caller wants the files, in place of the settings' own; `video` is what was probed of the clip. An
    edit that was killed goes on where it was, unless `keep` is false. `sources` holds encoded clips of several edits.
    """
    session = session or Session(backbone.device)
    clip = open_clip(settings, video)
    prepared = prepare(settings, backbone, clip, session)
    plan = prepared.plan
    place = settings.out if out is None else str(out)
    key = key_of(plan.brief, backbone, checkpoint(settings, fetch=False), clip.video.path) if keep else None
    with (
        staging(place, Path(os.path.abspath(clip.video.path)).stem, EDIT, inputs_of(settings)) as stage,
        unfinished(stage, key, session) as journal,
    ):
        watcher = watching(plan, session, journal.place(STEPS, stage.folder))
        edits = edit_shots(prepared, backbone, session, journal, sources)
        with session.meter.phase("decode and write"), torch.no_grad():
            write_edit(plan, backbone, edits, prepared.pixels, stage.folder, session, prepared.tracks)
            write_row(plan, backbone, edits, stage.folder, session)
        run = describe_run(plan, backbone, edits, session)
        if watcher is not None:
            finish(watcher, plan, backbone, edits, run, stage.folder)
        run = stage.told(run)
        folder = stage.commit()
        forget_others(stage, key)
    made, compare, mask, plain = (shown(folder, name) for name in SHOWN[:4])
    return EditResult(
        folder=folder,
        video=made,
        compare=compare,
        mask=mask if mask.exists() else None,
        mask_plain=plain if plain.exists() else None,
        **_latents(edits),
        run=run,
    )


def edit_array(settings: Settings, backbone: Backbone, clip: Clip, session: Session) -> EditedFrames:
    """One edit of frames in memory, to frames in memory; nothing is written."""
    prepared = prepare(settings, backbone, clip, session)
    edits = edit_shots(prepared, backbone, session, Journal())
    with session.phase("decode", len(clip.selection.indices)), torch.no_grad():
        parts = []
        for each in rendered(prepared.plan, backbone, edits, prepared.pixels, session):
            parts.append((each.edit, each.mask))
            session.advance(len(each.places))
        row = [np.concatenate([each.edit for each in one]) for one in row_of(prepared.plan, backbone, edits, session)]
    masks = [mask for _, mask in parts if mask is not None]
    return EditedFrames(
        frames=np.concatenate([edit for edit, _ in parts]),
        mask=np.concatenate(masks) if len(masks) == len(parts) else None,
        **_latents(edits),
        run=describe_run(prepared.plan, backbone, edits, session),
        row=tuple(row),
    )


def edit_shots(
    prepared: Prepared, backbone: Backbone, session: Session, journal: Journal, sources: Journal | None = None
) -> list[Edited]:
    """Every shot of the clip, encoded and edited; the autoencoder need not come back between their edits."""
    plan, edits = prepared.plan, []
    with session.together(len(plan.shots) if plan.settings.frame_by_frame else 1):
        encoded = _encoded(plan, backbone, session, sources or journal, shared=sources is not None)
        for number, (shot, x_src) in enumerate(zip(plan.shots, encoded, strict=True), 1):
            if session.stopped:  # a callback ended the whole edit: what follows stays as it is
                edits.append(Edited(shot, x_src, x_src.clone(), 0 * x_src[:, :1], None, Evaluations(), {}))
                continue
            session.shot = number
            edits.append(_edited(prepared, backbone, shot, x_src, session, journal))
    if plan.settings.composite is True and not blends(plan, edits, prepared.pixels):
        session.say(["composite=true has no effect: there is no mask"])
    session.say(start.of_saved(plan, backbone, sum((each.sent for each in edits), Evaluations())))
    return edits


def _edited(
    prepared: Prepared, backbone: Backbone, shot: Shot, x_src: Tensor, session: Session, journal: Journal
) -> Edited:
    """One shot, edited, or as an earlier run had edited it."""
    plan, name = prepared.plan, f"shot-{session.shot:03}-edited"
    if (found := journal.load(name)) is not None:
        tensors, facts = found
        session.say(facts["said"])
        return Edited(
            shot,
            x_src,
            tensors["z"],
            tensors.get("mask"),
            tensors.get("objects"),
            Evaluations(*facts["evaluations"]),
            dict(facts["reports"]),
            tuple(tensors[key] for key in sorted(tensors) if key.startswith(ROW)),
        )
    user = user_of(prepared, shot)
    if isinstance(session.watch, Watcher):
        session.watch.begin(x_src)
    own, said = own_latents(plan.spec, shot.geometry), len(session.notices)
    done = steer(plan.brief, backbone, x_src, plan.grid, shot.windows, own, session, user, journal)
    mask = None if done.mask is None else done.mask.cpu()
    edited = Edited(shot, x_src, done.z.cpu(), mask, done.objects, done.sent, dict(done.reports), done.row)
    if not session.stopped:
        row = {f"{ROW}{number:03}": z for number, z in enumerate(done.row)}
        parts = {"z": edited.z, "mask": mask, "objects": done.objects, **row}
        tensors = {key: part for key, part in parts.items() if part is not None}
        facts = {"evaluations": astuple(done.sent), "reports": edited.reports, "said": session.notices[said:]}
        journal.save(name, tensors, **facts)
        journal.drop(f"shot-{session.shot:03}-step*")
    return edited


def user_of(prepared: Prepared, shot: Shot) -> Tensor | None:
    """The user's mask of a shot on the latent grid (1, 1, F, h, w), or None without one."""
    if prepared.mask is None:
        return None
    section = between(prepared.mask, shot.first, shot.first + shot.geometry.source_frames)
    return user_latent(working_mask(shot, section), prepared.plan.spec, shot.geometry)


def _latents(edits: Sequence[Edited]) -> dict[str, Any]:
    masks = [edited.mask for edited in edits if edited.mask is not None]  # none yet where a shot was stopped early
    return {
        "latents": torch.cat([edited.z for edited in edits], dim=2),
        "source_latents": torch.cat([edited.x_src for edited in edits], dim=2),
        "latent_mask": torch.cat(masks, dim=2) if len(masks) == len(edits) else None,
    }


def _encoded(plan: Plan, backbone: Backbone, session: Session, journal: Journal, *, shared: bool) -> list[Tensor]:
    """The source latents of all shots, on the host; `shared`: those of one clip serve all edits of it."""
    encoded, heard = [], backbone.spec.world is None
    for number, shot in enumerate(plan.shots, 1):
        name, lost = key_of_shot(plan.clip.video.path, shot, backbone) if shared else f"shot-{number:03}-encoded", []
        with journal.alone(name) if shared else nullcontext():
            if (found := journal.load(name)) is not None:
                x_src, lost = found[0]["x_src"], list(found[1]["said"])
            else:
                frames = working_frames(plan.clip, shot)
                x_src = encode(backbone, frames, session)
                if not heard:
                    with session.meter.phase("round trip"):
                        lost = _lost(backbone, frames, x_src, machine.cache_folder(plan.settings.runtime.cache))
                journal.save(name, {"x_src": x_src}, said=lost)
        session.say(lost)
        heard = heard or bool(lost)
        encoded.append(x_src.cpu())
    return encoded


def _lost(backbone: Backbone, frames: Frames, x_src: Tensor, cache: Path | None) -> list[str]:
    """A notice if a small backbone's autoencoder loses too much of the clip, seen on as many frames as it learned.

    What was seen of a clip is kept in the cache, by the latent and the autoencoder.
    """
    spec = backbone.spec
    shown = min(len(frames), spec.trained_frames)
    latents = x_src[:, :, : spec.leading_latents + 1 + (shown - 1) // spec.frames_per_latent]
    note = None if cache is None else cache / f"carries-{_seen(backbone, latents)}.json"
    kept = _noted(note)
    if kept is None:
        with torch.no_grad():
            again = np.concatenate(list(backbone.decode(latents)))
        kept = psnr(again, frames[: len(again)])
        if note is not None:
            with suppress(OSError), machine.whole_file(note) as part:
                part.write_text(json.dumps(kept), encoding="utf-8")
    if kept >= CARRIES:
        return []
    return [
        f"the autoencoder of {spec.name} gives this clip back at {kept:.1f} dB only (below {CARRIES:.0f} much is "
        "lost); a full-size backbone carries such footage"
    ]


def _seen(backbone: Backbone, latents: Tensor) -> str:
    content = hashlib.blake2b(latents.cpu().contiguous().numpy().tobytes(), digest_size=16).hexdigest()
    by = {key: str(each) for key, each in backbone.describe().items() if key != "folder"}
    return machine.digest(content, list(latents.shape), by)


def _noted(note: Path | None) -> float | None:
    try:
        return None if note is None or not note.is_file() else float(machine.read_json(note))
    except (InputError, FileError, TypeError, ValueError):  # a damaged note is made anew
        return None
