"""Editors and backbones of plug-ins as choices of Hydra's groups; their own defaults stand for lines of conf/."""

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from flowedit.config.folder import folder
from flowedit.declare import options_of


def names(group: str) -> list[str]:
    """The choices that plug-ins, or a script in this process, add to a group of conf/."""
    if group == "mode":
        installed = [point.name for point in _installed("flowedit.editors")]
        return list(dict.fromkeys([*installed, *(name for name in _editors(False) if _is_plugin(name))]))
    if group == "backbone":
        return list(_checkpoints())
    return []


def node(group: str, name: str) -> tuple[dict[str, Any], str] | None:
    """What a plug-in's choice sets, and the place in the configuration that it is set at; None for one of conf/."""
    if group == "mode" and _is_plugin(name):
        spec = _editors(True)[name]
        own = {key: getattr(spec.options, key) for key in options_of(spec.options) if hasattr(spec.options, key)}
        return {**spec.settings, "mode": {**own, "name": name}}, "_global_"
    if group == "backbone" and name in (brought := _checkpoints()):
        return {"name": name, **brought[name]}, "backbone"
    return None


def _installed(group: str) -> tuple[EntryPoint, ...]:
    return _found(group, tuple(sys.path))


@cache
def _found(group: str, _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """A look through all packages of the path, which a configuration asks for several times."""
    return tuple(entry_points(group=group))


def _editors(load: bool) -> Any:
    """The registry of editors; without `load` empty while nobody has imported it."""
    if not load and "flowedit.editors.spec" not in sys.modules:
        return {}
    from flowedit.editors.spec import EDITORS

    return EDITORS


def _is_plugin(name: str) -> bool:
    if (folder() / "mode" / f"{name}.yaml").is_file():
        return False
    return name in {point.name for point in _installed("flowedit.editors")} or name in _editors(False)


def _checkpoints() -> dict[str, dict[str, Any]]:
    """The checkpoints that backbone families of plug-ins bring, by name; ours stand in conf/backbone."""
    installed = _installed("flowedit.backbones")
    if not installed and "flowedit.backbones.families" not in sys.modules:
        return {}
    from flowedit.backbones.families import FAMILIES

    families = FAMILIES.values() if installed else FAMILIES.registered().values()
    return {name: dict(vars(each)) for family in families for name, each in family.checkpoints.items()}
