"""What a sweep varies, `key=a,b,c`, as overrides of methods, and the rows and columns that the results stand in."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flowedit.messages import InputError

EXAMPLE = "--sweep strength=0.5,0.7,0.9"

Swept = dict[str, list[str]]
"""The keys that vary, in the order they were given, and the values of each."""


class Lattice(NamedTuple):
    """Methods in rows and columns, by their names; a label is empty where there is nothing to say."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    def with_names(self, others: Mapping[str, str]) -> "Lattice":
        """The same with other methods in the place of some."""
        return self._replace(cells=tuple(tuple(others.get(name, name) for name in row) for row in self.cells))


def swept(texts: Iterable[str], given: Iterable[str] = ()) -> Swept:
    """The keys and values of `key=a,b,c`; a value in brackets may hold commas: `guidance_interval=[0,1],[0.3,0.9]`.

    Raises ValueError for another text, a key twice, and for one that stands among the `given` ones.
    """
    made: Swept = {}
    for text in texts:
        key, sign, rest = text.partition("=")
        values = list(dict.fromkeys(part.strip() for part in re.findall(r"(?:\[[^\]]*\]|[^,\[])+", rest)))
        if not (key.strip() and sign and values and all(values)):
            raise InputError(f"--sweep {text!r} is no key with its values: write {EXAMPLE}")
        if key in made:
            raise InputError(f"--sweep {key} is there twice: give all its values at once, {EXAMPLE}")
        if key in given:
            raise InputError(f"{key} is set and swept: leave one of the two out")
        made[key] = values
    return made


def points(sweep: Swept) -> list[tuple[str, ...]]:
    """The overrides of each point, all combinations, the last key changing first; one without any where none varies."""
    return list(itertools.product(*([f"{key}={value}" for value in values] for key, values in sweep.items())))


def lattices(names: Sequence[str], sweep: Swept) -> tuple[Lattice, ...]:
    """The methods of a sweep as `methods` names them, each one's points one after the other.

    One key makes a column of each value and a row of each method. Of several the last makes the columns and the one
    before it the rows, of a lattice for each method and each value of the others. None without a sweep.
    """
    if not sweep:
        return ()
    each = len(points(sweep))
    bases = [name.removesuffix(" " + " ".join(points(sweep)[0])) for name in names[::each]]
    return arranged(names, bases, sweep)


def arranged(names: Sequence[str], bases: Sequence[str], sweep: Mapping[str, Sequence[str]]) -> tuple[Lattice, ...]:
    """As `lattices`; `names` are those of each base's points in turn."""
    *others, last = sweep
    columns = tuple(f"{last}={value}" for value in sweep[last])
    rows = [names[start : start + len(columns)] for start in range(0, len(names), len(columns))]
    if not others:
        return (Lattice("", tuple(bases), columns, tuple(map(tuple, rows))),)
    *titles, down = others
    labels = tuple(f"{down}={value}" for value in sweep[down])
    heads = [
        " ".join(filter(None, [base, *more]))
        for base in bases
        for more in itertools.product(*([f"{key}={value}" for value in sweep[key]] for key in titles))
    ]
    parts = [rows[start : start + len(labels)] for start in range(0, len(rows), len(labels))]
    return tuple(
        Lattice(head, labels, columns, tuple(map(tuple, part))) for head, part in zip(heads, parts, strict=True)
    )
