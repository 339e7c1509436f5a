"""The command line: its entry, `flowedit edit` and `generate`. Nothing heavy is imported before it is needed."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flowedit.cli import evaluate
from flowedit.cli.flags import (
    FLAGS,
    GENERATE,
    UNSET,
    Parser,
    as_flags,
    command,
    given,
    is_override,
    monitor_of,
    with_instruction,
)
from flowedit.messages import InputError, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with _interruptible():
            options = _parse(argv)
            return int(options.run(options))
    except KeyboardInterrupt as stop:
        _complain(f"interrupted; {str(stop) or 'nothing was written'}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if "--debug" in argv:
            raise
        _complain(one_line(error))
    return 1


def _parse(argv: list[str]) -> argparse.Namespace:
    if not argv or argv[0] not in COMMANDS:
        return _parser().parse_args(argv)  # prints help, or says what is wrong
    head, tail = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = COMMANDS[argv[0]]()
    options = parser.parse_intermixed_args(list(as_flags(head[1:], parser)))
    options.rest += tail
    return options


def _parser() -> argparse.ArgumentParser:
    parser = Parser("flowedit", description="Edit a video from text, without training anything.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "edit", help='edit a clip: flowedit edit clip.mp4 "replace the fox with a panda"', add_help=False
    )
    commands.add_parser("generate", help="make a clip from text alone: flowedit generate --prompt ...", add_help=False)
    for name, text in evaluate.ABOUT.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _edit_parser() -> argparse.ArgumentParser:
    parser = command("edit", "Edit a clip from text.", FLAGS)
    parser.add_argument("rest", nargs="*", metavar="VIDEO | TEXT | key=value", help=EDITED)
    parser.set_defaults(run=_edit)
    return parser


def _generate_parser() -> argparse.ArgumentParser:
    parser = command("generate", "Make a clip from text alone.", GENERATE)
    parser.add_argument("--prompt", metavar="TEXT", default=UNSET, help="what the clip shows")
    parser.add_argument("rest", nargs="*", metavar="key=value", help="configuration overrides")
    parser.set_defaults(run=_generate)
    return parser


EDITED = "a video file or an edit's YAML file, and after it what to change, in plain English"

COMMANDS = {"edit": _edit_parser, "generate": _generate_parser, **evaluate.PARSERS}


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from flowedit import __version__

        print(f"flowedit {__version__}")
        parser.exit()


def _edit(options: argparse.Namespace) -> int:
    from flowedit.config import compose, edit_file

    overrides = [text for text in options.rest if is_override(text) and not text.startswith("video=")]
    named = [text.removeprefix("video=") for text in options.rest if text not in overrides]
    videos, asked = with_instruction(named)
    if len(videos) > 1:
        raise InputError(f"one clip at a time, not {len(videos)}: {', '.join(videos)} (quote a text that has spaces)")
    if not videos:
        raise InputError('no clip: flowedit edit VIDEO "replace the fox with a panda"')
    flags: dict[str, Any] = {"video": videos[0]}
    if Path(videos[0]).suffix.lower() in edit_file.SUFFIXES:
        flags = edit_file.read_edit(Path(videos[0]))
    settings = compose.compose(edit_file.over(flags, asked | given(options, FLAGS)), overrides)

    from flowedit.media import probe
    from flowedit.pipeline import instruction

    probe.probe(settings.video or "")  # before the seconds that torch takes to import
    with monitor_of(options.quiet) as monitor:
        settings = instruction.complete(settings, monitor)

        from flowedit.pipeline import run

        run.check(settings)  # before a download
        result = run.run(settings, run.load_backbone(settings), monitor)
    print(result.video)
    return 0


def _generate(options: argparse.Namespace) -> int:
    from flowedit.config import compose

    for key in (text.partition("=")[0] for text in options.rest):
        if key in FLAGS:
            raise InputError(f"flowedit generate has no {key}: it makes a clip from random noise and --prompt alone")
    flags = {"mode": "random_noise", "strength": "1", **given(options, GENERATE)}
    if options.prompt is not UNSET:
        flags["target"] = options.prompt
    settings = compose.compose(flags, options.rest)
    if not (settings.target or "").strip():
        raise InputError("no prompt: flowedit generate --prompt TEXT")
    with monitor_of(options.quiet) as monitor:
        from flowedit.pipeline import run

        folder = run.generate(settings, run.load_backbone(settings), monitor)
    print(folder / "video.mp4")
    return 0


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
