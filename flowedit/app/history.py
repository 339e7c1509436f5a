"""The edits of a folder: those of the studio, and those of the command line, which have no owner."""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from flowedit.app import films
from flowedit.app.jobs import JobRecord, typed
from flowedit.app.limits import UnknownError
from flowedit.evaluation.options import MODES
from flowedit.messages import Error
from flowedit.pipeline.outputs import FOLDERS, FORMATS

DEEPEST = 5
"""How deep in the folder edits are looked for."""

PAGE, MOST = 30, 200
"""How many edits are shown at once if nobody says, and at most."""

LEAST = 2.0
"""Seconds between two walks through the folder for an id that is not known."""

RECORD = "run.yaml"
"""The file that an edit is known by."""

TOLD = (
    "instruction", "source", "target", "source_words", "also_words", "target_words", "negative_prompt", "seed", "steps",
    "strength", "edit_strength", "size", "start", "frames", "fps", "task",
)  # fmt: skip
"""What of an edit's settings is shown beside it."""


class History:
    """What lies in the folder; nothing is held but the ids of what was found."""

    def __init__(self, out: Path, hidden: str) -> None:
        self._out, self._hidden = out, hidden
        self._found: dict[str, Path] = {}
        self._again = 0.0

    def page(
        self,
        own: Mapping[str, float],
        tell: Callable[[str], dict[str, Any] | None],
        jobs: Collection[str] | None,
        after: str,
        most: int,
    ) -> list[dict[str, Any]]:
        """At most `most` edits, the newest first, from the one behind the id `after` on, or from the newest.

        `own` are an owner's jobs by id, with the time that each was asked for, and `tell` says what is shown of one,
        None of one that left nothing. The edits of the command line are among them unless `jobs`, the ids of all jobs,
        is None. Only what is shown is read. Raises UnknownError for an `after` that is not there.
        """
        found = [(created, id) for id, created in own.items()]
        if jobs is not None:
            found += [(created, identity(place)) for place, created in self._folders(jobs)]
        found.sort(reverse=True)
        start = 0
        if after:
            start = 1 + next((place for place, (_, id) in enumerate(found) if id == after), -2)
            if start < 0:
                raise UnknownError(f"no edit is called {after[:40]!r}: ask for the history from its start")
        made = (tell(id) if id in own else self._card(id) for _, id in found[start:])
        return list(islice(filter(None, made), most))

    def own(self, record: JobRecord, state: str, folder: Path) -> dict[str, Any] | None:
        """A job of the studio as the history shows it; None for one that left nothing."""
        base, compared = f"/api/jobs/{record.id}/files", record.kind == "compare"
        if not ((folder / "index.html").is_file() if compared else films.made(folder)):
            return None
        return {
            "id": record.id,
            "kind": record.kind,
            "state": state,
            "clip": record.clip,
            "created": record.created,
            "name": folder.parent.name,
            "said": {} if compared else _said(folder),
            "settings": record.flags,
            "methods": list(record.flags.get("modes") or MODES) if compared else None,
            "poster": f"/api/clips/{record.clip}/{films.POSTER}" if compared else f"{base}/{films.POSTER}",
        }

    def _card(self, id: str) -> dict[str, Any] | None:
        """An edit of the command line as the history shows it; None for one that cannot be read."""
        folder = self._found[id]
        with suppress(Error, OSError):
            run = films.run_of(folder)
            return {
                "id": id,
                "kind": "edit",
                "state": "done",
                "clip": None,
                "created": _created(folder / RECORD),
                "name": _name(run),
                "said": _said(folder),
                "settings": {},
                "methods": None,
                "poster": f"/api/jobs/{id}/files/{films.POSTER}",
            }
        return None

    def find(self, id: str, jobs: Collection[str]) -> Path | None:
        """The folder of an edit of the command line by its id; those of `jobs`, the ids of all jobs, are none.

        Whoever asks for ids that are not there has the folder walked in a twentieth of the time at most.
        """
        began = time.monotonic()
        if id not in self._found and began >= self._again:
            for _ in self._folders(jobs):
                pass
            self._again = time.monotonic() + max(LEAST, 20 * (time.monotonic() - began))
        found = self._found.get(id)
        return found if found is not None and (found / RECORD).is_file() else None

    def delete(self, id: str) -> bool:
        """Remove the files of an edit that was found, and its folder if it is empty then; False for any other id."""
        if (folder := self._found.get(id)) is None:
            return False
        films.remove(*(folder / name for name in (*films.FILES, *FOLDERS)))
        films.remove(self._out / self._hidden / "previews" / id)
        with suppress(OSError):
            folder.rmdir()
        self._found.pop(id, None)
        return True

    def plain(self, folder: Path) -> dict[str, Any]:
        """An edit of the command line as the API tells of a job that is done, but for what was asked for."""
        id = identity(folder.relative_to(self._out))
        self._found[id] = folder
        base = f"/api/jobs/{id}/files"
        run = dict[str, Any]()
        with suppress(Error):  # it is shown, though nothing is known of it
            run = films.run_of(folder)
        return {
            "id": id,
            "kind": "edit",
            "state": "done",
            "place": None,
            "clip": None,
            "mask": None,
            "name": _name(run),
            "created": _created(folder / RECORD),
            "message": None,
            "phase": None,
            "done": 0,
            "total": 0,
            "fraction": 1.0,
            "seconds": None,
            "seconds_left": None,
            "preview": None,
            "report": None,
            "player": None,
            "notices": [str(line) for line in notices] if isinstance(notices := run.get("notices"), list) else [],
            "said": _said(folder),
            **films.left(folder, base),
        }

    def _folders(self, ids: Collection[str]) -> Iterator[tuple[Path, float]]:
        """Folders with an edit in them and its time, of names alone; hidden ones and those of jobs are passed over."""
        waiting = [(str(self._out), 0)]
        while waiting:
            place, depth = waiting.pop()
            with suppress(OSError):
                with os.scandir(place) as entries:
                    held = [each for each in entries if not each.name.startswith(".") and each.name not in ids]
                names = {each.name for each in held}
                if RECORD in names and not names.isdisjoint(FORMATS):
                    created = _created(next(each for each in held if each.name == RECORD))
                    folder = Path(place)
                    self._found[identity(folder.relative_to(self._out))] = folder
                    yield folder.relative_to(self._out), created
                if depth < DEEPEST:
                    waiting += [(each.path, depth + 1) for each in held if each.is_dir(follow_symlinks=False)]


def _created(record: Path | os.DirEntry[str]) -> float:
    """When an edit was made, by its record's time; it is told in milliseconds."""
    return round(record.stat().st_mtime, 3)


def _name(run: Mapping[str, Any]) -> str:
    """The name of an edit's clip."""
    return Path(str(under(run, "clip").get("file") or "clip.mp4")).stem


def under(run: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What a run.yaml from anywhere has under a name; {} for what is no mapping."""
    found = run.get(key)
    return found if isinstance(found, Mapping) else {}


def identity(place: Path) -> str:
    """The id of an edit of the command line: a hash of its place in the folder."""
    return hashlib.sha256(place.as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _said(folder: Path) -> dict[str, Any]:
    """What was asked for, in the words of the settings, as run.yaml has them; nothing where it cannot be read."""
    with suppress(Error):
        settings = under(films.run_of(folder), "settings")
        said = {key: settings[key] for key in TOLD if settings.get(key) not in (None, "", ())}
        for group in ("mode", "backbone"):
            name = under(settings, group).get("preset") or under(settings, group).get("name")
            said |= {group: name} if name else {}
        return {key: value if isinstance(value, (int, float, str)) else typed(value) for key, value in said.items()}
    return {}
