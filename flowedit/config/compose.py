"""Hydra's one place: conf/, flags and overrides to `Settings`; prompts and paths never pass its grammar."""

import copy
import functools
import re
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, get_origin

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowedit.backbones.options import BackboneOptions, RuntimeOptions
from flowedit.config import plugins
from flowedit.config.choices import backbone_of, like, released
from flowedit.config.choices import options as options
from flowedit.config.defaults import read
from flowedit.config.folder import folder
from flowedit.config.names import RENAMED, REPLACED, meant
from flowedit.config.options import Declared, build, declared, hint_of, kinds_of
from flowedit.config.quality import OverruledQuality, QualityOptions, at_quality
from flowedit.config.schema import Settings
from flowedit.declare import options_of
from flowedit.language import grammar, tasks
from flowedit.masks.options import MaskOptions
from flowedit.messages import InputError, RenamedWarning, nearest
from flowedit.networks.control.options import AttentionOptions

AUTO = "auto"
"""The task that is told from prompts and words."""

OPTIONS = options_of(Settings)
"""The declarations of the top-level options."""

GROUPS = tuple(name for name, option in OPTIONS.items() if option.choices)
"""Options that are groups of conf/."""

LATE = ("mode", "averaging")
"""Groups whose options are declared beside the editors, all of which a mistyped key need not wait for."""


def _forms(declarations: Iterable[Declared]) -> tuple[dict[str, str], set[str]]:
    """How the values of these options are written, by key; and the keys of those that may hold several values."""
    found = list(declarations)
    several = {each.key for each in found if any(get_origin(kind) is tuple for kind in kinds_of(each.kind))}
    return {each.key: each.option.written for each in found}, several


_OWNERS = {
    "": Settings,
    "backbone.": BackboneOptions,
    "runtime.": RuntimeOptions,
    "mask.": MaskOptions,
    "attention.": AttentionOptions,
    "quality.": QualityOptions,
}

WRITTEN, LISTS = _forms(
    Declared(prefix + name, option, hint_of(cls, name))
    for prefix, cls in _OWNERS.items()
    for name, option in options_of(cls).items()
    if prefix + name not in (*GROUPS, *LATE)
)
"""How a value is written, by key, where it is not in Hydra's grammar; and keys of several values, with commas between.

Those of the groups in LATE follow when such a key is given, see `_late`.
"""

_ALONE = threading.RLock()
"""Hydra's composition has one state for the whole process: one thread at a time."""


def current(key: str) -> str:
    """The name that a key has now; an old one is taken for it, with a warning.

    Raises InputError for one whose values would mean another thing.
    """
    if key in REPLACED:
        raise InputError(REPLACED[key])
    group, dot, rest = key.partition(".")
    if group not in RENAMED:
        return key
    new = f"{RENAMED[group]}{dot}{rest}"
    warnings.warn(f"{key} is called {new} now: write {new}=...", RenamedWarning, stacklevel=2)
    return new


def renamed(override: str) -> str:
    """An override of Hydra's own command line, key=value, under the name that its key has now, with a warning."""
    key, sign, value = override.partition("=")
    return f"{current(key)}{sign}{value}" if sign else override


