"""What a page says, put together from rows and videos, and written as one file that needs no other."""

import base64
import difflib
import hashlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from flowedit.evaluation.report import plots, preview
from flowedit.evaluation.report.grids import Table, differences, means
from flowedit.evaluation.report.preview import Film
from flowedit.evaluation.results.rows import JOB, Row, failures
from flowedit.evaluation.results.summary import REFERENCES, summaries
from flowedit.messages import FileError
from flowedit.metrics.catalogue import HEADS
from flowedit.types import Monitor

BUDGET = 25_000_000
"""The most bytes of a page; edits whose videos no longer fit have them linked."""

Pieces = list[tuple[str, bool]]
"""A prompt in pieces, each with whether it is in that prompt alone."""


@dataclass(frozen=True)
class Shown:
    """One (clip, edit) with its prompts and videos; `edits` and `masks`, which are overlays, go by method."""

    clip: str
    edit: str
    kind: str
    source: str
    target: str
    video: Path | None
    truth: Path | None
    edits: Mapping[str, Path]
    masks: Mapping[str, Path]


@dataclass(frozen=True)
class Page:
    """All that a page shows; `facts` open it, `runs` are each method's configuration and versions as YAML text."""

    title: str
    facts: Mapping[str, str]
    rows: Sequence[Row]
    methods: Sequence[str]
    shown: Sequence[Shown]
    runs: Mapping[str, str]
    by_kind: bool = False


class Figure(NamedTuple):
    """One video of a row: of a method, whose mask's overlay may take its place, or of none: the source, the truth."""

    label: str
    method: str | None
    video: Film
    mask: Film | None


class Reason(NamedTuple):
    """Why something is missing: what it is, as a metric or an edit, by which methods, of which (clip, edit)."""

    what: str
    reason: str
    methods: list[str]
    edits: list[tuple[str, str]]


class Part(NamedTuple):
    """One (clip, edit) as the page shows it; all its videos have `frames` at `fps`, and one of them `total`.

    `lost` is why videos are missing, `reasons` why values are.
    """

    shown: Shown
    source: Pieces
    target: Pieces
    figures: list[Figure]
    fps: float
    frames: int
    total: int
    lost: list[Reason]
    table: Table | None
    reasons: list[Reason]


def write_page(page: Page, path: Path, monitor: Monitor | None = None) -> None:
    """Write the page; it appears under its name when it is whole. Raises OSError where it cannot be written."""
    links = {file: preview.linked(file, path.parent) for shown in page.shown for file in _files(shown)}
    films = [{file: links[file] for file in _files(shown)} for shown in page.shown]
    room = BUDGET - len(_render(page, films).encode())
    if monitor is not None:
        monitor.phase("report", len(films))
    copies: dict[Path, Film] = {}
    for own in films:
        if room > 0:
            copies |= {file: preview.embedded(file) for file in own if file not in copies}
            room -= sum(len(copies[file].src) for file in own)
            if room >= 0:
                own.update({file: copies[file] for file in own})
        if monitor is not None:
            monitor.advance()
    _write(path, _render(page, films))


def changes(source: str, target: str) -> tuple[Pieces, Pieces]:
    """Both prompts in pieces by words; a word's case, and the comma after it, do not change it."""
    words = [re.findall(r"\s*\S+", prompt) for prompt in (source, target)]
    plain = [[re.sub(r"\W", "", word).lower() or word.strip() for word in part] for part in words]
    pieces: tuple[Pieces, Pieces] = ([], [])
    for tag, *ends in difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False).get_opcodes():
        for side in (0, 1):
            text = "".join(words[side][ends[2 * side] : ends[2 * side + 1]])
            space = len(text) - len(text.lstrip())
            pieces[side].extend(piece for piece in [(text[:space], False), (text[space:], tag != "equal")] if piece[0])
    return pieces


