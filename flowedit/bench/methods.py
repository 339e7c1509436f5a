"""What is compared: modes of the configuration, and any of them with overrides."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowedit.config import compose
from flowedit.settings import Settings
from flowedit.unused import unused

PER_SCENE = ("video", "source", "target", "source_words", "target_words", "user_mask", "seed", "size", "frames")
"""Settings that each scene fills."""

PER_FILE = ("composite", "start", "fps", "fit", "out")
"""Settings of reading and writing files, which a bench does neither of."""

THREADS = "runtime.threads"


@dataclass(frozen=True)
class Method:
    """A name for the rows, and settings that lack only a scene's prompts, words and seed."""

    name: str
    settings: Settings

    @property
    def notices(self) -> list[str]:
        """Options of this method that have no effect."""
        words = {"source": "a", "target": "a", "source_words": "a", "target_words": "a"}
        filled = Settings(**{**vars(self.settings), **words})
        return [f"{self.name}: {text}" for text in unused(filled)]


def methods(
    modes: Sequence[str],
    also: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> list[Method]:
    """One method a mode, and one for each text of overrides in `also`, on the first mode unless it names another.

    `flags` and `overrides` hold for all; the name of one in `also` is its mode and what it sets beside it. Raises
    ValueError for an unknown mode, key or value, a key that a bench has no use for, and two methods of one name.
    """
    if not modes:
        raise ValueError("no mode to compare: --modes inversion_free,inversion")
    _refuse(overrides, ("mode", "mode.name"), "choose with --modes")
    made = []
    for mode in modes:
        made.append(Method(mode, compose({**(flags or {}), "mode": mode}, overrides)))
    for text in also:
        pairs = shlex.split(text)
        chosen = [pair.partition("=")[2] for pair in pairs if pair.startswith("mode=")]
        rest = [pair for pair in pairs if not pair.startswith("mode=")]
        _refuse(rest, ("mode.name",), "write mode=")
        mode = chosen[-1] if chosen else modes[0]
        settings = compose({**(flags or {}), "mode": mode}, [*overrides, *rest])
        made.append(Method(" ".join([mode, *rest]), settings))
    names = [method.name for method in made]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))}: named more than once")
    given = [pair for text in also for pair in shlex.split(text)] + list(overrides)
    _refuse(given, PER_SCENE, "a scene of the bench brings its own")
    _refuse(given, PER_FILE, "a bench reads and writes no clip")
    _refuse(given, (THREADS,), "each worker of a bench has one thread")
    return made


def _refuse(overrides: Iterable[str], keys: Sequence[str], why: str) -> None:
    if bad := [key for key in (pair.partition("=")[0] for pair in overrides) if key in keys]:
        raise ValueError(f"{', '.join(bad)}: {why}")
