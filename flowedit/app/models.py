"""The backbones: what each needs, whether it fits this machine and is here, and its download."""

import functools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flowedit.config.compose import compose
from flowedit.config.defaults import read
from flowedit.messages import Cancelled, Error, InputError, one_line


@functools.cache
def words_of(name: str) -> frozenset[str] | None:
    """All words that a small backbone knows, in lower case; None for one that reads any, or that is none by name."""
    from flowedit.backbones import families
    from flowedit.pocket import Vocabulary
    from flowedit.pretrained import layout

    with suppress(Error):
        folder = families.folder(compose({"backbone": name}).backbone)
        world = None if folder is None else layout.world(folder, layout.notes(folder))
        return None if world is None else Vocabulary(**world).words
    return None


FRESH = 20.0
"""Seconds that an examination of the machine holds."""


class Fetch:
    """A download in a thread of its own: a monitor that counts bytes, and how it ended."""

    def __init__(self, name: str, ended: Callable[[], None]) -> None:
        self._ended = ended
        self.name, self.state, self.message = name, "downloading", ""
        self.done, self.total = 0, 0
        self.cancel = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"download {name}", daemon=True)
        self._thread.start()

    def phase(self, name: str, total: int) -> None:
        """A phase of `total` bytes begins."""
        self.done, self.total = 0, total

    def advance(self, count: int = 1) -> None:
        """Bytes that are here."""
        self.done += count

    def notice(self, text: str) -> None:
        """A line for the user."""
        self.message = text

    def _work(self) -> None:
        import flowedit

        try:
            flowedit.download(self.name, monitor=self, cancel=self.cancel)
            state, message = "done", ""
        except Cancelled:
            state, message = "stopped", "what is there stays: the next download goes on from it"
        except Exception as error:
            state, message = "failed", one_line(error)
        self._ended()  # first: who sees that it has ended asks what is here
        self.state, self.message = state, message

    def plain(self) -> dict[str, Any]:
        """What the API tells of it."""
        return {"state": self.state, "done": self.done, "total": self.total, "message": self.message}


class Models:
    """The backbones by name, and the downloads of this process."""

    def __init__(self) -> None:
        self._fetches: dict[str, Fetch] = {}
        self._lock = threading.Lock()
        self._seen: tuple[float, dict[str, Any]] | None = None

    def plain(self) -> list[dict[str, Any]]:
        """A backbone a line: size, needs, license, whether it is here and fits, and its download if there is one."""
        told = []
        for name, found in self._examined().items():
            fetch = self._fetches.get(name)
            own = read(f"backbone/{name}")
            own = own.get("backbone", own)
            told.append(
                {
                    "name": name,
                    "repository": own.get("repository"),
                    "license": own.get("license"),
                    "memory": own.get("memory"),
                    **{key: found[key] for key in ("downloaded", "download", "fits", "preset", "verdict")},
                    "size": found.get("size"),
                    "frames": found.get("frames"),
                    "fetch": None if fetch is None else fetch.plain(),
                }
            )
        return told

    def _examined(self) -> dict[str, Any]:
        """What `flowedit doctor` finds of all backbones."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH:
                from flowedit.doctor import examine, report

                found = examine.examine(None, {}, (), None, machine=False)
                told = report.plain(None, None, found.found, found.free)
                self._seen = time.monotonic(), dict(told["backbones"])
            return self._seen[1]

    def download(self, name: str) -> None:
        """Begin a download, or go on with one that was stopped; one that runs stays."""
        with self._lock:
            running = self._fetches.get(name)
            if running is not None and running.state == "downloading":
                return
            if not read(f"backbone/{name}") or name == "pocket":
                raise InputError(f"{name} comes with flowedit or with a plug-in: there is nothing to download")
            self._fetches[name] = Fetch(name, self._forget)
            self._seen = None

    def stop(self, name: str) -> None:
        """End a download, if one runs."""
        fetch = self._fetches.get(name)
        if fetch is not None:
            fetch.cancel.set()

    def _forget(self) -> None:
        """Examine the machine anew when that is next asked for, though an examination may run now."""
        with self._lock:
            self._seen = None

    def close(self) -> None:
        """End all downloads."""
        for name in list(self._fetches):
            with suppress(KeyError):
                self.stop(name)
