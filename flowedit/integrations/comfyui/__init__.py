"""ComfyUI nodes: what it asks a custom node for. Nothing of ComfyUI is imported before it asks."""

from importlib import import_module
from typing import Any

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "comfy_entrypoint"]


def __getattr__(name: str) -> Any:
    """Those of the nodes, by their full name: ComfyUI runs this file under a name of its own."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    return getattr(import_module("flowedit.integrations.comfyui.nodes"), name)
