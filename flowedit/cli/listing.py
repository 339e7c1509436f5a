"""`flowedit list`: the editors, presets, backbones, metrics, datasets and options that there are."""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flowedit.cli.flags import Parser
from flowedit.messages import InputError, nearest

ABOUT = {
    "list": "what there is: flowedit list "
    "editors|presets|attention|backbones|metrics|datasets|tasks|upscalers|formats|options"
}


def list_parser() -> argparse.ArgumentParser:
    """`flowedit list WHAT`."""
    parser = Parser("flowedit list", description="Print what there is; plug-ins are marked.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument(
        "rest", nargs="*", metavar="{" + ",".join(LISTS) + "}", help="what to print; without it all but the options"
    )
    parser.set_defaults(run=_list)
    return parser


PARSERS = {"list": list_parser}


def _list(options: argparse.Namespace) -> int:
    asked = options.rest or [name for name in LISTS if name != "options"]
    wanted = list(dict.fromkeys(name for each in asked for name in _meant(each)))
    for name in wanted:
        if len(wanted) > 1:
            print(f"{name}:")
        _print(list(LISTS[name]()), "  " if len(wanted) > 1 else "")
    if not options.rest:
        print("flowedit list options prints every option")
    return 0


def _meant(name: str) -> tuple[str, ...]:
    """The lists that a word asks for; raises InputError, with what it is or resembles, for any other."""
    if name in LISTS:
        return (name,)
    if name.rstrip("s") in ("mode", "method"):
        return ("editors", "presets")
    from flowedit.config.compose import options

    if name in options("mode"):
        raise InputError(
            f"{name} is a mode: flowedit list editors presets says what it is, flowedit edit CLIP --mode {name} runs it"
        )
    raise InputError(f"nothing is called {name!r} here: list one of {', '.join(LISTS)}{nearest(name, LISTS)}")


def _print(rows: list[tuple[str, ...]], indent: str) -> None:
    """Columns as wide as their longest entry, the last broken at a terminal's width; a row of one cell is a line."""
    table = [row for row in rows if len(row) > 1]
    count = max((len(row) for row in table), default=0)
    widths = [max(len(row[i]) for row in table if len(row) > i) for i in range(count)]
    before = indent + "".join(" " * (width + 2) for width in widths[:-1])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    room = width - len(before)
    for row in rows:
        if len(row) == 1:
            start = indent + " " * (len(row[0]) - len(row[0].lstrip()))
            lines = textwrap.wrap(row[0].strip(), max(width - len(start) - 2, NARROWEST), break_on_hyphens=False)
            print("\n".join(f"{start}{'  ' if i else ''}{line}" for i, line in enumerate(lines)))
            continue
        cells = [cell.ljust(widths[i]) for i, cell in enumerate(row)]
        last = textwrap.wrap(cells[-1].rstrip(), room) if len(cells) == count and room >= NARROWEST else []
        first, *more = last or [cells[-1]]
        print((indent + "  ".join([*cells[:-1], first])).rstrip())
        for line in more:
            print(before + line)


NARROWEST = 30
"""Columns that a broken text needs: on a terminal with less room a line runs over, and can still be searched."""


