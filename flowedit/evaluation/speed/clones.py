"""Two checkouts of the house beside each other: the same command by turns, each in a process that stays warm."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import IO, Any

import yaml

from flowedit.messages import FileMissingError, MachineError

WORKER = """
import json, sys, time
from flowedit.cli.main import main
told, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    start, used = time.perf_counter(), time.process_time()
    code = main(json.loads(line))
    took = {"code": code, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - used}
    print(json.dumps(took), file=told, flush=True)
"""
"""It knows the command line alone, which every revision has."""


@contextmanager
def worker(checkout: Path, threads: int) -> Iterator[Callable[[list[str]], dict[str, Any]]]:
    """A warm process of the flowedit in that folder: a function from a command line to its seconds and exit code.

    Raises FileMissingError for a folder without one, MachineError where the process ends.
    """
    if not (checkout / "flowedit" / "__init__.py").is_file():
        raise FileMissingError(f"{str(checkout)!r} holds no flowedit: give the folder of a clone or a git worktree")
    own = {"PYTHONPATH": str(checkout.absolute()), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER], env={**os.environ, **own}, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    told, heard = process.stdin, process.stdout
    assert told is not None
    assert heard is not None

    def ask(command: list[str]) -> dict[str, Any]:
        return _ask(command, told, heard, checkout)

    try:
        yield ask
    finally:
        told.close()
        process.wait()


def _ask(command: list[str], told: IO[str], heard: IO[str], checkout: Path) -> dict[str, Any]:
    try:
        told.write(json.dumps(command) + "\n")
        told.flush()
        answer = heard.readline()
    except OSError:
        answer = ""
    found: dict[str, Any] = json.loads(answer) if answer else {"code": None}
    if found["code"] != 0:
        raise MachineError(f"the flowedit of {str(checkout)!r} cannot run {' '.join(command)}: run it there by hand")
    return found


def beside(checkouts: Sequence[Path], command: Sequence[str], turns: int, threads: int) -> list[list[dict[str, Any]]]:
    """`flowedit edit COMMAND` by each checkout in turn, `turns` times after one that warms up.

    For each checkout its edits: seconds, processor seconds, and the phases of run.yaml. Raises as `worker` does.
    """
    made: list[list[dict[str, Any]]] = [[] for _ in checkouts]
    outputs = Path(mkdtemp())
    try:
        with ExitStack() as stack:
            asked = [stack.enter_context(worker(each, threads)) for each in checkouts]
            for turn in range(turns + 1):
                for number, ask in enumerate(asked):
                    out = outputs / f"{number}-{turn}"
                    took = ask(["edit", *command, "--out", str(out)])
                    run = yaml.safe_load((out / "run.yaml").read_text(encoding="utf-8"))
                    keys = ("phases", "network_evaluations")
                    if turn:
                        made[number].append({**took, **{key: run[key] for key in keys}})
    finally:
        shutil.rmtree(outputs, ignore_errors=True)
    return made


def compared(checkouts: Sequence[Path], made: Sequence[Sequence[dict[str, Any]]]) -> str:
    """A line for each checkout, and how many times the first one's seconds the others take: the median of the turns."""
    lines = [
        "| checkout | edit phase | whole command | its processor time | network evaluations | edit phase ÷ first |"
    ]
    lines.append("|" + "---|" * 6)
    first = [_edit(each) for each in made[0]]
    for checkout, turns in zip(checkouts, made, strict=True):
        edits = [_edit(each) for each in turns]
        whole, used = (median(each[key] for each in turns) for key in ("seconds", "cpu_seconds"))
        ratios = [edit / base for edit, base in zip(edits, first, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cells = (checkout.name, f"{median(edits):.2f} s", f"{whole:.2f} s", f"{used:.2f} s")
        lines.append(f"| {' | '.join(cells)} | {turns[0]['network_evaluations']} | {ratio} |")
    return "\n".join(lines)


def _edit(took: dict[str, Any]) -> float:
    return float(took["phases"]["edit"]["seconds"])
