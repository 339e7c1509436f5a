"""A clip that is painted on: strokes and boxes followed through it, as a mask for an edit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from flowedit.config.schema import Settings
from flowedit.masks.painted import Paint, Piece, areas_of, followed, frame_of, over, pieces_of, strokes_of
from flowedit.masks.tracking import ShotFlow, looked_at
from flowedit.media import mask_file
from flowedit.media.pixels import Size, resize
from flowedit.messages import FileTakenError, InputError
from flowedit.pipeline.api import path_of, settings_of, with_places
from flowedit.pipeline.keywords import ClipOptions, Place, shows
from flowedit.pipeline.record import Session
from flowedit.pipeline.source import cut_places, open_clip
from flowedit.types import Frames, Monitor

SUFFIX = ".mkv"
"""Of a mask's file."""


class Painting:
    """A clip to paint on, its frames read once and small; what was followed is kept while it is there.

    So a mask with one more stroke comes in a moment. Options, or whole `settings`, are those of `edit`: the frames are
    those that it would read (start, frames, fps), and shots end where it would see a cut (cuts).
    """

    @shows(ClipOptions)
    def __init__(
        self,
        clip: Place,
        *,
        monitor: Monitor | None = None,
        cancel: threading.Event | None = None,
        settings: Settings | None = None,
        **options: Unpack[ClipOptions],
    ) -> None:
        given = {"clip": path_of(clip, "the clip", "a video file")}
        made = settings_of({**options, **given}) if settings is None else with_places(settings, {**options, **given})
        self._session = Session(torch.device("cpu"), monitor, None, cancel)
        self._clip = open_clip(made)
        firsts = [0, *cut_places(made, self._clip, self._session)]
        self._session.announce("read", self.frames)
        pictures, self._shots = self._clip.read_small(512), list[tuple[int, int, ShotFlow]]()
        for first, end in pairwise([*firsts, self.frames]):
            held = []
            for _ in range(first, end):
                held.append(looked_at(self._clip.video.upright(next(pictures))))
                self._session.advance()
            self._shots.append((first, end, ShotFlow(held)))
        self._followed: dict[Piece, list[Paint]] = {}

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return len(self._clip.selection.indices)

    @property
    def size(self) -> Size:
        """(height, width) of its frames in pixels."""
        return self._clip.size

    def at(
        self,
        strokes: Sequence[Any] = (),
        boxes: Sequence[Any] = (),
        base: np.ndarray | Place | None = None,
        *,
        size: Size | None = None,
    ) -> np.ndarray:
        """The mask uint8 (F, H, W), 255 inside, at the clip's size or at `size`; see `flowedit.paint`."""
        return np.stack(list(self._masks(strokes, boxes, base, size or self.size)))

    def save(
        self,
        out: Place,
        strokes: Sequence[Any] = (),
        boxes: Sequence[Any] = (),
        base: np.ndarray | Place | None = None,
    ) -> Path:
        """The same as one file without loss, OUT.mkv, which `user_mask` reads; it appears whole or not at all.

        Raises InputError for another suffix, FileTakenError for a file that is there already.
        """
        out = Path(out)
        if out.suffix.lower() != SUFFIX:
            raise InputError(f"the mask's file {str(out)!r} is a video without loss: let its name end in {SUFFIX}")
        if out.exists():
            raise FileTakenError(f"{str(out)!r} is there already: choose another file for the mask")
        mask_file.write_mask(out, self._masks(strokes, boxes, base, self.size), self._clip.selection.fps)
        return out

    def _masks(self, strokes: Sequence[Any], boxes: Sequence[Any], base: Any, size: Size) -> Iterator[np.ndarray]:
        """Frame after frame; what is wrong is refused before the first."""
        pieces = pieces_of(strokes_of(strokes, self.frames), areas_of(boxes, self.frames))
        start = self._base(base, size)
        self._followed = {piece: each for piece, each in self._followed.items() if piece in pieces}  # undone is gone
        return self._drawn(pieces, start, size)

    def _drawn(self, pieces: Sequence[Piece], start: Frames, size: Size) -> Iterator[np.ndarray]:
        for first, end, flows in self._shots:
            paints: list[Paint] = []
            for piece in (each for each in pieces if first <= frame_of(each) < end):
                self._session.look()
                if piece not in self._followed:
                    self._followed[piece] = followed(piece, flows, first)
                paints += self._followed[piece]
            for frame in range(first, end):
                yield over(resize(start[frame : frame + 1], size)[0], paints, frame)

    def _base(self, base: Any, size: Size) -> Frames:
        """The mask that is painted on, uint8 (F, h, w); black without one."""
        if base is None:
            return np.broadcast_to(np.zeros((1, 1), np.uint8), (self.frames, *size))
        if isinstance(base, np.ndarray):
            if (
                base.dtype != np.uint8
                or base.ndim != 3
                or len(base) != self.frames
                or base.shape[1:] not in (size, self.size)
            ):
                raise InputError(
                    f"base is {base.dtype} {base.shape}: give uint8 ({self.frames}, {self.size[0]}, {self.size[1]})"
                )
            return base
        mask, _ = mask_file.read_mask(base, self._clip.video, self._clip.selection.indices)
        return mask


@shows(ClipOptions)
def paint(
    clip: Place,
    strokes: Sequence[Any] = (),
    boxes: Sequence[Any] = (),
    base: np.ndarray | Place | None = None,
    *,
    monitor: Monitor | None = None,
    cancel: threading.Event | None = None,
    settings: Settings | None = None,
    **options: Unpack[ClipOptions],
) -> np.ndarray | Path:
    """A mask of what is painted on frames of a clip: uint8 (F, H, W), or with `out` a file.mkv that `user_mask` reads.

    Strokes are `{frame, points: [[x, y], ...], radius, erase}`, boxes `{frame, x, y, width, height}`, all in shares of
    the frame's width and height as it is shown (a radius of its width), frames counted among those that are read. Each
    is followed forward and backward through its shot, and added to `base` (a mask file or uint8 (F, H, W)) or, with
    `erase`, taken away: first the boxes, then the strokes in their order. Raises InputError for what cannot be painted.
    """
    out = options.pop("out", None)
    painting = Painting(clip, monitor=monitor, cancel=cancel, settings=settings, **options)
    return painting.at(strokes, boxes, base) if out is None else painting.save(out, strokes, boxes, base)
