"""The keywords of the functions that edit from Python: their names and types, and what `help` shows of them."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from flowedit.backbones.options import BackboneOptions, RuntimeOptions
from flowedit.config.quality import QualityOptions
from flowedit.config.wording import in_keywords
from flowedit.editors.averaging import AveragingOptions
from flowedit.editors.spec import ModeOptions
from flowedit.masks.options import MaskOptions
from flowedit.media.formats.forms import WRITTEN, BitDepth, Codec, Format
from flowedit.messages import Error, InputError
from flowedit.networks.control.options import AttentionOptions

F = TypeVar("F", bound=Callable[..., Any])
Place = str | os.PathLike[str]
"""A path, as text or as an object."""


OF_FILES = ("clip", "out", "save", "log", *WRITTEN)
"""Options that frames in memory have not."""


class MethodOptions(TypedDict, total=False):
    """The options of an edit, by the names of conf/ and of the flags (`flowedit list options` says what each is).

    A group of options (mode, mask, averaging, attention) is a name, a dictionary of its options, or an object of its
    options class. Dotted names work as well: `**{"mask.preserve": True}`.
    """

    source: str | None
    target: str | None
    target_parts: tuple[str, ...] | list[str] | None
    instruction: str | None
    caption: Place | None
    source_words: str
    also_words: str
    target_words: str
    negative_prompt: str
    target_negative_prompt: str | None
    mode: str | Mapping[str, Any] | ModeOptions
    quality: str | Mapping[str, Any] | QualityOptions
    task: str
    mask: str | Mapping[str, Any] | MaskOptions
    averaging: str | Mapping[str, Any] | AveragingOptions
    attention: str | Mapping[str, Any] | AttentionOptions
    steps: int
    strength: float
    edit_strength: float | None
    source_guidance_scale: float
    target_guidance_scale: float
    guidance_rule: Literal["plain", "zero_star", "rectified"]
    guidance_interval: tuple[float, float] | list[float]
    object_guidance_scales: tuple[float, ...] | list[float] | None
    draws: int
    seed: int
    user_mask: Place | np.ndarray | None
    box: str | Sequence[Any] | None
    point: str | Sequence[Any] | None
    composite: bool | Literal["auto"]
    size: str | None
    upscale: Place | None
    cuts: tuple[int, ...] | list[int] | Literal["auto", "none"]
    frame_by_frame: bool
    fit: Literal["auto", "crop", "pad"]
    window: int | Literal["auto", "whole"]
    window_overlap: float


class ClipOptions(MethodOptions, total=False):
    """And those of a clip in a file: which of its frames are read, and where the results go."""

    frames: int | None
    start: int
    fps: str | float | None
    format: Format
    codec: Codec
    crf: int | None
    bit_depth: BitDepth
    out: Place | None
    save: str | Sequence[str] | None
    log: str | Sequence[str] | None


class LoadOptions(ClipOptions, total=False):
    """And where the networks run, which is chosen when they are loaded."""

    lora: Place | Sequence[Place] | None
    runtime: str | Mapping[str, Any] | RuntimeOptions


class EditOptions(LoadOptions, total=False):
    """And the backbone: a name, a checkpoint folder, a dictionary or an object of its options."""

    backbone: Place | Mapping[str, Any] | BackboneOptions


class GenerateOptions(TypedDict, total=False):
    """The options of a clip from a prompt alone, by the same names."""

    negative_prompt: str
    quality: str | Mapping[str, Any] | QualityOptions
    steps: int
    target_guidance_scale: float
    guidance_rule: Literal["plain", "zero_star", "rectified"]
    guidance_interval: tuple[float, float] | list[float]
    seed: int
    size: str | None
    frames: int | None
    fps: str | float | None
    window: int | Literal["auto", "whole"]
    window_overlap: float
    out: Place | None
    lora: Place | Sequence[Place] | None
    runtime: str | Mapping[str, Any] | RuntimeOptions
    backbone: Place | Mapping[str, Any] | BackboneOptions


class FrameOptions(MethodOptions, total=False):
    """The options of an edit of frames in memory."""

    lora: Place | Sequence[Place] | None
    runtime: str | Mapping[str, Any] | RuntimeOptions
    backbone: Place | Mapping[str, Any] | BackboneOptions


def without_files(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an edit of frames in memory; raises InputError for those of files."""
    if lost := [key for key in OF_FILES if options.get(key) is not None]:
        raise InputError(f"{', '.join(lost)}: frames in memory have no file; flowedit.edit(clip, ...) edits one")
    return dict(options)


def shows(options: Any) -> Callable[[F], F]:
    """A function for Python users: `help` and completion show every option by name, not `**options`.

    And what it raises names options as keywords, not as flags.
    """

    def show(wrapped: F) -> F:
        @functools.wraps(wrapped)
        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return wrapped(*args, **kwargs)
            except Error as error:
                error.args = tuple(in_keywords(part) if isinstance(part, str) else part for part in error.args)
                raise

        function: Any = wrapped if wrapped.__name__ == "__init__" else called  # that of the command line's jobs, too
        shown = inspect.signature(wrapped)
        own = [each for each in shown.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.__annotations__.items()
        ]
        function.__signature__ = shown.replace(parameters=[*own, *named])
        return function

    return show
