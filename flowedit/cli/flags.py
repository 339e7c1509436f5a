"""Flags from the options' declarations, their help with the defaults of conf/, and parsers that answer in one line."""

import argparse
import contextlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowedit.cli import mistakes
from flowedit.config.folder import example, example_names
from flowedit.config.names import RENAMED
from flowedit.config.options import hint_of, typed
from flowedit.config.schema import Settings
from flowedit.config.sections import MORE, SECTIONS
from flowedit.declare import Option, options_of
from flowedit.messages import InputError, RenamedWarning

if TYPE_CHECKING:
    from flowedit.types import Monitor

OPTIONS = options_of(Settings)
FLAGS = tuple(name for name, option in OPTIONS.items() if option.flag)
"""The flags of `flowedit edit`, in their order."""
GENERATE = tuple(name for name in FLAGS if OPTIONS[name].generate)
METHOD = tuple(name for name in FLAGS if OPTIONS[name].bench)
"""Flags of a bench: what makes a method, not what a scene brings."""
CLIP = tuple(name for name in FLAGS if OPTIONS[name].role == "clip")
"""Flags that belong to a clip and not to a method."""
PROMPTS = tuple(name for name in FLAGS if OPTIONS[name].written == "prompt")
SHARED = tuple(name for name in FLAGS if name not in (*CLIP, "mode", "composite", "out"))
"""Flags that hold for every method of a comparison."""
UNSET = object()

SWITCHES = ("--debug", "--quiet", "--dry-run", "--help")

EPILOG = """\
any key of conf/ can follow as key=value: mask.threshold=otsu runtime.device=cpu, or mode=inversion mode.solver=heun
(flowedit list options prints them all)
examples:
  flowedit edit --example fox
  flowedit edit examples/fox.mp4 "replace the fox with a panda" --source "a fox moves right over green grass"
  flowedit edit examples/fox.yaml --mode inversion --steps 20
your own footage needs a full-size model:
  flowedit edit clip.mp4 "replace the dog with a cat" --source "a dog runs over a field" --backbone cogvideox-2b
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


class Parser(argparse.ArgumentParser):
    """Mistakes in one line, with the nearest flag, and exit code 1."""

    def error(self, message: str) -> NoReturn:
        what, _, rest = message.partition(": ")
        if what == "unrecognized arguments":
            flag = rest.split()[0].partition("=")[0]
            message = mistakes.unknown_flag(flag, self.prog, self._option_string_actions, OPTIONS)
        elif rest == "expected one argument":
            flag = what.removeprefix("argument ")
            message = f"{flag} needs a value (one that begins with a dash: {flag}=-...)"
        raise InputError(f"{message} ({self.prog} --help)")


class _Help(argparse.HelpFormatter):
    """Defaults are looked up in conf/ only when help is printed."""

    def _expand_help(self, action: argparse.Action) -> str:
        option = OPTIONS.get(action.dest)
        text = action.help or ""
        if option is not None and action.default is UNSET:
            text += default_note(action.dest)
        return text.replace("%", "%%") % {} if "%" in text else text


class _RawHelp(_Help, argparse.RawDescriptionHelpFormatter):
    pass


def command(
    name: str,
    about: str,
    flags: Iterable[str],
    usage: str,
    epilog: str = EPILOG,
    helps: Mapping[str, str] | None = None,
) -> argparse.ArgumentParser:
    """The parser of a command with these flags of an edit; `usage` is what stands without a flag.

    `helps`: what flags mean that mean another thing here than in an edit.
    """
    parser = Parser(
        f"flowedit {name}",
        usage=f"flowedit {name} {usage} [--flag VALUE ...] [key=value ...]",
        description=about,
        epilog=epilog,
        formatter_class=_RawHelp,
        allow_abbrev=False,
        add_help=False,
    )
    left = list(flags)
    sections = {title: [flag for flag in wanted if flag in left] for title, wanted in SECTIONS.items()}
    sections[MORE] = [flag for flag in left if not any(flag in each for each in SECTIONS.values())]
    for title, wanted in sections.items():
        if not wanted and title != MORE:
            continue
        group = parser.add_argument_group(title)
        for flag in wanted:
            option = OPTIONS[flag]
            add_flag(group, flag, replace(option, help=(helps or {}).get(flag, option.help)), Settings)
            for old in (old for old, new in RENAMED.items() if new == flag):
                group.add_argument(_dashed(old), dest=flag, action=_Old, help=argparse.SUPPRESS, default=UNSET)
    group.add_argument("-h", "--help", action="help", help="print this and end")
    group.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    group.add_argument("--quiet", action="store_true", help="no progress, notices only")
    return parser


def add_example(parser: argparse.ArgumentParser) -> None:
    """`--example NAME`: a clip that comes with flowedit, in place of one's own."""
    names = ",".join(example_names())
    parser._action_groups[-1].add_argument(
        "--example", metavar=f"{{{names}}}", help="a clip that comes with flowedit, and its edit"
    )


