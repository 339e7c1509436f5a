"""What a page says, put together from rows and videos, and written as one file that needs no other."""

import base64
import difflib
import functools
import hashlib
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from flowedit.evaluation.report import plots, preview
from flowedit.evaluation.report.grids import Table, differences, means
from flowedit.evaluation.report.preview import Film
from flowedit.evaluation.results.rows import JOB, Row, failures
from flowedit.evaluation.results.summary import REFERENCES, remark, summaries
from flowedit.evaluation.sweeps.lattice import Lattice
from flowedit.machine import whole_file
from flowedit.media import probe
from flowedit.messages import FileError
from flowedit.metrics.catalogue import label
from flowedit.types import Monitor

BUDGET = 25_000_000
"""The most bytes of a page; edits whose videos no longer fit have them linked."""

Pieces = list[tuple[str, bool]]
"""A prompt in pieces, each with whether it is in that prompt alone."""


@dataclass(frozen=True)
class Exhibit:
    """One edit of the clip `name`, its prompts and videos; `edits` and `masks`, which are overlays, go by method.

    `facts` stand below its prompts.
    """

    name: str
    edit: str
    kind: str
    source: str
    target: str
    clip: Path | None
    truth: Path | None
    edits: Mapping[str, Path]
    masks: Mapping[str, Path]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """All that a page shows; `facts` open it, `runs` are each method's configuration and versions as YAML text."""

    title: str
    facts: Mapping[str, str]
    rows: Sequence[Row]
    methods: Sequence[str]
    exhibits: Sequence[Exhibit]
    runs: Mapping[str, str]
    by_kind: bool = False
    notes: Sequence[str] = ()
    about: Sequence["MethodNote"] = ()
    lattices: Sequence[Lattice] = ()
    """The rows and columns that a sweep's videos stand in; without them they follow each other."""


class MethodNote(NamedTuple):
    """A mode or preset: what it is, with its paper, what it is good at, and a word where it has no mask."""

    name: str
    what: str
    good_at: str
    mask: str = ""


class VideoPanel(NamedTuple):
    """One video of a row: of a method, whose mask's overlay may take its place, or of none: the source, the truth."""

    label: str
    method: str | None
    video: Film
    mask: Film | None


class FailureGroup(NamedTuple):
    """Why something is missing: what it is, as a metric or an edit, by which methods, of which (clip, edit)."""

    what: str
    reason: str
    methods: list[str]
    edits: list[tuple[str, str]]


class EditSection(NamedTuple):
    """One (clip, edit) as the page shows it; all its videos have `frames` at `fps` or `times`, and one of them `total`.

    `lost` is why videos are missing, `reasons` why values are.
    """

    exhibit: Exhibit
    source: Pieces
    target: Pieces
    panels: list[VideoPanel]
    fps: float
    frames: int
    times: tuple[float, ...]
    total: int
    still: bool
    """Whether all of them are pictures."""
    lost: list[FailureGroup]
    table: Table | None
    reasons: list[FailureGroup]


def write_page(page: Page, path: Path, monitor: Monitor | None = None, folder: Path | None = None) -> None:
    """Write the page; it appears under its name when it is whole. Raises OSError where it cannot be written.

    `folder` is where the page will lie and its links start, if that is not the path's own.
    """
    look = functools.cache(probe.probe)
    links = {
        file: preview.link(file, folder or path.parent, look) for exhibit in page.exhibits for file in _files(exhibit)
    }
    films = [{file: links[file] for file in _files(exhibit)} for exhibit in page.exhibits]
    room = BUDGET - len(_render(page, films).encode())
    if monitor is not None:
        monitor.phase("report", len(films))
    copies: dict[Path, Film] = {}
    for own in films:
        if room > 0:
            copies |= {
                file: preview.embed(file, look)._replace(file=links[file].file) for file in own if file not in copies
            }
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


def _files(exhibit: Exhibit) -> list[Path]:
    first = [path for path in (exhibit.clip, exhibit.truth) if path is not None]
    return list(dict.fromkeys([*first, *exhibit.edits.values(), *exhibit.masks.values()]))


