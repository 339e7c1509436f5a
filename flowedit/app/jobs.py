"""Jobs: what was asked for, on disk; what each kind does when its turn comes; and the command that does the same."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.machine import read_json, whole_file
from flowedit.messages import Error, InputError

if TYPE_CHECKING:
    from flowedit.app.live import Live
    from flowedit.evaluation.engine.job import Shelf
    from flowedit.types import Monitor

KINDS = ("edit", "look", "compare")


@dataclass(frozen=True)
class JobRecord:
    """What was asked for. `flags` are the settings that were looked at and accepted; `mask` says how one is made."""

    id: str
    number: int
    kind: str
    owner: str | None
    clip: str
    flags: dict[str, Any]
    mask: dict[str, Any] | None
    created: float
    stop: bool = False
    """Whether it was asked to stop while it ran."""
    starts: int = 0
    """How often it began and did not come to an end, but for a server that was closed in good order."""


def write_record(folder: Path, record: JobRecord) -> None:
    """Keep a record as <folder>/<id>.json, whole or not at all."""
    with whole_file(folder / f"{record.id}.json") as part:
        part.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def read_records(folder: Path) -> list[JobRecord]:
    """All records in the order of their numbers; a file that is none is passed over."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(JobRecord(**read_json(path)))
        except (Error, TypeError):
            continue
    return sorted(found, key=lambda record: record.number)


@dataclass(frozen=True, eq=False)
class Order:
    """A job whose turn has come: its record, the clip's file, the folder of its results, and who watches."""

    record: JobRecord
    clip: Path
    out: Path
    live: "Live"
    mask: Path | None = None
    """A user's mask, where one was painted or uploaded."""


def options_of_job(record: JobRecord, mask: Path | None = None) -> dict[str, Any]:
    """The options of an edit, or of a look, by name: what was accepted, and what its mask comes to."""
    options = dict(record.flags)
    if record.mask is not None and mask is None:
        asked = {"mask.quantile": record.mask.get("quantile"), "mask.grow": record.mask.get("grow")}
        chosen = {key: value for key, value in asked.items() if value is not None}
        if "mask.quantile" in chosen:
            chosen |= {"mask.threshold": "quantile", "mask.level": 1.0}
        options |= chosen
    if mask is not None:
        options |= {"user_mask": str(mask), "mask.user": "replace"}
    return options


def run_edit(order: Order, folder: Path, monitor: "Monitor", shelf: "Shelf") -> dict[str, Any]:
    """One edit into its own folder, by the public API; `folder` gets nothing but result.json."""
    from flowedit.evaluation.edit_job import editor_of
    from flowedit.pipeline.api import settings_of

    if (order.out / "run.yaml").is_file():  # made by a server that was killed before it could say so
        return {"state": "stopped" if order.record.stop else "done", "notices": []}
    settings = settings_of({**options_of_job(order.record, order.mask), "clip": str(order.clip), "out": str(order.out)})
    order.live.editor = editor = editor_of(settings, shelf)
    made = editor.edit(
        order.clip,
        settings=settings,
        out=str(order.out),
        monitor=order.live,
        callback=order.live.step,
        cancel=order.live.cancel,
    )
    return {
        "state": "stopped" if order.live.stopped else "done",
        "notices": list(made.notices),
        "seconds": order.live.seconds,
    }


def run_look(order: Order, folder: Path, monitor: "Monitor", shelf: "Shelf") -> dict[str, Any]:
    """A few evaluations for the mask; their maps are kept beside result.json."""
    from flowedit.evaluation.edit_job import editor_of
    from flowedit.pipeline.api import settings_of

    settings = settings_of({**options_of_job(order.record, order.mask), "clip": str(order.clip)})
    editor = editor_of(settings, shelf)
    look = editor.look_at_mask(order.clip, settings=settings, monitor=order.live, cancel=order.live.cancel)
    look.save(folder / LOOK)
    height, width = look.size
    return {
        "state": "done",
        "notices": order.live.notices,
        "seconds": order.live.seconds,
        "frames": look.frames,
        "width": width,
        "height": height,
    }


LOOK = "look"
"""The folder of a look's maps."""


