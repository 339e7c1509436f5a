"""The command line: `flowedit edit` and `flowedit generate`. Nothing heavy is imported before it is needed."""

import argparse
import contextlib
import difflib
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from flowedit.types import Monitor

FLAGS = {
    "source": ("TEXT", "what the clip shows"),
    "target": ("TEXT", "what it should show"),
    "source_words": ("WORDS", "the object's words in the source prompt (commas between several phrases)"),
    "target_words": ("WORDS", "the new object's words in the target prompt"),
    "negative_prompt": ("TEXT", "what guidance steers away from"),
    "mode": ("NAME", "random_noise, inversion or inversion_free (the default)"),
    "backbone": ("NAME|DIR", "cogvideox-2b (the default), cogvideox-5b, cogvideox1.5-5b, or a checkpoint folder"),
    "mask": ("NAME", "attention (of the words; the default) or none"),
    "guidance": ("NAME", "mean (the default), differential or differential_first"),
    "steps": ("N", "intervals of the whole grid of times (default 50)"),
    "strength": ("S", "share of the grid that is run: 0 keeps the clip, 1 starts at pure noise (default 0.8)"),
    "source_guidance_scale": ("S", "classifier-free guidance of the source (by mode: 3.5, inversion 1)"),
    "target_guidance_scale": ("S", "classifier-free guidance of the target (by mode: inversion_free 10.5, others 6)"),
    "draws": ("N", "noises averaged a step, in inversion_free (default 1, with differential guidance 4)"),
    "seed": ("N", "random seed (default 0)"),
    "user_mask": ("FILE|DIR", "video, image or folder of frames; white is edited"),
    "composite": ("WHEN", "true, false or auto: keep the original pixels outside the mask (auto: on with a mask)"),
    "size": ("WxH", "working size in pixels; without it the backbone's own area"),
    "frames": ("N", "frames to read; without it to the end"),
    "start": ("N", "first frame to read (default 0)"),
    "fps": ("RATE", "read and write at a lower rate"),
    "fit": ("HOW", "crop (the default) or pad, where the working size has another aspect"),
    "out": ("DIR", "folder of the results; without it outputs/<clip>/<time>"),
}
GENERATE = (
    "negative_prompt",
    "backbone",
    "target_guidance_scale",
    "steps",
    "seed",
    "size",
    "frames",
    "fps",
    "out",
)

UNSET = object()
SWITCHES = ("--debug", "--quiet", "--help")

