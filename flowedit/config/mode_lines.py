"""What a mode or preset is, with its paper, and what it is good at: the first comments of its file in conf/mode."""

from functools import cache
from typing import NamedTuple

from flowedit.config.folder import folder

GOOD_AT, IN_SHORT = "Good at: ", "In short: "


class ModeLines(NamedTuple):
    """The first two are one line each, without the comment's sign; empty for what has no file, as a plug-in's mode."""

    what: str
    good_at: str
    masked: bool
    """Whether it has a mask of its own; so has what has no file."""
    in_short: str = ""
    """What comes of it, in plain words without the full stop; empty for most."""

    @property
    def title(self) -> str:
        """The first words of what it is, before its paper: a publication's name, or what the mode does."""
        return self.what.partition(" (")[0].rstrip(".")


@cache
def mode_lines(name: str) -> ModeLines:
    """The lines of a mode or preset by its name."""
    path = folder() / "mode" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    notes = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and "@package" not in line]
    what = next((note for note in notes if not note.startswith((GOOD_AT, IN_SHORT))), "")
    good_at = next((note.removeprefix(GOOD_AT) for note in notes if note.startswith(GOOD_AT)), "")
    in_short = next((note.removeprefix(IN_SHORT).rstrip(".") for note in notes if note.startswith(IN_SHORT)), "")
    return ModeLines(what, good_at, "- override /mask: none" not in text, in_short)
