"""Boxes and points of a user, followed through the clip, as a mask beside that of a file."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from flowedit.masks.marks import Mark, of_cut
from flowedit.masks.tracking import Track, follow, looked_at
from flowedit.media.frames import LazyFrames
from flowedit.pipeline.record import Session
from flowedit.pipeline.source import Clip
from flowedit.types import Frames

LARGE = 0.5
"""The share of the frame beyond which a point has grown over more than an object."""


def tracks_of(found: Sequence[Mark], clip: Clip, cuts: Sequence[int], session: Session) -> tuple[Track, ...]:
    """Each mark, followed through the shot that its frame lies in; small pictures of one shot are held at a time.

    Shots begin at 0 and at `cuts`, counted among the frames that are read.
    """
    if not found:
        return ()
    session.say(of_cut(found, clip.video.shown))
    pictures, made = clip.read_small(512), []
    shots = list(pairwise([0, *cuts, len(clip.selection.indices)]))
    with session.phase("follow marks", len(clip.selection.indices)):
        for first, end in shots:
            own = [mark for mark in found if first <= mark.frame < end]
            held = []
            for _ in range(first, end):
                picture = next(pictures)
                if own:
                    held.append(looked_at(clip.video.upright(picture)))
                session.advance()
            for mark in own:
                session.look()
                made.append(follow(mark, held, first, clip.video.shown))
                session.say(_of_track(mark, made[-1]))
    if empty := len(shots) - len({track.first for track in made}):
        session.say([f"{empty} of {len(shots)} shots have no box or point: no mark says what is edited there"])
    return tuple(made)


def _of_track(mark: Mark, track: Track) -> Iterator[str]:
    """What a user should hear of a mark that was followed."""
    x, y, across, down = track.boxes.T
    gone = np.flatnonzero((x >= 1) | (y >= 1) | (x + across <= 0) | (y + down <= 0))
    if len(gone):
        first = track.first + gone[0]
        yield f"{mark.kind} {mark.text} is out of the frame in {len(gone)} frames, the first of them {first}"
    share = float((across * down)[mark.frame - track.first]) * (
        1.0 if track.shape is None else float(track.shape.mean())
    )
    if mark.kind == "point" and share > LARGE:
        yield f"point {mark.text} grew over {share:.0%} of the frame: a box says better what is meant"


def joined(tracks: Sequence[Track], mask: Frames | None, size: tuple[int, int], frames: int) -> Frames:
    """The mask of a file, uint8 (F, H, W), if any, and that of the tracks: the larger of them, read when asked for."""

    def opened(start: int) -> Iterator[np.ndarray]:
        for frame in range(start, frames):
            drawn = [track.mask(frame, size) for track in tracks]
            given = [] if mask is None else [mask[frame : frame + 1][0]]
            yield np.maximum.reduce([*drawn, *given])[None]

    return LazyFrames((frames, *size), opened)
