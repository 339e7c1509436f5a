"""What was measured, as JSON and as a table in Markdown; what was not run is marked, with the command that runs it."""

import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from flowedit import machine
from flowedit.evaluation.speed.measure import TIMES, Rig
from flowedit.evaluation.speed.shapes import SHAPES, shape_of


def about(device: torch.device) -> dict[str, Any]:
    """The kind of machine, never its name; versions; and the day."""
    return {
        "device": machine.device_name(device),
        "processor": _processor(),
        "cores": machine.cores(),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
        "date": date.today().isoformat(),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def measure(
    names: Sequence[str],
    folder: Path,
    device: str = "auto",
    repeats: int = TIMES,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Each named shape in a folder of its own: so many whole edits, a guided velocity by several ways, and a peer.

    `options` are those of an edit, by their names in conf/. Raises InputError for an unknown shape.
    """
    shapes = {name: shape_of(name) for name in names}
    made: dict[str, Any] = {}
    for name, shape in shapes.items():
        rig = Rig(shape, folder / name, device, options or {})
        say(f"{name}: {shape.about}, {rig.tokens} tokens")
        edits = []
        for turn in range(1, repeats + 1):
            edits.append(rig.edit(f"edit-{turn}"))
            say(f"{name}: edit {turn} of {repeats}, loop {_ratio(edits[-1]['ratio'])} times its calls")
        made[name] = {
            "about": shape.about,
            "frames": shape.frames,
            "size": "x".join(map(str, reversed(shape.size))),
            "tokens": rig.tokens,
            "edits": edits,
            "ways": rig.ways(),
            "pipeline": rig.pipeline(),
            "machine": about(rig.device),
            "options": dict(options or {}),
        }
    return made


def write(made: Mapping[str, Any], folder: Path) -> Path:
    """Write benchmark.json and benchmark.md into the folder; the path of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    with machine.whole_file(folder / "benchmark.json") as part:
        part.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    with machine.whole_file(folder / "benchmark.md") as part:
        part.write_text(markdown(made), encoding="utf-8")
    return folder / "benchmark.md"


EDITS = (
    "shape", "frames, size", "tokens", "encode", "embed", "edit loop", "decode, write", "peak MiB", "calls × rows",
    "one bare call", "loop ÷ (calls × floor)", "the same in processor time",
)  # fmt: skip
WAYS = (
    "shape", "plain", "with the recorder", "its share", "maps in full", "unbatched",
    "diffusers v2v: calls × rows", "its loop ÷ (calls × floor)",
)  # fmt: skip


def markdown(made: Mapping[str, Any], all_shapes: bool = True) -> str:
    """Two tables and the machine; seconds are medians, a ratio is its median (least to most)."""
    machines = {json.dumps(each["machine"]): each["machine"] for each in made.values()}
    lines = [_of_machine(each) for each in machines.values()]
    missing = [name for name in SHAPES if all_shapes and name not in made]
    rows = [_edits(name, each) for name, each in made.items()]
    rows += [[f"`{name}`", *_asked(name), *["not run"] * (len(EDITS) - 2)] for name in missing]
    lines += ["", *_table(EDITS, rows), "", *_table(WAYS, [_ways(name, each) for name, each in made.items()])]
    if missing:
        lines += ["", "Not run: " + ", ".join(f"`{name}`" for name in missing) + ". To run them: "]
        lines[-1] += f"`python scripts/benchmark.py shapes {' '.join(missing)} --out DIR`."
    return "\n".join([*lines, ""])


def _of_machine(found: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in ("python", "torch", "diffusers"))
    return f"{found['date']}: {found['device']}, {found['processor']}, {found['cores']} cores; {versions}."


def _asked(name: str) -> tuple[str]:
    shape = SHAPES[name]
    return (f"{shape.frames}, {shape.size[1]}x{shape.size[0]}",)


def _edits(name: str, found: Mapping[str, Any]) -> list[str]:
    edits = found["edits"]

    def phase(key: str) -> str:
        return f"{median(each['phases'][key]['seconds'] for each in edits):.3g} s"

    peak = max(phase["peak_memory_mib"] for each in edits for phase in each["phases"].values())
    calls, rows = edits[0]["calls"], edits[0]["rows_a_call"]
    one = median(each["floor"]["seconds"] for each in edits) / calls if calls else 0.0
    return [
        f"`{name}`", f"{found['frames']}, {found['size']}", str(found["tokens"]), phase("encode"), phase("embed"),
        phase("edit"), phase("decode and write"), f"{peak:.0f}", f"{calls} × {rows}", f"{one:.3g} s",
        _spread([each["ratio"] for each in edits]), _spread([each["cpu_ratio"] for each in edits]),
    ]  # fmt: skip


def _ways(name: str, found: Mapping[str, Any]) -> list[str]:
    ways = found["ways"]

    def cell(key: str) -> str:
        if ways[key] is None:
            return "does not fit"
        return f"{ways[key]['seconds']:.3g} s, {ways[key]['peak_memory_mib']:.0f} MiB"

    peer = found["pipeline"]
    clock = "cpu_seconds" if found["edits"][0]["cpu_ratio"] is not None else "seconds"  # less disturbed by others
    share = 1 - ways["plain"][clock] / ways["recorded"][clock]
    return [f"`{name}`", cell("plain"), cell("recorded"), f"{100 * share:.1f} %", cell("full maps"), cell("unbatched"),
            f"{peer['calls']} × {peer['rows_a_call']}", _ratio(peer["ratio"])]  # fmt: skip


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.3f} ({min(known):.3f} to {max(known):.3f})" if known else "–"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
