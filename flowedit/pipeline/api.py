"""Editing from Python: one clip, frames in memory, or many clips with one loaded backbone."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass, replace
from fractions import Fraction
from typing import Any, Unpack

import numpy as np
from torch import Tensor

from flowedit.backbones import families
from flowedit.config.choices import typed
from flowedit.config.compose import GROUPS, OPTIONS, compose, current
from flowedit.config.quality import QualityOptions
from flowedit.config.schema import Settings
from flowedit.config.wording import in_keywords
from flowedit.masks.marks import written
from flowedit.media.probe import Video, probe
from flowedit.messages import InputError
from flowedit.pipeline import run
from flowedit.pipeline.checks import check, check_learned
from flowedit.pipeline.generation import generate_clip
from flowedit.pipeline.keywords import (
    ClipOptions,
    EditOptions,
    FrameOptions,
    GenerateOptions,
    LoadOptions,
    MethodOptions,
    Place,
    shows,
    without_files,
)
from flowedit.pipeline.looks.look import look_at_clip
from flowedit.pipeline.looks.mask_look import MaskLook
from flowedit.pipeline.outputs import EDIT, GENERATE, check_place, inputs_of
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.record import Session, look
from flowedit.pipeline.source import array_clip, open_clip, saved_mask
from flowedit.results import EditedFrames, EditResult, GeneratedClip
from flowedit.types import QUIET, Backbone, Monitor, Step

LOADED = ("backbone", "runtime", "lora")
"""Options that are chosen when an editor is loaded."""

LOGGER = logging.getLogger("flowedit")
"""Hears every notice of the functions here, as a warning; `logging.basicConfig()` shows them."""
LOGGER.addHandler(logging.NullHandler())  # who has not asked for a log gets none

Heard = Callable[[Step], bool | Tensor | None]
"""Called after each step. True stops there: what is there is finished, shots to come stay as they are. A tensor is the
state that it goes on with in place of `step.z`."""


class LoggingMonitor:
    """A monitor that keeps the notices which pass to another one; with `log`, of Python users, the logger `flowedit`
    hears them too, and they name options as keywords."""

    def __init__(self, monitor: Monitor | None, log: bool = True) -> None:
        self._monitor, self._log = monitor or QUIET, log
        self.notices: list[str] = []

    def start(self, text: str) -> None:
        """What is about to run."""
        if self._log:
            LOGGER.info("%s", text)
        if (hear := getattr(self._monitor, "start", None)) is not None:
            hear(text)

    def phase(self, name: str, total: int) -> None:
        """A phase begins."""
        self._monitor.phase(name, total)

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        self._monitor.advance(count)

    def worded(self, text: str) -> str:
        """A notice in the words of who hears it."""
        return in_keywords(text) if self._log else text

    def notice(self, text: str) -> None:
        """A line for the user."""
        text = self.worded(text)
        self.notices.append(text)
        if self._log:
            LOGGER.warning("%s", text)
        self._monitor.notice(text)


class Editor:
    """A loaded backbone that edits clip after clip; options given here are the defaults of each edit, and `settings`
    name the backbone in place of options."""

    @shows(LoadOptions)
    def __init__(
        self,
        backbone: Place | None = None,
        *,
        settings: Settings | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        self._options: dict[str, Any] = {**options, **({} if backbone is None else {"backbone": backbone})}
        if settings is not None:
            self._options |= {name: getattr(settings, name) for name in LOADED}
        self._loaded = settings or settings_of(self._options)
        self.backbone: Backbone = run.load_backbone(self._loaded, LoggingMonitor(None).notice)

    @shows(ClipOptions)
    def edit(
        self,
        clip: Place,
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
        told = LoggingMonitor(monitor)
        settings, video = self._complete({**options, "clip": _clip(clip)}, settings, told)
        return run.edit_clip(settings, self.backbone, self._session(told, callback, cancel), video=video)

    @shows(MethodOptions)
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
        told = LoggingMonitor(monitor)
        settings, _ = self._complete(without_files(options), settings, told, files=False)
        clip = array_clip(array, fps, settings)
        return run.edit_array(settings, self.backbone, clip, self._session(told, callback, cancel))

    @shows(ClipOptions)
    def look_at_mask(
        self,
        clip: Place,
        *,
        monitor: Monitor | None = None,
        cancel: threading.Event | None = None,
        settings: Settings | None = None,
        **options: Unpack[ClipOptions],
    ) -> MaskLook:
        """The mask of an edit, before it: each prompt is evaluated at the times of `mask.look_at`, and its maps kept.

        Options as in `edit`. `MaskLook.at(quantile, grow)` makes masks of the maps without a network. Raises
        InputError for an edit whose mask is not read from the model.
        """
        told = LoggingMonitor(monitor)
        settings, video = self._complete({**options, "clip": _clip(clip)}, settings, told)
        return look_at_clip(settings, self.backbone, open_clip(settings, video), told, cancel)

    def _complete(
        self, options: dict[str, Any], settings: Settings | None, monitor: Monitor, files: bool = True
    ) -> tuple[Settings, Video | None]:
        late = {key for key in options if key.split(".")[0] in LOADED}
        if late:
            raise InputError(f"{', '.join(sorted(late))}: chosen when the editor is loaded; load another one")
        whole = settings_of({**self._options, **options}) if settings is None else with_places(settings, options)
        if whole.loaded != self._loaded.loaded:
            raise InputError("the settings name another backbone, runtime or lora than was loaded: load another editor")
        video = probe(whole.clip or "") if files else None
        return instruction.complete(whole, monitor, video=video), video

    def _session(self, told: LoggingMonitor, callback: Heard | None, cancel: threading.Event | None) -> Session:
        return Session(self.backbone.device, told, callback, cancel, told.notices)

    def __repr__(self) -> str:
        return f"Editor({self.backbone.spec.name!r} on {self.backbone.device})"


@shows(LoadOptions)
def load(backbone: Place | None = None, **options: Unpack[LoadOptions]) -> Editor:
    """An editor around a backbone, a name or a checkpoint folder: `load("cogvideox-2b").edit("clip.mp4", ...)`."""
    return Editor(backbone, **options)


@shows(EditOptions)
def look_at_mask(
    clip: Place,
    *,
    monitor: Monitor | None = None,
    cancel: threading.Event | None = None,
    **options: Unpack[EditOptions],
) -> MaskLook:
    """The mask of an edit, before it, by an evaluation or a few; see `Editor.look_at_mask`."""
    settings = settings_of({**options, "clip": _clip(clip)})
    return Editor(settings=settings).look_at_mask(clip, monitor=monitor, cancel=cancel, settings=settings)


@shows(EditOptions)
def edit(
    clip: Place,
    *,
    monitor: Monitor | None = None,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
    **options: Unpack[EditOptions],
) -> EditResult:
    """Edit one clip: `edit("clip.mp4", source="a fox runs", instruction="replace the fox with a panda", backbone=...)`.

    Without an instruction `target` says what the clip should show, `source_words` and `target_words` where. The result
    names the files and holds the latents. `monitor` hears phases, progress and notices; the notices reach the logger
    `flowedit` and `result.notices` as well. `callback` hears each step, and returns True to stop there and keep what is
    there. `cancel`, once set, ends the edit with `flowedit.Cancelled` and leaves nothing. Raises flowedit.Error, which
    is a ValueError or an OSError as well, with one clear line. `flowedit list options` says what each option is.
    """
    settings = settings_of({**options, "clip": _clip(clip)})
    return edit_settings(settings, probe(settings.clip or ""), LoggingMonitor(monitor), callback, cancel)


@shows(FrameOptions)
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
    told = LoggingMonitor(monitor)
    settings = instruction.complete(settings_of(without_files(options)), told)
    clip = array_clip(array, fps, settings)
    check(settings, clip)  # before a download
    look(cancel)
    backbone = run.load_backbone(settings, told.notice)
    return run.edit_array(settings, backbone, clip, Session(backbone.device, told, callback, cancel, told.notices))


@shows(GenerateOptions)
def generate(
    prompt: str,
    *,
    monitor: Monitor | None = None,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
    **options: Unpack[GenerateOptions],
) -> GeneratedClip:
    """Make a clip from a prompt alone: `generate("a fox moves right over green grass", seed=1)`.

    The result names the folder and the clip in it. `monitor`, `callback`, `cancel` and errors are as in `edit`.
    """
    if not isinstance(prompt, str):
        raise InputError(f"the prompt is {_kind(prompt)}: give a text that says what the clip shows")
    flat, objects = flattened(options)
    settings = replace(generation({**flat, "target": prompt}), **objects)
    return generate_settings(settings, LoggingMonitor(monitor), callback, cancel)


def generation(flags: Mapping[str, Any], overrides: Iterable[str] = ()) -> Settings:
    """The settings of a clip from a prompt alone; raises InputError for an option that only an edit has."""
    made = {"mode": "random_noise", "strength": "1"}
    for key in (current(text.partition("=")[0]) for text in (*flags, *overrides)):
        head, dot, _ = key.partition(".")
        if (
            head in OPTIONS
            and not OPTIONS[head].generate
            and not (head in ("target", "runtime") or (head == "mode" and dot))
        ):
            raise InputError(f"generation has no {key}: it makes a clip from random noise and a prompt alone")
    return compose({**made, **flags}, overrides)


def generate_settings(
    settings: Settings, monitor: Monitor, callback: Heard | None = None, cancel: threading.Event | None = None
) -> GeneratedClip:
    """The clip that these settings say."""
    check_place(settings.out, GENERATE, inputs_of(settings), "generate")
    look(cancel)
    told = LoggingMonitor(monitor, log=False)
    check_learned(settings, families.folder(settings.backbone), alone=True)
    backbone = run.load_backbone(settings, told.notice)
    return generate_clip(settings, backbone, Session(backbone.device, monitor, callback, cancel, told.notices))


def edit_settings(
    settings: Settings,
    video: Video,
    monitor: Monitor,
    callback: Heard | None = None,
    cancel: threading.Event | None = None,
) -> EditResult:
    """The edit that these settings say, of a clip that was probed already; refused before a download if need be."""
    look(cancel)
    check_place(settings.out, EDIT, inputs_of(settings))
    told = LoggingMonitor(monitor, log=False)
    settings = instruction.complete(settings, told, video=video)
    check(settings, open_clip(settings, video))
    look(cancel)  # before minutes of loading
    backbone = run.load_backbone(settings, told.notice)
    session = Session(backbone.device, monitor, callback, cancel, told.notices)
    return run.edit_clip(settings, backbone, session, video=video)


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settings from options by name: groups as a name, a dictionary or an object; dotted names as in conf/."""
    flat, objects = flattened(options)
    return replace(compose(flat), **objects)


