"""The settings that a file of an edit holds, as far as they may be set from here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flowedit.app import limits
from flowedit.app.clips import renamed
from flowedit.messages import Error


def settings_from(path: Path, allow: Sequence[str], shown: str, say: Callable[[str], None]) -> dict[str, Any]:
    """The settings in an edit.mp4, edit.png or run.yaml, of those keys that may be set from here.

    `shown` is what its user calls the file, `say` hears what was left out. Raises InputError for any other file.
    """
    import flowedit

    try:
        held = flowedit.settings_from(path, say=lambda text: say(text.replace(path.name, shown)))
        flat = limits.flattened(held)
    except Error as error:
        raise renamed(error, path, shown) from None
    known = limits.known_options(str(flat.get("mode") or ""))
    free = [key for key in flat if key in known and limits.closed(known[key], allow) is None]
    if left := sorted(set(flat) - set(free)):
        say(f"{shown}: left out, not set from here: {', '.join(left)}")
    return {key: flat[key] for key in free}
