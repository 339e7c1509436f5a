"""Hydra's one place: conf/, flags and overrides to `Settings`; prompts and paths never pass its grammar."""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowedit.settings import Settings, build

TEXTS = (
    "video",
    "source",
    "target",
    "source_words",
    "target_words",
    "negative_prompt",
    "user_mask",
    "out",
    "size",
)
"""Keys taken to the letter: their values need no quoting, whatever they hold."""

PROMPTS = ("source", "target", "source_words", "target_words", "negative_prompt")
"""Of these, where even `null` is a word."""

GROUPS = ("backbone", "mode", "mask", "guidance", "runtime")
PLAIN = re.compile(r"[\w./+-]*")
DROPPED = ("out", "video", "backbone")
"""Keys that an edit's YAML file may not set: a data file chooses no folder and no weights."""


def folder() -> Path:
    """conf/: inside the package when installed from a wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for place in (here / "conf", here.parent / "conf"):
        if (place / "config.yaml").is_file():
            return place
    raise FileNotFoundError(f"conf/ is neither in {here} nor beside it: install flowedit again")


def options(group: str) -> list[str]:
    """The names of a group, such as the three modes."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


def compose(flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Settings from conf/, then `flags` (key to value, strings as typed), then `key=value` overrides, the last wins.

    Raises ValueError, in one line and with the nearest valid key or choice, for anything it does not know.
    """
    pairs = [(key, value) for key, value in (flags or {}).items() if value is not None]
    pairs += [_split(text) for text in overrides]
    texts: dict[str, str | None] = {}
    chosen: dict[str, str] = {}
    rest: list[tuple[str, Any]] = []
    for key, value in pairs:
        if key == "backbone":
            chosen[key], path = _backbone(str(value))
            texts.pop("backbone.path", None)
            texts |= {"backbone.path": path} if path else {}
        elif key in GROUPS:
            chosen[key] = _one_of(key, str(value), options(key))
        elif key in TEXTS or key in ("backbone.path", "runtime.cache"):
            texts[key] = _text(key, str(value))
            if key == "backbone.path":
                chosen["backbone"] = "folder"
        else:
            rest.append((key, value))
    groups = [f"{key}={value}" for key, value in chosen.items()]
    known = _keys(tuple(groups))
    for key, _ in rest + list(texts.items()):
        if key not in known:
            raise ValueError(_unknown(key, known))
    values = _compose((*groups, *(f"{key}={_literal(value)}" for key, value in rest)))
    for key, value in texts.items():
        group, _, name = key.rpartition(".")
        (values[group] if group else values)[name] = value
    return settings(values)


def settings(values: Mapping[str, Any]) -> Settings:
    """Settings from a composed configuration as plain values; raises ValueError for a value out of range."""
    made: Settings = build(Settings, {k: v for k, v in values.items() if k != "hydra"})
    return made


def with_edit(values: Mapping[str, Any]) -> dict[str, Any]:
    """A composed configuration whose `video` may be an edit's YAML file; what is set beside it wins.

    For `scripts/edit.py`, where Hydra has composed already: the file fills what stands at its default.
    """
    merged = {str(key): value for key, value in values.items()}
    video = merged.get("video")
    if not isinstance(video, str) or Path(video).suffix.lower() not in (".yaml", ".yml"):
        return merged
    row, defaults = read_edit(Path(video)), _compose(())
    if groups := [key for key in row if key in GROUPS]:
        raise ValueError(f"{video!r} chooses {', '.join(groups)}: in a sweep, give it on the command line instead")
    return merged | {key: v for key, v in row.items() if key == "video" or merged.get(key) == defaults.get(key)}


def read_edit(path: Path) -> dict[str, Any]:
    """An edit's YAML file to flags: `clip` (a path inside the file's folder) and any top-level key but DROPPED.

    Raises ValueError for what is not one edit, an unknown key, or a path that leaves the folder.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        what = f"holds {len(data)} edits" if isinstance(data, list) else "is empty" if data is None else "is no mapping"
        raise ValueError(f"{str(path)!r} {what}; one edit is a mapping with clip, source and target")
    row = {key: value for key, value in data.items() if key not in ("redistribute", "clip")}
    allowed = [key for key in _keys(()) if "." not in key and key not in DROPPED]
    for key in row:
        if key not in allowed:
            if key in DROPPED:
                raise ValueError(f"{str(path)!r}: {key} is not for an edit's file; give it on the command line")
            raise ValueError(f"{str(path)!r}: unknown key {key!r}{_nearest(str(key), allowed)}")
    if not isinstance(data.get("clip"), str):
        raise ValueError(f"{str(path)!r} names no clip: write clip: FILE, a path beside it")
    row = {key: value for key, value in row.items() if value is not None}
    for key, value in row.items():
        _plain(path, key, value)
    row["video"] = _inside(path, "clip", data["clip"])
    if "user_mask" in row:
        row["user_mask"] = _inside(path, "user_mask", row["user_mask"])
    return row