def flattened(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options by the dotted names of conf/, and those groups that are objects of their options' class, but quality.

    Raises InputError for an array, and for an option of a group that is given as an object.
    """
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
                flat[key] = typed(value)  # type: ignore[arg-type]
        elif isinstance(value, np.ndarray) and key == "user_mask":
            flat[key] = saved_mask(value)
        elif key == "user_mask" and value is not None:
            flat[key] = path_of(value, key, "an image, a video or a folder, or one array")
        elif key in ("box", "point"):
            flat[key] = written(value.tolist() if isinstance(value, np.ndarray) else value)
        elif key in ("save", "log") and isinstance(value, (list, tuple)):
            flat[key] = ",".join(map(str, value))
        elif isinstance(value, np.ndarray):
            raise InputError(f"{key} is an array: it takes a text, a number or a path")
        elif "." in key:
            flat[key] = _written(value)
        else:
            flat[key] = os.fspath(value) if isinstance(value, os.PathLike) else value
    if lost := [key for key in flat if key.partition(".")[0] in objects and "." in key]:
        raise InputError(f"{', '.join(lost)}: set it in the object that is given for {lost[0].partition('.')[0]}")
    if "mode" in objects:
        flat["mode.grid"] = objects["mode"].grid  # no quality scales steps beside a given one
    if isinstance(quality := objects.pop("quality", None), QualityOptions):  # the steps are composed by it
        flat |= {"quality": quality.name, "quality.share": quality.share}
    return flat, objects


def _clip(clip: Any) -> str:
    """A clip's path as text; raises InputError for anything else."""
    if isinstance(clip, np.ndarray):
        raise InputError("the clip is an array: flowedit.edit_frames(array, fps=...) edits frames in memory")
    return path_of(clip, "the clip", "a video file")


def path_of(given: Any, name: str, what: str) -> str:
    """A path as text; raises InputError, under its `name` and with `what` was expected, for what is none."""
    if not isinstance(given, (str, os.PathLike)):
        raise InputError(f"{name} is {_kind(given)}: give the path of {what}")
    return str(os.fspath(given))


def _kind(given: Any) -> str:
    return "an array" if isinstance(given, np.ndarray) else type(given).__name__


def _written(value: Any) -> Any:
    """None as conf/ writes it: of an option inside a group it is a value, not the lack of one."""
    return "null" if value is None else os.fspath(value) if isinstance(value, os.PathLike) else value


def with_places(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Settings with the clip and the folder of one edit; raises InputError for any other option."""
    if other := set(options) - {"clip", "out"}:
        raise InputError(f"{', '.join(sorted(other))}: give whole settings or options, not both")
    places: dict[str, Any] = {key: None if value is None else os.fspath(value) for key, value in options.items()}
    return replace(settings, **places)
