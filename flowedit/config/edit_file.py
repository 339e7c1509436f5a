"""An edit written down as a YAML mapping: what it may say, and how it becomes flags; nothing in it reaches Hydra."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from flowedit import messages
from flowedit.config import compose
from flowedit.config.schema import Settings
from flowedit.messages import FileError, FileMissingError, InputError

SUFFIXES = (".yaml", ".yml")

DROPPED = tuple(name for name, option in compose.OPTIONS.items() if not option.data)
"""Keys that an edit's YAML file may not set: a data file chooses no folder and no weights."""

GROUPS = tuple(name for name in compose.GROUPS if name not in DROPPED)
"""Groups of options of which a file may name a choice, and set a key by its dotted name."""

SCORING = ("score_mask", "truth", "edit", "kind")
"""Keys that tell how the edit is scored and shown; the edit itself ignores them."""

PLAIN = re.compile(r"[\w./+-]*")

NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class EditRow:
    """One edit: its clip and flags, and for scoring what may change, the true result, its name and its type.

    `name` is the clip's path inside the file's folder, without the suffix: of "clips/dog.mp4" it is "clips/dog".
    """

    clip: Path
    flags: dict[str, Any]
    score_mask: Path | None
    truth: Path | None
    edit: str | None
    kind: str
    name: str


def read_edit(path: Path) -> dict[str, Any]:
    """An edit's YAML file to flags: `clip` (a path inside the file's folder), any top-level key but DROPPED, and dotted
    keys of GROUPS, as mask.grow.

    Raises ValueError for what is not one edit, an unknown key, or a path that leaves the folder.
    """
    return read_subject(path)[0]


def read_subject(path: Path) -> tuple[dict[str, Any], Path | None]:
    """The same, and where the file says that the object is: its `score_mask`, if it has one."""
    data = load(path)
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        what = f"holds {len(data)} edits" if isinstance(data, list) else "is empty" if data is None else "is no mapping"
        raise InputError(f"{str(path)!r} {what}; one edit is a mapping with clip, source and target")
    row = read_row(path, data)
    return row.flags | {"clip": str(row.clip)}, row.score_mask


