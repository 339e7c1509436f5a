"""The part of ComfyUI's `comfy_api.latest` that nodes use; see ../../README.md."""

from abc import ABC, abstractmethod
from types import SimpleNamespace

from PIL import Image

from comfy_api.latest import _io as io
from comfy_api.latest import _ui as ui
from comfy_api.latest import _video

__all__ = ["ComfyAPISync", "ComfyExtension", "InputImpl", "Types", "io", "ui"]


class ComfyExtension(ABC):
    """A list of nodes."""

    async def on_load(self):  # noqa: B027
        """Called before the nodes are asked for."""

    @abstractmethod
    async def get_node_list(self):
        """The classes of the nodes."""


TOLD = []
"""Every state of a progress bar: node, value, its most, picture or None."""


class Execution:
    """Progress."""

    def set_progress(self, value, max_value, node_id=None, preview_image=None, ignore_size_limit=False):
        """One state of a node's bar."""
        if node_id is None:
            raise ValueError("node_id must be provided if not in executing context")
        if preview_image is not None and not isinstance(preview_image, Image.Image):
            raise TypeError(f"a preview is an image of PIL, not {type(preview_image).__name__}")
        TOLD.append((node_id, value, max_value, preview_image))


class ComfyAPISync:
    """What a node that is no coroutine calls."""

    def __init__(self):
        self.execution = Execution()


InputImpl = SimpleNamespace(VideoFromFile=_video.VideoFromFile, VideoFromComponents=_video.VideoFromComponents)
Types = SimpleNamespace(VideoComponents=_video.VideoComponents)
