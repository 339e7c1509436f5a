"""Where conf/ lies: in a checkout, and in an installed package."""

from importlib.resources import files
from pathlib import Path

from flowedit.messages import FileMissingError


def folder() -> Path:
    """conf/: inside the package when installed from a wheel, beside it in a checkout."""
    here = Path(str(files("flowedit")))
    for place in (here / "conf", here.parent / "conf"):
        if (place / "config.yaml").is_file():
            return place
    raise FileMissingError(f"conf/ is neither in {here} nor beside it: install flowedit again")
