"""What may come in from a page or a program: which keys, which values, which names; and how it is refused."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flowedit.config import compose
from flowedit.config.edit_file import PLAIN
from flowedit.config.names import meant
from flowedit.config.options import Declared, declared
from flowedit.config.schema import Settings
from flowedit.declare import Option
from flowedit.messages import Error, InputError, nearest

PLACES = ("clip", "out", "user_mask")
"""Keys of files: the studio sets them itself."""

HELD = ("backbone",)
"""Keys that choose from a list by name alone, whatever else the command line takes for them."""

COMPARE = ("modes", "evaluations")
"""What a comparison has beside the options of an edit."""

MOST_TEXT, MOST_KEYS, MOST_LIST = 10_000, 300, 1000
"""Letters of a text, settings of a job, members of a list."""

MOST_WHOLE = 2**63
"""Whole numbers stay below it, as a seed of torch must."""

MEASURE = 49 * 480 * 720
"""Pixels of the clip whose evaluation by the network counts as one."""

IDENTITY = re.compile(r"[0-9a-f]{32}")
"""A clip's, a job's: 128 random bits."""


class UnknownError(Error):
    """What is asked for is not there, or not for who asks."""


class TooMuchError(Error):
    """An upload or a clip beyond the limit."""


class NoSpaceError(TooMuchError):
    """An upload that the disk has no room for."""


class FullError(Error):
    """The queue is full."""


class NotNowError(Error):
    """What cannot be done while something else is as it is."""


def check_id(id: str, what: str) -> str:
    """The id; raises UnknownError for a text that is none, so that it never becomes a path."""
    if not IDENTITY.fullmatch(id):
        raise UnknownError(f"no {what} is called {id[:40]!r}: give the id that its upload or its request answered with")
    return id


def safe_stem(name: str) -> str:
    """The stem of an uploaded file's name as a folder may be called: at most 60 letters, digits and . _ -"""
    last = re.split(r"[/\\]", name.replace("\0", ""))[-1]
    stem = last.rpartition(".")[0] or last
    kept = re.sub(r"[^\w.-]+", "-", stem).strip("-. ")
    while len(kept.encode("utf-8", "ignore")) > 120 or len(kept) > 60:
        kept = kept[:-1]
    return kept.encode("utf-8", "ignore").decode().strip("-. ") or "clip"


def safe_suffix(name: str) -> str:
    """The suffix of an uploaded file's name, where it is a short one of letters and digits; else .mp4."""
    found = re.search(r"\.([A-Za-z0-9]{1,5})$", name)
    return f".{found[1].lower()}" if found else ".mp4"


def flattened(settings: Any) -> dict[str, Any]:
    """Settings by dotted names; raises InputError for what is no mapping of names to plain values."""
    if not isinstance(settings, Mapping):
        raise InputError('settings is not a JSON object: write {"target": "a panda walks"}')
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            inner = {str(name): each for name, each in value.items()}
            if "name" in inner:
                flat[str(key)] = inner.pop("name")
            flat |= {f"{key}.{name}": each for name, each in inner.items()}
        else:
            flat[str(key)] = value
    if len(flat) > MOST_KEYS:
        raise InputError(f"settings has {len(flat)} keys: at most {MOST_KEYS}")
    return flat


def accepted(settings: Any, kind: str, allow: Sequence[str]) -> dict[str, Any]:
    """Settings of a job as flags, those that are null left out, every key and value looked at.

    Raises InputError for an unknown key, one that reads or writes elsewhere, and a value that is no plain one.
    """
    flat = {compose.current(key): value for key, value in flattened(settings).items()}
    own = {key: flat.pop(key) for key in COMPARE if kind == "compare" and key in flat}
    flags = {}
    known = known_options(str(flat.get("mode") or ""))
    for key, value in flat.items():
        if key not in known:
            raise InputError(f"unknown key {key[:80]!r}{meant(key[:80], known) or nearest(key[:80], known)}")
        if (why := closed(known[key], allow)) is not None:
            raise InputError(why)
        if value is None and "." not in key:
            continue
        check_value(known[key], value)
        flags[key] = value
    if "backbone" in flags and "backbone" not in allow:
        check_backbone(str(flags["backbone"]))
    return flags | _of_comparison(own)


