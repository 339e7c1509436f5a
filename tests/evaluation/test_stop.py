"""A comparison that is stopped keeps what it has, shows it, and goes on from there."""

from threading import Event

import pytest
from studio import FOX, SMALL

import flowedit
from flowedit.app.live import EDITS, ComparisonMonitor, Live
from flowedit.evaluation.engine.drive import STOPPED

MODES = ["inversion_free", "random_noise", "inversion"]


class StopAt:
    """A monitor that stops the comparison where its `count`-th edit begins."""

    def __init__(self, count):
        self.cancel, self.notices = Event(), []
        self._count, self._labels = count, set()

    def phase(self, name, total):
        label, _, own = name.rpartition(": ")
        self._labels |= {label} if own and label else set()
        if len(self._labels) >= self._count:
            self.cancel.set()

    def advance(self, count=1): ...

    def notice(self, text):
        self.notices.append(text)


def test_what_is_done_is_kept_and_shown_and_the_rest_goes_on_later(tmp_path):
    asked = SMALL | {"modes": MODES, "metrics": ["background_psnr"], "out": str(tmp_path), "evaluations": "own"}
    first = StopAt(1)
    with pytest.raises(flowedit.Cancelled, match="before its first edit"):
        flowedit.compare(FOX, monitor=first, cancel=first.cancel, **asked)
    second = StopAt(2)
    made = flowedit.compare(FOX, monitor=second, cancel=second.cancel, **asked)
    failed = {row.method: row.failure for row in made.rows if row.failure == STOPPED and row.value is None}
    assert len(list(tmp_path.rglob("edit.mp4"))) >= 1
    assert len(set(MODES) & set(failed)) >= 2
    page = (tmp_path / "index.html").read_text()
    assert STOPPED in page
    again = StopAt(99)
    made = flowedit.compare(FOX, monitor=again, cancel=again.cancel, **asked)
    assert "1 edits were made before and are kept; 2 are to do" in again.notices
    assert STOPPED not in {row.failure for row in made.rows}


def test_a_comparison_says_how_many_edits_are_done_of_all():
    live = Live()
    monitor = ComparisonMonitor(live)
    seen = []

    def tell(name, total):
        monitor.phase(name, total)
        seen.append((live.phase_name, live.done, live.total, live.plain()["fraction"]))

    tell("edit", 4)
    monitor.advance()  # made before
    for label in ("a", "b"):
        tell(f"{label}: encode", 3)
        monitor.advance(3)
        tell(f"{label}: edit", 8)
        monitor.advance(8)
    tell("score", 4)
    one, two = EDITS / 4, EDITS / 2
    assert seen == [
        ("edit", 0, 4, 0.0), ("edit", 1, 4, one), ("edit", 1, 4, one), ("edit", 2, 4, two), ("edit", 2, 4, two),
        ("score", 0, 4, EDITS),
    ]  # fmt: skip
    live.stop()
    monitor.advance()
    assert live.cancel.is_set()
    live.close()
    with pytest.raises(KeyboardInterrupt):
        monitor.advance()
