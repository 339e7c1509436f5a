"""The edits of a folder: those of the studio, and those of the command line, which have no owner."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowedit.app import films
from flowedit.app.jobs import typed
from flowedit.messages import Error
from flowedit.pipeline.outputs import FOLDERS, shown

DEEPEST, MOST = 5, 1000
"""How deep in the folder edits are looked for, and how many are shown."""

TOLD = (
    "instruction", "source", "target", "source_words", "target_words", "negative_prompt", "seed", "steps", "strength",
    "edit_strength", "size", "start", "frames", "fps", "task",
)  # fmt: skip
"""What of an edit's settings is shown beside it."""


class History:
    """What lies in the folder; nothing is held but the ids of what was found."""

    def __init__(self, out: Path, hidden: str) -> None:
        self._out, self._hidden = out, hidden
        self._found: dict[str, Path] = {}

    def own(self, status: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """A job of the studio as one edit of the history."""
        keys = ("id", "kind", "state", "clip", "created", "files", "player", "report", "command", "python", "notices")
        said = _said(folder) if status["kind"] == "edit" else {}
        return {key: status[key] for key in keys} | {
            "name": folder.parent.name,
            "said": said,
            "settings": status["settings"],
        }

    def others(self, ids: Collection[str]) -> list[tuple[Path, dict[str, Any]]]:
        """The edits of the command line, each with its folder; a folder that bears a job's id is the studio's."""
        made = []
        for folder in self._folders(ids):
            with suppress(Error, OSError):
                made.append((folder, self.plain(folder)))
        return made[:MOST]

    def find(self, id: str) -> Path | None:
        """The folder of an edit of the command line by its id."""
        if id not in self._found:
            list(self._folders(()))
        found = self._found.get(id)
        return found if found is not None and (found / "run.yaml").is_file() else None

    def delete(self, id: str) -> bool:
        """Remove the files of an edit of the command line, and its folder if nothing else is in it."""
        if (folder := self.find(id)) is None:
            return False
        films.remove(*(folder / name for name in (*films.FILES, *FOLDERS)))
        films.remove(self._out / self._hidden / "previews" / id)
        with suppress(OSError):
            folder.rmdir()
        self._found.pop(id, None)
        return True

    def plain(self, folder: Path) -> dict[str, Any]:
        """An edit of the command line as the API tells of a job that is done."""
        id = identity(folder.relative_to(self._out))
        self._found[id] = folder
        base = f"/api/jobs/{id}/files"
        run = films.run_of(folder)
        clip = str((run.get("clip") or {}).get("file") or "clip.mp4")
        return {
            "id": id,
            "kind": "edit",
            "state": "done",
            "place": None,
            "clip": None,
            "mask": None,
            "name": Path(clip).stem,
            "created": round((folder / "run.yaml").stat().st_mtime, 3),
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
            "notices": [str(line) for line in run.get("notices") or []],
            "said": _said(folder),
            "settings": None,
            "command": None,
            "python": None,
            **films.left(folder, base),
        }

    def _folders(self, ids: Collection[str]) -> Iterator[Path]:
        """Folders with an edit in them; hidden ones and those of jobs are passed over."""
        waiting = [self._out]
        while waiting:
            place = waiting.pop()
            with suppress(OSError):
                if (place / "run.yaml").is_file() and shown(place).is_file():
                    self._found[identity(place.relative_to(self._out))] = place
                    yield place
                if len(place.relative_to(self._out).parts) < DEEPEST:
                    waiting += [
                        each
                        for each in place.iterdir()
                        if not each.name.startswith(".")
                        and each.name not in ids
                        and each.is_dir()
                        and not each.is_symlink()
                    ]


def identity(place: Path) -> str:
    """The id of an edit of the command line: a hash of its place in the folder."""
    return hashlib.sha256(place.as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _said(folder: Path) -> dict[str, Any]:
    """What was asked for, in the words of the settings, as run.yaml has them; nothing where it cannot be read."""
    with suppress(Error):
        settings = films.run_of(folder).get("settings") or {}
        said = {key: settings[key] for key in TOLD if settings.get(key) not in (None, "", ())}
        for group in ("mode", "backbone"):
            name = (settings.get(group) or {}).get("preset") or (settings.get(group) or {}).get("name")
            said |= {group: name} if name else {}
        return {key: value if isinstance(value, (int, float, str)) else typed(value) for key, value in said.items()}
    return {}
