"""How a thing is declared, once: an option as a field of a dataclass, an editor as an entry of a registry."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar

from flowedit.messages import InputError, nearest, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its type: `help`, what is typed for it, its range, and what it needs.

    `least` and `most` belong to the range, `above` and `below` do not; of a list they hold for each member, and null is
    always within. `check` is any other rule, true of a good value, and `expected` says the whole range in words.
    `needs` is what the option needs to have an effect: another option's value ("mode.grid=shifted",
    "mode.decoupling>0"), or a fact of the edit by its name in `pipeline/notices/unused.py: facts_of` ("attention").
    `choices` names what gives the valid names: "editors" (with the presets), "backbones", "tasks", or a group of conf/.
    """

    help: str
    typed: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    check: Callable[[Any], bool] | None = None
    expected: str | None = None
    needs: str | None = None
    choices: str | None = None
    written: Literal["value", "text", "prompt", "prompts", "files"] = "value"
    """value: in Hydra's grammar; text: to the letter, null for none; prompt: to the letter, whatever it is; prompts and
    files: a list of them, or one text with | between them."""
    role: Literal["clip", "method", "place"] = "method"
    """clip: each clip brings its own; method: it makes a method; place: it only says where something lies."""
    flag: bool = True
    """Whether commands that edit have a flag for it."""
    generate: bool = False
    """Whether `flowedit generate` has one too."""
    bench: bool = False
    """Whether `flowedit bench` has one too."""
    several: bool = False
    """Whether its flag may stand several times; its texts are joined by spaces, files by |."""
    counts_steps: bool = False
    """Whether it counts steps of the grid, so that a quality of fewer steps has fewer of these too."""
    data: bool = True
    """Whether an edit's YAML file may set it: a data file chooses no folder and no weights."""

    def refusal(self, value: Any) -> str | None:
        """What was expected in place of this value; None for one that is within the range."""
        members = value if isinstance(value, (list, tuple)) else [value]
        numbers = [each for each in members if isinstance(each, (int, float)) and not isinstance(each, bool)]
        good = all(self._holds(number) for number in numbers)
        if good and value is not None and self.check is not None:
            good = self.check(value)
        if good:
            return None
        return self.range + (" each" if isinstance(value, (list, tuple)) and self.expected is None else "")

    def _holds(self, number: float) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    @property
    def range(self) -> str:
        """The range in words, such as "0 to 100" or "at least 0 and below 1"; empty where there is none."""
        if self.expected is not None:
            return self.expected
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}"
        parts = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.least),
                ("above", self.above),
                ("at most", self.most),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " and ".join(parts)


def option(help: str, *, default: Any = MISSING, **about: Any) -> Any:
    """A field of an options dataclass: `steps: int = option("intervals of the whole grid", least=1)`.

    Our own options have no default here: the line in conf/ is it. A plug-in's options have theirs here.
    """
    return field(default=default, metadata={"option": Option(help, **about)})


def options_of(cls: Any) -> dict[str, Option]:
    """The options that a dataclass declares, by field, in their order."""
    return {each.name: each.metadata["option"] for each in fields(cls) if "option" in each.metadata}


class Registry(Generic[T]):
    """Names and their entries: ours from every module of a package, others from installed plug-ins or a script.

    A module of the package adds its entries when it is imported, `EDITORS.add("name", entry)`; all of them are
    imported when the registry is first read. A plug-in package names its own in the entry-point group that the
    registry bears, `[project.entry-points."flowedit.editors"]`: `name = "package.module:entry"`; a script calls `add`.
    """

    def __init__(self, group: str, kind: str, package: str | None = None, entry: type | None = None) -> None:
        self.group, self.kind, self._entry = group, kind, entry
        self._package = package
        self._entries: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        """Plug-ins whose entry cannot be loaded, and why: they stop nothing until they are asked for by name."""
        self._read = False
        self._lock = threading.RLock()

    def add(self, name: str, entry: T) -> T:
        """Add an entry; raises InputError for a name that is taken or is not one of letters, digits and _ . -"""
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(f"{self.kind} name {name!r}: letters, digits, _ . and - are allowed")
        if name in self._entries and self._entries[name] is not entry:
            raise InputError(f"{self.kind} {name!r} is there already: choose another name")
        self._entries[name] = entry
        return entry

    def remove(self, name: str) -> None:
        """Take out an entry that a script added."""
        self._entries.pop(name, None)
        self._origins.pop(name, None)

    def __getitem__(self, name: str) -> T:
        """The entry; raises InputError for an unknown name, with the nearest one."""
        self._load()
        if name not in self._entries and name in self.broken:
            raise InputError(self.broken[name])
        if name not in self._entries:
            raise InputError(f"unknown {self.kind} {name!r}: one of {', '.join(self._entries)}{nearest(name, self)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def items(self) -> list[tuple[str, T]]:
        """Names and entries, ours first."""
        self._load()
        return list(self._entries.items())

    def values(self) -> list[T]:
        """The entries, ours first."""
        self._load()
        return list(self._entries.values())

    def registered(self) -> dict[str, T]:
        """The entries that are there already, with no module imported for it."""
        return dict(self._entries)

    def origin(self, name: str) -> str | None:
        """The package that a plug-in's entry comes from; None for one of ours or of a script."""
        self._load()
        return self._origins.get(name)

    def _load(self) -> None:
        with self._lock:  # a second thread waits for the whole; the same one may come back from an import
            self._load_once()

    def _load_once(self) -> None:
        if self._read:
            return
        self._read = True  # before the imports: a module of ours may read the registry while it is imported
        if self._package is not None:
            _import_all(self._package)
        from importlib.metadata import entry_points

        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist is not None else point.value.partition(":")[0]
            try:
                entry = point.load()
                if self._entry is not None and not isinstance(entry, self._entry):
                    raise InputError(f"{point.value} is no {self._entry.__name__}")
                self.add(point.name, entry)
            except Exception as error:  # whatever a package of somebody else raises when it is imported
                self.broken[point.name] = (
                    f"plug-in {origin!r}: its {self.kind} {point.name!r} cannot be loaded: {one_line(error)}; "
                    "repair the package or uninstall it"
                )
            else:
                self._origins[point.name] = origin


def _import_all(name: str) -> None:
    """Import the modules of a package and of the packages in it, in the order of their names."""
    import pkgutil  # here, as `flowedit --help` imports this module and reads no registry

    package = importlib.import_module(name)
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        if module.ispkg:
            _import_all(f"{name}.{module.name}")
        else:
            importlib.import_module(f"{name}.{module.name}")