def run_compare(order: Order, folder: Path, monitor: "Monitor", shelf: "Shelf") -> dict[str, Any]:
    """One clip by several methods, with the machine to itself; what is done of it is not done again."""
    import flowedit
    from flowedit.app.live import ComparisonMonitor

    shelf.drop("editor")
    made = flowedit.compare(
        order.clip,
        out=str(order.out),
        monitor=ComparisonMonitor(order.live),
        cancel=order.live.cancel,
        **options_of_comparison(order.record, order.mask),
    )
    state = "stopped" if order.live.cancel.is_set() else "done"
    return {"state": state, "notices": list(made.notes), "failed": made.failed, "seconds": order.live.seconds}


def options_of_comparison(record: JobRecord, mask: Path | None = None) -> dict[str, Any]:
    """The options of a comparison: those of the edit, its mask too, but for its mode."""
    return {key: value for key, value in options_of_job(record, mask).items() if key.partition(".")[0] != "mode"}


def options_of(record: JobRecord, mask: str | None = None) -> dict[str, Any]:
    """The options of an edit or a comparison, with a mask's file where it has one of its own."""
    made = options_of_comparison if record.kind == "compare" else options_of_job
    return made(record, None if mask is None else Path(mask))


WORK = {"edit": run_edit, "look": run_look, "compare": run_compare}
"""What each kind does."""


def command_of(
    record: JobRecord, clip: str, mask: str | None = None, program: Sequence[str] = ("flowedit",)
) -> str | None:
    """The line of a terminal that makes the same, by that program; None for a look, which has none."""
    if record.kind == "look":
        return None
    options = options_of(record, mask)
    parts = [*program, "compare" if record.kind == "compare" else "edit", _as_file(clip)]
    for key, value in options.items():
        if key in ("target_parts", "lora") and isinstance(value, list):
            value = "|".join(value)
        text, flag = typed(value), f"--{key.replace('_', '-')}"
        if "." in key:
            parts.append(f"{key}={text}")
        else:
            parts += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return shlex.join(parts)


def _as_file(name: str) -> str:
    """A file's name that no parser takes for a flag or for key=value."""
    return f"./{name}" if name.startswith("-") or re.match(r"\w[\w.]*=", name) else name


def typed(value: Any) -> str:
    """A plain value as it is typed on a command line."""
    if isinstance(value, (list, tuple)):
        return ",".join(typed(each) for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def python_of(record: JobRecord, clip: str, mask: str | None = None) -> str | None:
    """The same in Python; None for a look."""
    if record.kind == "look":
        return None
    options = options_of(record, mask)
    return python_call("compare" if record.kind == "compare" else "edit", clip, options)


def python_call(function: str, clip: str, options: Mapping[str, Any]) -> str:
    """A call of flowedit by these options, those with a dot in a dictionary."""
    named = [f"{key}={value!r}" for key, value in options.items() if "." not in key]
    dotted = {key: value for key, value in options.items() if "." in key}
    arguments = ", ".join([repr(clip), *named, *([f"**{dotted!r}"] if dotted else [])])
    return f"import flowedit\n\nresult = flowedit.{function}({arguments})"


def check_mask(mask: Any) -> dict[str, Any] | None:
    """How a mask is made, looked at: {file}, or {look, quantile, grow, strokes, boxes}; raises InputError."""
    from flowedit.app.looks import check_adjust

    if mask is None:
        return None
    if not isinstance(mask, Mapping):
        raise InputError('mask is not a JSON object: write {"look": ID, "quantile": 0.8} or {"file": ID}')
    if unknown := set(mask) - {"file", "look", "quantile", "grow", "strokes", "boxes"}:
        raise InputError(
            f"unknown key {sorted(map(str, unknown))[0][:80]!r} in mask: file, look, quantile, grow, strokes, boxes"
        )
    made = check_adjust({key: value for key, value in mask.items() if key not in ("file", "look")})
    for key in ("file", "look"):
        if mask.get(key) is not None:
            made[key] = str(mask[key])
    return made


def is_painted(mask: Mapping[str, Any] | None) -> bool:
    """Whether a mask is a file of its own: uploaded, or with strokes or boxes."""
    return mask is not None and bool(mask.get("file") or mask.get("strokes") or mask.get("boxes"))
