"""Hydra's one place: conf/, flags and overrides to `Settings`; prompts and paths never pass its grammar."""

import functools
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowedit.config.options import build
from flowedit.config.schema import Settings
from flowedit.language import grammar, words
from flowedit.messages import FileMissingError, InputError, nearest

TEXTS = (
    "video",
    "source",
    "target",
    "instruction",
    "caption",
    "source_words",
    "target_words",
    "negative_prompt",
    "user_mask",
    "out",
    "size",
)
"""Keys taken to the letter: their values need no quoting, whatever they hold."""

PROMPTS = ("source", "target", "instruction", "source_words", "target_words", "negative_prompt")
"""Of these, where even `null` is a word."""

LISTS = ("cuts", "object_guidance_scales")
"""Keys whose value may be numbers with commas between them, without the brackets of Hydra's grammar."""

AUTO = "auto"
"""The task that is told from prompts and words."""

GROUPS = ("backbone", "mode", "mask", "guidance", "runtime", "task")


def folder() -> Path:
    """conf/: inside the package when installed from a wheel, beside it in a checkout."""
    here = Path(str(files("flowedit")))
    for place in (here / "conf", here.parent / "conf"):
        if (place / "config.yaml").is_file():
            return place
    raise FileMissingError(f"conf/ is neither in {here} nor beside it: install flowedit again")


def options(group: str) -> list[str]:
    """The names of a group, such as the three modes."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


def compose(flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Settings from conf/, then `flags` (key to value, strings as typed), then `key=value` overrides, the last wins.

    Raises ValueError, in one line and with the nearest valid key or choice, for anything it does not know.
    """
    pairs = [(key, value) for key, value in (flags or {}).items() if value is not None]
    pairs += [split(text) for text in overrides]
    texts: dict[str, str | None] = {}
    chosen: dict[str, str] = {}
    rest: list[tuple[str, Any]] = []
    for key, value in pairs:
        if key == "backbone":
            chosen[key], path = _backbone(str(value))
            texts.pop("backbone.path", None)
            texts |= {"backbone.path": path} if path else {}
        elif key in GROUPS:
            chosen[key] = one_of(key, str(value), options(key))
        elif key in TEXTS or key in ("backbone.path", "runtime.cache"):
            texts[key] = _text(key, str(value))
            if key == "backbone.path":
                chosen["backbone"] = "folder"
        else:
            rest.append((key, value))
    if chosen.get("task", AUTO) == AUTO:
        chosen["task"] = told(texts)
    groups = [f"{key}={value}" for key, value in chosen.items()]
    known = _keys(tuple(groups))
    for key, _ in rest + list(texts.items()):
        if key == "mode.preset":
            raise InputError("mode.preset is not set by itself: it names what mode=PRESET chose")
        if key not in known:
            raise InputError(_unknown(key, known))
    values = composed((*groups, *(f"{key}={_literal(_bracketed(key, value))}" for key, value in rest)))
    for key, value in texts.items():
        group, _, name = key.rpartition(".")
        (values[group] if group else values)[name] = value
    return settings(values)


def told(texts: Mapping[str, Any]) -> str:
    """The task that these keys of a configuration tell, where none is chosen: the instruction's, or `words.task`.

    Raises ValueError for an instruction that cannot be read.
    """
    if instruction := texts.get("instruction"):
        return grammar.parse(str(instruction)).task
    return words.task(*(str(texts.get(key) or "") for key in ("source", "target", "source_words", "target_words")))


def settings(values: Mapping[str, Any]) -> Settings:
    """Settings from a composed configuration as plain values; raises ValueError for a value out of range."""
    made: Settings = build(Settings, {k: v for k, v in values.items() if k != "hydra"})
    return made


def keys() -> tuple[str, ...]:
    """The top-level keys of the configuration."""
    return tuple(key for key in _keys(()) if "." not in key)


def defaults(overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The configuration as conf/ and overrides in Hydra's own grammar compose it, as plain values."""
    return composed(tuple(overrides))


def _text(key: str, value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        if key in PROMPTS:
            raise InputError(f"{key} {value!r} is not text in UTF-8") from None
    return None if value == "null" and key not in PROMPTS else value


def split(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise InputError(f"{text!r} is not an override of the form key=value")
    return key, value


def _backbone(value: str) -> tuple[str, str | None]:
    """The choice in the group `backbone`, and the path that it needs."""
    names = [name for name in options("backbone") if name != "folder"]
    if value == "folder" or value in names:
        return value, None
    if value and Path(value).is_dir():
        return "folder", value
    raise InputError(
        f"unknown backbone {value!r}: neither a folder nor one of {', '.join(names)}{nearest(value, names)}"
    )


def one_of(group: str, value: str, names: list[str]) -> str:
    if value not in names:
        raise InputError(f"unknown {group} {value!r}: one of {', '.join(names)}{nearest(value, names)}")
    return value


def _unknown(key: str, known: Iterable[str]) -> str:
    group = key.partition(".")[0]
    groups = {name: _keys((f"{group}={name}",)) for name in options(group)} if group in GROUPS else {}
    if owners := [name for name, keys in groups.items() if key in keys and f"{group}.preset" not in keys]:
        return f"{key!r} has no meaning here: it belongs to {group}={' or '.join(owners)}"
    return f"unknown key {key!r}{nearest(key, known)}"


@functools.cache
def _keys(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Every dotted key of the configuration that these groups compose."""
    return walked(composed(groups))


def walked(values: Mapping[str, Any], prefix: str = "") -> tuple[str, ...]:
    found = []
    for key, value in values.items():
        found += [prefix + key, *(walked(value, f"{prefix}{key}.") if isinstance(value, dict) else ())]
    return tuple(found)


def _bracketed(key: str, value: Any) -> Any:
    bare = key in LISTS and isinstance(value, str) and re.fullmatch(r"[-\w.\s]+(,[-\w.\s]+)+", value)
    return f"[{value}]" if bare else value


def _literal(value: Any) -> str:
    """A value as the override grammar writes it."""
    if value is None:
        return "null"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def composed(overrides: tuple[str, ...], name: str = "config") -> dict[str, Any]:
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None  # under hydra.main, whose own stays in force afterwards
    try:
        with initialize_config_dir(config_dir=str(folder()), version_base="1.3"):
            values = OmegaConf.to_container(hydra_compose(name, list(overrides)), resolve=True)
    except OverrideParseException as error:
        raise InputError(f"{error.override!r} cannot be read: a value of that kind needs Hydra's quotes") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"the configuration cannot be read: {' '.join(str(error).split())[:300]}") from error
    finally:
        state.hydra = outer
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
