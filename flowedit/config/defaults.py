"""Defaults of conf/ as help shows them, read without Hydra, which takes too long for that."""

import functools
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from flowedit.backbones.presets import MemoryPreset, ladder_of
from flowedit.config.folder import folder
from flowedit.config.quality import steps_at


def default_of(key: str) -> tuple[Any, tuple[str, Any] | None]:
    """The default of a top-level key; and (backbone, its own default) where the default backbone has another.

    Of a group, such as mode, the default is the name of a choice.
    """
    choices = _choices()
    if key in choices:
        return choices[key], None
    edit, mode, backbone = read("edit"), choices["mode"], choices["backbone"]
    large = edit | read(f"mode/{mode}")
    own = read(f"backbone/{backbone}") | read(f"backbone_mode/{backbone}_{mode}")
    own |= of_quality(backbone, mode, choices["quality"])
    general: Any
    small: Any
    if key == "steps":  # as many as are run, where fewer than the mode has are enough
        general, small = _steps(large), _steps(large | own)
    else:
        general, small = (None if isinstance(value := of.get(key), dict) else value for of in (large, own))
    return general, (backbone, small) if small is not None and small != general else None


def of_quality(backbone: str, mode: str, quality: str) -> dict[str, Any]:
    """What a quality sets for one mode of one backbone, with the file that it builds on; {} where it sets nothing."""
    place = "backbone_mode_quality"
    own = read(f"{place}/{backbone}_{mode}_{quality}")
    below = [read(f"{place}/{name}") for name in own.get("defaults", ()) if name != "_self_"]
    merged: dict[str, Any] = functools.reduce(lambda under, over: under | over, [*below, own], {})
    return {key: value for key, value in merged.items() if key != "defaults"}


def _steps(of: dict[str, Any]) -> int:
    return steps_at(of["steps"], of["quality"]["share"], of["strength"])


@cache
def _choices() -> dict[str, str]:
    """The choice of each group in the list of defaults of conf/edit.yaml."""
    entries = [entry for entry in read("edit")["defaults"] if isinstance(entry, dict)]
    pairs = [(str(group), str(name)) for entry in entries for group, name in entry.items()]
    return {group: name for group, name in pairs if not group.startswith("optional")}


def memory_presets() -> tuple[MemoryPreset, ...]:
    """The presets of conf/runtime for a size of GPU memory, the one that needs most first."""
    paths = sorted((folder() / "runtime").glob("*.yaml"))
    return ladder_of({path.stem: read(f"runtime/{path.stem}") for path in paths})


@cache
def read(name: str) -> dict[str, Any]:
    """A file of conf/ by its place without the suffix; {} where there is none."""
    path: Path = folder() / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
