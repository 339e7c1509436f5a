"""Defaults of conf/ as help shows them, read without Hydra, which takes too long for that."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from flowedit.backbones.presets import MemoryPreset, ladder_of
from flowedit.config.folder import folder


def default_of(key: str) -> tuple[Any, tuple[str, Any] | None]:
    """The default of a top-level key; and (backbone, its own default) where the default backbone has another.

    Of a group, such as mode, the default is the name of a choice.
    """
    choices = _choices()
    if key in choices:
        return choices[key], None
    edit, mode = read("edit"), choices["mode"]
    general = _merged(edit, read(f"mode/{mode}"), key)
    backbone = choices["backbone"]
    small = _merged(read(f"backbone/{backbone}"), read(f"backbone_mode/{backbone}_{mode}"), key)
    return general, (backbone, small) if small is not None and small != general else None


def _merged(first: dict[str, Any], second: dict[str, Any], key: str) -> Any:
    value = second.get(key, first.get(key))
    return None if isinstance(value, dict) else value


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
