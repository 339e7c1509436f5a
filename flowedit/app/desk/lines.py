"""What makes the same edit again: a command and a call, of a job, and of an edit that the command line made."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowedit.app import films, jobs
from flowedit.app.history import under
from flowedit.app.jobs import JobRecord
from flowedit.config.compose import compose

NONE: dict[str, Any] = {"command": None, "python": None}


def of_job(record: JobRecord, clip: str, mask: str | None = None, here: bool = False) -> dict[str, Any]:
    """The command and the call that make the same of a clip, and of a mask's file where it has one.

    With `here` the command is for a shell of this machine, which may not have flowedit on its path.
    """
    program = program_here() if here else ("flowedit",)
    return {"command": jobs.command_of(record, clip, mask, program), "python": jobs.python_of(record, clip, mask)}


def program_here() -> tuple[str, ...]:
    """What a shell calls the flowedit that runs this: by its name where that is on PATH, else by its full path."""
    own = shutil.which("flowedit", path=str(Path(sys.executable).parent))
    found = shutil.which("flowedit")
    if found is not None and (own is None or Path(found).resolve() == Path(own).resolve()):
        return ("flowedit",)
    return (sys.executable, "-m", "flowedit") if own is None else (own,)


def of_folder(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The same of the folder of an edit of the command line, the paths that it was made with among them.

    No lines where something of it is not known, which `say` hears. Raises InputError where run.yaml cannot be read.
    """
    import flowedit

    run, lost = films.run_of(folder), list[str]()
    held = flowedit.settings_from(folder / "run.yaml", say=lost.append)
    places = _places(under(run, "settings"), held)
    lost = [text for text in lost if not any(text.endswith(END[key]) for key in END if key in places)]
    if "prompt" in held:
        lost.append("it was made from text alone")
    if lost:
        say(f"no line makes the same: {'; '.join(lost)}")
        return NONE
    clip = str(under(run, "clip").get("file") or "clip.mp4")
    return of_job(JobRecord("", 0, "edit", None, "", held | places, None, 0.0), clip, here=True)


END = {"user_mask": "give the mask again", "backbone": ": 'backbone'"}
"""How it ends what `settings_from` says of what stands among the places."""


def _places(written: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """What no file gives to others: the mask and the model by their places, and how the machine was used.

    A model of --caption is not among them: what it said is the source.
    """
    made: dict[str, Any] = {}
    if mask := written.get("user_mask"):
        made["user_mask"] = str(mask)
    model = under(written, "backbone")
    if "backbone" not in held and (place := model.get("path") or model.get("name")):
        made["backbone"] = str(place)
    usual = asdict(compose({}))["runtime"]
    for key, value in under(written, "runtime").items():
        if key in usual and value != usual[key]:
            made[f"runtime.{key}"] = "null" if value is None else value
    return made
