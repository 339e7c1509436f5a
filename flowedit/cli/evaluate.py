"""The commands that run many edits: `flowedit compare`, `evaluate` and `bench`."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.cli.flags import (
    CLIP,
    METHOD,
    SHARED,
    UNSET,
    add_example,
    command,
    given,
    is_override,
    monitor_of,
    parts,
    texts_of,
    whole,
    with_instruction,
)
from flowedit.config.defaults import read
from flowedit.declare import options_of
from flowedit.evaluation.options import EngineOptions, EvaluationOptions
from flowedit.messages import FileError, InputError

if TYPE_CHECKING:
    from flowedit.evaluation.files import Results


ABOUT = {
    "compare": 'one clip by all modes at equal cost: flowedit compare clip.mp4 "replace the fox with a panda"',
    "evaluate": "edit and score a dataset: flowedit evaluate examples/edits.yaml",
    "bench": "score modes on scenes whose true edits are known: flowedit bench",
}

OWN = options_of(EvaluationOptions)
"""The declarations of an evaluation's own options."""
EVALUATE = tuple(name for name, option in OWN.items() if option.flag and name not in ("also", "edits", "sweep"))
COMPARE = tuple(name for name in EVALUATE if name in ("modes", "metrics", "evaluations", "out"))
BENCH = tuple(name for name in EVALUATE if name not in ("do", "metrics", "protocol", "flow"))
"""Flags of each command, beside those that add a method or another's edits."""
OUT = {
    "compare": "outputs/compare/<clip>",
    "evaluate": "outputs/evaluate/<dataset>",
    "bench": "outputs/bench",
}
"""Where each command leaves its results without --out; all other defaults are in conf/."""
ENGINE = ("engine", "workers")
LISTS = ("modes", "metrics", "kinds")
COUNTS = ("first_seed", "scenes")
SWITCHES = ("shadows",)

ALSO = """\
any key of conf/ can follow as key=value and holds for all methods; --also "draws=4 averaging=differential" adds the
first mode with these set, --also "mode=inversion strength=1" another one"""

CODES = "exit codes: 0 done, 1 a mistake (one line says which; --debug shows where), 2 finished, but some {what} failed"

EPILOGS = {
    "compare": f"""\
{ALSO}
examples:
  flowedit compare --example fox
  flowedit compare examples/fox.mp4 "replace the fox with a panda" --source "a fox moves right over green grass"
  flowedit compare --example fox --modes all --evaluations 48 --export table.tex
  flowedit compare --example fox --modes inversion_free --sweep strength=0.5,0.7,0.9 --sweep seed=0,1,2
{CODES.format(what="edits or scores")}""",
    "evaluate": f"""\
DATASET: a YAML list of edits, a folder in FiVE-Bench's layout, or pocket (scenes whose true edits are known)
{ALSO}
examples:
  flowedit evaluate examples/edits.yaml --modes inversion_free,inversion --dry-run
  flowedit evaluate FiVE-Bench/ --protocol five --do score --edits their_method=their/outputs
  flowedit evaluate pocket --scenes 2 --kinds replace --engine ray --workers 2
{CODES.format(what="edits or scores")}""",
    "bench": f"""\
kinds: replace, replace_one_of_two, replace_beside_kept, replace_both, recolour, resize, remove, add, ground
{ALSO}
examples:
  flowedit bench --scenes 20 --kinds replace --modes inversion_free,inversion
  flowedit bench --scenes 20 --kinds replace --modes inversion_free --also draws=2 --also mask=none
  flowedit bench --scenes 20 --kinds remove --modes inversion_free --shadows true
{CODES.format(what="edits")}""",
}


