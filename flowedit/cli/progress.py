"""Progress and notices on the terminal, by rich; plain lines where stderr is no terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from flowedit.messages import cut, printable

LINE_SECONDS = 20.0
"""How often a log without a terminal hears how far a phase is."""


class RichMonitor:
    """A bar for the phase that runs, with the time left; notices stay above it."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._lines = not quiet and not self._console.is_terminal
        self._silent = quiet
        self._task: int | None = None
        self._said = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._bars.stop()

    def start(self, text: str) -> None:
        """What is about to run."""
        if not self._silent:
            self._console.print(text)

    def phase(self, name: str, total: int) -> None:
        """Start a phase of `total` units; 0 is unknown."""
        self._finish()
        self._task = self._bars.add_task(name, total=total or None)
        self._said = time.monotonic()
        if self._lines:
            self._console.print(name)

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        if self._task is None:
            return
        self._bars.advance(self._task, count)  # type: ignore[arg-type]
        if self._lines and time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            task = self._bars.tasks[self._task]
            self._console.print(f"{task.description}: {task.completed:.0f} of {task.total or 0:.0f}")

    def notice(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"note: {printable(cut(text))}")

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(task.id, total=task.completed or 1, completed=task.completed or 1)
