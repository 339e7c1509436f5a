"""What is compared: modes of the configuration, and any of them with overrides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowedit.config import compose, options
from flowedit.settings import Settings


@dataclass(frozen=True)
class Method:
    """A name for the rows, and settings that lack only a scene's prompts, words and seed."""

    name: str
    settings: Settings


def methods(
    modes: Sequence[str],
    also: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> list[Method]:
    """One method a mode, and one for each text of overrides in `also`, on the first mode unless it names another.

    `flags` and `overrides` hold for all; the name of one in `also` is its mode and what it sets beside it. Raises
    ValueError for an unknown mode, key or value, and for two methods of one name.
    """
    made = []
    for mode in modes:
        if mode not in options("mode"):
            raise ValueError(f"unknown mode {mode!r}: one of {', '.join(options('mode'))}")
        made.append(Method(mode, compose({**(flags or {}), "mode": mode}, overrides)))
    for text in also:
        pairs = text.split()
        mode = next((pair.partition("=")[2] for pair in pairs if pair.startswith("mode=")), modes[0])
        rest = [pair for pair in pairs if not pair.startswith("mode=")]
        settings = compose({**(flags or {}), "mode": mode}, [*overrides, *rest])
        made.append(Method(" ".join([mode, *rest]), settings))
    names = [method.name for method in made]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))}: named more than once")
    for method in made:
        given = [key for key in PER_SCENE if getattr(method.settings, key)]
        if given:
            raise ValueError(f"{', '.join(given)}: a scene of the bench brings its own")
    return made


PER_SCENE = ("video", "source", "target", "source_words", "target_words", "user_mask", "seed", "size", "frames")
"""Settings that each scene fills."""
