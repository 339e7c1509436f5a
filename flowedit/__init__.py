"""flowedit: edit an existing video from text, without training anything."""

from typing import TYPE_CHECKING, Any

from flowedit.machine import wait_asleep
from flowedit.messages import (
    Cancelled,
    DownloadError,
    Error,
    FileError,
    InputError,
    NumericalError,
    OutOfMemoryError,
    hush_torchao,
    nearest,
)

if TYPE_CHECKING:
    from flowedit.config.schema import Settings
    from flowedit.evaluation.api import compare, evaluate
    from flowedit.evaluation.files import Results
    from flowedit.integrations.diffusers.pipelines import CogVideoXFlowEditPipeline, WanFlowEditPipeline, pipeline_for
    from flowedit.language.rewrite import Prompts, read_instruction
    from flowedit.language.words import content_words
    from flowedit.pipeline.api import Editor, edit, edit_frames, generate, load, look_at_mask
    from flowedit.pipeline.looks.download import download
    from flowedit.pipeline.looks.foresee import check, describe
    from flowedit.pipeline.looks.mask_look import MaskLook
    from flowedit.pipeline.looks.paint import Painting, paint
    from flowedit.pipeline.looks.preview import preview
    from flowedit.pipeline.looks.settings_file import settings_from
    from flowedit.results import EditCheck, EditedFrames, EditResult, GeneratedClip
    from flowedit.types import Step

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "CogVideoXFlowEditPipeline",
    "DownloadError",
    "EditCheck",
    "EditResult",
    "EditedFrames",
    "Editor",
    "Error",
    "FileError",
    "GeneratedClip",
    "InputError",
    "MaskLook",
    "NumericalError",
    "OutOfMemoryError",
    "Painting",
    "Prompts",
    "Results",
    "Settings",
    "Step",
    "WanFlowEditPipeline",
    "__version__",
    "check",
    "compare",
    "content_words",
    "describe",
    "download",
    "edit",
    "edit_frames",
    "evaluate",
    "generate",
    "load",
    "look_at_mask",
    "paint",
    "pipeline_for",
    "preview",
    "read_instruction",
    "settings_from",
]

_HOMES = {
    **dict.fromkeys(("edit", "edit_frames", "generate", "load", "look_at_mask", "Editor"), "pipeline.api"),
    **dict.fromkeys(("compare", "evaluate"), "evaluation.api"),
    **dict.fromkeys(("EditCheck", "EditResult", "EditedFrames", "GeneratedClip"), "results"),
    "Step": "types",
    "MaskLook": "pipeline.looks.mask_look",
    **dict.fromkeys(("Painting", "paint"), "pipeline.looks.paint"),
    **dict.fromkeys(("Prompts", "read_instruction"), "language.rewrite"),
    "download": "pipeline.looks.download",
    **dict.fromkeys(("check", "describe"), "pipeline.looks.foresee"),
    "content_words": "language.words",
    "preview": "pipeline.looks.preview",
    "settings_from": "pipeline.looks.settings_file",
    **dict.fromkeys(
        ("CogVideoXFlowEditPipeline", "WanFlowEditPipeline", "pipeline_for"), "integrations.diffusers.pipelines"
    ),
    "Results": "evaluation.files",
    "Settings": "config.schema",
}

wait_asleep()  # here, as torch reads it once, when it is imported
hush_torchao()  # and both libraries speak once, then


def __getattr__(name: str) -> Any:
    """Imported on first use: torch takes seconds, and `flowedit --help` should not."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'flowedit' has no attribute {name!r}{nearest(name, __all__)}")

    return getattr(import_module(f"flowedit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
