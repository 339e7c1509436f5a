"""One job: a clip to latents, through an editor, to a clip again; and the same from Python, `edit` and `load`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit import machine
from flowedit.backbones import families
from flowedit.config.compose import compose
from flowedit.config.schema import BackboneSettings, RuntimeSettings, Settings
from flowedit.flow import windows
from flowedit.media import cuts, mask_file, probe, reader
from flowedit.media.frames import between
from flowedit.messages import FileMissingError, InputError
from flowedit.metrics.pixels import psnr
from flowedit.pipeline import instruction, region
from flowedit.pipeline.checks import check_prompt
from flowedit.pipeline.notices import unused
from flowedit.pipeline.outputs import GENERATE, staging
from flowedit.pipeline.record import Edited, Job
from flowedit.pipeline.render import write_clip, write_edit
from flowedit.pipeline.source import (
    SourceClip,
    announce,
    cut,
    listed,
    native_size,
    plan,
    read,
    windows_of,
    working_mask,
)
from flowedit.pipeline.steer import check_editor, encode, make_grid, object_facts, own_latents, run_editor, steer
from flowedit.types import QUIET, Backbone, EditResult, Frames, Monitor

CARRIES = 22.0
"""PSNR in dB of a clip after encoding and decoding, below which the user is told."""


class Editor:
    """A loaded backbone that edits clip after clip; options given here are the defaults of each edit."""

    def __init__(self, backbone: str | None = None, **options: Any) -> None:
        self._options = {"backbone": backbone, **options} if backbone else options
        self._settings = settings_of(self._options)
        self.backbone = load_backbone(self._settings)

    def edit(self, clip: str | os.PathLike[str], *, monitor: Monitor | None = None, **options: Any) -> EditResult:
        """Edit one clip; options are the names of conf/config.yaml, dotted ones as **{"mask.preserve": True}.

        A vision-language model that `caption` names is in memory beside the backbone while it describes the clip.
        Raises ValueError, OSError or FloatingPointError with one clear line; nothing is left half-written.
        """
        if late := {key for key in options if key.split(".")[0] in ("backbone", "runtime")}:
            raise InputError(f"{', '.join(sorted(late))}: chosen when the editor is loaded; load another one")
        settings = settings_of({**self._options, **options, "video": os.fspath(clip)})
        settings = instruction.complete(settings, monitor or QUIET)
        return run(settings, self.backbone, monitor)


def load(backbone: str | None = None, **options: Any) -> Editor:
    """An editor around a backbone, a name or a checkpoint folder: `load("cogvideox-2b").edit("clip.mp4", ...)`."""
    return Editor(backbone, **options)


def edit(clip: str | os.PathLike[str], *, monitor: Monitor | None = None, **options: Any) -> EditResult:
    """Edit one clip: `edit("clip.mp4", source="a fox runs", instruction="replace the fox with a panda", backbone=...)`.

    Without an instruction `target` says what the clip should show, `source_words` and `target_words` where.
    Options are the names of conf/config.yaml; the result names the files and holds the latents.
    """
    settings = instruction.complete(settings_of({**options, "video": os.fspath(clip)}), monitor or QUIET)
    check(settings)
    return run(settings, load_backbone(settings), monitor)


def settings_of(options: dict[str, Any]) -> Settings:
    """Settings from options by name; dotted names and groups as on the command line."""
    return compose({key: os.fspath(v) if isinstance(v, os.PathLike) else v for key, v in options.items()})


def checkpoint(settings: Settings, fetch: bool = True) -> Path | None:
    """The folder of the backbone that the settings name, downloaded first if it lies on the hub.

    Without `fetch` None stands for one that is not here yet. Raises ConnectionError for a hub that cannot be reached,
    ValueError for a device or a folder that is not there.
    """
    chosen = settings.backbone
    machine.find_device(settings.runtime.device)  # before a download
    if chosen.path is not None:
        return Path(chosen.path)
    if chosen.packaged is not None:
        return Path(str(files("flowedit"))) / chosen.packaged
    if chosen.repository is not None:
        if not fetch:
            return families.downloaded(chosen.repository)
        return families.download(chosen.repository, chosen.download or "size unknown")
    raise InputError("backbone=folder needs backbone.path=DIR (on the command line, --backbone DIR)")


def load_backbone(settings: Settings) -> Backbone:
    """The backbone that the settings name, on their device; weights are read when first needed.

    Raises ConnectionError for a hub that cannot be reached, ValueError for what cannot be used.
    """
    chosen, runtime = settings.backbone, settings.runtime
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    path = checkpoint(settings)
    assert path is not None
    return families.load(
        path,
        name=chosen.name if chosen.path is None else None,
        device=runtime.device,
        dtype=runtime.dtype,
        rows=runtime.rows,
        tiling=runtime.tiling,
        cache=machine.cache_folder(runtime.cache),
    )


_LOADED: dict[tuple[BackboneSettings, RuntimeSettings], Backbone] = {}
"""The last backbone of this process, for jobs that come one after the other."""


def loaded(settings: Settings) -> Backbone:
    """As `load_backbone`, but the one that the last call gave if it is the same; one at a time is held."""
    key = settings.backbone, settings.runtime
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load_backbone(settings)
    return _LOADED[key]


def release() -> None:
    """Let go of the backbone that `loaded` holds."""
    _LOADED.clear()


def check(settings: Settings) -> None:
    """Raise ValueError or OSError for what can be refused before a backbone is there, and so before a download."""
    if settings.target is None or not settings.target.strip():
        raise InputError(
            "no target prompt: say what the clip should show (--target), or what to change (--instruction)"
        )
    if settings.source is None and settings.mode.name != "random_noise":
        raise InputError("no source prompt: say what the clip shows (--source)")
    region.check_words(settings)
    if settings.user_mask is not None and not Path(settings.user_mask).exists():
        raise FileMissingError(f"mask {settings.user_mask} does not exist: check its path")
    chosen = reader.select(probe.probe(_required(settings)), settings.start, settings.frames, settings.rate)
    cuts.check(settings.cuts, len(chosen.indices))


def run(settings: Settings, backbone: Backbone, monitor: Monitor | None = None, out: Path | None = None) -> EditResult:
    """One edit, from a file to a folder of files; everything that can be refused is refused before the networks run.

    A clip with cuts is edited scene by scene, each as if it stood alone (with padding, encoding, mask and noise of its
    own, from the same seed), and written as one. `out` is the folder where a caller wants the files, in place of the
    settings' own.
    """
    job = Job(settings, backbone, monitor or QUIET)
    check(settings)
    job.say(instruction.explain(settings))
    assert settings.target is not None
    for name in ("source", "target", "negative_prompt"):
        job.say(check_prompt(settings, backbone, name))
    grid = make_grid(settings, backbone)
    check_editor(settings, len(grid) - 1)
    with job.meter.phase("find cuts"):
        source, scenes = plan(settings, backbone, _required(settings), job.notice, job.monitor)
    mask_frames = None
    if settings.user_mask is not None:
        mask_frames, said = mask_file.read_mask(settings.user_mask, source.info, source.selection.indices)
        job.say([*said, *cut(source, mask_frames)])
    job.say(
        [
            *backbone.spec.notices,
            *region.explain(settings),
            *unused(settings, max(len(scene.windows) for scene in scenes)),
        ]
    )

    inputs = filter(None, [str(source.info.path), settings.user_mask])
    place = settings.out if out is None else str(out)
    with staging(place, source.info.path.stem, inputs=inputs) as stage:
        encoded = _encoded(job, scenes)
        edits = []
        for scene, x_src in zip(scenes, encoded, strict=True):
            user = None
            if mask_frames is not None:
                section = between(mask_frames, scene.first, scene.first + scene.geometry.source_frames)
                user = region.user_latent(working_mask(scene, section), backbone, scene.geometry)
            z, found = steer(job, x_src, grid, own_latents(backbone, scene.geometry), user)
            edits.append(Edited(scene, x_src, z.cpu(), None if found is None else found.cpu(), job.objects))
        shares = [e.objects[:, :, own_latents(backbone, e.scene.geometry)] for e in edits if e.objects is not None]
        if shares:
            job.fact("objects", object_facts(settings, torch.cat(shares, 2)))
        with job.meter.phase("decode and write"), torch.no_grad():
            replaced = mask_frames if settings.mask.user == "replace" else None
            write_edit(job, source, edits, replaced, stage.folder)
        job.fact("scenes", listed(scenes))
        job.write_run(stage.folder, source, grid)
        return job.result(stage.commit(), edits)


def _encoded(job: Job, scenes: Sequence[SourceClip]) -> list[Tensor]:
    """The source latents of all scenes, on the host: the autoencoder need not come back between their edits."""
    encoded, told = [], job.backbone.spec.world is None
    for scene in scenes:
        frames = read(scene)
        x_src = encode(job, frames)
        if not told:
            with job.meter.phase("round trip"):
                job.say(said := _carried(job.backbone, frames, x_src))
            told = bool(said)
        encoded.append(x_src.cpu())
    return encoded


def _carried(backbone: Backbone, frames: Frames, x_src: Tensor) -> list[str]:
    """A notice if a small backbone's autoencoder loses too much of the clip, seen on as many frames as it learned."""
    shown = min(len(frames), backbone.spec.trained_frames)
    latents = x_src[:, :, : backbone.spec.leading_latents + 1 + (shown - 1) // backbone.spec.frames_per_latent]
    with torch.no_grad():
        again = np.concatenate(list(backbone.decode(latents)))
    kept = psnr(again, frames[: len(again)])
    if kept >= CARRIES:
        return []
    return [
        f"the autoencoder of {backbone.spec.name} gives this clip back at {kept:.1f} dB only (below {CARRIES:.0f} much "
        "is lost); a full-size backbone carries such footage"
    ]


def generate(settings: Settings, backbone: Backbone, monitor: Monitor | None = None) -> Path:
    """A clip from the target prompt alone, by the same seam: random noise at strength 1; returns its folder."""
    if not (settings.target or "").strip():
        raise InputError("no prompt: say what the clip should show (--prompt)")
    if settings.mode.name != "random_noise":
        raise InputError("generation starts from noise: it needs mode=random_noise")
    job = Job(settings, backbone, monitor or QUIET)
    assert settings.target is not None
    job.say(check_prompt(settings, backbone, "target"))
    grid = make_grid(replace(settings, strength=1.0), backbone)
    if grid[0] != float(backbone.knots[0]):
        raise InputError(f"generation starts from pure noise: the grid must begin at {float(backbone.knots[0]):.6g}")
    wanted = settings.frame_size or native_size(backbone)
    geometry = backbone.geometry(settings.frames or backbone.spec.trained_frames, wanted)
    announce(settings, backbone, geometry, job.notice)
    job.say(backbone.spec.notices)
    with staging(settings.out, "generate", GENERATE) as stage:
        with job.meter.phase("embed"):
            prompt, negative = backbone.embed(settings.target), backbone.embed(settings.negative_prompt)
        seen = windows.over(backbone, windows_of(settings, backbone, geometry.latent[1]))
        velocity = seen.velocity(prompt, settings.target_guidance_scale, negative)
        start = torch.zeros((1, *geometry.latent), device=seen.device)
        before = backbone.evaluations
        with job.meter.phase("edit"), torch.no_grad():
            z = run_editor(settings, start, {"target": velocity}, grid, None, job, own_latents(backbone, geometry))
        job.fact("network_evaluations", backbone.evaluations - before)
        with job.meter.phase("decode and write"), torch.no_grad():
            write_clip(job, geometry, z, stage.folder / "video.mp4")
        job.write_run(stage.folder, None, grid)
        return stage.commit()


def _required(settings: Settings) -> str:
    if settings.video is None:
        raise InputError("no clip: give a video file or an edit's YAML file")
    return settings.video
