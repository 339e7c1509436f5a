"""Progress and notices on the terminal, by rich; plain lines where stderr is no terminal."""

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


class RichMonitor:
    """A bar for the phase that runs, with the time left; notices stay above it."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
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
        self._task: int | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        self._bars.stop()

    def phase(self, name: str, total: int) -> None:
        """Start a phase of `total` units; 0 is unknown."""
        self._finish()
        self._task = self._bars.add_task(name, total=total or None)
        if self._lines:
            self._console.print(name)

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        if self._task is not None:
            self._bars.advance(self._task, count)  # type: ignore[arg-type]

    def notice(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"note: {text}")

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(task.id, total=task.completed or 1, completed=task.completed or 1)
