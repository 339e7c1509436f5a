"""The command line: `flowedit edit` and `flowedit generate`. Nothing heavy is imported before it is needed."""

import argparse
import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowedit.types import Monitor

FLAGS = {
    "source": "what the clip shows",
    "target": "what it should show",
    "source_words": "the object's words in the source prompt (commas between several phrases)",
    "target_words": "the new object's words in the target prompt",
    "negative_prompt": "what guidance steers away from",
    "mode": "random_noise, inversion or inversion_free",
    "backbone": "a name (cogvideox-2b, cogvideox-5b, cogvideox1.5-5b) or a checkpoint folder",
    "mask": "attention (of the words) or none",
    "guidance": "mean, differential or differential_first",
    "steps": "intervals of the whole grid of times",
    "strength": "share of the grid that is run: 0 keeps the clip, 1 starts at pure noise",
    "source_guidance_scale": "classifier-free guidance of the source",
    "target_guidance_scale": "classifier-free guidance of the target",
    "draws": "noises averaged a step (inversion_free)",
    "seed": "random seed",
    "user_mask": "video, image or folder of frames; white is edited",
    "composite": "true, false or auto: keep the original pixels outside the mask (auto: on with a mask)",
    "size": "working size WIDTHxHEIGHT; without it the backbone's own area",
    "frames": "frames to read; without it to the end",
    "start": "first frame to read",
    "fps": "read and write at a lower rate",
    "fit": "crop or pad, where the working size has another aspect",
    "out": "folder of the results; without it outputs/<clip>/<time>",
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

EPILOG = """\
Any key of conf/ can follow as key=value: mode.solver=heun mask.threshold=otsu runtime.device=cpu
examples:
  flowedit edit clip.mp4 --source "a fox runs" --target "a panda runs" --source-words fox --target-words panda
  flowedit edit examples/dog.yaml --mode inversion --steps 20
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_intermixed_args(argv) if argv is not None else _parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        _complain("interrupted; nothing was written")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if options.debug:
            raise
        _complain(_one_line(error))
    return 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    if not argv or argv[0] not in COMMANDS:
        return parser.parse_args(argv)  # prints help, or says what is wrong
    return COMMANDS[argv[0]]().parse_intermixed_args(argv[1:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("flowedit", description="Edit a video from text, without training anything.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("edit", help="edit a clip: flowedit edit clip.mp4 --source ... --target ...", add_help=False)
    commands.add_parser("generate", help="make a clip from text alone: flowedit generate --prompt ...", add_help=False)
    return parser


def _edit_parser() -> argparse.ArgumentParser:
    parser = _command("edit", "Edit a clip from text.")
    parser.add_argument("video", metavar="VIDEO", nargs="?", help="a video file, or an edit's YAML file")
    _add_flags(parser, FLAGS)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration overrides")
    parser.set_defaults(run=_edit)
    return parser


def _generate_parser() -> argparse.ArgumentParser:
    parser = _command("generate", "Make a clip from text alone.")
    parser.add_argument("--prompt", metavar="TEXT", help="what the clip shows")
    _add_flags(parser, GENERATE)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration overrides")
    parser.set_defaults(run=_generate)
    return parser


COMMANDS = {"edit": _edit_parser, "generate": _generate_parser}


def _command(name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"flowedit {name}",
        description=about,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--quiet", action="store_true", help="no progress, notices only")
    return parser


def _add_flags(parser: argparse.ArgumentParser, names: Any) -> None:
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=FLAGS[name])


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from flowedit import __version__

        print(f"flowedit {__version__}")
        parser.exit()


def _edit(options: argparse.Namespace) -> int:
    from flowedit import config

    positional = [text for text in (options.video, *options.overrides) if text is not None]
    overrides = [text for text in positional if _is_override(text)]
    videos = [text for text in positional if not _is_override(text)]
    if len(videos) > 1:
        raise ValueError(f"one clip at a time, not {len(videos)}: {', '.join(videos)} (quote a prompt that has spaces)")
    flags: dict[str, Any] = {"video": videos[0]} if videos else {}
    if videos and Path(videos[0]).suffix.lower() in (".yaml", ".yml"):
        flags = config.read_edit(_existing(videos[0]))
    flags |= {name: value for name in FLAGS if (value := getattr(options, name)) is not None}
    settings = config.compose(flags, overrides)
    if settings.video is None:
        raise ValueError("no clip: flowedit edit VIDEO --source ... --target ...")

    from flowedit import probe

    probe.probe(settings.video)  # before the seconds that torch takes to import
    with _monitor(options.quiet) as monitor:
        from flowedit import run

        result = run.run(settings, run.load_backbone(settings), monitor)
    print(result.video)
    return 0


def _generate(options: argparse.Namespace) -> int:
    from flowedit import config

    flags = {name: value for name in GENERATE if (value := getattr(options, name)) is not None}
    flags |= {"mode": "random_noise", "strength": "1"}
    if options.prompt is not None:
        flags["target"] = options.prompt
    settings = config.compose(flags, options.overrides)
    if not (settings.target or "").strip():
        raise ValueError("no prompt: flowedit generate --prompt TEXT")
    with _monitor(options.quiet) as monitor:
        from flowedit import run

        folder = run.generate(settings, run.load_backbone(settings), monitor)
    print(folder / "video.mp4")
    return 0


def _is_override(text: str) -> bool:
    return bool(re.match(r"[A-Za-z_][\w.]*=", text)) and not Path(text).exists()


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {name!r}")
    return path


@contextlib.contextmanager
def _monitor(quiet: bool) -> Iterator["Monitor"]:
    from flowedit.progress import RichMonitor

    with RichMonitor(quiet) as monitor:
        monitor.phase("load", 0)
        yield monitor


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _one_line(error: Exception) -> str:
    """Our own errors are one line already; of others the kind and the first line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError, ConnectionError)):
        return text
    return f"{type(error).__name__}: {text[:300]} (--debug shows where)"


def _complain(text: str) -> None:
    print(f"flowedit: {text}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
