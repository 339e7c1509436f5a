"""The source and all edits of one clip in one labelled video."""

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from flowedit import video
from flowedit.clip import resize
from flowedit.evaluation.plan import Planned
from flowedit.pictures import grid
from flowedit.report import Shown
from flowedit.types import Monitor
from flowedit.writer import Writer

LEAST, MOST = 192, 360
"""The height in pixels of each picture: small clips are enlarged, large ones reduced."""
CHUNK = 8


def write_grid(planned: Sequence[Planned], shown: Shown, path: Path, monitor: Monitor) -> None:
    """Write the frames that the edits show, at the source's rate; nothing where no edit was made."""
    settings = next((p.settings for p in planned if p.settings is not None and p.method in shown.edits), None)
    if settings is None or shown.video is None:
        path.unlink(missing_ok=True)  # that of an earlier run
        return
    info = video.probe(shown.video)
    chosen = video.select(info, settings.start, settings.frames, settings.rate)
    files = [video.probe(file) for file in shown.edits.values()]
    count = min(len(chosen.indices), *(file.frames for file in files))
    height = min(max(info.size[0], LEAST), MOST)
    width = max(1, round(height * float(info.size[1] * info.pixel_aspect) / info.size[0]))
    labels = ["source", *shown.edits]
    columns = len(labels) if len(labels) < 4 else math.ceil(math.sqrt(len(labels)))
    monitor.phase("grid", count)
    readers = [video.read(info, chosen.indices[:count], CHUNK)]
    readers += [video.read(file, list(range(count)), CHUNK) for file in files]
    grids = (
        grid([resize(part, (height, width)) for part in parts], labels, columns) for parts in zip(*readers, strict=True)
    )
    first = next(grids)
    with Writer(path, first.shape[1:3], chosen.fps) as writer:
        for pictures in chain([first], grids):
            writer.write(pictures)
            monitor.advance(len(pictures))