def _marked(registry: Any, rows: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[tuple[str, ...]]:
    """The rows with the plug-in's name behind those that come from one, and those that cannot be loaded."""
    for name, row in rows:
        origin = registry.origin(name)
        yield (name, *row[:-1], row[-1] + (f" [plug-in {origin}]" if origin else ""))
    for name, reason in registry.broken.items():
        yield name, f"[broken] {reason}"


UNMASKED = (
    "no mask: by itself the whole picture may change; --mask attention or --user-mask gives it one (flowopt: none)"
)
"""What the word in the second column of editors and presets means."""


def _editors() -> Iterator[tuple[str, ...]]:
    from flowedit.editors.spec import EDITORS

    yield (UNMASKED,)
    ours = {".straight.": "straight from the source", ".through_noise.": "through noise"}
    runs: dict[str, list[tuple[str, ...]]] = {kind: [] for kind in (*ours.values(), "of plug-ins")}
    for name, *cells in _marked(EDITORS, [(name, (spec.about,)) for name, spec in EDITORS.items()]):
        room = EDITORS[name].run.__module__ if name in EDITORS else ""
        kind = next((text for part, text in ours.items() if f"flowedit.editors{part}" in room), "of plug-ins")
        runs[kind].append((name, *cells))
    for kind, rows in runs.items():
        if rows:
            yield (f"{kind}:",)
        for name, about in rows:
            yield from _told(name, about)


def _presets() -> Iterator[tuple[str, ...]]:
    from flowedit.config.folder import folder

    yield (UNMASKED,)
    for path in sorted((folder() / "mode").glob("*.yaml")):
        if any(line.strip().startswith("preset:") for line in path.read_text(encoding="utf-8").splitlines()):
            yield from _told(path.stem, "")


def _told(mode: str, about: str) -> Iterator[tuple[str, ...]]:
    """A mode, with its paper where its file says it; and below that what its paper says it is good at."""
    from flowedit.config.mode_lines import mode_lines

    lines = mode_lines(mode)
    yield mode, "" if lines.masked else "no mask", lines.what or about
    if lines.good_at:
        yield "", "", f"Said to be good at: {lines.good_at}"


def _attention() -> Iterator[tuple[str, ...]]:
    """The recipes of attention=NAME, by the first comment of their files."""
    from flowedit.config.folder import folder

    for path in sorted((folder() / "attention").glob("*.yaml")):
        if path.stem != "none":
            yield path.stem, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _backbones() -> Iterator[tuple[str, ...]]:
    from flowedit.backbones.families import FAMILIES
    from flowedit.backbones.sheet import SHEETS
    from flowedit.doctor import catalogue

    found = catalogue.named()
    rows = {row[0]: row for row in catalogue.rows(found)}
    origins = {checkpoint: FAMILIES.origin(name) for name, each in FAMILIES.items() for checkpoint in each.checkpoints}
    for name, (*cells, word) in rows.items():
        origin = f" [plug-in {origins[name]}]" if origins.get(name) else ""
        yield *cells, f"{word}{origin}"
    yield from ((line,) for line in catalogue.UNITS)
    yield ("",)
    yield ("licenses:",)
    yield from ((f"  {line}",) for line in catalogue.licenses(found))
    yield ("",)
    yield ("or a folder of your own that holds one of these pipelines:",)
    for name, family in FAMILIES.items():
        origin = f" [plug-in {FAMILIES.origin(name)}]" if FAMILIES.origin(name) else ""
        yield (f"  {', '.join(family.pipelines)}: {family.about}{origin}",)
    for name, reason in (*FAMILIES.broken.items(), *SHEETS.broken.items()):
        yield name, f"[broken] {reason}"


def _metrics() -> Iterator[tuple[str, ...]]:
    from flowedit.metrics.catalogue import METRICS

    rows = [
        (name, (metric.heading, "several frames" if "pairs" in metric.needs else "", metric.download or "no download"))
        for name, metric in METRICS.items()
        if metric.part is not None
    ]
    yield from _marked(METRICS, rows)


def _datasets() -> Iterator[tuple[str, ...]]:
    from flowedit.evaluation.datasets.catalogue import DATASETS

    yield from _marked(DATASETS, [(name, (reader.about,)) for name, reader in DATASETS.items()])


def _upscalers() -> Iterator[tuple[str, ...]]:
    from flowedit.upscaling.catalogue import UPSCALERS

    yield from _marked(UPSCALERS, [(name, (each.about,)) for name, each in UPSCALERS.items()])


def _formats() -> Iterator[tuple[str, ...]]:
    from flowedit.media.formats.containers import CONTAINERS
    from flowedit.media.formats.forms import PICTURES

    rows = []
    for name, each in CONTAINERS.items():
        deep = f"; {each.deep} of more than 8 bits" if each.deep != each.codecs[0] else ""
        rows.append((name, (each.file, f"{each.about}: {', '.join(each.codecs)}{deep}; sound {each.spoken}")))
    yield from _marked(CONTAINERS, rows)
    for name, file in PICTURES.items():
        yield name, file, "pictures of 8 bits, without sound"


def _tasks() -> Iterator[tuple[str, ...]]:
    from flowedit.language.tasks import TASKS

    yield from _marked(TASKS, [(name, (task.about,)) for name, task in TASKS.items()])


def _options() -> Iterator[tuple[str, ...]]:
    """Every option: its key, what is typed for it, its default in conf/, and what it is."""
    from flowedit.config.compose import composed
    from flowedit.config.defaults import default_of
    from flowedit.config.options import declared
    from flowedit.config.quality import at_quality
    from flowedit.config.schema import Settings
    from flowedit.editors.spec import EDITORS, ModeOptions
    from flowedit.evaluation.options import EvaluationOptions

    usual = [
        at_quality(composed((*backbone, "averaging=differential")), ModeOptions, ())
        | {"draws": composed(backbone)["draws"]}
        for backbone in (("backbone=folder",), ())
    ]
    for each in declared(Settings):
        if each.key in ("mode", "backbone", "quality", "task", "mask", "averaging", "attention", "runtime"):
            yield (
                each.key,
                each.option.typed or "NAME",
                default_of(each.key)[0],
                f"{each.option.help}: {_names(each.key)}",
            )
        elif each.key not in (
            "mode.name",
            "mode.preset",
            "mask.name",
            "quality.name",
            "attention.name",
        ) and not each.key.startswith("backbone."):
            yield each.key, each.typed, _both(usual, each.key), _help(each.option)
    common = {each.key for each in declared(Settings)}
    for name, spec in EDITORS.items():
        values = composed((f"mode={name}",))
        for each in declared(spec.options, "mode."):
            if each.key not in common:
                yield each.key, each.typed, _shown(values, each.key), f"{_help(each.option)} [mode={name}]"
    values = composed((), "evaluate")
    for each in declared(EvaluationOptions):
        if each.key != "engine" and each.key not in common:
            yield each.key, each.typed, _shown(values, each.key), f"{_help(each.option)} [compare, evaluate, bench]"


def _names(group: str) -> str:
    from flowedit.config.compose import options

    return ", ".join(options(group))


def _help(option: Any) -> str:
    return option.help + (f" ({option.range})" if option.range else "")


def _shown(values: dict[str, Any], key: str) -> str:
    for part in key.split("."):
        values = values.get(part, "") if isinstance(values, dict) else ""
    value: Any = values
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _both(usual: Sequence[dict[str, Any]], key: str) -> str:
    """The default, and that of the default backbone where it is another, as `--help` shows them."""
    own, small = (_shown(values, key) for values in usual)
    return own if own == small else f"{own}; {usual[1]['backbone']['name']} {small}"


LISTS = {
    "editors": _editors,
    "presets": _presets,
    "attention": _attention,
    "backbones": _backbones,
    "metrics": _metrics,
    "datasets": _datasets,
    "tasks": _tasks,
    "upscalers": _upscalers,
    "formats": _formats,
    "options": _options,
}
