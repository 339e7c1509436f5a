"""The study as one page that needs no other file, and its pictures as PNGs."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import cv2
import numpy as np

from flowedit.inspection import coding
from flowedit.inspection.coding import StageSeen
from flowedit.inspection.reading import PromptStudy, middle
from flowedit.inspection.sight import SightStudy, Suggestion
from flowedit.inspection.study import Study
from flowedit.masks.agreement import depths
from flowedit.media import pictures

SIDE = 160
"""Least pixels of the shorter side of a picture that is written as a file."""

GAP = 4
"""Pixels around each picture of a sheet."""


class HeatTable(NamedTuple):
    """Numbers whose cells are shaded by where they lie between `low` and `high`."""

    title: str
    corner: str
    heads: Sequence[str]
    lines: Sequence[tuple[str, Sequence[float | None]]]
    low: float
    high: float
    decimals: int = 2

    def share(self, value: float | None) -> float:
        """0 to 1, of a cell's shade."""
        if value is None or self.high <= self.low:
            return 0.0
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


class MapFigure(NamedTuple):
    """One block's maps of a word, side by side by the level of noise, as data, and what is said below."""

    src: str
    block: int
    depth: float
    note: str
    best: bool


def render(study: Study) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    template, style = (
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "style.css")
    )
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.globals["data"] = data
    seen, coded, frame = study.sight, study.coding, study.frame
    return (
        environment.from_string(template)
        .render(
            study=study,
            style=style,
            tables=[] if study.prompt is None else list(word_tables(study.prompt)),
            reach=None if study.prompt is None else reach_table(study.prompt),
            maps=[]
            if seen is None
            else [(word, list(figures(seen, place, study.suggestion))) for place, word in enumerate(seen.words)],
            sees=None if seen is None or seen.auc is None else sight_table(seen),
            frame=None if frame is None else data(frame),
            latent=None if coded is None else data(coding.in_rows(list(coded.latent))),
            error=None if coded is None else data(colours(coded.error, 0.0, error_top(coded.error))),
            top=None if coded is None else error_top(coded.error),
            times=coding_times,
        )
        .lstrip()
    )


def coding_times(sides: Sequence[int]) -> str:
    """A shape as text."""
    return "×".join(map(str, sides))


def error_top(error: np.ndarray) -> float:
    """The level that the brightest colour of an error map stands for: its greatest, but at least 1 of 255."""
    return max(1.0, float(error.max()))


def word_tables(study: PromptStudy) -> Iterator[HeatTable]:
    """Similarities in the first layer, a middle one and the last; norms, what is kept and what spreads, by layers."""
    for layer in middle(study.layers):
        values = study.similarity[layer]
        lines = [(word, numbers(row)) for word, row in zip(study.words, values, strict=True)]
        yield HeatTable(f"similarity: {study.layers[layer]}", "", study.words, lines, 0.0, 1.0)
    for title, values, low, high, decimals in (
        ("norm of a word's state", study.norms, 0.0, float(study.norms.max()), 1),
        ("kept: cosine with the word's own embedding", study.kept, 0.0, 1.0, 2),
        ("spread: how far the other words move when it is blanked", study.spread, 0.0, float(study.spread.max()), 2),
    ):
        lines = [(word, numbers(row)) for word, row in zip(study.words, values.T, strict=True)]
        yield HeatTable(title, "", study.layers, lines, low, high, decimals)


def reach_table(study: PromptStudy) -> HeatTable:
    """How far each word's state moves in the last layer when another one is blanked."""
    lines = [(word, numbers(row)) for word, row in zip(study.words, study.reach, strict=True)]
    heads = (*study.words, "padding")
    if not np.isfinite(study.reach[:, -1]).any():  # the network is given none of it
        heads, lines = study.words, [(word, values[:-1]) for word, values in lines]
    title = "how far each word moves when the one at the left is blanked"
    return HeatTable(title, "blanked", heads, lines, 0.0, float(np.nanmax(study.reach)))


def sight_table(seen: SightStudy) -> HeatTable:
    """The mean AUC over the levels of noise, blocks as lines."""
    assert seen.auc is not None
    values = seen.auc.mean(0).T
    lines = [(f"block {block + 1}", numbers(row)) for block, row in enumerate(values)]
    return HeatTable("AUC against the mask, mean of the levels of noise", "", seen.words, lines, 0.5, 1.0)


def numbers(values: np.ndarray) -> list[float | None]:
    """Plain numbers; None for what is none."""
    return [float(each) if math.isfinite(each) else None for each in values]