def _inside(file: Path, key: str, name: str) -> str:
    if "\0" in name or not (file.parent / name).resolve().is_relative_to(file.parent.resolve()):
        raise ValueError(f"{str(file)!r}: {key} {name!r} is not a path inside the file's own folder")
    return str(file.parent / name)


def _plain(file: Path, key: str, value: Any) -> None:
    """Raise ValueError for what is neither text where text belongs nor one number, truth value or name elsewhere.

    A data file must not reach Hydra's grammar, which reads the environment.
    """
    if key in TEXTS:
        good, kind = isinstance(value, str), "text (quote it)"
    else:
        good = isinstance(value, (bool, int, float)) or bool(isinstance(value, str) and PLAIN.fullmatch(value))
        kind = "a number, true, false or a name"
    if not good:
        raise ValueError(f"{str(file)!r}: {key} {value!r} is not {kind}")


def _text(key: str, value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        if key in PROMPTS:
            raise ValueError(f"{key} {value!r} is not text in UTF-8") from None
    return None if value == "null" and key not in PROMPTS else value


def _split(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise ValueError(f"{text!r} is not an override of the form key=value")
    return key, value


def _backbone(value: str) -> tuple[str, str | None]:
    """The choice in the group `backbone`, and the path that it needs."""
    names = [name for name in options("backbone") if name != "folder"]
    if value == "folder" or value in names:
        return value, None
    if value and Path(value).is_dir():
        return "folder", value
    raise ValueError(
        f"unknown backbone {value!r}: neither a folder nor one of {', '.join(names)}{_nearest(value, names)}"
    )


def _one_of(group: str, value: str, names: list[str]) -> str:
    if value not in names:
        raise ValueError(f"unknown {group} {value!r}: one of {', '.join(names)}{_nearest(value, names)}")
    return value


def _unknown(key: str, known: Iterable[str]) -> str:
    group = key.partition(".")[0]
    if group in GROUPS and (owners := [name for name in options(group) if key in _keys((f"{group}={name}",))]):
        return f"{key!r} has no meaning here: it belongs to {group}={' or '.join(owners)}"
    return f"unknown key {key!r}{_nearest(key, known)}"


def _nearest(key: str, known: Iterable[str]) -> str:
    by_tail = {name.rpartition(".")[2]: name for name in known} | {name: name for name in known}
    near = difflib.get_close_matches(key, by_tail, 1, 0.65) or difflib.get_close_matches(
        key.rpartition(".")[2], by_tail, 1, 0.65
    )
    return f"; did you mean {by_tail[near[0]]!r}?" if near else ""


@functools.cache
def _keys(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Every dotted key of the configuration that these groups compose."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterable[str]:
        for key, value in values.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    return tuple(walk(_compose(groups), ""))


def _literal(value: Any) -> str:
    """A value as the override grammar writes it."""
    if value is None:
        return "null"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compose(overrides: tuple[str, ...]) -> dict[str, Any]:
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None  # under hydra.main, whose own stays in force afterwards
    try:
        with initialize_config_dir(config_dir=str(folder()), version_base="1.3"):
            values = OmegaConf.to_container(hydra_compose("config", list(overrides)), resolve=True)
    except OverrideParseException as error:
        raise ValueError(f"{error.override!r} cannot be read: a value of that kind needs Hydra's quotes") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"the configuration cannot be read: {' '.join(str(error).split())[:300]}") from error
    finally:
        state.hydra = outer
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
