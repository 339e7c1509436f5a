"""The command line: its entry. Nothing heavy is imported before it is needed."""

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from flowedit.cli import app, doctor, edit, evaluate, inspect, listing, mistakes, upscale
from flowedit.cli.flags import Parser, as_flags, renamed_noticed
from flowedit.messages import InputError, one_line

_ROOMS = (edit, evaluate, listing, upscale, doctor, inspect, app)
COMMANDS = {name: parser for room in _ROOMS for name, parser in room.PARSERS.items()}
ABOUT = {name: about for room in _ROOMS for name, about in room.ABOUT.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _speak_any_name()
    try:
        with _interruptible(), renamed_noticed():
            options = _parse(argv)
            return int(options.run(options))
    except KeyboardInterrupt as stop:
        _complain(f"interrupted; {str(stop) or 'nothing was written'}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if "--debug" in argv:
            raise
        _complain(one_line(error, "(--debug shows where)"))
    return 1


def _parse(argv: list[str]) -> argparse.Namespace:
    if not argv or argv[0] not in COMMANDS:
        if (said := mistakes.no_command(argv, COMMANDS)) is not None:
            raise InputError(said)
        return _parser().parse_args(argv)  # prints help or the version
    head, tail = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = COMMANDS[argv[0]]()
    options = parser.parse_intermixed_args(list(as_flags(head[1:], parser)))
    options.rest += tail
    return options


def _parser() -> argparse.ArgumentParser:
    parser = Parser("flowedit", description="Edit a video from text, without training anything.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in ABOUT.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from flowedit import __version__

        print(f"flowedit {__version__}")
        parser.exit()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, a termination or a closed terminal stop the block once; a second one cannot stop its cleaning up."""
    kinds = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    kinds = [kind for kind in kinds if signal.getsignal(kind) is not signal.SIG_IGN]  # nohup stays in force

    def interrupt(*_: Any) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, interrupt) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _complain(text: str) -> None:
    print(f"flowedit: {text}", file=sys.stderr)


def _speak_any_name() -> None:
    """A path that is not text goes to stdout as the bytes that it is; what stdout cannot say is spelt out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
