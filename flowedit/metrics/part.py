"""A stretch of a clip and its edit, as a metric sees them; what several metrics want of it is made once."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from flowedit.messages import InputError, first_line
from flowedit.types import Noise, Side, Velocity

ERRORS = (ValueError, OSError, FloatingPointError, RuntimeError, MemoryError)
"""What may go wrong with one metric without touching the others."""

CPU = torch.device("cpu")

Need = Literal["mask", "target", "truth", "questions", "pairs"]

T = TypeVar("T")


class Stretch(NamedTuple):
    """Consecutive frames uint8 (n, H, W, 3) of a source, its edit and, if known, the true edit.

    mask: boolean (n, H, W), True where the edit may happen.
    """

    source: np.ndarray
    edit: np.ndarray
    mask: np.ndarray | None = None
    truth: np.ndarray | None = None


@dataclass(frozen=True)
class Questions:
    """What FiVE-Acc asks: the source's and the target's yes/no question and the choice, whose option b is right."""

    source: str
    target: str
    choice: str


@dataclass(frozen=True, eq=False)
class ModelView:
    """The latent x (1, C, F, h, w) of an edit's shot, and what the backbone in use says of it under both prompts.

    The velocities are without guidance; `knots` are the times that the backbone was trained at, descending.
    """

    x: Tensor
    velocities: Mapping[Side, Velocity]
    noise: Noise
    knots: Tensor


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What one clip of `total` frames is scored with: target prompt, questions, optical flow, device."""

    target: str | None = None
    questions: Questions | None = None
    flow: Literal["dis", "raft"] = "dis"
    device: torch.device = CPU
    total: int


class Once:
    """Calls a function once a key and keeps what it gave; what failed raises again, with the same line."""

    def __init__(self) -> None:
        self._given: dict[Hashable, Any] = {}
        self._failed: dict[Hashable, str] = {}

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        if key in self._failed:
            raise RuntimeError(self._failed[key])
        if key not in self._given:
            try:
                self._given[key] = make()
            except ERRORS as error:
                self._failed[key] = first_line(error)  # not the error, whose traceback would keep the frames
                raise
        return cast(T, self._given[key])


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive frames of a clip; metrics of a frame look at the last `new` ones, metrics of pairs at all.

    So the first frame of every part but the first was seen before. start: the clip's index of the first new frame.
    Raises ValueError for frames that are not uint8 (n, H, W, 3) of one shape, and for a mask that is not boolean.
    """

    frames: Stretch
    new: int
    start: int
    tools: Tools
    beside: Once = field(default_factory=Once, repr=False)
    """Shared by the parts of all edits that are scored beside each other, and so of the same source frames."""
    _once: Once = field(default_factory=Once, init=False, repr=False)

    def __post_init__(self) -> None:
        source = self.frames.source
        if source.ndim != 4 or source.shape[-1] != 3 or not len(source):
            raise InputError(f"frames are (n, H, W, 3), not {source.shape}")
        for name, found in self.frames._asdict().items():
            shape, kind = (source.shape[:3], bool) if name == "mask" else (source.shape, np.uint8)
            if found is not None and (found.shape != shape or found.dtype != kind):
                wanted = f"{np.dtype(kind)} {shape}"
                raise InputError(f"{name}: {found.dtype} {found.shape} where the source asks for {wanted}")

    @property
    def source(self) -> np.ndarray:
        """The new frames of the source."""
        return self.frames.source[-self.new :]

    @property
    def edit(self) -> np.ndarray:
        """The new frames of the edit."""
        return self.frames.edit[-self.new :]

    def require(self, need: Need) -> Any:
        """The mask or the truth of the new frames, the target prompt, the questions; ValueError if it is not there."""
        frames, tools = self.frames, self.tools
        there, name = {
            "mask": (frames.mask, "a mask"),
            "truth": (frames.truth, "the true edit"),
            "target": (tools.target or None, "a target prompt"),
            "questions": (tools.questions, "FiVE's questions"),
            "pairs": (tools.total if tools.total > 1 else None, "two frames or more"),
        }[need]
        if there is None:
            raise InputError(f"needs {name}")
        return there[-self.new :] if isinstance(there, np.ndarray) else there

    def once(self, make: Callable[["Part"], T]) -> T:
        """make(self), once however many metrics ask; what it raises is raised again for each of them."""
        return self._once(make, lambda: make(self))

    def once_a_source(self, make: Callable[["Part"], T]) -> T:
        """make(self), which looks at the source alone, once for all edits that are scored beside each other."""
        return self.beside((make, len(self.frames.source)), lambda: make(self))
