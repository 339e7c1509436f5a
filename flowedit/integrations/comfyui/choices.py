"""What passes between the nodes: the chosen model, clip and change. No model is loaded and no file is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

import flowedit
from flowedit.config.edit_file import DROPPED
from flowedit.messages import InputError, first_line

CLOSED = (*DROPPED, "user_mask")
"""Options that no workflow sets as text: places, and what is chosen on the machine that edits."""


@dataclass(frozen=True)
class ChosenModel:
    """A backbone by name or checkpoint folder, and how much memory it may take."""

    backbone: str
    runtime: str

    @cached_property
    def editor(self) -> flowedit.Editor:
        """The loaded backbone: once, when it is first needed, so that a comparison does not hold it twice."""
        return flowedit.load(**self.options)

    @property
    def options(self) -> dict[str, Any]:
        """As `flowedit.load` and `flowedit.compare` take them."""
        return {"backbone": self.backbone, "runtime": self.runtime}


@dataclass(frozen=True)
class ChosenClip:
    """A video file, and which of its frames are edited."""

    path: Path
    start: int
    frames: int | None
    fps: float | None

    @property
    def options(self) -> dict[str, Any]:
        """As `flowedit.edit` takes them, beside the path."""
        return {"start": self.start, "frames": self.frames, "fps": self.fps}


@dataclass(frozen=True)
class ChosenChange:
    """What the clip shows, and what it should show."""

    source: str
    instruction: str
    target: str
    source_words: str
    target_words: str
    negative_prompt: str
    also_words: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Those that are not empty."""
        return {name: text for name, each in vars(self).items() if (text := each.strip())}


def further(text: str) -> dict[str, Any]:
    """Options by name from lines such as `mask.threshold: otsu`, as YAML.

    Raises InputError for what is no such list, and for options of CLOSED: a workflow comes from anywhere.
    """
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError(f"the options are no YAML: {first_line(error)}; write one a line, strength: 0.7") from error
    if not isinstance(found, Mapping):
        raise InputError(f"the options are {text.strip()[:40]!r}: write one a line, strength: 0.7")
    if lost := [str(key) for key in found if str(key).partition(".")[0] in CLOSED]:
        raise InputError(f"{', '.join(lost)}: not for a workflow's text to set; connect a node, or use flowedit itself")
    if found.get("format") == "png":
        raise InputError("format: png is a folder, and a node gives one file: take prores, or save frames in ComfyUI")
    return {str(key): value for key, value in found.items()}


def masked(mask: torch.Tensor | None) -> dict[str, Any]:
    """A MASK (frames, height, width), 1 where the clip may change, as flowedit's user mask; nothing of none."""
    return {} if mask is None else {"user_mask": mask.detach().float().clamp(0, 1).cpu().numpy()}
