"""The studio behind its page and its API: clips, jobs, looks, history, models; the work itself is the worker's."""

import functools
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flowedit.app import films, forms, heavy, jobs, limits, masks
from flowedit.app.clips import Clips, StoredClip, renamed
from flowedit.app.history import History
from flowedit.app.jobs import JobRecord
from flowedit.app.limits import NotNowError, UnknownError
from flowedit.app.masks import Looks, check_adjust
from flowedit.app.models import Models
from flowedit.app.options import StudioOptions
from flowedit.app.worker import Desk
from flowedit.machine import digest_file
from flowedit.messages import Error, InputError

if TYPE_CHECKING:
    from flowedit.config.schema import Settings
    from flowedit.pipeline.source import Clip

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
        self._desk = Desk(self.out, self.root, options, self.clips, self._looks)
        self._history = History(self.out, HIDDEN)
        self._examples = threading.Lock()
        self._settings = functools.lru_cache(1000)(lambda path, _time: self.settings_from(path))

    def start(self) -> None:
        """Lock the folder and go on with its queue; raises BusyError, FileError."""
        limits.check_backbone(self.options.backbone)
        self._desk.start()

    def close(self) -> None:
        """End the work, kept for the next start, and the downloads; give the folder free."""
        self.models.close()
        self._desk.close()

    def add_clip(self, source: str | Path | IO[bytes], name: str, owner: str | None) -> StoredClip:
        """Keep a clip; see `Clips.add`."""
        return self.clips.add(secrets.token_hex(16), source, name, owner)

    def clip(self, id: str) -> StoredClip:
        """A clip by its id; raises UnknownError."""
        return self.clips.get(id)

    def delete_clip(self, id: str) -> None:
        """Remove a clip; raises NotNowError while a job waits for it."""
        self._desk.delete_clip(id)

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
        heavy.ready()
        from flowedit.language.grammar import Change, Instruction
        from flowedit.pipeline.api import settings_of
        from flowedit.pipeline.prompts.captions import Captions
        from flowedit.types import QUIET

        if self.options.caption is None:
            raise InputError("no model describes clips here: start the studio with --caption NAME, or say what is seen")
        settings = settings_of({"clip": str(self.clips.path(clip_id)), "caption": self.options.caption})
        with self._desk.alone(), Captions(QUIET) as captions:
            return captions.of(settings, Instruction("", (Change("replace"),))) or ""

    def check_room(self, owner: str | None) -> None:
        """Raise FullError where no more jobs may wait, or no more of this owner."""
        self._desk.check_room(owner)

    def submit(
        self, kind: str, clip_id: str, settings: Any, owner: str | None, mask: Mapping[str, Any] | None = None
    ) -> str:
        """Put a job at the end of the queue and return its id, once it is on disk.

        Raises InputError for what an edit would refuse, NotNowError for a model that is not here, FullError.
        """
        if kind not in jobs.KINDS:
            raise InputError(f"kind {str(kind)[:80]!r} is not one of {', '.join(jobs.KINDS)}")
        clip = self.clip(clip_id)
        self.check_room(owner)
        flags = limits.accepted(settings, kind, self.options.allow)
        flags.setdefault("backbone", self.options.backbone)
        if self.options.caption and flags.get("instruction") and not flags.get("source"):
            flags["caption"] = self.options.caption
        asked = self._mask_of(jobs.check_mask(mask))
        record = JobRecord(secrets.token_hex(16), 0, kind, owner, clip.id, flags, asked, round(time.time(), 3))
        self._check(record, clip)
        self._desk.put(record)
        return record.id

    def _mask_of(self, mask: dict[str, Any] | None) -> dict[str, Any] | None:
        """A mask whose file or look is there; raises UnknownError, NotNowError."""
        if mask is None:
            return None
        if mask.get("file"):
            self.clip(mask["file"])
        elif mask.get("look"):
            self._desk.look(mask["look"])
        return mask

    def _check(self, record: JobRecord, clip: StoredClip) -> None:
        """Refuse now what the job would refuse when its turn comes."""
        heavy.ready()
        from flowedit.media.probe import probe
        from flowedit.pipeline import run
        from flowedit.pipeline.api import settings_of
        from flowedit.pipeline.checks import check
        from flowedit.pipeline.plan import foreseen
        from flowedit.pipeline.prompts import instruction
        from flowedit.pipeline.prompts.captions import Captions
        from flowedit.pipeline.source import open_clip
        from flowedit.types import QUIET

        path = self.clips.path(record.clip)
        options = jobs.options_of_job(record, path if jobs.is_painted(record.mask) else None)
        own = {key: value for key, value in options.items() if key not in limits.COMPARE}
        settings = settings_of({**own, "clip": str(path)})
        try:
            source = open_clip(settings, probe(path))
            if record.kind != "compare":
                kept = (
                    None if settings.caption is None else Captions(QUIET, ask=False)
                )  # the model is asked in its turn
                brief = check(instruction.complete(settings, QUIET, kept, source.video), source)
            self._check_mask(record, settings, source)
            here = run.checkpoint(settings, fetch=False)
        except InputError as error:
            raise InputError(str(error).replace(str(path), clip.name)) from None
        if here is None:
            raise NotNowError(f"backbone {settings.backbone.name!r} is not on this machine yet: download it first")
        evaluations = self._of_comparison(record, path) if record.kind == "compare" else brief.cost(foreseen(brief))
        frames, cuts = len(source.selection.indices), settings.cuts
        shots = len(cuts) + 1 if isinstance(cuts, tuple) else 1 if cuts == "none" else len(clip.scenes)
        limits.check_cost(evaluations, min(shots, frames), frames, settings.frame_size, self.options.evaluations)

    def _check_mask(self, record: JobRecord, settings: "Settings", source: "Clip") -> None:
        """Raise InputError for paint on a frame that is not read, and for a look at something else than this."""
        from flowedit.pipeline.api import settings_of

        mask = dict(record.mask or {})
        look, _ = mask.pop("look", None), mask.pop("file", None)
        check_adjust(mask, len(source.selection.indices))
        if look is None:
            return
        asked = self._desk.look(look)[0]
        then = settings_of({**jobs.options_of_job(asked), "clip": settings.clip})
        if asked.clip != record.clip or masks.subject(then, source.video) != masks.subject(settings, source.video):
            raise InputError("the mask is of an earlier clip, trim, model or words: look at the mask again")

    def _of_comparison(self, record: JobRecord, path: Path) -> int:
        """The network evaluations of a comparison, at most: of each of its methods what the most costly one takes."""
        from flowedit.evaluation.options import MODES
        from flowedit.pipeline.api import settings_of
        from flowedit.pipeline.plan import network_evaluations

        options = {key: value for key, value in jobs.options_of_comparison(record).items() if key not in limits.COMPARE}
        modes, budget = record.flags.get("modes") or MODES, record.flags.get("evaluations")
        each = [network_evaluations(settings_of({**options, "mode": mode, "clip": str(path)})) for mode in modes]
        return len(each) * (budget if isinstance(budget, int) else max(each))

    def stop(self, id: str) -> None:
        """Stop a job: after the step that runs, with what it has; one that waits, at once."""
        self._desk.stop(id)

    def delete(self, id: str) -> None:
        """Remove a job and its files, or an edit of the command line; raises NotNowError for a job that runs."""
        if self._of_command_line(id) is None or not self._history.delete(id):
            self._desk.delete(id)

    def _of_command_line(self, id: str) -> Path | None:
        """The folder of an edit that the command line made, which a local studio shows too."""
        limits.check_id(id, "job")
        return self._history.find(id) if self.options.local and id not in self._desk.records else None

    def status(self, id: str) -> dict[str, Any]:
        """All that a page needs of a job; raises UnknownError."""
        if (found := self._of_command_line(id)) is not None:
            return self._history.plain(found) | self._asked(found)
        record, state, place, live, result = self._desk.state(id)
        told: dict[str, Any] = {
            "id": id,
            "kind": record.kind,
            "state": state,
            "place": place,
            "clip": record.clip,
            "settings": record.flags,
            "mask": record.mask,
            "created": record.created,
            "message": result.get("message"),
            "phase": "load" if state == "queued" and self._desk.warming else None,
            "done": 0,
            "total": 0,
            "fraction": 1.0 if state == "done" else 0.0,
            "seconds": result.get("seconds"),
            "seconds_left": None,
            "notices": result.get("notices", []),
            "preview": None,
            "files": {},
            "player": None,
            "report": None,
        }
        if live is not None:
            told |= live.plain()
            told["preview"] = f"/api/jobs/{id}/preview.jpg?{live.previews}" if live.preview is not None else None
        if state in ("done", "stopped"):
            told |= self._left(record)
        return told | self._lines(record)

    def _left(self, record: JobRecord) -> dict[str, Any]:
        """The addresses of what a job left."""
        base, folder = f"/api/jobs/{record.id}/files", self._desk.folder(record)
        if record.kind == "compare" and (folder / "index.html").is_file():
            return {"report": f"{base}/index.html", "files": {"index.html": f"{base}/index.html"}}
        return films.left(folder, base) if record.kind == "edit" and films.made(folder) else {}

    def _lines(self, record: JobRecord) -> dict[str, Any]:
        """The command and the call that make the same; on other machines by the clip's name alone."""
        clip, mask = "clip.mp4", None
        with suppress(UnknownError):
            clip = str(self.clips.path(record.clip)) if self.options.local else self.clip(record.clip).name
            if (path := self._desk.mask_file(record)) is not None:
                mask = str(path) if self.options.local else "mask.mp4"
        return {"command": jobs.command_of(record, clip, mask), "python": jobs.python_of(record, clip, mask)}

    def jobs(self, owner: str | None) -> list[dict[str, Any]]:
        """The owner's jobs in the order in which they were asked for."""
        found = []
        for record in list(self._desk.records.values()):
            with suppress(UnknownError):  # deleted meanwhile
                found += [self.status(record.id)] if record.owner == owner else []
        return found

    def history(self, owner: str | None) -> list[dict[str, Any]]:
        """The owner's edits that are there, the newest first; of a local studio those of the command line too."""
        own = []
        for status in self.jobs(owner):
            if status["files"]:
                with suppress(UnknownError):
                    own.append(self._history.own(status, self._desk.folder(self._desk.record(status["id"]))))
        others = self._history.others(set(self._desk.records)) if self.options.local else []
        return sorted([*own, *(told | self._asked(at) for at, told in others)], key=lambda item: -item["created"])

    def _asked(self, folder: Path) -> dict[str, Any]:
        """The settings of an edit of the command line that may be set from here, and what makes the same."""
        with suppress(Error, OSError):
            path = folder / "run.yaml"
            settings = self._settings(path, path.stat().st_mtime_ns)
            clip = str((films.run_of(folder).get("clip") or {}).get("file") or "clip.mp4")
            record = JobRecord("", 0, "edit", None, "", settings, None, 0.0)
            lines = {"command": jobs.command_of(record, clip), "python": jobs.python_of(record, clip)}
            return {"settings": settings, **lines}
        return {"settings": {}}

    def settings_from(
        self, path: str | Path, name: str | None = None, say: Callable[[str], None] = lambda text: None
    ) -> dict[str, Any]:
        """The settings in an edit.mp4, an edit.png or a run.yaml, of those keys that may be set from here.

        `name` is what its user calls the file, `say` hears what was left out. Raises InputError for any other file.
        """
        import flowedit

        shown = name or Path(path).name
        try:
            flat = limits.flattened(
                flowedit.settings_from(path, say=lambda text: say(text.replace(Path(path).name, shown)))
            )
        except Error as error:
            raise renamed(error, Path(path), shown) from None
        known = limits.known_options(str(flat.get("mode") or ""))
        free = [key for key in flat if key in known and limits.closed(known[key], self.options.allow) is None]
        if left := sorted(set(flat) - set(free)):
            say(f"{shown}: left out, not set from here: {', '.join(left)}")
        return {key: flat[key] for key in free}

    def look_mask(self, id: str, adjust: Any) -> dict[str, Any]:
        """The mask of a look under a threshold, a growth, strokes and boxes, as a small strip of all frames."""
        record, folder = self._desk.look(id)
        held = self._looks.get(id, folder, self.clips.path(record.clip), record.flags)
        return masks.strip(held, check_adjust(adjust, held.look.frames))

    def file(self, id: str, name: str) -> Path:
        """A file of a job by its name; raises UnknownError for any that is not one of those it leaves."""
        shown, clip = self.root / "previews" / id, None
        if (found := self._of_command_line(id)) is not None:
            return films.file(found, name, shown, None)
        record = self._desk.record(id)
        if record.kind == "compare":
            return films.of_report(self._desk.folder(record), name)
        with suppress(UnknownError):
            clip = self.clips.path(record.clip)
        return films.file(self._desk.folder(record), name, shown, clip)

    def preview(self, id: str) -> bytes:
        """The newest preview of the job that runs, a JPEG; raises UnknownError where there is none."""
        live = self._desk.state(id)[3]
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