def over(row: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """A file's flags with others over them; an instruction takes the place of a target, words and task, or they its."""
    made: tuple[str, ...] = () if flags.get("target") is None else ("instruction",)
    if flags.get("instruction") is not None:
        made = ("target", "target_parts", "source_words", "also_words", "target_words", "task")
    return {key: value for key, value in row.items() if key not in made} | dict(flags)


def read_row(file: Path, data: Mapping[str, Any], number: int | None = None) -> EditRow:
    """One mapping of a YAML file, the `number`th where it holds several; its paths lie inside the file's folder.

    Whether the files are there is not looked at. Raises ValueError as `read_edit` does, with the row's number.
    """
    where = f"{str(file)!r}" if number is None else f"{str(file)!r} row {number}"
    row = {key: value for key, value in data.items() if key not in ("redistribute", "clip")}
    if "video" in row:
        raise InputError(f"{where}: video is called clip now: write clip: FILE")
    row = {compose.current(str(key)): value for key, value in row.items()}
    allowed = [key for key in (*compose.OPTIONS, *SCORING) if key not in DROPPED]
    for key, value in row.items():
        group, dot, rest = key.partition(".")
        if group in DROPPED:
            raise InputError(f"{where}: {key} is not for an edit's file; give it on the command line")
        if key not in allowed and not (dot and group in GROUPS and NAME.fullmatch(rest)):
            raise InputError(f"{where}: unknown key {key!r}{messages.nearest(key, allowed)}")
        if key in GROUPS and isinstance(value, dict):
            keys = [str(inner) for inner in value if NAME.fullmatch(str(inner)) and not str(inner).startswith("_")]
            rest = f"; write its keys as {key}.{keys[0]}: VALUE" if keys else ""
            raise InputError(f"{where}: {key} is a name, not a mapping{rest}")
    if not isinstance(data.get("clip"), str):
        raise InputError(f"{where} names no clip: write clip: FILE, a path beside it")
    row = {key: value for key, value in row.items() if value is not None}
    for key, value in row.items():
        _plain(where, key, value)
    paths = {
        key: inside(file.parent, name, f"{where}: {key}")
        for key in ("clip", "user_mask", "score_mask", "truth")
        if (name := data.get(key)) is not None
    }
    if paths["clip"].is_dir():  # of frames
        for frame in (each for each in paths["clip"].iterdir() if each.is_symlink()):
            inside(file.parent, os.path.relpath(frame, file.parent), f"{where}: frame")
    flags = {key: value for key, value in row.items() if key not in SCORING}
    if "user_mask" in paths:
        flags["user_mask"] = str(paths["user_mask"])
    clip = Path(data["clip"])
    return EditRow(
        clip=paths["clip"],
        flags=flags,
        score_mask=paths.get("score_mask"),
        truth=paths.get("truth"),
        edit=row.get("edit"),
        kind=row.get("kind") or "",
        name=(clip.parent / clip.stem).as_posix(),
    )


def swept(overrides: Sequence[str]) -> Settings:
    """The settings of one point of a sweep, from overrides in Hydra's grammar; `clip` may be an edit's YAML file.

    For `scripts/edit.py`. Raises ValueError as `read_edit` and `config.settings` do.
    """
    values, row = _with_edit(compose.defaults(overrides))
    if values["task"] == compose.AUTO:
        values, row = _with_edit(compose.defaults([*overrides, f"task={compose.told(values)}"]))
    return compose.settings(values, compose.set_by_hand(overrides) | set(row))


def _with_edit(values: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """A composed configuration whose `clip` may be an edit's YAML file, which fills what stands at its default.

    And what that file sets.
    """
    merged = {str(key): value for key, value in values.items()}
    clip = merged.get("clip")
    if not isinstance(clip, str) or Path(clip).suffix.lower() not in SUFFIXES:
        return merged, {}
    row, defaults = read_edit(Path(clip)), compose.defaults([f"task={merged['task']}"])
    if groups := [key for key in row if key in compose.GROUPS]:
        raise InputError(f"{clip!r} chooses {', '.join(groups)}: in a sweep, give it on the command line instead")
    for key, value in row.items():
        if key == "clip" or _at(merged, key) == _at(defaults, key):
            merged = _with(merged, key, value)
    return merged, row


def _at(values: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    head, _, rest = key.partition(".")
    inner = values.get(head)
    return inner if not rest else _at(inner, rest) if isinstance(inner, Mapping) else None


def _with(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with a dotted key set; raises InputError for a key that is not there."""
    head, _, rest = key.partition(".")
    if head not in values or (rest and not isinstance(values[head], Mapping)):
        raise InputError(f"{key!r} of the edit's file has no meaning beside these choices: leave it out of the file")
    return {**values, head: _with(values[head], rest, value) if rest else value}


MOST_BYTES, MOST_VALUES, MOST_DEPTH = 2**20, 100_000, 40
"""Of a YAML file: its length, its values with every alias written out, and how deep they are nested."""


def load(path: Path) -> Any:
    """What a YAML file holds, as plain values; raises OSError or ValueError for one that cannot be read."""
    try:
        waits = path.exists() and not path.is_file()  # a pipe
        data = b"" if waits else _start(path)
    except FileNotFoundError as error:
        raise FileMissingError(f"{str(path)!r} does not exist: check its path") from error
    except OSError as error:
        raise FileError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that no file system can spell
        raise InputError(f"{str(path)!r} is not the name of a file") from error
    if waits:
        raise InputError(f"{str(path)!r} is not a file: give a YAML file")
    if len(data) > MOST_BYTES:
        raise InputError(f"{str(path)!r} is longer than 1 MB: a list of edits is short")
    try:
        return yaml.load(data, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        raise InputError(f"{str(path)!r} is not text in UTF-8 or UTF-16: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem or error.context or "it cannot be read"
        where = f" in line {mark.line + 1}" if mark is not None else ""
        hint = " (quote a text that holds a colon)" if "mapping values" in problem else ""
        raise InputError(f"{str(path)!r} is not YAML{where}: {problem}{hint}") from error
    except (yaml.YAMLError, ValueError) as error:  # half a character of UTF-16
        raise InputError(f"{str(path)!r} is not YAML: {error}") from error


def _start(path: Path) -> bytes:
    """The bytes of a file, one more than it may have where it is longer."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


class _Loader(yaml.SafeLoader):
    """Plain values, few and flat enough: aliases count as often as they are written, and tags must fit their values."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}
        """How many values an anchor's node holds, by the node's own number."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, as YAML composes it; raises ComposerError for one that is too deep, too large, or inside itself."""
        event: Any = self.peek_event()
        before, self._depth = self._values, self._depth + 1
        if self._depth > MOST_DEPTH:
            raise ComposerError(None, None, f"values are nested more than {MOST_DEPTH} deep", event.start_mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        alias = isinstance(event, yaml.AliasEvent)
        if alias:
            if id(node) not in self._sizes:
                raise ComposerError(None, None, f"*{event.anchor} stands inside its own value", event.start_mark)
            self._values += self._sizes[id(node)]
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise ComposerError(None, None, f"it comes to more than {MOST_VALUES} values", event.start_mark)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; raises ConstructorError for a tag that does not fit it."""
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # what Python's own types raise: !!bool maybe, a month 13, 5,000 digits
            kind, text = node.tag.rpartition(":")[2], str(node.value) if isinstance(node, yaml.ScalarNode) else "a list"
            raise ConstructorError(
                None, None, f"{text!r} is not a value of the kind {kind}", node.start_mark
            ) from error


def inside(root: Path, name: str, what: str, home: str = "the file's own folder") -> Path:
    """root/name; raises ValueError, opened by `what`, for a path that leaves the root, by a symbolic link as well."""
    try:
        good = "\0" not in name and (root / name).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # too long a name, a link to itself, what no file system can spell
        good = False
    if not good:
        raise InputError(f"{what} {name!r} is not a path inside {home}")
    return root / name


def _plain(where: str, key: str, value: Any) -> None:
    """Raise ValueError for what is neither text where text belongs nor one number, truth value or name elsewhere.

    Numbers may stand in a list where several are meant (compose.LISTS). A data file must not reach Hydra's grammar,
    which reads the environment.
    """
    if compose.WRITTEN.get(key) in ("prompts", "files") and isinstance(value, list):
        good, kind = all(isinstance(each, str) for each in value), "a list of texts (quote each)"
    elif compose.WRITTEN.get(key, "value") != "value" or key in SCORING:
        good, kind = isinstance(value, str), "text (quote it)"
    elif isinstance(value, list) and ("." in key or key in compose.LISTS):
        good, kind = all(type(each) in (int, float) for each in value), "a list of numbers"
    else:
        good = isinstance(value, (bool, int, float)) or bool(isinstance(value, str) and PLAIN.fullmatch(value))
        kind = "a number, true, false or a name"
    if not good:
        raise InputError(f"{where}: {key} {value!r} is not {kind}")
