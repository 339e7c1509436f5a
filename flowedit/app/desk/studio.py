"""The studio behind its page and its API: clips, jobs, looks, history, models; the work itself is the worker's."""

import functools
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from flowedit.app import films, forms, heavy, limits, looks
from flowedit.app.clips import Clips, StoredClip
from flowedit.app.desk import lines, submission, told
from flowedit.app.desk.settings import settings_from
from flowedit.app.history import MOST, PAGE, History
from flowedit.app.jobs import JobRecord
from flowedit.app.limits import UnknownError
from flowedit.app.looks import Looks, check_adjust
from flowedit.app.models import Models
from flowedit.app.options import StudioOptions
from flowedit.app.worker import Queue
from flowedit.machine import digest_file
from flowedit.messages import Error, InputError

HIDDEN = ".studio"
"""The folder, in that of the results, of clips, jobs and what is made to be shown."""


class Studio:
    """All that the page and the API do; any thread may call it. `start` opens the folder and runs the worker."""

    def __init__(self, options: StudioOptions) -> None:
        self.options = options
        self.out = Path(options.out).absolute()
        self.root = self.out / HIDDEN
        self.clips = Clips(self.root / "clips", options)
        self.models = Models()
        self._looks = Looks()
        self._queue = Queue(self.out, self.root, options, self.clips, self._looks)
        self._history = History(self.out, HIDDEN)
        self._examples = threading.Lock()
        self._asked = functools.lru_cache(1000)(self._asked_of)

    def start(self) -> None:
        """Lock the folder and go on with its queue; raises BusyError, FileError."""
        limits.check_backbone(self.options.backbone)
        self._queue.start()

    def close(self) -> None:
        """End the work, kept for the next start, and the downloads; give the folder free."""
        self.models.close()
        self._queue.close()

    def add_clip(self, source: str | Path | IO[bytes], name: str, owner: str | None) -> StoredClip:
        """Keep a clip; see `Clips.add`."""
        return self.clips.add(secrets.token_hex(16), source, name, owner)

    def clip(self, id: str) -> StoredClip:
        """A clip by its id; raises UnknownError."""
        return self.clips.get(id)

    def delete_clip(self, id: str, owner: str | None) -> None:
        """Remove a clip; raises NotNowError while a job waits for it, UnknownError for another owner's."""
        self._check_owner(self.clip(id).owner, owner, "clip", id)
        self._queue.delete_clip(id)

    def example(self, name: str, owner: str | None) -> dict[str, Any]:
        """A clip that comes with flowedit, as {clip, settings}; kept once for all of an owner's visits."""
        from flowedit.config.edit_file import read_edit
        from flowedit.config.folder import example

        settings = read_edit(example(name))
        path = Path(settings.pop("clip"))
        id = hashlib.sha256(f"{owner} {name} {digest_file(path)}".encode()).hexdigest()[:32]
        with self._examples:
            try:
                clip = self.clip(id)
            except UnknownError:
                clip = self.clips.add(id, path, path.name, owner)
        return {"clip": clip.plain(), "settings": settings}

    def describe(self, clip_id: str) -> str:
        """A sentence about a clip, by the vision-language model that the studio was started with.

        Raises InputError without one, NotNowError while the device is at work, and what the model raises.
        """
        import flowedit

        heavy.ready()
        if self.options.caption is None:
            raise InputError("no model describes clips here: start the studio with --caption NAME, or say what is seen")
        with self._queue.alone():
            return flowedit.describe(self.clips.path(clip_id), caption=self.options.caption)

    def check_room(self, owner: str | None) -> None:
        """Raise FullError where no more jobs may wait, or no more of this owner."""
        self._queue.check_room(owner)

    def submit(
        self, kind: str, clip_id: str, settings: Any, owner: str | None, mask: Mapping[str, Any] | None = None
    ) -> str:
        """Put a job at the end of the queue and return its id, once it is on disk.

        Raises InputError for what an edit would refuse, NotNowError for a model that is not here, FullError.
        """
        clip = self.clip(clip_id)
        self.check_room(owner)
        record = submission.record_of(kind, clip.id, settings, owner, mask, self.options)
        file = (record.mask or {}).get("file")
        given = None if file is None else (self.clip(file), self.clips.path(file))
        path = self.clips.path(clip.id)
        submission.check(record, clip, path, lambda id: self._queue.look(id)[0], self.options, given)
        self._queue.put(record)
        return record.id

    def stop(self, id: str, owner: str | None) -> None:
        """Stop a job: after the step that runs, with what it has; one that waits, at once.

        Raises UnknownError for another owner's.
        """
        self._check_owner(self._queue.record(id).owner, owner, "job", id)
        self._queue.stop(id)

    def delete(self, id: str, owner: str | None) -> None:
        """Remove a job and its files, or an edit of the command line.

        Raises NotNowError for a job that runs, UnknownError for another owner's.
        """
        if self._of_command_line(id) is None or not self._history.delete(id):
            self._check_owner(self._queue.record(id).owner, owner, "job", id)
            self._queue.delete(id)

    def _check_owner(self, of: str | None, owner: str | None, what: str, id: str) -> None:
        """Where other machines are let in, what somebody else made is as if it were not there."""
        if not self.options.local and of != owner:
            raise UnknownError(f"no {what} of yours is called {id!r}: who made it alone can stop or delete it")

    def _of_command_line(self, id: str) -> Path | None:
        """The folder of an edit that the command line made, which a local studio shows too."""
        limits.check_id(id, "job")
        jobs = dict(self._queue.records)
        return self._history.find(id, jobs) if self.options.local and id not in jobs else None

    def status(self, id: str) -> dict[str, Any]:
        """All that a page needs of a job, in its words; raises UnknownError."""
        return told.worded(self._status(id), self.options.allow)

    def _status(self, id: str) -> dict[str, Any]:
        if (found := self._of_command_line(id)) is not None:
            path = found / "run.yaml"
            return self._history.plain(found) | self._asked(found, path.stat().st_mtime_ns if path.is_file() else 0)
        record, state, place, live, result = self._queue.state(id)
        status = told.status(record, state, place, live, result)
        if state == "queued" and self._queue.warming:
            status["phase"] = "load"
        if state in ("done", "stopped"):
            status |= told.left(record, self._queue.folder(record))
        clip, mask, names, local = "clip.mp4", None, dict[str, str](), self.options.local
        with suppress(UnknownError):
            stored, path = self.clip(record.clip), self.clips.path(record.clip)
            clip = str(path) if local else stored.given
            names[str(path)] = stored.name
        try:
            if (file := self._queue.mask_file(record)) is not None:
                name, address = self._mask_of(record, file)
                mask = str(file) if local else name
                names[str(file)] = "that you gave"
                status["files"] |= {name: address} if status["files"] and file.is_file() else {}
        except UnknownError:
            status["left_out"] = ["no line makes the same: the mask that it was given was deleted"]
            return told.named(status, names) | lines.NONE
        return told.named(status, names) | lines.of_job(record, clip, mask, local)

    def _mask_of(self, record: JobRecord, path: Path) -> tuple[str, str]:
        """The name and the address of a job's own mask: of one that was painted, or of the file that was given."""
        if file := (record.mask or {}).get("file"):
            return f"{Path(films.PAINTED).stem}{path.suffix}", self.clip(file).plain()["original"]
        return films.PAINTED, f"/api/jobs/{record.id}/files/{films.PAINTED}"

    def jobs(self, owner: str | None) -> list[dict[str, Any]]:
        """The owner's jobs in the order in which they were asked for."""
        found = []
        for record in list(self._queue.records.values()):
            with suppress(UnknownError):  # deleted meanwhile
                found += [self.status(record.id)] if record.owner == owner else []
        return found

    def history(self, owner: str | None, after: str = "", most: int = PAGE) -> list[dict[str, Any]]:
        """The owner's edits that are there, the newest first, from behind the id `after`; see `History.page`.

        Of a local studio those of the command line too. Raises UnknownError, and InputError for a number out of range.
        """
        if not 1 <= most <= MOST:
            raise InputError(f"most is {most}: give 1 to {MOST}")
        jobs = dict(self._queue.records)
        own = {id: record.created for id, record in jobs.items() if record.owner == owner}
        return self._history.page(own, self._of_history, jobs if self.options.local else None, after, most)

    def _of_history(self, id: str) -> dict[str, Any] | None:
        """A job as the history shows it; None for one that left nothing."""
        with suppress(UnknownError):  # deleted meanwhile
            record, state, *_ = self._queue.state(id)
            if record.kind != "look" and state in ("done", "stopped"):
                return self._history.own(record, state, self._queue.folder(record))
        return None

    def _asked_of(self, folder: Path, _time: int) -> dict[str, Any]:
        """The settings of an edit of the command line that may be set from here, and what makes the same.

        Settings are None where run.yaml cannot be read; `left_out` says what the settings, or the lines, do not hold.
        """
        left = list[str]()
        try:
            settings = self.settings_from(folder / "run.yaml", say=left.append)
            if "backbone" not in settings:
                left.append("its model is none of those that go by name: choose one")
            return {"settings": settings, **lines.of_folder(folder, left.append), "left_out": list(dict.fromkeys(left))}
        except (Error, OSError):
            return {"settings": None, **lines.NONE, "left_out": ["its run.yaml cannot be read: its settings are lost"]}

    def settings_from(
        self, path: str | Path, name: str | None = None, say: Callable[[str], None] = lambda text: None
    ) -> dict[str, Any]:
        """The settings in an edit.mp4, edit.png or run.yaml, of those keys that may be set from here.

        `name` is what its user calls the file, `say` hears what was left out. Raises InputError for any other file.
        """
        return settings_from(Path(path), self.options.allow, name or Path(path).name, say)

    def look_mask(self, id: str, adjust: Any) -> dict[str, Any]:
        """The mask of a look under a threshold, a growth, strokes and boxes, as a small strip of all frames."""
        record, folder = self._queue.look(id)
        held = self._looks.get(id, folder, self.clips.path(record.clip), record.flags)
        return looks.strip(held, check_adjust(adjust, held.look.frames))

    def file(self, id: str, name: str) -> Path | None:
        """A file of a job by its name; None for one that `make_file` is still to make.

        Raises UnknownError for any that is not one of those it leaves.
        """
        shown = self.root / "previews" / id
        if (found := self._of_command_line(id)) is not None:
            return films.there(found, name, shown)
        record = self._queue.record(id)
        folder = self._queue.folder(record)
        return films.of_report(folder, name) if record.kind == "compare" else films.there(folder, name, shown)

    def make_file(self, id: str, name: str) -> Path:
        """A player or a picture of a job, made where it is not there; raises UnknownError as `file`.

        It decodes the edit: who calls it says how many at once.
        """
        shown, clip = self.root / "previews" / id, None
        if (found := self._of_command_line(id)) is not None:
            return films.make(found, name, shown, None)
        record = self._queue.record(id)
        with suppress(UnknownError):
            clip = self.clips.path(record.clip)
        return films.make(self._queue.folder(record), name, shown, clip)

    def page(self, id: str, path: Path) -> str:
        """A page of a comparison's report, from its file, as it is served."""
        clip = None
        with suppress(UnknownError):
            clip = self.clip(self._queue.record(id).clip).address
        return films.served(path.read_text(encoding="utf-8"), clip)

    def preview(self, id: str) -> bytes:
        """The newest preview of the job that runs, a JPEG; raises UnknownError where there is none."""
        live = self._queue.state(id)[3]
        if live is None or live.preview is None:
            raise UnknownError("there is no preview yet, or no more: the job's files tell what became of it")
        return live.preview

    def options_of_edits(self, mode: str = "", backbone: str = "") -> list[dict[str, Any]]:
        """Every option of an edit, with its default for a mode and a backbone; see `forms`."""
        return forms.forms(mode, self.options.allow, backbone or self.options.backbone)

    def backbones(self) -> list[dict[str, Any]]:
        """The models, what fits this machine, and which are here."""
        return self.models.plain()

    def download(self, name: str) -> None:
        """Begin or go on with a download; raises InputError for an unknown name."""
        limits.check_backbone(name)
        self.models.download(name)

    def stop_download(self, name: str) -> None:
        """End a download; what is there stays for the next one."""
        limits.check_backbone(name)
        self.models.stop(name)
