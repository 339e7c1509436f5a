"""Rows of a region pass: which of the target's attend to which of the source's, and which go into one call."""

from collections.abc import Sequence
from typing import NamedTuple


class RowGroup(NamedTuple):
    """A row of the source, and the target's rows that attend to it."""

    source: int
    targets: tuple[int, ...]


def counterparts(source: Sequence[object], target: Sequence[object]) -> list[int]:
    """Which of the source's rows each of the target's looks at: like at like, by their prompts.

    The conditional row, the last, looks at the source's conditional one. The negative one looks at the source's
    negative; at its conditional row where its negative is the source prompt itself (`target_negative=source`), and
    where the source has no guidance: that row is the only one that shows the clip.
    """
    last = len(source) - 1
    return [last if row == len(target) - 1 or each is source[last] else 0 for row, each in enumerate(target)]


def groups(source: Sequence[object], target: Sequence[object]) -> list[RowGroup]:
    """Which row of the source each of the target's attends to: see `counterparts`.

    A negative row of the source that no row of the target attends to goes alone.
    """
    reads = counterparts(source, target)
    return [RowGroup(i, tuple(row for row, of in enumerate(reads) if of == i)) for i in range(len(source))]


def calls(found: Sequence[RowGroup], rows: int) -> list[list[RowGroup]]:
    """The groups of each call: all at once where they are alike and `rows` has room for them."""
    alike = len({len(each.targets) for each in found}) == 1
    return [list(found)] if alike and not 0 < rows < len(found) else [[each] for each in found]
