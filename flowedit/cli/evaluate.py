"""The commands that run many edits: `flowedit compare`, `evaluate` and `bench`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.cli.flags import (
    CLIP,
    METHOD,
    SHARED,
    UNSET,
    command,
    given,
    is_override,
    monitor_of,
    parts,
    whole,
    with_instruction,
)
from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.evaluation.files import Results


ABOUT = {
    "compare": "one clip by all modes at equal cost, side by side: flowedit compare clip.mp4 --source ...",
    "evaluate": "edit and score a dataset: flowedit evaluate edits.yaml",
    "bench": "score modes on scenes whose true edits are known: flowedit bench",
}

MODES = ("modes", "A,B", "modes or presets (default inversion_free,inversion,random_noise); the first is compared with")

COST = "network evaluations of each method"

METRICS = ("metrics", "A,B", "metrics (default all that need no download)")

ENGINE = (
    ("engine", "NAME", "local (the default) or ray"),
    ("workers", "N", "processes (default: one a core, or one a GPU)"),
)

COMPARE = (
    MODES,
    METRICS,
    ("evaluations", "N", f"{COST}: equal (as the first one's, the default), own, or a number"),
    ("score-mask", "FILE|DIR", "video, image or folder of frames; white may change, the rest is scored as background"),
    ("out", "DIR", "folder of the results; without it outputs/compare/<clip>"),
)

EVALUATE = (
    ("do", "HALF", "edit, score or both (the default)"),
    MODES,
    METRICS,
    ("evaluations", "N", f"{COST}: own (the default), equal (as the first one's), or a number"),
    ("protocol", "NAME", "all (every frame; the default) or five (every 8th frame, means over types: FiVE-Bench)"),
    ("flow", "NAME", "optical flow of the warping metrics: dis (the default) or raft (a download)"),
    ("first-seed", "N", "dataset pocket: seed of the first scene (default 0)"),
    ("scenes", "K", "dataset pocket: scenes of each kind (default 5)"),
    ("kinds", "A,B", "dataset pocket: kinds of edit (default all)"),
    *ENGINE,
    ("out", "DIR", "folder of the results, and of what a stopped run goes on from (outputs/evaluate/<dataset>)"),
)

BENCH = (
    ("first-seed", "N", "seed of the first scene (default 0): below 1000000 to tune, below 2000000 to report"),
    ("scenes", "K", "scenes of each kind (default 20)"),
    ("kinds", "A,B", "kinds of edit, see below (default all)"),
    MODES,
    ("evaluations", "N", f"{COST}: own (the default), equal (as the first one's), or a number"),
    *ENGINE,
    ("json", "FILE", "write the rows here too, one JSON object a line"),
    ("out", "DIR", "folder of the results, and of what a stopped run goes on from (outputs/bench)"),
)

LISTS = ("modes", "metrics", "kinds")

COUNTS = ("first_seed", "scenes")

ALSO = """\
any key of conf/ can follow as key=value and holds for all methods; --also "draws=4 averaging=differential" adds the
first mode with these set, --also "mode=inversion strength=1" another one"""

CODES = "exit codes: 0 done, 1 a mistake (one line says which; --debug shows where), 2 finished, but some {what} failed"

EPILOGS = {
    "compare": f"""\
{ALSO}
examples:
  flowedit compare examples/fox.yaml
  flowedit compare clip.mp4 --source "a fox runs" --target "a panda runs" --source-words fox --target-words panda
{CODES.format(what="edits or scores")}""",
    "evaluate": f"""\
DATASET: a YAML list of edits, a folder in FiVE-Bench's layout, or pocket (scenes whose true edits are known)
{ALSO}
examples:
  flowedit evaluate edits.yaml --modes inversion_free,inversion --dry-run
  flowedit evaluate FiVE-Bench/ --protocol five --do score --edits their_method=their/outputs
  flowedit evaluate pocket --scenes 2 --kinds replace --engine ray --workers 2
{CODES.format(what="edits or scores")}""",
    "bench": f"""\
