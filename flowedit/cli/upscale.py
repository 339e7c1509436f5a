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

KEYS = ("runtime.device", "runtime.threads")
"""Keys of an edit that are as good here: other kinds of memory and precision are none of an upscaler's."""

DEFAULT_FACTOR = "2"

EXAMPLES = """\
examples:
  flowedit upscale clip.mp4 2
  flowedit upscale clip.mp4 4 --upscale lanczos --frames 4
  flowedit upscale examples/fox.mp4 3 --upscale realesrgan_drawn --frames 4
flowedit list upscalers prints the names for --upscale; most need pip install 'flowedit[upscale]'
runtime.device=cpu and runtime.threads=N can follow
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def upscale_parser() -> argparse.ArgumentParser:
    """`flowedit upscale CLIP TIMES`."""
    about = "Make a clip so many times as large, with its sound, rate and length."
    by_what = (
        f"by what: a name of flowedit list upscalers, or a .safetensors file (default {read('upscale')['upscale']})"
    )
    parser = command("upscale", about, FLAGS, "CLIP [TIMES]", EXAMPLES, {"upscale": by_what})
    text = f"a video, a picture or a folder of frames, and how many times as large (default {DEFAULT_FACTOR})"
    parser.add_argument("rest", nargs="*", metavar="CLIP | TIMES | key=value", help=text)
    parser.set_defaults(run=_upscale, example=None)
    return parser


PARSERS = {"upscale": upscale_parser}


def _upscale(options: argparse.Namespace) -> int:
    named, overrides = texts_of(options)
    if strange := [key for key in (text.partition("=")[0] for text in overrides) if key not in KEYS]:
        raise InputError(f"flowedit upscale has no {strange[0]}: leave it out (of keys it takes {' and '.join(KEYS)})")
    if not 1 <= len(named) <= 2:
        raise InputError("give one clip, and how many times as large: flowedit upscale clip.mp4 2")
    factor = _number(named[1] if len(named) > 1 else DEFAULT_FACTOR)
    from flowedit.config import compose
    from flowedit.pipeline.outputs import UPSCALE, check_place
    from flowedit.upscaling.asked import asked

    flags: dict[str, Any] = {**read("upscale"), **given(options, FLAGS), "clip": named[0]}
    check_place(flags.get("out"), UPSCALE, [named[0]], "upscale")
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