def check_backbone(name: str) -> None:
    """Raise InputError for a backbone that is not one by name."""
    names = [each for each in compose.options("backbone") if each != "folder"]
    if name not in names:
        raise InputError(f"unknown backbone {name[:80]!r}: one of {', '.join(names)}{nearest(name[:80], names)}")


def known_options(mode: str = "") -> dict[str, Declared]:
    """Every option of an edit by its key, those of the mode's editor too."""
    from flowedit.editors.spec import EDITORS

    found = {each.key: each for each in declared(Settings) if not each.key.startswith("mode.")}
    chosen = compose.one_of("mode", mode, compose.options("mode")) if mode else default_mode()
    editor = EDITORS[str(compose.composed((f"mode={chosen}",))["mode"]["name"])]
    return found | {each.key: each for each in declared(editor.options, "mode.")}


def default_mode() -> str:
    """The mode that conf/ chooses."""
    from flowedit.config.defaults import default_of

    return str(default_of("mode")[0])


def closed(each: Declared, allow: Sequence[str]) -> str | None:
    """Why a key cannot be set from outside, in one line; None for one that can."""
    group = each.key.partition(".")[0]
    if each.key == "clip" or each.key == "out":
        return f"{each.key} is not set from here: the studio chooses it"
    if each.key in allow or each.key in HELD:
        return None
    top = compose.OPTIONS[group]
    paths = bool(re.search(r"\b(FILE|DIR)\b", each.option.typed or "")) or each.key in PLACES
    if group in allow and group != each.key and group not in HELD and not paths:
        return None
    if paths or not top.data or not each.option.data or top.role == "place" or each.option.role == "place":
        allowed = f"start the studio with --allow {each.key}"
        return f"{each.key} is not set from here, as it reads or writes elsewhere: {allowed}"
    return None


def check_value(each: Declared, value: Any) -> None:
    """Raise InputError for a value that is not plain: Hydra's grammar reads the environment, so it is not reached."""
    option: Option = each.option
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and abs(number) >= MOST_WHOLE:
            raise InputError(f"{each.key} is too large a number: whole numbers stay below {MOST_WHOLE}")
    if option.written == "value":
        members = value if isinstance(value, list) else [value]
        good = all(_is_plain(member) for member in members) and len(members) <= MOST_LIST
        kind = "a number, true, false, a name, or a list of these"
    elif option.written in ("prompts", "files") and isinstance(value, list):
        good, kind = len(value) <= MOST_LIST and all(_is_text(member) for member in value), "a list of texts"
    else:
        good, kind = value is None or _is_text(value), f"a text of at most {MOST_TEXT} letters"
    if not good:
        raise InputError(f"{each.key} {str(value)[:80]!r} is not {kind}")


def check_cost(evaluations: int, shots: int, frames: int, size: tuple[int, int] | None, most: int) -> None:
    """Raise InputError for a job that would hold the device too long.

    What counts is `evaluations` (of one window) times the `shots`, or times frames·height·width / (49·480·720) where
    that is more; `size` None is the model's own.
    """
    height, width = size or (480, 720)
    cost = evaluations * max(shots, -(-frames * height * width // MEASURE))
    if cost > most:
        told = f"{cost:,}" if cost < 10**9 else f"{cost:.0e}"
        raise InputError(
            f"this takes {told} network evaluations (each of 49 frames at 720x480), and {most:,} are the most here: "
            "take fewer steps, draws, frames or methods, or start the studio with more --evaluations"
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 200 and bool(PLAIN.fullmatch(value))
    return value is None or isinstance(value, (bool, int, float))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _of_comparison(own: Mapping[str, Any]) -> dict[str, Any]:
    """The modes and the budget of a comparison; raises InputError for other values than names and numbers."""
    made: dict[str, Any] = {}
    if (modes := own.get("modes")) is not None:
        names = compose.options("mode")
        if not isinstance(modes, list) or not 1 <= len(modes) <= len(names):
            raise InputError('modes is not a list of names: write ["inversion_free", "inversion"]')
        made["modes"] = [compose.one_of("mode", str(mode)[:80], names) for mode in modes]
    if (budget := own.get("evaluations")) is not None:
        if budget not in ("own", "equal") and (type(budget) is not int or budget < 1):
            raise InputError(f"evaluations {str(budget)[:80]!r} is not own, equal, or a number from 1 up")
        made["evaluations"] = budget
    return made
