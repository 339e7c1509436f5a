"""What an edit is asked to keep of its steps (`save`, `log`), and what is refused of that."""

import importlib
import importlib.util
import os
import re

from flowedit.config.schema import Settings
from flowedit.machine import muted
from flowedit.messages import InputError, nearest, one_line
from flowedit.pipeline.outputs import FOLDERS

STEPS, LOGS = FOLDERS[:2]
"""Folders in an edit's own: of tensors and contact sheets, and of other programs' logs."""

SAVES = ("steps", "maps", "sheet")
"""States, velocities and masks of each step; its attention maps; a contact sheet of the clean clip over the steps."""

LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb", "wandb_online": "wandb"}
"""Loggers, and the extra that brings their package, which bears its name."""

WAYS_IN = {"tensorboard": "torch.utils.tensorboard"}
"""What is imported of a package, where it is not the package itself."""


def names(key: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a text with commas between; raises InputError for one that is not known."""
    found = tuple(dict.fromkeys(each for each in re.split(r"[,\s]+", text or "") if each))
    for name in found:
        if name not in known:
            raise InputError(f"{key} {name!r} is not one of {', '.join(known)}{nearest(name, known)}")
    return found


def saves(settings: Settings) -> tuple[str, ...]:
    """What is to be saved of each step."""
    return names("save", settings.save, SAVES)


def loggers(settings: Settings) -> tuple[str, ...]:
    """The loggers that are asked for."""
    return names("log", settings.log, tuple(LOGGERS))


def folders(settings: Settings) -> tuple[str, ...]:
    """The folders that an edit leaves."""
    return (*([STEPS] if saves(settings) else []), *([LOGS] if loggers(settings) else []))


def check(settings: Settings) -> None:
    """Raise InputError for names that are not known, and for a logger whose package is not installed."""
    saves(settings)
    for name in loggers(settings):
        extra = LOGGERS[name]
        if importlib.util.find_spec(extra) is None:
            raise InputError(f'log={name} needs {extra}, which is not installed: pip install "flowedit[{extra}]"')
        if name == "wandb":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which would be sent
        try:  # now, as after the edit it would be too late
            with muted():
                importlib.import_module(WAYS_IN.get(extra, extra))
        except Exception as error:  # whatever somebody else's package raises
            raise InputError(f"log={name}: {extra} cannot be imported ({one_line(error)}): install it anew") from error
    if "wandb" in loggers(settings) and "wandb_online" in loggers(settings):
        raise InputError("log=wandb keeps the run here and log=wandb_online sends it: leave one out")