def _files(shown: Shown) -> list[Path]:
    first = [path for path in (shown.video, shown.truth) if path is not None]
    return list(dict.fromkeys([*first, *shown.edits.values(), *shown.masks.values()]))


def _render(page: Page, films: Sequence[Mapping[Path, Film]]) -> str:
    from jinja2 import Environment, StrictUndefined

    template, style, script = (
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        for name in ("template.html", "style.css", "page.js")
    )
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in page.rows:
        rows.setdefault((row.clip, row.edit), []).append(row)
    made, failed = summaries(page.rows, page.methods, page.by_kind), failures(page.rows)
    parts = [
        _part(page.methods, shown, rows.get((shown.clip, shown.edit), []), own)
        for shown, own in zip(page.shown, films, strict=True)
    ]
    videos = [film for own in films for film in own.values() if film.src]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return (
        environment.from_string(template)
        .render(
            page=page,
            facts={**page.facts, "edits": str(len(rows)), "failures": str(len(failed))},
            summaries=[(summary, means(summary), differences(summary)) for summary in made],
            plots=plots.quality_against_seconds(made[0]) if made else [],
            marks={name: (f"c{i % plots.COLOURS}", plots.GLYPHS[i % len(plots.GLYPHS)]) for i, name in _numbered(page)},
            marked=any(new for part in parts for _, new in [*part.source, *part.target]),
            # the summary of a single edit has said its values
            parts=[part._replace(table=None) for part in parts] if len(rows) == 1 else parts,
            numbers={(part.shown.clip, part.shown.edit): number for number, part in enumerate(parts, 1)},
            reasons=_reasons(failed),
            linked=sum(not film.src.startswith("data:") for film in videos),
            budget=f"{BUDGET / 1e6:g} MB",
            style=style,
            script=script,
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
        .lstrip()
    )


def _numbered(page: Page) -> list[tuple[int, str]]:
    return list(enumerate(name for name in page.methods if name not in REFERENCES))


def _part(methods: Sequence[str], shown: Shown, rows: Sequence[Row], films: Mapping[Path, Film]) -> Part:
    made, failed = summaries(rows, methods), failures(rows)
    figures = [
        Figure(label, None, films[path], None)
        for label, path in (("source", shown.video), ("truth", shown.truth))
        if path is not None
    ]
    for method in dict.fromkeys([*methods, *shown.edits]):
        if (path := shown.edits.get(method)) is not None:
            mask = shown.masks.get(method)
            figures.append(Figure(method, method, films[path], films[mask] if mask and films[mask].src else None))
    there = [figure for figure in figures if figure.video.src]
    unread: dict[str, list[str]] = {}
    for figure in figures:
        if figure.video.fault:
            unread.setdefault(figure.video.fault, []).append(figure.label)
    films_there = [figure.video for figure in there]
    fps = films_there[0].fps if there else 1.0
    seconds = min((film.frames / film.fps for film in films_there), default=0.0)
    reasons = _reasons(failed)
    return Part(
        shown,
        *changes(shown.source, shown.target),
        there,
        fps,
        round(seconds * fps),
        max((film.total for film in films_there if film.total > film.frames), default=0),
        [reason for reason in reasons if reason.what == JOB] + [Reason("video", *each, []) for each in unread.items()],
        means(made[0]) if made and made[0].metrics else None,
        [reason for reason in reasons if reason.what != JOB],
    )


def _reasons(failed: Sequence[Row]) -> list[Reason]:
    """The same reason is told once, however many edits and methods met it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in failed:
        found.setdefault((row.metric, row.failure or ""), []).append(row)
    return [
        Reason(
            HEADS[metric].label if metric in HEADS else metric,
            reason,
            list(dict.fromkeys(row.method for row in rows)),
            list(dict.fromkeys((row.clip, row.edit) for row in rows)),
        )
        for (metric, reason), rows in found.items()
    ]


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FileError(f"page {str(path)!r} cannot be written: {error.strerror or error}") from error