EPILOG = """\
any key of conf/ can follow as key=value: mask.threshold=otsu runtime.device=cpu, or mode=inversion mode.solver=heun
examples:
  flowedit edit clip.mp4 --source "a fox runs" --target "a panda runs" --source-words fox --target-words panda
  flowedit edit examples/cup.yaml --mode inversion --steps 20
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with _interruptible():
            options = _parse(argv)
            return int(options.run(options))
    except KeyboardInterrupt:
        _complain("interrupted; nothing was written")
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
    options = parser.parse_intermixed_args(list(_as_flags(head[1:], parser)))
    options.rest += tail
    return options


def _as_flags(argv: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    """`steps=4` as `--steps=4`, so that the last one wins whichever way it is written."""
    awaited = False
    for text in argv:
        flag = f"--{text.partition('=')[0].replace('_', '-')}"
        known = not awaited and _is_override(text) and parser.get_default(text.partition("=")[0]) is UNSET
        yield f"{flag}={text.partition('=')[2]}" if known else text
        awaited = not awaited and text.startswith("--") and "=" not in text and text not in SWITCHES


class _Parser(argparse.ArgumentParser):
    """Mistakes in one line, with the nearest flag, and exit code 1."""

    def error(self, message: str) -> NoReturn:
        what, _, rest = message.partition(": ")
        if what == "unrecognized arguments":
            flag = rest.split()[0].partition("=")[0]
            near = difflib.get_close_matches(flag.replace("_", "-"), self._option_string_actions, 1, 0.75)
            message = f"unknown option {flag}" + (f"; did you mean {near[0]}?" if near else "")
        elif rest == "expected one argument":
            flag = what.removeprefix("argument ")
            message = f"{flag} needs a value (one that begins with a dash: {flag}=-...)"
        raise ValueError(f"{message} ({self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("flowedit", description="Edit a video from text, without training anything.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("edit", help="edit a clip: flowedit edit clip.mp4 --source ... --target ...", add_help=False)
    commands.add_parser("generate", help="make a clip from text alone: flowedit generate --prompt ...", add_help=False)
    return parser


def _edit_parser() -> argparse.ArgumentParser:
    parser = _command("edit", "Edit a clip from text.", FLAGS)
    parser.add_argument("rest", nargs="*", metavar="VIDEO | key=value", help="a video file or an edit's YAML file")
    parser.set_defaults(run=_edit)
    return parser


def _generate_parser() -> argparse.ArgumentParser:
    parser = _command("generate", "Make a clip from text alone.", GENERATE)
    parser.add_argument("--prompt", metavar="TEXT", default=UNSET, help="what the clip shows")
    parser.add_argument("rest", nargs="*", metavar="key=value", help="configuration overrides")
    parser.set_defaults(run=_generate)
    return parser


COMMANDS = {"edit": _edit_parser, "generate": _generate_parser}


def _command(name: str, about: str, flags: Iterable[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        f"flowedit {name}",
        description=about,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--quiet", action="store_true", help="no progress, notices only")
    for flag in flags:
        metavar, text = FLAGS[flag]
        parser.add_argument(f"--{flag.replace('_', '-')}", metavar=metavar, default=UNSET, help=text)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from flowedit import __version__

        print(f"flowedit {__version__}")
        parser.exit()


def _edit(options: argparse.Namespace) -> int:
    from flowedit import config

    overrides = [text for text in options.rest if _is_override(text) and not text.startswith("video=")]
    videos = [text.removeprefix("video=") for text in options.rest if text not in overrides]
    if len(videos) > 1:
        raise ValueError(f"one clip at a time, not {len(videos)}: {', '.join(videos)} (quote a prompt that has spaces)")
    if not videos:
        raise ValueError("no clip: flowedit edit VIDEO --source ... --target ...")
    flags: dict[str, Any] = {"video": videos[0]}
    if Path(videos[0]).suffix.lower() in (".yaml", ".yml"):
        flags = config.read_edit(Path(videos[0]))
    settings = config.compose(flags | _given(options, FLAGS), overrides)

    from flowedit import probe

    probe.probe(settings.video or "")  # before the seconds that torch takes to import
    with _monitor(options.quiet) as monitor:
        from flowedit import run

        run.check(settings)  # before a download
        result = run.run(settings, run.load_backbone(settings), monitor)
    print(result.video)
    return 0


def _generate(options: argparse.Namespace) -> int:
    from flowedit import config

    for key in (text.partition("=")[0] for text in options.rest):
        if key in FLAGS:
            raise ValueError(f"flowedit generate has no {key}: it makes a clip from random noise and --prompt alone")
    flags = {"mode": "random_noise", "strength": "1", **_given(options, GENERATE)}
    if options.prompt is not UNSET:
        flags["target"] = options.prompt
    settings = config.compose(flags, options.rest)
    if not (settings.target or "").strip():
        raise ValueError("no prompt: flowedit generate --prompt TEXT")
    with _monitor(options.quiet) as monitor:
        from flowedit import run

        folder = run.generate(settings, run.load_backbone(settings), monitor)
    print(folder / "video.mp4")
    return 0


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, str]:
    return {name: value for name in names if (value := getattr(options, name)) is not UNSET}


def _is_override(text: str) -> bool:
    return bool(re.match(r"[A-Za-z_][\w.]*=", text)) and not Path(text).exists()


@contextlib.contextmanager
def _monitor(quiet: bool) -> Iterator["Monitor"]:
    from flowedit.progress import RichMonitor

    with RichMonitor(quiet) as monitor:
        monitor.phase("load", 0)
        yield monitor


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


def one_line(error: Exception) -> str:
    """Our own errors are one line already; of others the kind and the first line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)):
        return text
    return f"{type(error).__name__}: {text[:300]} (--debug shows where)"


def _complain(text: str) -> None:
    print(f"flowedit: {text}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
