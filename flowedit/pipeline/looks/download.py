"""A backbone's weights, downloaded before an edit, with its progress told."""

from __future__ import annotations

import threading
from pathlib import Path

from flowedit.backbones import families
from flowedit.messages import InputError
from flowedit.pipeline.api import LoggingMonitor, settings_of
from flowedit.pipeline.keywords import Place
from flowedit.pipeline.record import look
from flowedit.types import Monitor


def download(backbone: Place, *, monitor: Monitor | None = None, cancel: threading.Event | None = None) -> Path:
    """The checkpoint folder of a backbone, downloaded if it is not here: `download("cogvideox-2b")`.

    A name of `flowedit list backbones`, or OWNER/NAME on the model hub; a folder is here already. `monitor` hears the
    phase `download` in bytes. `cancel`, once set, ends it within a second with `flowedit.Cancelled`; what is there
    stays, and the next call goes on where it was. Raises DownloadError for a hub that cannot be reached,
    FileError where nothing can be stored, InputError for a name that is none.
    """
    settings, told = settings_of({"backbone": backbone}), LoggingMonitor(monitor)
    look(cancel)
    if (here := families.folder(settings.backbone)) is not None:
        return here
    chosen = settings.backbone
    if chosen.repository is None:
        raise InputError(f"{str(backbone)!r} names nothing to download: flowedit list backbones")
    size = chosen.download or "size unknown"
    begin, without = (lambda total: told.phase("download", total)), families.replaced(chosen)
    return families.fetched(chosen.repository, size, begin, told.advance, cancel, without)
