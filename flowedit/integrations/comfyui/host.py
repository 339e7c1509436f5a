"""ComfyUI as the host: its progress bar, its stop button, its temporary folder, its types of videos and masks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import folder_paths
import torch
from comfy import model_management
from comfy_api.latest import ComfyAPISync, InputImpl
from PIL import Image

import flowedit
from flowedit.types import Step


class NodeMonitor:
    """A flowedit monitor that is the progress bar of one node, with the picture that a step foresees."""

    def __init__(self, node_id: str) -> None:
        self._node_id, self._api = node_id, ComfyAPISync()
        self._total, self._done = 1, 0

    def phase(self, name: str, total: int) -> None:
        """The bar begins anew."""
        self._total, self._done = max(total, 1), 0
        self._tell()

    def advance(self, count: int = 1) -> None:
        """So many units more."""
        self._done = min(self._done + count, self._total)
        self._tell()

    def notice(self, text: str) -> None:
        """Nothing: the result holds them, and the log has them."""

    def preview(self, editor: flowedit.Editor, step: Step) -> None:
        """Show the middle frame of the clip that this step foresees, until the next."""
        if step.clean is not None:
            self._tell(Image.fromarray(flowedit.preview(editor, step)))

    def _tell(self, picture: Image.Image | None = None) -> None:
        self._api.execution.set_progress(
            value=self._done, max_value=self._total, node_id=self._node_id, preview_image=picture
        )


class StopButton(threading.Event):
    """ComfyUI's interruption, as flowedit asks for it: `cancel.is_set()`."""

    def is_set(self) -> bool:
        """Whether the user has pressed it."""
        return bool(model_management.processing_interrupted())


@contextmanager
def hosted() -> Iterator[StopButton]:
    """Run flowedit as on its own: outside of ComfyUI's inference mode, whose tensors no gradient may touch.

    What the stop button ended is shown as interrupted, not as failed, and so is what was half done when it was pressed.
    """
    try:
        with torch.inference_mode(False):
            yield StopButton()
    except flowedit.Cancelled:
        model_management.throw_exception_if_processing_interrupted()
        raise
    model_management.throw_exception_if_processing_interrupted()


def make_room() -> None:
    """Take ComfyUI's own models off the device, as it does before it loads one: it knows nothing of ours."""
    model_management.unload_all_models()
    model_management.soft_empty_cache()


def fresh(name: str) -> Path:
    """A folder that is not there yet, in ComfyUI's temporary one, which it empties when it starts."""
    return Path(folder_paths.get_temp_directory()) / "flowedit" / f"{name}-{uuid4().hex[:12]}"


def file_of(video: Any) -> Path:
    """The file of a VIDEO: its own where it is one, untouched, with its sound; otherwise written by ComfyUI."""
    source = video.get_stream_source()
    if isinstance(source, str) and tuple(video.get_active_trim_window()) == (0, 0):
        return Path(source)
    path = fresh("clip") / "clip.mp4"
    path.parent.mkdir(parents=True)
    video.save_to(str(path))
    return path


def video_of(path: Path) -> Any:
    """A VIDEO that is a file: nothing is decoded until it is asked for."""
    return InputImpl.VideoFromFile(str(path))


def mask_of(path: Path | None, like: Any) -> torch.Tensor:
    """A MASK (frames, height, width) from a video in white on black; of None all of a frame like the VIDEO's."""
    if path is not None:
        return video_of(path).get_components().images[..., 0]
    width, height = like.get_dimensions()
    return torch.ones(1, height, width)
