"""One clip by several methods: read from a file and flags, edited and scored, and shown as a grid."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from flowedit.config.edit_file import SUFFIXES, over
from flowedit.evaluation import files, places
from flowedit.evaluation.datasets import listing
from flowedit.evaluation.datasets.sample import Dataset, Sample, safe
from flowedit.evaluation.engine.store import open_store
from flowedit.evaluation.files import Results
from flowedit.evaluation.gather import carry_out
from flowedit.evaluation.options import EvaluationOptions
from flowedit.evaluation.plan import Comparison, PlannedEdit, apart, at_budget, complete, plan, willing
from flowedit.evaluation.report.page import Exhibit
from flowedit.evaluation.sweeps.lattice import Lattice
from flowedit.media import probe, reader
from flowedit.media.pictures import grid
from flowedit.media.pixels import resize
from flowedit.media.stills.write import FrameWriter, StillWriter
from flowedit.media.writer import Writer
from flowedit.messages import Cancelled, FileMissingError, InputError
from flowedit.types import Monitor


def one_clip(video: Path, flags: Mapping[str, Any], score_mask: Path | None = None) -> Sample:
    """The sample of a video file and flags, or of an edit's YAML file, over which flags win.

    A user's mask says what may change, and so where the background is, unless `score_mask` or the file names one.
    Raises ValueError for a file of several edits, FileNotFoundError for a mask or truth that is not there.
    """
    if video.suffix.lower() in SUFFIXES:
        samples = listing.read(video).samples
        if len(samples) != 1:
            raise InputError(f"{str(video)!r} holds {len(samples)} edits: flowedit evaluate runs them all")
        (sample,) = samples
        own = sample.flags.get("user_mask")
        named = None if own is not None and sample.mask == Path(own) else sample.mask
        sample = replace(sample, flags=over(sample.flags, flags), mask=named, problem=None)
    else:
        sample = Sample(safe(video.stem), "edit", "", video, None, dict(flags), None, None, None, (), None)
    mask = score_mask or sample.mask or sample.flags.get("user_mask")
    for what, path in (("mask", mask), ("truth", sample.truth)):
        if path is not None and not Path(path).exists():
            raise FileMissingError(f"{what} {str(path)!r} does not exist: check its path")
    return replace(sample, mask=None if mask is None else Path(mask))


def compare(
    options: EvaluationOptions, comparison: Comparison, sample: Sample, monitor: Monitor, cancel: Event | None = None
) -> Results:
    """One clip by every method, one after the other with the machine to itself, at equal network evaluations.

    Beside an evaluation's files it leaves grid.mp4 (of a still grid.png), the source and all edits. Raises as
    `evaluate` does, and ValueError for what is wrong with the clip.
    """
    comparison = at_budget(options, comparison)
    out = Path(options.out or Path("outputs") / "compare" / sample.name)
    return side_by_side(options, comparison, sample, "methods", (out, out / places.EDITS), monitor, cancel)


def side_by_side(
    options: EvaluationOptions,
    comparison: Comparison,
    sample: Sample,
    what: str,
    folders: tuple[Path, Path],
    monitor: Monitor,
    cancel: Event | None = None,
) -> Results:
    """One clip by the methods of the comparison as they are; `folders` are that of the results and that of the edits.

    `what` is how the page's title calls them, such as "methods". Raises as `compare` does,
    and Cancelled where `cancel` was set before the first edit was done.
    """
    out, edits = folders
    dataset = complete(Dataset(sample.name, (sample,)), comparison.methods, monitor)
    (sample,) = dataset.samples
    if sample.problem is not None:
        raise InputError(sample.problem)
    look = functools.cache(probe.probe)
    comparison = willing(comparison, sample, look)
    options = replace(options, engine=replace(options.engine, workers=options.engine.workers or 1))
    files.check_place(out)
    planned = plan(dataset, comparison.methods, options, None, look=look, say=monitor.notice)
    planned, comparison = apart(planned, comparison)
    names = comparison.names
    with open_store(out) as store:
        shown = places.layout(planned, edits, flat=True)
        made = carry_out(planned, options, comparison, store, monitor, None, monitor, look, shown, cancel)
        if cancel is not None and cancel.is_set() and not made.exhibits[0].edits:
            raise Cancelled("the comparison was stopped before its first edit was done")
        write_grid(planned, made.exhibits[0], comparison.lattices, out / "grid", monitor, look)
        header = {"clip": str(sample.clip), "evaluation": files.about(options)}
        modes = len({method.mode for method in comparison.methods})
        swept = f"{modes} method{'s' if modes > 1 else ''}, {len(names)} settings"
        title = f"{sample.name}: {swept if comparison.lattices and what == 'methods' else f'{len(names)} {what}'}"
        files.write(out, title, files.facts(options, comparison.methods), made, comparison, names, header, monitor)
    return Results(out, made.rows, names, False, files.notes(comparison))


LEAST, MOST = 192, 360
"""The height in pixels of each picture: small clips are enlarged, large ones reduced."""

CHUNK = 8


def write_grid(
    planned: Sequence[PlannedEdit],
    exhibit: Exhibit,
    lattices: Sequence[Lattice],
    path: Path,
    monitor: Monitor,
    look: probe.Prober,
) -> None:
    """Write the frames that the edits show, at the source's rate, or a PNG of a still; nothing where no edit was made.

    `path` has no suffix. The rows are those of the `lattices` of a sweep, each after the source. `look` probes a clip.
    """
    settings = next((p.settings for p in planned if p.settings is not None and p.method in exhibit.edits), None)
    if settings is None or exhibit.clip is None:
        _forget_grids(path)
        return
    info = look(Path(str(settings.clip)))
    chosen = reader.select(info, settings.start, settings.frames, settings.rate)
    edits = {name: look(file) for name, file in exhibit.edits.items()}
    count = min(len(chosen.indices), *(file.frames for file in edits.values()))
    height = min(max(info.size[0], LEAST), MOST)
    width = max(1, round(height * float(info.size[1] * info.pixel_aspect) / info.size[0]))
    cells = _cells(list(edits), lattices)
    columns = (
        1 + len(lattices[0].columns) if lattices else len(cells) if len(cells) < 4 else math.isqrt(len(cells) - 1) + 1
    )
    monitor.phase("grid", count)
    readers = {"source": reader.read(info, chosen.indices[:count], CHUNK)}
    readers |= {name: reader.read(file, list(range(count)), CHUNK) for name, file in edits.items()}

    def pictures(parts: Mapping[str, np.ndarray]) -> np.ndarray:
        sized = {name: resize(part, (height, width)) for name, part in parts.items()}
        blank = np.zeros_like(sized["source"])
        return grid([sized.get(name, blank) for name, _ in cells], [label for _, label in cells], columns)

    grids = (pictures(dict(zip(readers, parts, strict=True))) for parts in zip(*readers.values(), strict=True))
    first = next(grids)
    _forget_grids(path)
    made: FrameWriter = (
        StillWriter(path.with_suffix(".png"))
        if info.still
        else Writer(path.with_suffix(".mp4"), first.shape[1:3], chosen.fps, times=chosen.between(0, count).times)
    )
    with made as writer:
        for frames in chain([first], grids):
            writer.write(frames)
            monitor.advance(len(frames))


def _forget_grids(path: Path) -> None:
    """Remove that of an earlier run."""
    for suffix in (".mp4", ".png"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _cells(edits: Sequence[str], lattices: Sequence[Lattice]) -> list[tuple[str, str]]:
    """The places of the grid in turn: what is shown, by its name, and its label; a name without an edit is blank."""
    if not lattices:
        return [(name, name) for name in ("source", *edits)]
    made = []
    for lattice in lattices:
        for row, names in zip(lattice.rows, lattice.cells, strict=True):
            labels = [" ".join(filter(None, [lattice.title, row, column])) for column in lattice.columns]
            made += [("source", "source"), *zip(names, labels, strict=True)]
    return made