kinds: replace, replace_one_of_two, replace_beside_kept, replace_both, recolour, resize, remove, add, ground
{ALSO}
examples:
  flowedit bench --scenes 20 --kinds replace --modes inversion_free,inversion
  flowedit bench --scenes 20 --kinds replace --modes inversion_free --also draws=2 --also mask=none
{CODES.format(what="edits")}""",
}


def compare_parser() -> argparse.ArgumentParser:
    """`flowedit compare VIDEO`."""
    about = "Edit one clip by several methods at equal cost, and show and score them side by side."
    parser = command("compare", about, [*CLIP, *SHARED], EPILOGS["compare"])
    _add(parser, COMPARE, "VIDEO | key=value", "a video file or an edit's YAML file")
    parser.set_defaults(run=_compare)
    return parser


def evaluate_parser() -> argparse.ArgumentParser:
    """`flowedit evaluate DATASET`."""
    about = "Edit every clip of a dataset by several methods, and score the edits; what is done is not done again."
    parser = command("evaluate", about, SHARED, EPILOGS["evaluate"])
    _add(parser, EVALUATE, "DATASET | key=value", "what to edit, see below")
    parser.add_argument("--edits", metavar="NAME=DIR", action="append", help="score the edits of another method too")
    parser.set_defaults(run=_evaluate)
    return parser


def bench_parser() -> argparse.ArgumentParser:
    """`flowedit bench`."""
    about = "Score modes on seeded scenes of the pocket world, whose true edits are known exactly."
    parser = command("bench", about, METHOD, EPILOGS["bench"])
    _add(parser, BENCH, "key=value", "configuration overrides for all methods", dry_run=False)
    parser.set_defaults(run=_bench)
    return parser


PARSERS = {"compare": compare_parser, "evaluate": evaluate_parser, "bench": bench_parser}


def _add(
    parser: argparse.ArgumentParser,
    flags: tuple[tuple[str, str, str], ...],
    rest: str,
    text: str,
    dry_run: bool = True,
) -> None:
    for flag, metavar, help in flags:
        parser.add_argument(f"--{flag}", metavar=metavar, default=None, help=help)
    parser.add_argument("--also", metavar="OVERRIDES", action="append", help="one more method, see below")
    if dry_run:
        parser.add_argument("--dry-run", action="store_true", help="list the jobs and their cost, run nothing")
    parser.add_argument("rest", nargs="*", metavar=rest, help=text)


def _compare(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    videos, overrides = _split(options, "compare", "VIDEO")
    settings, rest = evaluation(_evaluation_flags(options, COMPARE), ["evaluations=equal", *overrides])
    for key in ("dataset", "do", "edits", "protocol", "first_seed", "scenes", "kinds"):
        if any(text.startswith(f"{key}=") for text in overrides):
            raise InputError(f"compare has no {key}: it edits one clip (flowedit evaluate has it)")
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation import compare, evaluate, plan

        pair = compare.one_clip(Path(videos[0]), given(options, CLIP), options.score_mask and Path(options.score_mask))
        chosen = plan.comparison(settings, given(options, SHARED), rest)
        if options.dry_run:
            return _list(evaluate.job_table(settings, chosen, pair))
        made = compare.compare(settings, chosen, pair, monitor)
    return _tell(made)


def _evaluate(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    names, overrides = _split(options, "evaluate", "DATASET")
    flags = _evaluation_flags(options, EVALUATE) | {"dataset": names[0]}
    if options.edits:
        flags["edits"] = options.edits
    settings, rest = evaluation(flags, overrides)
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation import evaluate, plan

        chosen = plan.comparison(settings, given(options, SHARED), rest)
        if options.dry_run:
            return _list(evaluate.job_table(settings, chosen))
        made = evaluate.evaluate(settings, chosen, monitor)
    return _tell(made)


def _bench(options: argparse.Namespace) -> int:
    from flowedit.evaluation.options import evaluation

    settings, rest = evaluation(_evaluation_flags(options, BENCH), ["scenes=20", *options.rest])
    with monitor_of(options.quiet) as monitor:
        from flowedit.evaluation.bench import run
        from flowedit.evaluation.results import tables

        made = run.report(settings, given(options, METHOD), rest, monitor, json=options.json)
        tables.show(list(run.bench_tables(made)))
    print(made.folder / "index.html")
    return 2 if made.failures else 0


def _split(options: argparse.Namespace, name: str, what: str) -> tuple[list[str], list[str]]:
    overrides = [text for text in options.rest if is_override(text)]
    named, asked = with_instruction([text for text in options.rest if text not in overrides])
    if asked and name == "compare":
        options.instruction = asked["instruction"] if options.instruction is UNSET else options.instruction
        asked = {}
    named += asked.values()
    if len(named) != 1:
        raise InputError(f"one {what} at a time, not {len(named)}: flowedit {name} {what} (flowedit {name} --help)")
    return named, overrides


def _evaluation_flags(options: argparse.Namespace, flags: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    """What was given of an evaluation's flags, as conf/evaluate.yaml has them."""
    made: dict[str, Any] = {} if options.also is None else {"also": options.also}
    for name in (flag.replace("-", "_") for flag, _, _ in flags):
        value = getattr(options, name)
        if value is None or name in ("workers", "score_mask", "json"):
            continue
        if name in LISTS and not parts(value):
            raise InputError(f"--{name} {value!r}: name at least one")
        made[name] = parts(value) if name in LISTS else whole(options, name) if name in COUNTS else value
        if name == "evaluations" and value.isdecimal():
            made[name] = int(value)
    if getattr(options, "workers", None) is not None:
        made["engine.workers"] = whole(options, "workers")
    return made


def _list(table: Any) -> int:
    from flowedit.evaluation.results import tables

    tables.show([table])
    return 0


def _tell(made: "Results") -> int:
    """The tables, and where the page lies."""
    from flowedit.evaluation.results import tables

    tables.show(list(tables.tables(made.rows, made.names, made.by_kind)))
    print(made.folder / "index.html")
    return 2 if made.failed else 0