def add_flag(parser: Any, name: str, option: Option, owner: Any, default: Any = UNSET) -> None:
    """One flag from its option's declaration, for a parser or a group of one."""
    shown = (option.typed or typed(hint_of(owner, name))).replace("%", "%%")
    if option.written == "prompts":
        parser.add_argument(_dashed(name), metavar=shown, default=default, help=option.help, nargs="+", action=_Several)
        return
    action = _Joined if option.several else "store"
    parser.add_argument(_dashed(name), metavar=shown, default=default, help=option.help, action=action)


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class _Joined(argparse.Action):
    """A flag that may stand several times: its texts are joined by spaces, files by |."""

    def __call__(self, parser: Any, space: Any, values: Any, option: str | None = None) -> None:
        before = getattr(space, self.dest, UNSET)
        between = "|" if OPTIONS[self.dest].written == "files" else " "
        setattr(space, self.dest, values if before is UNSET else f"{before}{between}{values}")


class _Several(argparse.Action):
    """Texts one after the other, up to the next flag; key=value and files among them were meant for themselves."""

    def __call__(self, parser: Any, space: Any, values: Any, option: str | None = None) -> None:
        for text in values:
            if re.match(r"[A-Za-z_][\w.]*=", text) or Path(text).is_file():
                raise InputError(f"{text!r} follows {option}, which takes all texts up to the next flag: put it before")
        setattr(space, self.dest, [part for text in values for part in text.split("|")])


class _Old(argparse.Action):
    """An old name of a flag: taken for the new one, which a notice names."""

    def __call__(self, parser: Any, space: Any, values: Any, option: str | None = None) -> None:
        warnings.warn(f"{option} is called {_dashed(self.dest)} now", RenamedWarning, stacklevel=2)
        setattr(space, self.dest, values)


def default_note(name: str) -> str:
    """What conf/ says of a key, for its help: the default, and that of the default backbone where it is another."""
    from flowedit.config.defaults import default_of

    own, small = default_of(name)
    if own in (None, "") and small is None:
        return ""
    note = f" (default {_shown(own)}" if own not in (None, "") else " ("
    return note + (f"; {small[0]} {_shown(small[1])})" if small else ")")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def renamed_noticed() -> Iterator[None]:
    """Warnings about old names become notices on stderr, each once."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, RenamedWarning):
            if str(message) not in said:
                said.add(str(message))
                print(f"note: {message}", file=sys.stderr)
        else:
            before(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        before, warnings.showwarning = warnings.showwarning, show
        yield


def as_flags(argv: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    """`steps=4` as `--steps=4`, so that the last one wins whichever way it is written."""
    awaited = False
    for text in argv:
        key, _, value = text.partition("=")
        known = not awaited and is_override(text) and _dashed(key) in parser._option_string_actions
        known = known and parser.get_default(parser._option_string_actions[_dashed(key)].dest) is UNSET
        yield f"{_dashed(key)}={value}" if known else text
        awaited = not awaited and text.startswith("--") and "=" not in text and text not in SWITCHES


def is_override(text: str) -> bool:
    """Whether a text is key=value, and no file of that name."""
    return bool(re.match(r"[A-Za-z_][\w.]*=", text)) and not Path(text).exists()


def texts_of(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """What stands beside flags: files and texts, the example first that was asked for; and key=value."""
    overrides = [text for text in options.rest if is_override(text)]
    named = [text for text in options.rest if text not in overrides]
    return [*([str(example(options.example))] if options.example else []), *named], overrides


def with_instruction(name: str, named: list[str], options: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """The clip, and the instruction that follows it; raises InputError for anything else that stands beside flags."""
    given_prompts = {_dashed(name): str(text) for name, text in given(options, PROMPTS).items()}
    if (said := mistakes.not_one_clip(name, named, given_prompts)) is not None:
        raise InputError(said)
    if len(named) == 1:
        return named[0], {}
    if " " not in named[1].strip():  # what is left of a prompt without quotes
        from flowedit.language.grammar import EXAMPLES

        raise InputError(f"{named[1]!r} is no instruction, such as {EXAMPLES} (quote a text that has spaces)")
    return named[0], {"instruction": named[1]}


def whole(options: argparse.Namespace, name: str) -> int:
    """A flag's value as a whole number."""
    text = getattr(options, name)
    if not text.isdecimal():
        raise InputError(f"{_dashed(name)} {text!r} is not a whole number from 0 up")
    return int(text)


def parts(text: str) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, str]:
    """The flags that were given, by name."""
    return {name: value for name in names if (value := getattr(options, name)) is not UNSET}


@contextlib.contextmanager
def monitor_of(quiet: bool) -> Iterator["Monitor"]:
    """Progress and notices on stderr; notices alone with `quiet`."""
    from flowedit.cli.progress import RichMonitor

    with RichMonitor(quiet) as monitor:
        monitor.phase("load", 0)
        yield monitor
