"""Measure edits: whole ones of random networks, at real and small shapes, or two checkouts of flowedit by turns.

    python scripts/benchmark.py shapes cpu-2k cpu-4k --out DIR
    python scripts/benchmark.py clones OLD NEW -- examples/fox.yaml

`shapes` writes DIR/benchmark.json and DIR/benchmark.md; networks and clips lie in DIR too, those of a release at its
real size as large as the release. `clones` runs `flowedit edit` by turns in two warm processes, one of each folder.
"""

import argparse
import json
import sys
from pathlib import Path

from flowedit.messages import Error, InputError, one_line


def main() -> None:
    """Run one of the two and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    shapes = commands.add_parser("shapes", help="whole edits with random weights")
    shapes.add_argument("names", nargs="+", metavar="SHAPE")
    shapes.add_argument("--out", type=Path, required=True, metavar="DIR")
    shapes.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    shapes.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the edits")
    clones = commands.add_parser("clones", help="two checkouts by turns")
    clones.add_argument("checkouts", nargs=2, type=Path, metavar="DIR")
    clones.add_argument("edit", nargs="+", metavar="WORD", help="after --: what follows flowedit edit")
    clones.add_argument("--threads", type=int, default=2, metavar="N")
    clones.add_argument("--json", type=Path, metavar="FILE", help="where each turn's figures go")
    for each in (shapes, clones):
        each.add_argument("--repeats", type=int, default=5, metavar="N")
    asked = parser.parse_args()
    try:
        if asked.repeats < 1:
            raise InputError(f"--repeats {asked.repeats} must be at least 1")
        run_shapes(asked) if asked.what == "shapes" else run_clones(asked)
    except (Error, OSError) as error:
        raise SystemExit(f"error: {one_line(error)}") from error


def run_shapes(asked: argparse.Namespace) -> None:
    """Measure the named shapes."""
    from flowedit.evaluation.speed import table

    options = dict(text.partition("=")[::2] for text in asked.set)
    made = table.measure(asked.names, asked.out, asked.device, asked.repeats, options, _say)
    print(table.write(made, asked.out).read_text(encoding="utf-8"))


def run_clones(asked: argparse.Namespace) -> None:
    """Measure two checkouts."""
    from flowedit.evaluation.speed import clones

    made = clones.beside(asked.checkouts, asked.edit, asked.repeats, asked.threads)
    if asked.json is not None:
        asked.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(clones.compared(asked.checkouts, made))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
