"""How far a mask is widened, and to which sides: how it is written, and what is refused; nothing here imports torch."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from flowedit.messages import InputError, nearest

SIDES = ("up", "down", "left", "right")


@dataclass(frozen=True)
class Growth:
    """How far to each side, in shorter sides of the latent or, once multiplied by these, in sites."""

    up: float
    down: float
    left: float
    right: float

    def times(self, side: float) -> Growth:
        """The same in another unit."""
        return Growth(*(side * reach for reach in astuple(self)))


def growth(written: float | str) -> Growth:
    """0.1, or "0.1 down:0.5": to all sides, and sides that go farther or less far; of 0 where nothing is said.

    Raises InputError for a text that is not written so or says nothing, for a number in it that is not from 0 to 1, and
    for a second number of one side.
    """
    if not isinstance(written, str):
        return Growth(written, written, written, written)
    if not written.strip():
        raise InputError(f"mask.grow {written!r} is empty: {WRITE}")
    reaches: dict[str, float] = {}
    for part in written.split():
        name, colon, number = part.rpartition(":")
        if colon and name not in SIDES:
            raise InputError(
                f"mask.grow {written!r}: no side {name!r}, one of {', '.join(SIDES)}{nearest(name, SIDES)}"
            )
        try:
            reach = float(number)
        except ValueError:
            reach = -1.0
        if not 0 <= reach <= 1:
            raise InputError(f"mask.grow {written!r}: {number!r} is no number from 0 to 1: {WRITE}")
        if name in reaches:
            raise InputError(f"mask.grow {written!r}: more than one number for {name or 'all sides'}: {WRITE}")
        reaches[name] = reach
    every = reaches.get("", 0.0)
    return Growth(**{side: reaches.get(side, every) for side in SIDES})


WRITE = "write 0.1, down:0.5 or 0.1 down:0.5"


def is_growth(written: float | str) -> bool:
    """Whether it is written as `growth` reads it; raises InputError where it is not."""
    return growth(written) is not None