def compare_parser() -> argparse.ArgumentParser:
    """`flowedit compare CLIP`."""
    about = "Edit one clip by several methods at equal cost, and show and score them side by side."
    parser = command("compare", about, [*CLIP, *SHARED], 'CLIP ["what to change"]', EPILOGS["compare"])
    add_example(parser)
    _add(parser, "compare", COMPARE)
    mask = "video, image or folder of frames; white may change, the rest is scored as background"
    parser.add_argument("--score-mask", metavar="FILE|DIR", help=mask)
    _add_rest(parser, "CLIP | key=value", "a video file or an edit's YAML file")
    _add_sweep(parser)
    _add_export(parser)
    parser.set_defaults(run=_compare)
    return parser


def evaluate_parser() -> argparse.ArgumentParser:
    """`flowedit evaluate DATASET`."""
    about = "Edit every clip of a dataset by several methods, and score the edits; what is done is not done again."
    parser = command("evaluate", about, SHARED, "DATASET", EPILOGS["evaluate"])
    _add(parser, "evaluate", (*EVALUATE, *ENGINE))
    parser.add_argument("--edits", metavar=OWN["edits"].typed, action="append", help=OWN["edits"].help)
    _add_rest(parser, "DATASET | key=value", "what to edit, see below")
    _add_sweep(parser)
    _add_export(parser)
    parser.set_defaults(run=_evaluate)
    return parser


def bench_parser() -> argparse.ArgumentParser:
    """`flowedit bench`."""
    about = "Score modes on seeded scenes of the pocket world, whose true edits are known exactly."
    parser = command("bench", about, METHOD, "", EPILOGS["bench"])
    _add(parser, "bench", (*BENCH, *ENGINE))
    parser.add_argument("--json", metavar="FILE", help="write the rows here too, one JSON object a line")
    _add_rest(parser, "key=value", "any key of conf/, for all methods", dry_run=False)
    parser.set_defaults(run=_bench)
    return parser


PARSERS = {"compare": compare_parser, "evaluate": evaluate_parser, "bench": bench_parser}


def _add(parser: argparse.ArgumentParser, name: str, flags: Sequence[str]) -> None:
    """Flags of an evaluation's own options, with the default of this command."""
    engine = options_of(EngineOptions)
    for flag in flags:
        option = OWN[flag] if flag in OWN and flag != "engine" else engine["name" if flag == "engine" else flag]
        usual = OUT[name] if flag == "out" else _usual(name, flag)
        text = option.help + (f" (default {usual})" if usual else "")
        names = ("--modes", "--methods") if flag == "modes" else (f"--{flag.replace('_', '-')}",)
        parser.add_argument(*names, dest=flag, metavar=option.typed, help=text.replace("%", "%%"))


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sweep", metavar=OWN["sweep"].typed, action="append", help=OWN["sweep"].help)


TABLES = (".csv", ".json", ".tex")


def _add_export(parser: argparse.ArgumentParser) -> None:
    text = "write the table here too: FILE ends in .csv, .json or .tex (LaTeX with booktabs); may be given again"
    parser.add_argument("--export", metavar="FILE", action="append", default=[], help=text)


def _exports(options: argparse.Namespace) -> list[Path]:
    """Where the table is to be copied to; raises InputError or FileError before any work."""
    files = [Path(text) for text in options.export]
    for file in files:
        if file.suffix.lower() not in TABLES:
            raise InputError(f"--export {str(file)!r} ends in none of {', '.join(TABLES)}: name a file that does")
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise FileError(f"--export {str(file)!r} cannot be written: give a file in a folder that exists")
    return files


def _exported(made: "Results", files: Sequence[Path]) -> None:
    for file in files:
        table = made.folder / f"table{file.suffix.lower()}"
        try:
            if file.absolute() != table.absolute():
                shutil.copyfile(table, file)
        except OSError as error:
            raise FileError(f"--export {str(file)!r} cannot be written: {error.strerror or error}") from error


def _usual(name: str, flag: str) -> str:
    values = read("evaluate") | read(name)
    if flag == "engine":
        return str(
            next(
                entry["engine"]
                for entry in read("evaluate")["defaults"]
                if isinstance(entry, dict) and "engine" in entry
            )
        )
    value = values.get(flag)
    return "" if value in (None, []) else str(value)


