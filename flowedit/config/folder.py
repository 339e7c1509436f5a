"""Where conf/ and the examples lie: in a checkout, and in an installed package."""

from importlib.resources import files
from pathlib import Path

from flowedit.messages import FileMissingError, InputError, nearest


def folder() -> Path:
    """conf/: inside the package when installed from a wheel, beside it in a checkout."""
    return _place("conf", "config.yaml")


def example(name: str) -> Path:
    """The YAML file of an example; raises InputError for one that is not there."""
    if name not in (names := example_names()):
        raise InputError(f"no example is called {name!r}: one of {', '.join(names)}{nearest(name, names)}")
    return _place("examples", "fox.yaml") / f"{name}.yaml"


def example_names() -> list[str]:
    """The examples that are one edit each; those that pocket can do come first."""
    return ["fox", "two", "koala", "cup"]


def _place(name: str, holds: str) -> Path:
    here = Path(str(files("flowedit")))
    for place in (here / name, here.parent / name):
        if (place / holds).is_file():
            return place
    raise FileMissingError(f"{name}/ is neither in {here} nor beside it: install flowedit again")