def figures(seen: SightStudy, word: int, found: Suggestion | None) -> Iterator[MapFigure]:
    """A figure for each block of one word; of the object's words the one that sees it best is marked."""
    best = found.block if found is not None and seen.words[word] in found.words.split(", ") else None
    for block, depth in enumerate(depths(seen.blocks)):
        maps = [colours(each, 0.0, float(each.max())) for each in seen.maps[:, word, block]]
        gap = np.full((maps[0].shape[0], 1, 4), 0, np.uint8)
        parts = [np.dstack([each, np.full(each.shape[:2], 255, np.uint8)]) for each in maps]
        strip = np.concatenate([piece for each in parts for piece in (each, gap)][:-1], 1)
        note = "" if seen.auc is None else " ".join(f"{each:.2f}" for each in seen.auc[:, word, block])
        yield MapFigure(data(strip), block + 1, depth[0], note, block == best)


def colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers (h, w) as colours uint8 (h, w, 3), from dark (low) to yellow (high)."""
    levels = np.rint(255 * np.clip((values - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def png(picture: np.ndarray) -> bytes:
    """A picture uint8, (h, w) grey, (h, w, 3) RGB or (h, w, 4) RGBA, as a PNG."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def data(picture: np.ndarray) -> str:
    """A picture as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def files(study: Study) -> Mapping[str, bytes]:
    """The study's pictures as PNGs by name, each with its labels."""
    found: dict[str, bytes] = {}
    if study.prompt is not None:
        found["words.png"] = _heat_maps([*word_tables(study.prompt), reach_table(study.prompt)])
    if (coded := study.coding) is not None:
        found["encoder.png"] = png(_stages(coded.encoder))
        found["decoder.png"] = png(_stages(coded.decoder))
        found["latent.png"] = png(enlarged(coding.in_rows(list(coded.latent))))
        top = error_top(coded.error)
        trip = [coded.before, coded.after, colours(coded.error, 0.0, top)]
        labels = [f"frame {coded.frame}", f"decoded {coded.psnr:.1f} dB", f"error to {top:.0f}"]
        found["round_trip.png"] = png(_sheet(trip, labels, 3))
    if study.frame is not None:
        found["frame.png"] = png(enlarged(study.frame))
    if (seen := study.sight) is not None:
        for place, word in enumerate(seen.words):
            found[f"attention_{place + 1}.png"] = png(_attention(seen, place, word))
    return found


def _attention(seen: SightStudy, place: int, word: str) -> np.ndarray:
    """Levels of noise as rows, blocks as columns, eight or fewer in a row of sheets below each other."""
    sheets = []
    for start in range(0, seen.blocks, 8):
        own = range(start, min(start + 8, seen.blocks))
        cells = [
            colours(seen.maps[i, place, b], 0.0, float(seen.maps[i, place, b].max()))
            for i in range(len(seen.times))
            for b in own
        ]
        labels = [f"{word} {b + 1} at {depths(seen.blocks)[b][0]:.2g}, t={t:g}" for t in seen.times for b in own]
        sheets.append(_sheet(cells, labels, len(own)))
    widest = max(sheet.shape[1] for sheet in sheets)
    return np.concatenate([np.pad(each, [(0, 0), (0, widest - each.shape[1]), (0, 0)]) for each in sheets])


def _stages(seen: Sequence[StageSeen]) -> np.ndarray:
    return _sheet([each.picture for each in seen], [f"{each.name} {coding_times(each.shape)}" for each in seen], 4)


def _sheet(parts: Sequence[np.ndarray], labels: Sequence[str], columns: int) -> np.ndarray:
    """Labelled pictures in rows."""
    side = max(SIDE, *(min(each.shape[:2]) for each in parts))
    edge = [(GAP, 0), (GAP, GAP), (0, 0)]
    sized = [np.pad(enlarged(each, side), edge, constant_values=pictures.STRIP)[None] for each in parts]
    return pictures.grid(sized, labels, min(columns, len(parts)))[0]


def enlarged(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture of which the shorter side has at least so many pixels, by the nearest of its own."""
    scale = -(-side // min(picture.shape[:2]))
    return np.ascontiguousarray(picture.repeat(scale, 0).repeat(scale, 1))


def _heat_maps(tables: Sequence[HeatTable]) -> bytes:
    """Tables as one picture."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 3
    lines = -(-len(tables) // columns)
    figure = Figure(figsize=(5 * columns, 3.6 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for place, table in enumerate(tables):
        axes = figure.add_subplot(lines, columns, place + 1)
        values = np.array([[np.nan if each is None else each for each in row] for _, row in table.lines])
        axes.imshow(values, vmin=table.low, vmax=table.high, aspect="auto")
        middle = (table.low + table.high) / 2
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > middle else "white"
            if math.isfinite(value):
                number = f"{value:.{table.decimals}f}"
                axes.text(column, row, number, ha="center", va="center", fontsize=7, color=colour)
        axes.set_title(table.title, fontsize=9)
        axes.set_xticks(range(len(table.heads)), table.heads, rotation=60, fontsize=8, ha="right")
        axes.set_yticks(range(len(table.lines)), [name for name, _ in table.lines], fontsize=8)
        axes.set_ylabel(table.corner, fontsize=8)
    held = BytesIO()
    figure.savefig(held, format="png", dpi=100, metadata={"Software": None})
    return held.getvalue()