def compose(flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Settings from conf/, then `flags` (key to value, strings as typed), then `key=value` overrides, the last wins.

    Raises InputError, in one line and with the nearest valid key or choice, for anything it does not know.
    """
    return settings(*_valued(flags, overrides))


def _valued(flags: Mapping[str, Any] | None, overrides: Iterable[str]) -> tuple[dict[str, Any], Set[str]]:
    """The configuration as plain values, and the keys that were set by hand."""
    groups, texts, rest = _sorted_out(flags, overrides)
    written, several = _late(groups, rest)
    given: dict[str, Any] = dict(texts)
    typed: dict[str, str] = {}
    for key, value in rest:
        given.pop(key, None)
        typed.pop(key, None)
        if written.get(key, "value") != "value" and isinstance(value, str):
            given[key] = _text(key, value, written[key])
        elif value is None or isinstance(value, (bool, int, float, list, tuple)):
            given[key] = value  # from Python, or of a YAML file: nothing is left to read
        else:
            typed[key] = _bracketed(str(value)) if key in several else str(value)
    values = composed((*groups, *(f"{key}={text}" for key, text in typed.items())))
    for key, value in given.items():
        group, _, name = key.rpartition(".")
        (values[group] if group else values)[name] = value
    return values, set_by_hand(groups, rest)


def set_by_hand(texts: Iterable[str], rest: Iterable[tuple[str, Any]] = ()) -> set[str]:
    """The keys that key=value texts and pairs set; a quality that is auto is not chosen."""
    chosen = {text.partition("=")[0] for text in texts if text != f"quality={AUTO}"}
    return chosen | {key for key, _ in rest}


def _late(groups: Sequence[str], rest: Iterable[tuple[str, Any]]) -> tuple[Mapping[str, str], Set[str]]:
    """`WRITTEN` and `LISTS`, with those of the editor and the averaging where an option of theirs is given."""
    if not any(key.startswith(tuple(f"{group}." for group in LATE)) for key, _ in rest):
        return WRITTEN, LISTS
    from flowedit.editors.averaging import AveragingOptions
    from flowedit.editors.spec import EDITORS

    editor = EDITORS[str(composed(tuple(groups))["mode"]["name"])]
    written, several = _forms([*declared(AveragingOptions, "averaging."), *declared(editor.options, "mode.")])
    return WRITTEN | written, LISTS | several


def check_keys(flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()) -> None:
    """What `compose` refuses of keys, groups and tasks, without importing all editors, as checking values does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        _sorted_out(flags, overrides)


def _sorted_out(
    flags: Mapping[str, Any] | None, overrides: Iterable[str]
) -> tuple[list[str], dict[str, Any], list[tuple[str, Any]]]:
    """Choices of groups, values taken to the letter, and the others, all by keys that are known."""
    pairs = [(current(key), value) for key, value in (flags or {}).items() if value is not None]
    pairs += [split(text) for text in overrides]
    texts: dict[str, Any] = {}
    chosen: dict[str, str] = {}
    rest: list[tuple[str, Any]] = []
    for key, value in pairs:
        if key == "backbone":
            chosen[key], more = backbone_of(str(value))
            texts = {name: text for name, text in texts.items() if not name.startswith("backbone.")} | more
        elif key in GROUPS:
            chosen[key] = one_of(key, str(value), options(key))
        elif WRITTEN.get(key, "value") != "value":
            texts[key] = _text(key, value, WRITTEN[key])
            if key == "backbone.path" and chosen.get("backbone") in released():  # a folder of that release
                texts["backbone.repository"] = None
            elif key == "backbone.path":
                chosen["backbone"] = "folder"
        else:
            rest.append((key, value))
    if chosen.get("backbone") == "folder" and (release := like(texts.get("backbone.path"))):
        unsaid = dict.fromkeys(read(f"backbone/{release}")["backbone"])  # it is another one, set as that release is
        chosen["backbone"], texts = release, {f"backbone.{name}": None for name in unsaid} | texts
    if chosen.get("task", AUTO) == AUTO:
        chosen["task"] = told(texts)
    groups = [f"{key}={value}" for key, value in chosen.items()]
    known = _keys(tuple(groups))
    for key, _ in rest + list(texts.items()):
        if key == "mode.preset":
            raise InputError("mode.preset is not set by itself: it names what mode=PRESET chose")
        if key not in known:
            raise InputError(_unknown(key, known))
    return groups, texts, rest


def told(texts: Mapping[str, Any]) -> str:
    """The task that these keys of a configuration tell, where none is chosen: the instruction's, or `tasks.infer`.

    Raises ValueError for an instruction that cannot be read.
    """
    if instruction := texts.get("instruction"):
        return grammar.parse(str(instruction)).task
    return tasks.infer(*(str(texts.get(key) or "") for key in ("source", "target", "source_words", "target_words")))


def settings(values: Mapping[str, Any], by_hand: Set[str] = frozenset()) -> Settings:
    """Settings from a composed configuration as plain values, its steps at its quality unless they are set `by_hand`.

    Raises ValueError for a value out of range.
    """
    from flowedit.editors.spec import EDITORS  # all of them, which a mistyped key need not wait for

    editor = EDITORS[str(values["mode"]["name"])]
    at = at_quality(values, editor.options, by_hand)
    classes: dict[str, Any] = {"mode": editor.options}
    if "steps" in by_hand and any(key.partition(".")[0] == "quality" for key in by_hand):
        classes["quality"] = OverruledQuality
    made: Settings = build(Settings, at, classes=classes)
    return made


def keys() -> tuple[str, ...]:
    """The top-level keys of the configuration."""
    return tuple(key for key in _keys(()) if "." not in key)


def defaults(overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The configuration as conf/ and overrides in Hydra's own grammar compose it, as plain values."""
    return composed(tuple(overrides))


def _text(key: str, value: Any, written: str) -> Any:
    """What is written for a text, to the letter; of prompts all of them, None for none."""
    if written in ("prompts", "files"):
        found = prompts(value)
        return None if found is None else tuple(_text(key, part, "prompt") for part in found)
    value = str(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        if written == "prompt":
            raise InputError(f"{key} {value!r} is not text in UTF-8") from None
    return None if value == "null" and written != "prompt" else value


def prompts(value: Any) -> tuple[str, ...] | None:
    """Several prompts, or files: a list of them, or one text with | between them; None for none."""
    several = value if isinstance(value, (list, tuple)) else "" if value is None else str(value).split("|")
    found = tuple(str(part).strip() for part in several)
    return None if found in (("null",), ("",), ()) else found


def split(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise InputError(f"{text!r} is not an override of the form key=value")
    return current(key), value


def one_of(group: str, value: str, names: list[str]) -> str:
    if value not in names:
        from flowedit.editors.spec import EDITORS

        if group == "mode" and value in EDITORS:
            raise InputError(f"mode {value!r} has an editor and no defaults: write them in conf/mode/{value}.yaml")
        raise InputError(f"unknown {group} {value!r}: one of {', '.join(names)}{nearest(value, names)}")
    return value


def _unknown(key: str, known: Iterable[str]) -> str:
    group = key.partition(".")[0]
    groups = {name: _keys((f"{group}={name}",)) for name in options(group)} if group in GROUPS else {}
    if owners := [name for name, keys in groups.items() if key in keys and f"{group}.preset" not in keys]:
        return f"{key!r} has no meaning here: it belongs to {group}={' or '.join(owners)}"
    return f"unknown key {key!r}{meant(key, known)}"


@functools.cache
def _keys(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Every dotted key of the configuration that these groups compose."""
    return walked(composed(groups))


def walked(values: Mapping[str, Any], prefix: str = "") -> tuple[str, ...]:
    found = []
    for key, value in values.items():
        found += [prefix + key, *(walked(value, f"{prefix}{key}.") if isinstance(value, dict) else ())]
    return tuple(found)


def _bracketed(text: str) -> str:
    """Several values with commas between them, in the brackets that the override grammar asks for."""
    return f"[{text}]" if re.fullmatch(r"[-\w.\s]+(,[-\w.\s]+)+", text) else text


def composed(overrides: tuple[str, ...], name: str = "config") -> dict[str, Any]:
    """A configuration of conf/ with overrides in Hydra's grammar, as plain values; any thread may ask.

    What its choices of groups compose is kept: values are set in a copy of it, which is a hundred times as fast.
    """
    with _ALONE:
        chosen = tuple(text for text in overrides if (folder() / text.partition("=")[0]).is_dir())
        values = [text for text in overrides if text not in chosen]
        brought = [plugins.node(*text.split("=", 1)) for text in chosen if text.partition("=")[0] in GROUPS]
        made = copy.deepcopy(_kept(chosen, name, repr(brought), folder()))
        return made if _set(made, values) else _composed(overrides, name)


@functools.cache
def _kept(chosen: tuple[str, ...], name: str, brought: str, _place: Path) -> dict[str, Any]:
    """What these choices compose; `brought` says what plug-ins bring to them at the moment, `_place` is conf/."""
    return _composed(chosen, name)


def _set(values: dict[str, Any], overrides: Sequence[str]) -> bool:
    """Set overrides in composed values, and whether that was all: what Hydra itself is to merge or refuse is left."""
    if any("$" in text for text in overrides):
        return False
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:
        return False
    for each in parsed:
        *place, key = str(each.key_or_group).split(".")
        group: Any = values
        for part in place:
            group = group.get(part) if isinstance(group, dict) else None
        one = each.type is OverrideType.CHANGE and each.package is None and not each.is_sweep_override()
        if not one or not isinstance(group, dict) or key not in group or isinstance(group[key], dict):
            return False
        group[key] = each.value()
    return True


def _composed(overrides: tuple[str, ...], name: str) -> dict[str, Any]:
    for group, choice in (text.split("=", 1) for text in overrides if text.partition("=")[0] in GROUPS):
        if (found := plugins.node(group, choice)) is not None:
            ConfigStore.instance().store(group=group, name=choice, node=found[0], package=found[1])
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None  # under hydra.main, whose own stays in force afterwards
    try:
        with initialize_config_dir(config_dir=str(folder()), version_base="1.3"):
            values = OmegaConf.to_container(hydra_compose(name, list(overrides)), resolve=True)
    except OverrideParseException as error:
        told = f"""{error.override!r} cannot be read: a text with signs in it needs quotes, key='"text"'"""
        raise InputError(told) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_refused(overrides)) from error
    finally:
        state.hydra = outer
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def swept(overrides: Iterable[str]) -> dict[str, str]:
    """Of overrides in Hydra's own grammar those that name several values, key to value as typed."""
    made = OverridesParser.create().parse_overrides([text for text in overrides if not text.startswith("-")])
    return dict(split(str(each.input_line)) for each in made if each.is_sweep_override())


def _refused(overrides: tuple[str, ...]) -> str:
    """Why these overrides make no configuration, in our own words."""
    for key, value in swept(overrides).items():
        several = f"flowedit compare CLIP --sweep {key}={value}, or flowedit edit with --seed or --strength A,B"
        return f"{key} takes one value, not {value} (several: {several})"
    return f"the configuration cannot be read: check {', '.join(overrides) or 'the files of conf/'}"