def _add_rest(parser: argparse.ArgumentParser, rest: str, text: str, dry_run: bool = True) -> None:
    parser.add_argument("--also", metavar=OWN["also"].typed, action="append", help="one more method, see below")
    if dry_run:
        parser.add_argument("--dry-run", action="store_true", help="list the jobs and their cost, run nothing")
    parser.add_argument("rest", nargs="*", metavar=rest, help=text)


def _compare(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    named, overrides = texts_of(options)
    clip, asked = with_instruction("compare", named, options)
    if asked and options.instruction is UNSET:
        options.instruction = asked["instruction"]
    settings, rest = evaluation(_evaluation_flags(options, COMPARE), overrides, "compare")
    files = _exports(options)
    for key in (name for name in OWN if name not in (*COMPARE, "also", "sweep", "engine", "flow")):
        if any(text.startswith(f"{key}=") for text in overrides):
            raise InputError(f"compare has no {key}: it edits one clip (flowedit evaluate has it)")
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation import compare, evaluate, plan

        pair = compare.one_clip(Path(clip), given(options, CLIP), options.score_mask and Path(options.score_mask))
        chosen = plan.comparison(settings, given(options, SHARED), rest)
        if options.dry_run:
            return _list(evaluate.job_table(settings, chosen, pair))
        made = compare.compare(settings, chosen, pair, monitor)
    _exported(made, files)
    return tell(made)


def _evaluate(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    overrides = [text for text in options.rest if is_override(text)]
    names = [text for text in options.rest if text not in overrides]
    if len(names) != 1:
        known = "a YAML list of edits, a folder, or pocket"
        raise InputError(
            f"one dataset, not {len(names)}: flowedit evaluate DATASET ({known}; flowedit evaluate --help)"
        )
    flags = _evaluation_flags(options, (*EVALUATE, *ENGINE)) | {"dataset": names[0]}
    if options.edits:
        flags["edits"] = options.edits
    settings, rest = evaluation(flags, overrides)
    files = _exports(options)
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation import evaluate, plan

        chosen = plan.comparison(settings, given(options, SHARED), rest)
        if options.dry_run:
            return _list(evaluate.job_table(settings, chosen))
        made = evaluate.evaluate(settings, chosen, monitor)
    _exported(made, files)
    return tell(made)


def _bench(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    settings, rest = evaluation(_evaluation_flags(options, (*BENCH, *ENGINE)), options.rest, "bench")
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation.bench import run
        from flowedit.evaluation.results import tables

        made = run.report(settings, given(options, METHOD), rest, monitor, json=options.json)
        tables.show(list(run.bench_tables(made)))
    print(made.folder / "index.html")
    return 2 if made.failures else 0


def _evaluation_flags(options: argparse.Namespace, flags: Sequence[str]) -> dict[str, Any]:
    """What was given of an evaluation's flags, as conf/evaluate.yaml has them."""
    made: dict[str, Any] = {} if options.also is None else {"also": options.also}
    if getattr(options, "sweep", None):
        made["sweep"] = options.sweep
    for name in flags:
        value = getattr(options, name)
        if value is None or name == "workers":
            continue
        if name in LISTS and not parts(value):
            raise InputError(f"--{name} {value!r}: name at least one")
        made[name] = parts(value) if name in LISTS else whole(options, name) if name in COUNTS else value
        if name in SWITCHES and value in ("true", "false"):
            made[name] = value == "true"
        if name == "evaluations" and value.isdecimal():
            made[name] = int(value)
    if getattr(options, "workers", None) is not None:
        made["engine.workers"] = whole(options, "workers")
    return made


def _list(table: Any) -> int:
    from flowedit.evaluation.results import tables

    tables.show([table])
    return 0


def tell(made: "Results") -> int:
    """The tables, and where the page lies."""
    from flowedit.evaluation.results import tables

    tables.show(list(tables.tables(made.rows, made.names, made.by_kind, made.notes)))
    print(made.folder / "index.html")
    return 2 if made.failed else 0
