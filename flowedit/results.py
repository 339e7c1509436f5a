"""What an edit gives back to who called it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def _notices(self: EditResult | EditedFrames | GeneratedClip | UpscaledClip) -> tuple[str, ...]:
    """What was said about it, a line each."""
    return tuple(self.run["notices"])


@dataclass(frozen=True, eq=False, repr=False)
class EditResult:
    """What one edit left: its folder and files, the final and the encoded source latents, and run.yaml as a dict.

    `video` is edit.mp4, or edit.png of a still; the others have its suffix.

    `mask` is drawn over the clip, `mask_plain` is white on black and serves as a user mask; both are None without one.
    `latent_mask` (1, 1, F, h, w) is the soft mask of the sites that most steps held, as `AttentionMask.vote`, or None.
    The tensors are on the host. Those of a clip of several shots follow each other along the frames, each as encode
    gives it, so that run["shots"], with the `latent_frames` of each, parts them again: a latent frame holds none of two
    shots.
    """

    folder: Path
    video: Path
    compare: Path
    mask: Path | None
    mask_plain: Path | None
    latents: Tensor
    source_latents: Tensor
    latent_mask: Tensor | None
    run: dict[str, Any]

    notices = property(_notices)

    def __repr__(self) -> str:
        return f"EditResult({str(self.video)!r}, {_summary(self.run)})"


@dataclass(frozen=True, eq=False, repr=False)
class EditedFrames:
    """What an edit of frames in memory gives: frames uint8 (F, H, W, 3) at the size of those given, and its latents.

    `mask` (F, H, W) float32 in [0, 1] is where the edit may happen, or None. `row` are the results that the editor kept
    beside the edit, each as `frames`: of mode=flowopt from free to faithful, the last of them the edit. The rest is as
    in `EditResult`.
    """

    frames: np.ndarray
    mask: np.ndarray | None
    latents: Tensor
    source_latents: Tensor
    latent_mask: Tensor | None
    run: dict[str, Any]
    row: tuple[np.ndarray, ...] = ()

    notices = property(_notices)

    def __repr__(self) -> str:
        frames, height, width = self.frames.shape[:3]
        return f"EditedFrames({frames} frames of {width}x{height}, {_summary(self.run)})"


@dataclass(frozen=True, eq=False, repr=False)
class GeneratedClip:
    """What generation from a prompt left: its folder and file, and run.yaml as a dict."""

    folder: Path
    video: Path
    run: dict[str, Any]

    notices = property(_notices)

    def __repr__(self) -> str:
        return f"GeneratedClip({str(self.video)!r}, {_summary(self.run)})"


@dataclass(frozen=True, eq=False)
class UpscaledClip:
    """What `flowedit upscale` left: its folder, the clip in it, and run.yaml as a dict."""

    folder: Path
    video: Path
    run: dict[str, Any] = field(repr=False)

    notices = property(_notices)


@dataclass(frozen=True)
class EditCheck:
    """What an edit will do, as far as it is known before a model is loaded; see `flowedit.check`.

    `source`, `target` and the words are those that an instruction comes to; both prompts are None where a caption
    must be made first. `indices` are the places in the clip of the frames that are read, which go on at `fps`. `size`
    is the working (height, width), None where the model's own is taken. `shots` is None where hard cuts are yet to be
    found. `network_evaluations` are those of one window of one shot, None where the times of the model are not known
    before its download. `checkpoint` is None for a model that is not on this machine.
    """

    source: str | None
    target: str | None
    source_words: str
    also_words: str
    target_words: str
    indices: tuple[int, ...]
    fps: Fraction
    size: tuple[int, int] | None
    shots: int | None
    steps: int
    network_evaluations: int | None
    backbone: str
    checkpoint: Path | None
    notices: tuple[str, ...]

    @property
    def frames(self) -> int:
        """How many frames are edited."""
        return len(self.indices)


def _summary(run: Mapping[str, Any]) -> str:
    said = len(run["notices"])
    return f"{run['network_evaluations']} network evaluations, {said} notice{'' if said == 1 else 's'}"
