"""One command in a forked child of a warm process, and what is wrong with how it ended."""

import gc
import hashlib
import itertools
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS, GIB, LONGEST = 30, 2**30, 1100
MEMORY = 2 * GIB
"""Of one case: processor seconds, resident bytes, letters of a line that it prints."""

CLASS = re.compile(r"\b[A-Za-z_]*[a-z](?:Error|Exception|Warning|Interrupt)\b|\bTraceback\b|\bstd::\w+")
"""The name of a class of exceptions, which no user should read."""

SHORT = re.compile(r"out of memory|unable to allocate|can't allocate|cannot allocate|bad_alloc", re.IGNORECASE)
"""Signs that memory ran out: the limit held what a user's machine would not."""


@dataclass(frozen=True)
class Verdict:
    """How a case ended; `fault` is None for success or one clear line, else its kind in a few words."""

    code: int
    fault: str | None
    output: str
    seconds: float
    """Of the processor."""
    bytes: int


def warm() -> None:
    """Import what commands import, and compose what most of them compose, so that a forked child starts at once.

    No thread may run when it forks.
    """
    import cv2
    import diffusers
    import torch
    import transformers

    from flowedit.cli import main
    from flowedit.config import compose
    from flowedit.evaluation import compare, evaluate
    from flowedit.evaluation.bench import run as bench
    from flowedit.evaluation.options import evaluation
    from flowedit.pipeline import api, run
    from flowedit.pretrained import hub

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for name in ("T5EncoderModel", "UMT5EncoderModel", "T5Tokenizer"):
        getattr(transformers, name)
    for name in ("CogVideoXTransformer3DModel", "AutoencoderKLCogVideoX", "CogVideoXDDIMScheduler"):
        getattr(diffusers, name)
    for name in ("WanTransformer3DModel", "AutoencoderKLWan", "UniPCMultistepScheduler"):
        getattr(diffusers, name)
    assert all((main, compare, evaluate, bench, api, run, hub))
    for task, folder in itertools.product(("replace", "add", "remove"), ("", "backbone=folder")):
        groups = tuple(filter(None, [folder, f"task={task}"]))
        compose._keys(groups)
        compose.composed((*groups, "steps=1", "strength=1"))
        compose.defaults(groups)
    evaluation({})
    gc.collect()
    gc.freeze()


def run(argv: Sequence[str | bytes], folder: Path, seconds: int = SECONDS) -> Verdict:
    """`flowedit ARGV` in `folder`, which holds its inputs, and the first thing that is wrong with its end.

    What it prints lies beside the folder. Temporary files go to a folder of their own, which must be empty afterwards.
    """
    said = folder.with_name(folder.name + ".said")
    spare = folder.with_name(folder.name + ".tmp")
    spare.mkdir()
    before = contents(folder)
    assert threading.active_count() == 1, "a fork of several threads may hang"
    child = os.fork()
    if child == 0:
        _child([os.fsdecode(text) for text in argv], folder, spare, said, seconds)
    status, usage = _wait(child, 5 * seconds)
    taken = usage.ru_utime + usage.ru_stime
    output = said.read_text(encoding="utf-8", errors="replace")
    code = os.waitstatus_to_exitcode(status)
    size = usage.ru_maxrss * 1024
    fault = _ended(code, size) or _said(argv, code, output) or _left(code, before, contents(folder), spare)
    return Verdict(code, fault, output, taken, size)


def _child(argv: list[str], folder: Path, spare: Path, said: Path, seconds: int) -> None:
    """Never returns: the exit code is the command's, 70 for an exception that leaves it."""
    code = 70
    try:
        place = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (place, 1), (place, 2)):
            os.dup2(old, new)
        sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
        sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        os.chdir(folder)
        os.environ["TMPDIR"] = str(spare)
        used = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (GIB, GIB))
        from flowedit.cli.main import main

        try:
            code = main(argv)
        except SystemExit as stop:  # --help and --version
            code = int(stop.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        os.write(2, f"\nTraceback: {type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


def _wait(child: int, most: float) -> tuple[int, resource.struct_rusage]:
    """A child that sleeps uses no processor: it is ended after `most` seconds."""
    timer = threading.Timer(most, os.kill, (child, signal.SIGKILL))
    timer.start()
    try:
        _, status, usage = os.wait4(child, 0)
    finally:
        timer.cancel()
        timer.join()
    return status, usage


def _ended(code: int, size: int) -> str | None:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "hang"
    if code < 0:
        return f"crash by {signal.Signals(-code).name}"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    return f"{size / GIB:.1f} GiB" if size > MEMORY else None


def _said(argv: Sequence[str | bytes], code: int, output: str) -> str | None:
    if found := CLASS.search(output):
        return f"the word {found.group()}"
    if found := SHORT.search(output):
        return f"the words {found.group()}"
    if any(len(line) > LONGEST for line in output.splitlines()):
        return "a long line"
    lines = [line for line in output.splitlines() if not line.startswith("note: ")]
    if code == 1 and (len(lines) != 1 or not lines[0].startswith("flowedit: ") or len(lines[0].split()) < 4):
        return f"{len(lines)} lines for one"
    broken = any("\n" in os.fsdecode(text) for text in argv)  # a path of several lines is printed as it is
    quiet = code == 0 and argv[0] in QUIET and not output.startswith("usage:") and not broken
    noise = next((line for line in lines if quiet and not line.endswith(RESULTS)), None)
    return noise and f"another voice: {noise[:60]}"


QUIET = ("edit", "generate")
"""Commands that print notices and the path of their result, and nothing else."""

RESULTS = ("edit.mp4", "edit.png", "edit.gif", "edit.webp", "video.mp4")


def _left(code: int, before: dict[str, str], after: dict[str, str], spare: Path) -> str | None:
    own = [name for name in before if code == 1 or not name.startswith("o/")]  # results of before are replaced
    if lost := sorted(name for name in own if after.get(name) != before[name]):
        return f"the input {lost[0]!r} was changed"
    if left := sorted(path.name for path in spare.iterdir()):
        return f"the temporary file {left[0]!r} was left"
    new = sorted(name for name in after if name not in before)
    if code == 1 and new:
        return f"{new[0]!r} was left"
    hidden = [name for name in new if re.search(r"/\.(?!lock$|jobs\b)|\.part|\.unfinished|^\.flowedit", name)]
    return f"{hidden[0]!r} was left" if hidden else None


def contents(folder: Path) -> dict[str, str]:
    """Every path below a folder, with a hash of what it holds."""
    found = {}
    for place, folders, files in os.walk(os.fsencode(folder)):
        for name in folders + files:
            path = os.path.join(place, name)
            own = os.fsdecode(os.path.relpath(path, os.fsencode(folder)))
            if os.path.islink(path) or not os.path.isfile(path):
                found[own] = "folder or link"
                continue
            with open(path, "rb") as file:
                found[own] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
