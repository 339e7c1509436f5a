"""Where what is made once is kept between runs: embeddings of prompts, captions of clips."""

import contextlib
import os
from pathlib import Path


def folder(setting: str | None) -> Path | None:
    """The folder of `runtime.cache`: null for none, auto for the user's own, else the folder itself."""
    if setting is None:
        return None
    if setting != "auto":
        return Path(setting)
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home folder
        return (Path(base) if base else Path.home() / ".cache") / "flowedit"
    return None
