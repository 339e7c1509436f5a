"""The queue on disk, and the one thread that has the device: job after job, in the order in which they were asked."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowedit.app import films, heavy, jobs, limits, looks
from flowedit.app.clips import Clips
from flowedit.app.jobs import JobRecord, Order
from flowedit.app.limits import FullError, NotNowError, UnknownError
from flowedit.app.live import Live
from flowedit.app.looks import Looks
from flowedit.app.options import StudioOptions
from flowedit.evaluation.engine.job import Job, Shelf
from flowedit.evaluation.engine.store import Store, open_store
from flowedit.evaluation.engine.worker import attempt
from flowedit.messages import InputError, one_line

MOST_STARTS = 3
"""How often a job is begun that the server does not outlive."""

DAY = 86400.0
"""Seconds."""

END = 20.0
"""Seconds that the step that runs gets to end when the server does."""


class Queue:
    """Records and results by id, and what waits; any thread may ask. `root` is the studio's hidden folder."""

    def __init__(self, out: Path, root: Path, options: StudioOptions, clips: Clips, looks: Looks) -> None:
        self.records: dict[str, JobRecord] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self._out, self._root, self._options = out, root, options
        self._clips, self._looks = clips, looks
        self._store = Store(root)
        self._waits: list[str] = []
        self._live: Live | None = None
        self._running: str | None = None
        self._closing = False
        self.warming = True
        """Whether the usual model is still made ready, before the first job."""
        self._change = threading.Condition()
        self._device = threading.Lock()
        self._shelf = Shelf()
        self._stack = ExitStack()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Lock the folder, read what was asked for and what is done, and go on with the queue.

        Raises BusyError where another studio works, FileError for a folder that cannot be written.
        """
        self._store = self._stack.enter_context(open_store(self._root))
        for name in ("clips", "jobs", "previews"):
            (self._root / name).mkdir(exist_ok=True)
            films.remove(*(self._root / name).glob(".*"))  # what a killed server was writing
        for record in jobs.read_records(self._root / "jobs"):
            self.records[record.id] = record
            if (result := self._kept(record)) is not None:
                self.results[record.id] = result
            else:
                self._waits.append(record.id)
        self._tidy()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the worker, what it does kept for the next start; and give the folder free."""
        with self._change:
            self._closing = True
            if self._live is not None:
                self._live.close()
            self._change.notify_all()
            if self._running is not None and (record := self.records[self._running]).starts:
                with suppress(OSError):
                    self._keep(replace(record, starts=record.starts - 1))  # it is not the job that ends the server
        if self._thread is not None:
            self._thread.join(END)
            if self._thread.is_alive():  # the lock goes with this process, which its thread does not hold back
                return
        self._stack.close()

    def _keep(self, record: JobRecord) -> None:
        """Keep a record that changed, in memory and on disk."""
        self.records[record.id] = record
        jobs.write_record(self._root / "jobs", record)

    def _kept(self, record: JobRecord) -> dict[str, Any] | None:
        """What a job left that is over, by its result or by its whole folder."""
        try:
            result = self._store.result(record.id)
        except InputError:  # damaged: it is made anew
            films.remove(self._store.folder(record.id))
            result = None
        if result is None and record.kind == "edit" and (self.folder(record) / "run.yaml").is_file():
            return {"state": "stopped" if record.stop else "done", "notices": []}
        if result is None and record.stop:
            return {"state": "stopped", "message": "it was stopped, and the server ended before its step did"}
        if result is None and record.starts >= MOST_STARTS:
            times = "it ended the server three times"
            return {
                "state": "failed",
                "message": f"{times}: the device may lack memory, so take fewer frames or pixels",
            }
        return result

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing else is on the device inside the block; raises NotNowError while a job is."""
        if not self._device.acquire(blocking=False):
            raise NotNowError("the model is at work: try again when its job is done")
        try:
            self._shelf.drop("editor")  # two models may not fit
            yield
        finally:
            self._device.release()

    def check_room(self, owner: str | None) -> None:
        """Raise FullError where no more jobs may wait; where others may come, half of the queue is the most of one."""
        most = self._options.queue
        if len(self._waits) >= most:
            raise FullError(f"{most} jobs wait already: try again when some are done")
        own, share = sum(self.records[id].owner == owner for id in list(self._waits)), max(1, most // 2)
        if not self._options.local and own >= share:
            raise FullError(f"{own} jobs of yours wait already, and others need room: try again when one is done")

    def put(self, record: JobRecord) -> None:
        """Put a job at the end of the queue; it is on disk when this returns."""
        with self._change:
            self.check_room(record.owner)
            for id in filter(None, (record.clip, (record.mask or {}).get("file"))):
                self._clips.folder(id)  # it may have gone since it was looked at
            if look := (record.mask or {}).get("look"):
                self.look(look)
            number = 1 + max((each.number for each in self.records.values()), default=0)
            record = replace(record, number=number)
            jobs.write_record(self._root / "jobs", record)
            self.records[record.id] = record
            self._waits.append(record.id)
            self._change.notify_all()

    def record(self, id: str) -> JobRecord:
        """What was asked for; raises UnknownError."""
        limits.check_id(id, "job")
        if (record := self.records.get(id)) is None:
            raise UnknownError(f"no job is called {id!r}: it was deleted, or it was never asked for here")
        return record

    def folder(self, record: JobRecord) -> Path:
        """Where the files of an edit or a comparison are: OUT/<clip>/<id>."""
        with suppress(UnknownError):
            return self._out / Path(self._clips.get(record.clip).file).stem / record.id
        found = next(iter(self._out.glob(f"*/{record.id}")), None)  # the clip is gone
        return found or self._out / "clip" / record.id

    def look(self, id: str) -> tuple[JobRecord, Path]:
        """A look that is done, and the folder of its maps; raises NotNowError for any other job."""
        record = self.record(id)
        if record.kind != "look" or self.results.get(id, {}).get("state") != "done":
            raise NotNowError(f"{id!r} is no look that is done: wait for it, or ask for one of kind look")
        return record, self._store.folder(id) / jobs.LOOK

    def state(self, id: str) -> tuple[JobRecord, str, int | None, Live | None, dict[str, Any]]:
        """A job's record, its state, its place in the queue (0 runs), its live state and its result, of one moment."""
        with self._change:
            record, result = self.record(id), dict(self.results.get(id, {}))
            if id == self._running:
                return record, "running", 0, self._live, result
            if id in self._waits:
                return record, "queued", self._waits.index(id) + 1, None, result
            return record, str(result.get("state", "failed")), None, None, result

    def stop(self, id: str) -> None:
        """Stop a job: after the step that runs, with what it has; one that waits, at once."""
        with self._change:
            record = self.record(id)
            if id == self._running and self._live is not None:
                self._keep(replace(record, stop=True))
                self._live.stop()
            elif id in self._waits:
                self._waits.remove(id)
                self._finish(record, {"state": "stopped", "message": "it was stopped before it began"})

    def delete(self, id: str) -> None:
        """Remove a job and its files; raises NotNowError for one that runs."""
        with self._change:
            record = self.record(id)
            if id == self._running:
                raise NotNowError("the job runs: stop it first, and delete it then")
            if any((each.mask or {}).get("look") == id for each in self._waiting()):
                raise NotNowError("an edit still needs this look: stop it first, or wait for it")
            if id in self._waits:
                self._waits.remove(id)
            folder = self.folder(record)
            (self._root / "jobs" / f"{id}.json").unlink(missing_ok=True)  # first: what is half gone is no job
            self.records.pop(id)
            self.results.pop(id, None)
            films.remove(folder, self._store.folder(id))
            films.remove(*(self._root / "previews").glob(f"{id}*"))  # last: see `films.file`
            with suppress(OSError):
                folder.parent.rmdir()

    def delete_clip(self, id: str) -> None:
        """Remove a clip; raises NotNowError while a job waits for it, or for a mask that was uploaded as it."""
        with self._change:
            folder = self._clips.folder(id)
            if any(id in (each.clip, (each.mask or {}).get("file")) for each in self._waiting()):
                raise NotNowError("a job still needs this clip: stop it first, or wait for it")
            films.remove(folder)

    def _waiting(self) -> list[JobRecord]:
        """The records of the job that runs and of those that wait for it."""
        return [self.records[id] for id in (*filter(None, [self._running]), *self._waits)]

    def _tidy(self) -> None:
        """Remove looks and clips that no job needs, once they are old."""
        old = time.time() - self._options.keep_days * DAY
        used = {str((each.mask or {}).get("look")) for each in self.records.values()}
        for record in [each for each in self.records.values() if each.kind == "look" and each.created < old]:
            if record.id not in used:
                with suppress(NotNowError):
                    self.delete(record.id)
        used = {str(id) for each in self.records.values() for id in (each.clip, (each.mask or {}).get("file"))}
        for clip in self._clips.all():
            if clip.id not in used and clip.created < old:
                with suppress(NotNowError, UnknownError):
                    self.delete_clip(clip.id)

    def _work(self) -> None:
        with self._device:
            self._warm()
        self.warming = False
        while True:
            with self._change:
                while not self._waits and not self._closing:
                    self._change.wait(DAY)
                    self._tidy()
                if self._closing:
                    return
                id = self._waits.pop(0)
                record = self.records[id]
                self._running, self._live = id, Live(self._shots(record))
                with suppress(OSError):  # a full disk: the job itself says so
                    self._keep(replace(record, starts=record.starts + 1))
            try:
                with self._device:
                    result = self._run(record, self._live)
            except KeyboardInterrupt:  # the server ends; the job is there again when it starts
                return
            with self._change:
                self._finish(record, result)
                self._running = self._live = None

    def _warm(self) -> None:
        """Import what an edit needs, and have the usual backbone at hand if it is here: nobody waits for it then."""
        with suppress(Exception):  # the first job says what is wrong
            heavy.ready()
            from flowedit.backbones import families
            from flowedit.evaluation.edit_job import editor_of
            from flowedit.pipeline.api import settings_of

            settings = settings_of({"backbone": self._options.backbone})
            if families.here(settings.backbone) is not None:
                editor_of(settings, self._shelf)

    def _run(self, record: JobRecord, live: Live) -> dict[str, Any]:
        """Do a job and return what is known of it then; nothing that it raises ends the worker."""
        try:
            order = Order(record, self._clips.path(record.clip), self.folder(record), live, self._mask(record))
            job = Job(id=record.id, label=record.kind, work=jobs.WORK[record.kind], spec=order, threads=None)
            result, failure = attempt(job, self._store.root, self._shelf, live)
        except Exception as error:
            result, failure = None, one_line(error)
        if result is not None:
            return result
        told = {"seconds": live.seconds, "notices": list(live.notices)}
        if live.cancel.is_set():
            return {**told, "state": "stopped", "message": "it was stopped before its first step: there is no result"}
        return {**told, "state": "failed", "message": str(failure)}

    def _finish(self, record: JobRecord, result: dict[str, Any]) -> None:
        """Keep how a job ended."""
        with suppress(InputError, OSError):  # a full disk: it is known until the server ends
            if self._store.result(record.id) is None:
                self._store.keep(record.id, record.kind, result)
        self.results[record.id] = result

    def _shots(self, record: JobRecord) -> int:
        with suppress(UnknownError):
            return 1 if record.flags.get("cuts") == "none" else len(self._clips.get(record.clip).scenes)
        return 1

    def mask_file(self, record: JobRecord) -> Path | None:
        """Where a job's own mask lies, or will; None for a job that has none."""
        if record.mask is None or not jobs.is_painted(record.mask):
            return None
        if record.mask.get("file"):
            return self._clips.path(record.mask["file"])
        return self._root / "previews" / record.id / films.PAINTED

    def _mask(self, record: JobRecord) -> Path | None:
        """The file of a mask that was uploaded or painted, made where it is not there."""
        path = self.mask_file(record)
        if path is not None and record.mask is not None and not path.exists():
            clip, look = self._clips.path(record.clip), None
            if record.mask.get("look"):
                asked, folder = self.look(record.mask["look"])
                look = self._looks.get(asked.id, folder, clip, asked.flags).look
            looks.write_mask(path, clip, record.flags, record.mask, look)
        return path
