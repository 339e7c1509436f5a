"""flowedit: edit an existing video from text, without training anything."""

from typing import TYPE_CHECKING, Any

from flowedit.messages import Cancelled, DownloadError, Error, FileError, InputError, NumericalError, OutOfMemoryError

if TYPE_CHECKING:
    from flowedit.config.schema import Settings
    from flowedit.pipeline.api import Editor, edit, edit_frames, load
    from flowedit.types import EditedFrames, EditResult, Step

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "DownloadError",
    "EditResult",
    "EditedFrames",
    "Editor",
    "Error",
    "FileError",
    "InputError",
    "NumericalError",
    "OutOfMemoryError",
    "Settings",
    "Step",
    "__version__",
    "edit",
    "edit_frames",
    "load",
]

_HOMES = {
    **dict.fromkeys(("edit", "edit_frames", "load", "Editor"), "pipeline.api"),
    **dict.fromkeys(("EditResult", "EditedFrames", "Step"), "types"),
    "Settings": "config.schema",
}


def __getattr__(name: str) -> Any:
    """Imported on first use: torch takes seconds, and `flowedit --help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flowedit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"flowedit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
