"""The job that runs: how far it is, what it said, what it looks like; and how it is stopped."""

import threading
import time
from typing import Any

from flowedit.types import Step

SPANS = {
    "find cuts": (0.0, 0.02),
    "follow marks": (0.02, 0.04),
    "encode": (0.04, 0.10),
    "embed": (0.10, 0.12),
    "edit": (0.12, 0.92),
    "decode, write": (0.92, 1.0),
}
"""From where to where of the whole edit each phase goes, about."""

WRITING = ("decode", "decode, write")
"""The phases in which what there is is written, also after a stop."""

PREVIEW_SECONDS, PREVIEW_SHARE = 2.0, 0.1
"""How often a preview is made at most, and its share of the time."""

SETTLED = 0.14
"""The fraction from which on the time left is told."""


class Live:
    """A monitor and a callback of one job; other threads read it, and `stop` it."""

    def __init__(self, shots: int = 1) -> None:
        self.cancel = threading.Event()
        self.editor: Any = None
        self.stopping, self.stopped, self.closing = False, False, False
        self.phase_name, self.done, self.total = "load", 0, 0
        self.notices: list[str] = []
        self.preview: bytes | None = None
        self.previews = 0
        self._shots, self._shot, self._steps = max(1, shots), 0, 0
        self._began = time.monotonic()
        self._fraction = 0.0
        self._since: tuple[float, float] | None = None
        self._next_preview = 0.0

    def phase(self, name: str, total: int) -> None:
        """A phase of `total` units begins."""
        self._look()
        self.phase_name, self.done, self.total = name, 0, total
        if name == "edit":
            self._shot += 1
        self._since = (time.monotonic(), self._place()) if name == "edit" and self._since is None else self._since
        self._fraction = max(self._fraction, self._place())

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        self._look()
        self.done += count
        self._fraction = max(self._fraction, self._place())

    def notice(self, text: str) -> None:
        """A line for the user."""
        if text not in self.notices:
            self.notices.append(text)

    def step(self, step: Step) -> bool:
        """After each step: a preview now and then; True where the edit is to stop and keep what it has."""
        self._look()
        self._steps += 1
        if self.stopping:
            self.stopped = True
            return True
        self._show(step)
        return False

    def stop(self) -> None:
        """Stop after the step that runs; before the first one, at once."""
        self.stopping = True
        if not self._steps:
            self.cancel.set()

    def close(self) -> None:
        """End the job as a signal would: what it has is kept for the next run of the server."""
        self.closing = True

    def _look(self) -> None:
        if self.closing:
            raise KeyboardInterrupt("the server ends")
        if self.cancel.is_set():
            from flowedit.messages import Cancelled

            raise Cancelled("the job was stopped before its first step")

    def _place(self) -> float:
        start, end = SPANS.get(self.phase_name, (self._fraction, self._fraction))
        share = min(1.0, self.done / self.total) if self.total else 0.0
        if self.phase_name == "edit":
            share = min(1.0, (max(0, self._shot - 1) + share) / self._shots)
        return start + (end - start) * share

    def _show(self, step: Step) -> None:
        """A JPEG of what the clip would be, where there is time for one."""
        import flowedit

        start = time.monotonic()
        if self.editor is None or start < self._next_preview:
            return
        from flowedit.app.clips import jpeg

        try:
            self.preview = jpeg(flowedit.preview(self.editor, step))
            self.previews += 1
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # the edit goes on without one
            self.notice(f"no preview: {str(error)[:200]}")
            self._next_preview = float("inf")
            return
        cost = time.monotonic() - start
        self._next_preview = start + cost + max(PREVIEW_SECONDS, cost * (1 / PREVIEW_SHARE - 1))

    def tell(self, phase: str, done: int, total: int, fraction: float) -> None:
        """Where a job of many parts is; raises KeyboardInterrupt where the server ends."""
        if self.closing:
            raise KeyboardInterrupt("the server ends")
        self.phase_name, self.done, self.total = phase, done, total
        self._fraction = max(self._fraction, min(1.0, fraction))
        self._since = self._since or (time.monotonic(), self._fraction)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return round(time.monotonic() - self._began, 1)

    def plain(self) -> dict[str, Any]:
        """What the API tells of it."""
        now, left = time.monotonic(), None
        if self._since is not None and self._fraction > max(SETTLED, self._since[1]):
            left = (now - self._since[0]) / (self._fraction - self._since[1]) * (1 - self._fraction)
        return {
            "phase": "stopping" if self.stopping and self.phase_name not in WRITING else self.phase_name,
            "done": self.done,
            "total": self.total,
            "fraction": round(self._fraction, 4),
            "seconds": self.seconds,
            "seconds_left": None if left is None else round(left, 1),
            "notices": list(self.notices),
        }


EDITS = 0.9
"""The share of a comparison that is its edits; its scores and its page are the rest."""


class ComparisonMonitor:
    """A monitor of a comparison: tells a `Live` how many edits are done of all; an edit's phases bear its name."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._phase, self._total, self._before = "load", 1, 0
        self._labels: list[str] = []
        self._edited = 0.0

    def phase(self, name: str, total: int) -> None:
        """A phase of the comparison, or of the edit whose name it bears."""
        label = name.rpartition(": ")[0]
        if not label:
            self._edited = EDITS if self._phase == "edit" else self._edited
            self._phase, self._total, self._before, self._labels = name, max(1, total), 0, []
        elif label not in self._labels:
            self._labels.append(label)
        self._tell()

    def advance(self, count: int = 1) -> None:
        """Parts that are done; before the first edit begins, those of an earlier run."""
        self._before += 0 if self._labels else count
        self._tell()

    def notice(self, text: str) -> None:
        """A line for the user."""
        self._live.notice(text)

    def _tell(self) -> None:
        done = min(self._total, self._before + max(0, len(self._labels) - 1))
        fraction = EDITS * done / self._total if self._phase == "edit" else self._edited
        self._live.tell(self._phase, done, self._total, fraction)
