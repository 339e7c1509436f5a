"""The choices of a group of conf/, and what is typed for a backbone: a name, a folder or a repository."""

import os
import re
from pathlib import Path

from flowedit.backbones.options import BackboneOptions
from flowedit.config import plugins
from flowedit.config.defaults import read
from flowedit.config.folder import folder
from flowedit.messages import InputError, nearest

FORMER_OWNER = "thudm"
"""Of the repositories of CogVideoX, which the hub still forwards."""


def options(group: str) -> list[str]:
    """The names of a group, such as the modes; those of plug-ins too."""
    ours = sorted(path.stem for path in (folder() / group).glob("*.yaml"))
    return ours + [name for name in plugins.names(group) if name not in ours]


def backbone_of(value: str) -> tuple[str, dict[str, str | None]]:
    """The choice in the group `backbone`, and what it needs beside it.

    A name is known in any case, and by its repository on the hub; another OWNER/NAME is looked for there.
    """
    names = [name for name in options("backbone") if name != "folder"]
    if value == "folder" or value in names:
        return value, {}
    if value and Path(value).is_dir():
        return "folder", {"backbone.path": value}
    owner, _, tail = value.rpartition("/")
    known = {name.casefold(): name for name in names}
    places = {place.casefold(): name for name, place in released().items()}
    # Another owner's model of the same name is another model.
    ours = owner.casefold() in {FORMER_OWNER, *(place.partition("/")[0] for place in places)}
    if found := (known | places).get(value.casefold()) or (ours and known.get(tail.casefold())):
        return found, {}
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", value) and not Path(owner).exists():
        return "folder", {"backbone.name": value, "backbone.repository": value}
    near = nearest(value, names)
    raise InputError(
        f"unknown backbone {value!r}{f'{near} It is' if near else ':'} neither a folder, a repository OWNER/NAME of "
        f"the model hub, nor one of {', '.join(names)}"
    )


def typed(chosen: BackboneOptions) -> str:
    """What is typed for the backbone that an object holds."""
    if chosen.name in options("backbone"):
        return str(chosen.name)
    return "folder" if chosen.path is None or not os.path.isdir(chosen.path) else chosen.path


def released() -> dict[str, str]:
    """The repository of each backbone of the hub, by its name."""
    files = {name: read(f"backbone/{name}") for name in options("backbone")}
    own = {name: values.get("backbone", values).get("repository") for name, values in files.items()}
    return {name: str(place) for name, place in own.items() if place}


def like(place: str | None) -> str | None:
    """The release as which a folder is set: one of its family with guidance of its kind, whose file sets more.

    None for no folder, and for one that takes the general settings.
    """
    if place is None:
        return None
    from flowedit.backbones import shapes  # the sheets of all families, which only a folder needs

    return next((name for name in shapes.releases_like(Path(place)) if "backbone" in read(f"backbone/{name}")), None)
