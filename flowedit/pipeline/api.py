"""Editing from Python: one clip, frames in memory, or many clips with one loaded backbone."""

import inspect
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from fractions import Fraction
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from flowedit.backbones.options import BackboneOptions, RuntimeOptions
from flowedit.config.compose import GROUPS, compose
from flowedit.config.compose import options as names
from flowedit.config.schema import Settings
from flowedit.editors.averaging import AveragingOptions
from flowedit.editors.spec import ModeOptions
from flowedit.masks.options import MaskOptions
from flowedit.media.probe import Video, probe
from flowedit.messages import InputError
from flowedit.pipeline import instruction, run
from flowedit.pipeline.checks import check
from flowedit.pipeline.record import Session, look
from flowedit.pipeline.source import array_clip, open_clip
from flowedit.types import QUIET, Backbone, EditedFrames, EditResult, Monitor, Step

LOADED = ("backbone", "runtime")
"""Groups that are chosen when an editor is loaded."""

F = TypeVar("F", bound=Callable[..., Any])
Path = str | os.PathLike[str]
Heard = Callable[[Step], bool | None]
"""Called after each step with its state, time, mask and velocities; True stops the edit there: what is there is
finished, and shots to come stay as they are."""


class MethodOptions(TypedDict, total=False):
    """The options of an edit, by the names of conf/ and of the flags (`flowedit list options` says what each is).

    A group of options (mode, mask, averaging) is a name, a dictionary of its options, or an object of its options
    class. Dotted names work as well: `**{"mask.preserve": True}`.
    """

    source: str | None
    target: str | None
    instruction: str | None
    caption: Path | None
    source_words: str
    target_words: str
    negative_prompt: str
    mode: str | Mapping[str, Any] | ModeOptions
    task: str
    mask: str | Mapping[str, Any] | MaskOptions
    averaging: str | Mapping[str, Any] | AveragingOptions
    steps: int
    strength: float
    source_guidance_scale: float
    target_guidance_scale: float
    object_guidance_scales: tuple[float, ...] | list[float] | None
    draws: int
    seed: int
    user_mask: Path | None
    composite: bool | Literal["auto"]
    size: str | None
    cuts: tuple[int, ...] | list[int] | Literal["auto", "none"]
    fit: Literal["crop", "pad"]
    window: int | Literal["auto", "whole"]
    window_overlap: float


class ClipOptions(MethodOptions, total=False):
    """And those of a clip in a file: which of its frames are read, and where the results go."""

    frames: int | None
    start: int
    fps: str | float | None
    out: Path | None


class LoadOptions(ClipOptions, total=False):
    """And where the networks run, which is chosen when they are loaded."""

    runtime: Mapping[str, Any] | RuntimeOptions


class EditOptions(LoadOptions, total=False):
    """And the backbone: a name, a checkpoint folder, a dictionary or an object of its options."""

    backbone: Path | Mapping[str, Any] | BackboneOptions


class FrameOptions(MethodOptions, total=False):
    """The options of an edit of frames in memory."""

    runtime: Mapping[str, Any] | RuntimeOptions
    backbone: Path | Mapping[str, Any] | BackboneOptions


def _shows(options: Any) -> Callable[[F], F]:
    """The signature that `help` and completion show has every option by name, not `**options`."""

    def shows(function: F) -> F:
        shown = inspect.signature(function)
        own = [each for each in shown.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.__annotations__.items()
        ]
        function.__signature__ = shown.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return shows


