"""flowedit: edit an existing video from text, without training anything."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowedit.pipeline.run import Editor, edit, load
    from flowedit.types import EditResult

__version__ = "0.1.0"
__all__ = ["EditResult", "Editor", "__version__", "edit", "load"]

_HOMES = {"edit": "pipeline.run", "load": "pipeline.run", "Editor": "pipeline.run", "EditResult": "types"}


def __getattr__(name: str) -> Any:
    """Imported on first use: torch takes seconds, and `flowedit --help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flowedit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"flowedit.{_HOMES[name]}"), name)
