"""`flowedit upscale`: a clip made larger."""

import argparse
import sys
from typing import Any

from flowedit.cli.flags import OPTIONS, command, given, monitor_of, texts_of
from flowedit.config.defaults import read
from flowedit.messages import InputError

ABOUT = {"upscale": "make a clip larger: flowedit upscale clip.mp4 2"}

FLAGS = tuple(name for name in ("upscale", "start", "frames", "fps", "out") if name in OPTIONS)
"""Flags of an edit that are as good here."""

DEFAULT_FACTOR = "2"

HELP = {
    "upscale": "by what: lanczos | realesrgan (photographs) | realesrgan_drawn (drawings) | a .safetensors file of an "
    "upscaler (default realesrgan)",
}

EXAMPLES = """\
examples:
  flowedit upscale clip.mp4 2
  flowedit upscale clip.mp4 4 --upscale lanczos --frames 4
  flowedit upscale examples/fox.mp4 3 --upscale realesrgan_drawn --frames 4
runtime.device=cpu and runtime.threads=N can follow; Real-ESRGAN needs pip install 'flowedit[upscale]'
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def upscale_parser() -> argparse.ArgumentParser:
    """`flowedit upscale CLIP TIMES`."""
    about = "Make a clip so many times as large, with its sound, rate and length."
    parser = command("upscale", about, FLAGS, "CLIP [TIMES]", EXAMPLES, HELP)
    text = f"a video, a picture or a folder of frames, and how many times as large (default {DEFAULT_FACTOR})"
    parser.add_argument("rest", nargs="*", metavar="CLIP | TIMES | key=value", help=text)
    parser.set_defaults(run=_upscale, example=None)
    return parser


PARSERS = {"upscale": upscale_parser}


def _upscale(options: argparse.Namespace) -> int:
    named, overrides = texts_of(options)
    if strange := [text for text in overrides if not text.startswith("runtime.")]:
        raise InputError(f"flowedit upscale has no {strange[0].partition('=')[0]}: no edit is made")
    if not 1 <= len(named) <= 2:
        raise InputError("give one clip, and how many times as large: flowedit upscale clip.mp4 2")
    factor = _number(named[1] if len(named) > 1 else DEFAULT_FACTOR)
    from flowedit.config import compose
    from flowedit.pipeline.outputs import UPSCALE, check_place
    from flowedit.upscaling.asked import asked

    flags: dict[str, Any] = {**read("upscale"), **given(options, FLAGS), "clip": named[0]}
    check_place(flags.get("out"), UPSCALE)
    asked(str(flags["upscale"]))
    settings = compose.compose(flags, overrides)
    with monitor_of(options.quiet) as monitor:
        from flowedit.pipeline.upscaled.job import upscale_clip

        made = upscale_clip(settings, factor, monitor)
    if not options.quiet:
        print(f"in {made.folder}:", file=sys.stderr)
    print(made.video)
    return 0


def _number(text: str) -> float:
    """How many times as large, `2` or `x2` or `2x`."""
    try:
        return float(text.lower().strip("x"))
    except ValueError:
        raise InputError(f"{text!r} is no number of times, such as 2: flowedit upscale clip.mp4 2") from None