def _render(page: Page, films: Sequence[Mapping[Path, Film]]) -> str:
    from jinja2 import Environment, StrictUndefined

    template, style, script = (
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        for name in ("template.html", "style.css", "page.js")
    )
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in page.rows:
        rows.setdefault((row.clip, row.edit), []).append(row)
    made = summaries(page.rows, page.methods, page.by_kind) if page.rows else []
    failed = failures(page.rows)
    counts = {"edits": str(len(rows)), "failures": str(len(failed))} if page.rows else {}
    sections = [
        _section(page.methods, exhibit, rows.get((exhibit.name, exhibit.edit), []), own)
        for exhibit, own in zip(page.exhibits, films, strict=True)
    ]
    videos = [film for own in films for film in own.values() if film.src]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return (
        environment.from_string(template)
        .render(
            page=page,
            facts={**page.facts, **counts},
            summaries=[(summary, means(summary), differences(summary)) for summary in made],
            plots=plots.quality_against_seconds(made[0]) if made else [],
            marks={name: (f"c{i % plots.COLOURS}", plots.GLYPHS[i % len(plots.GLYPHS)]) for i, name in _numbered(page)},
            marked=any(new for section in sections for _, new in [*section.source, *section.target]),
            moving=any(section.panels and not section.still for section in sections),
            # the summary of a single edit has said its values
            sections=[section._replace(table=None) for section in sections] if len(rows) == 1 else sections,
            numbers={(each.exhibit.name, each.exhibit.edit): number for number, each in enumerate(sections, 1)},
            reasons=_reasons(failed),
            with_papers=with_papers,
            linked=sum(not film.src.startswith("data:") for film in videos),
            remarks=[text for text in (remark(made[0]) if made else "", *page.notes) if text],
            budget=f"{BUDGET / 1e6:g} MB",
            style=style,
            script=script,
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
        .lstrip()
    )


PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def with_papers(text: str) -> str:
    """A text for the page, as HTML, in which each paper on arXiv is a link."""
    from markupsafe import Markup, escape

    return Markup(PAPER.sub(r'<a href="https://arxiv.org/abs/\1" rel="noreferrer">\g<0></a>', str(escape(text))))


def _numbered(page: Page) -> list[tuple[int, str]]:
    return list(enumerate(name for name in page.methods if name not in REFERENCES))


def _section(methods: Sequence[str], exhibit: Exhibit, rows: Sequence[Row], films: Mapping[Path, Film]) -> EditSection:
    made, failed = summaries(rows, methods), failures(rows)
    panels = [
        VideoPanel(name, None, films[path], None)
        for name, path in (("source", exhibit.clip), ("truth", exhibit.truth))
        if path is not None
    ]
    for method in dict.fromkeys([*methods, *exhibit.edits]):
        if (path := exhibit.edits.get(method)) is not None:
            mask = exhibit.masks.get(method)
            panels.append(VideoPanel(method, method, films[path], films[mask] if mask and films[mask].src else None))
    there = [panel for panel in panels if panel.video.src]
    unread: dict[str, list[str]] = {}
    for panel in panels:
        if panel.video.fault:
            unread.setdefault(panel.video.fault, []).append(panel.label)
    films_there = [panel.video for panel in there]
    fps = films_there[0].fps if there else 1.0
    times = films_there[0].times if there else ()
    seconds = min((film.seconds for film in films_there), default=0.0)
    unreadable = [FailureGroup("video", *each, []) for each in unread.items()]
    reasons = _reasons(failed)
    return EditSection(
        exhibit,
        *changes(exhibit.source, exhibit.target),
        there,
        fps,
        bisect_left(times[:-1], seconds - 1e-3) if times else round(seconds * fps),
        times,
        max((film.total for film in films_there if film.total > film.frames), default=0),
        bool(films_there) and all(film.still for film in films_there),
        [reason for reason in reasons if reason.what == JOB] + unreadable,
        means(made[0]) if made and made[0].metrics else None,
        [reason for reason in reasons if reason.what != JOB],
    )


def _reasons(failed: Sequence[Row]) -> list[FailureGroup]:
    """The same reason is told once, however many edits and methods met it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in failed:
        found.setdefault((row.metric, row.failure or ""), []).append(row)
    return [
        FailureGroup(
            label(metric),
            reason,
            list(dict.fromkeys(row.method for row in rows)),
            list(dict.fromkeys((row.clip, row.edit) for row in rows)),
        )
        for (metric, reason), rows in found.items()
    ]


def _write(path: Path, text: str) -> None:
    try:
        with whole_file(path, parents=False) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"page {str(path)!r} cannot be written: {error.strerror or error}") from error