class Editor:
    """A loaded backbone that edits clip after clip; options given here are the defaults of each edit.

    `settings` name the backbone in place of options."""

    @_shows(LoadOptions)
    def __init__(
        self,
        backbone: Path | None = None,
        *,
        settings: Settings | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        self._options: dict[str, Any] = {**options, **({"backbone": backbone} if backbone else {})}
        if settings is not None:
            self._options |= {"backbone": settings.backbone, "runtime": settings.runtime}
        self._loaded = settings or settings_of(self._options)
        self.backbone: Backbone = run.load_backbone(self._loaded)

    @_shows(ClipOptions)
    def edit(
        self,
        clip: Path,
        *,
        monitor: Monitor | None = None,
        callback: Heard | None = None,
        cancel: threading.Event | None = None,
        settings: Settings | None = None,
        **options: Unpack[ClipOptions],
    ) -> EditResult:
        """Edit one clip into a folder of files; see `flowedit.edit`.

        `settings` are whole settings in place of options, but for `out`. Raises flowedit.Error with one clear line;
        nothing is left half-written.
        """
        settings, video = self._complete({**options, "clip": os.fspath(clip)}, settings, monitor)
        return run.edit_clip(settings, self.backbone, self._session(monitor, callback, cancel), video=video)

    @_shows(MethodOptions)
    def edit_frames(
        self,
        array: np.ndarray,
        *,
        fps: float | Fraction = 8,
        monitor: Monitor | None = None,
        callback: Heard | None = None,
        cancel: threading.Event | None = None,
        settings: Settings | None = None,
        **options: Unpack[MethodOptions],
    ) -> EditedFrames:
        """Edit frames uint8 (F, H, W, 3), RGB, of a clip at `fps` frames a second; see `flowedit.edit_frames`."""
        settings, _ = self._complete(dict(options), settings, monitor, files=False)
        session = self._session(monitor, callback, cancel)
        return run.edit_array(settings, self.backbone, array_clip(array, fps, settings), session)

    def _complete(
        self, options: dict[str, Any], settings: Settings | None, monitor: Monitor | None, files: bool = True
    ) -> tuple[Settings, Video | None]:
        late = {key for key in options if key.split(".")[0] in LOADED}
        if late:
            raise InputError(f"{', '.join(sorted(late))}: chosen when the editor is loaded; load another one")
        whole = settings_of({**self._options, **options}) if settings is None else with_places(settings, options)
        if (whole.backbone, whole.runtime) != (self._loaded.backbone, self._loaded.runtime):
            raise InputError("the settings name another backbone or runtime than was loaded: load another editor")
        video = probe(whole.clip or "") if files else None
        return instruction.complete(whole, monitor or QUIET, video=video), video

    def _session(self, monitor: Monitor | None, callback: Heard | None, cancel: threading.Event | None) -> Session:
        return Session(self.backbone.device, monitor, callback, cancel)


@_shows(LoadOptions)
def load(backbone: Path | None = None, **options: Unpack[LoadOptions]) -> Editor:
    """An editor around a backbone, a name or a checkpoint folder: `load("cogvideox-2b").edit("clip.mp4", ...)`."""
    return Editor(backbone, **options)


@_shows(EditOptions)
def edit(
    clip: Path,
    *,
    monitor: Monitor | None = None,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
    **options: Unpack[EditOptions],
) -> EditResult:
    """Edit one clip: `edit("clip.mp4", source="a fox runs", instruction="replace the fox with a panda", backbone=...)`.

    Without an instruction `target` says what the clip should show, `source_words` and `target_words` where. The result
    names the files and holds the latents. `monitor` hears phases, progress and notices. `callback` hears each step, and
    returns True to stop there and keep what is there. `cancel`, once set, ends the edit with `flowedit.Cancelled` and
    leaves nothing. Raises flowedit.Error, which is a ValueError or an OSError as well, with one clear line.
    `flowedit list options` says what each option is.
    """
    settings, monitor = settings_of({**options, "clip": os.fspath(clip)}), monitor or QUIET
    return edit_settings(settings, probe(settings.clip or ""), monitor, callback, cancel)


@_shows(FrameOptions)
def edit_frames(
    array: np.ndarray,
    *,
    fps: float | Fraction = 8,
    monitor: Monitor | None = None,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
    **options: Unpack[FrameOptions],
) -> EditedFrames:
    """Edit frames uint8 (F, H, W, 3), RGB, of a clip at `fps` frames a second: frames in, frames out, no files.

    Options as in `edit`, but for those of a file.
    """
    settings, monitor = instruction.complete(settings_of(options), monitor or QUIET), monitor or QUIET
    check(settings, array_clip(array, fps, settings))  # before a download
    look(cancel)
    editor = Editor(settings=settings)
    return editor.edit_frames(array, fps=fps, monitor=monitor, callback=callback, cancel=cancel, settings=settings)


def edit_settings(
    settings: Settings,
    video: Video,
    monitor: Monitor,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
) -> EditResult:
    """The edit that these settings say, of a clip that was probed already; refused before a download if need be."""
    look(cancel)
    settings = instruction.complete(settings, monitor, video=video)
    check(settings, open_clip(settings, video))
    look(cancel)  # before minutes of loading
    backbone = run.load_backbone(settings)
    return run.edit_clip(settings, backbone, Session(backbone.device, monitor, callback, cancel), video=video)


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settings from options by name: groups as a name, a dictionary or an object; dotted names as in conf/."""
    flat: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for key, value in options.items():
        if key in GROUPS and isinstance(value, Mapping):
            inner = dict(value)
            if "name" in inner:
                flat[key] = inner.pop("name")
            elif key == "backbone" and inner:
                flat[key] = "folder"  # what the default backbone holds, its weights among it, is not meant
            flat |= {f"{key}.{name}": _written(each) for name, each in inner.items()}
        elif key in GROUPS and is_dataclass(value):
            objects[key] = value
            if key == "mode":
                flat[key] = value.preset or value.name  # type: ignore[union-attr]
            elif key == "backbone":
                flat[key] = value.name if value.name in names("backbone") else "folder"  # type: ignore[union-attr]
        elif isinstance(value, np.ndarray):
            raise InputError(f"{key} is an array: it takes a text, a number or a path")
        elif "." in key:
            flat[key] = _written(value)
        else:
            flat[key] = os.fspath(value) if isinstance(value, os.PathLike) else value
    if lost := [key for key in flat if key.partition(".")[0] in objects and "." in key]:
        raise InputError(f"{', '.join(lost)}: set it in the object that is given for {lost[0].partition('.')[0]}")
    return replace(compose(flat), **objects)


def _written(value: Any) -> Any:
    """None as conf/ writes it: of an option inside a group it is a value, not the lack of one."""
    return "null" if value is None else os.fspath(value) if isinstance(value, os.PathLike) else value


def with_places(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Settings with the clip and the folder of one edit; raises InputError for any other option."""
    if other := set(options) - {"clip", "out"}:
        raise InputError(f"{', '.join(sorted(other))}: give whole settings or options, not both")
    places: dict[str, Any] = {key: None if value is None else os.fspath(value) for key, value in options.items()}
    return replace(settings, **places)
