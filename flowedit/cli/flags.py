"""The words of the command line: flags, their help, and parsers that answer a mistake in one line."""

import argparse
import contextlib
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.types import Monitor


FLAGS = {
    "source": ("TEXT", "what the clip shows"),
    "target": ("TEXT", "what it should show"),
    "instruction": ("TEXT", "what to change, in plain English, in place of target and words; may follow the clip"),
    "caption": ("NAME|DIR", "with an instruction and no source: a vision-language model that says what the clip shows"),
    "source_words": ("WORDS", "the object's words in the source prompt (commas between several objects)"),
    "target_words": ("WORDS", "the new object's words in the target prompt (of several, in the same order)"),
    "negative_prompt": ("TEXT", "what guidance steers away from"),
    "mode": ("NAME", "random_noise, inversion, inversion_free (the default), or a preset such as flowdirector_v2"),
    "backbone": (
        "NAME|DIR",
        "pocket (ships with us; the default), cogvideox-2b, cogvideox-5b, cogvideox1.5-5b, wan2.1-t2v-1.3b, "
        "wan2.1-t2v-14b, or a checkpoint folder",
    ),
    "task": ("NAME", "replace, remove or add; without it told from the prompts and words"),
    "mask": ("NAME", "attention (of the words; the default) or none"),
    "guidance": ("NAME", "mean (the default), differential or differential_first"),
    "steps": ("N", "intervals of the whole grid of times (full-size 50; pocket 40, random_noise 69)"),
    "strength": (
        "S",
        "share of the grid that is run: 0 keeps the clip, 1 starts at pure noise (0.8; pocket random_noise 0.7)",
    ),
    "source_guidance_scale": ("S", "classifier-free guidance of the source (full-size 3.5, inversion 1; pocket 1)"),
    "target_guidance_scale": (
        "S",
        "classifier-free guidance of the target (full-size 10.5, other modes 6; pocket 3, other modes 5)",
    ),
    "object_guidance_scales": ("S,S", "a target scale for each of several objects that is edited, in their order"),
    "draws": ("N", "noises averaged a step, in inversion_free (default 1, with differential guidance 4)"),
    "seed": ("N", "random seed (default 0)"),
    "user_mask": ("FILE|DIR", "video, image or folder of frames; white is edited"),
    "composite": ("WHEN", "true, false or auto: keep the original pixels outside the mask (auto: on with a mask)"),
    "size": ("WxH", "working size in pixels; without it the backbone's own area"),
    "frames": ("N", "frames to read; without it to the end"),
    "start": ("N", "first frame to read (default 0)"),
    "fps": ("RATE", "read and write at a lower rate"),
    "cuts": ("WHERE", "auto (the default: hard cuts are found), none, or the frames read where scenes begin: 120,200"),
    "fit": ("HOW", "crop (the default) or pad, where the working size has another aspect"),
    "window": ("N", "frames that the network sees at once: auto (the default: what it was trained on), whole, or N"),
    "window_overlap": ("S", "share of a window that neighbouring windows have in common (default 0.33)"),
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
    "window",
    "window_overlap",
    "out",
)

UNSET = object()

METHOD = (
    "backbone",
    "mask",
    "guidance",
    "steps",
    "strength",
    "source_guidance_scale",
    "target_guidance_scale",
    "draws",
    "negative_prompt",
)
"""Flags of a bench: what makes a method, not what a scene brings."""

SWITCHES = ("--debug", "--quiet", "--dry-run", "--help")

EPILOG = """\
any key of conf/ can follow as key=value: mask.threshold=otsu runtime.device=cpu, or mode=inversion mode.solver=heun
examples:
  flowedit edit clip.mp4 "replace the fox with a panda" --source "a fox runs over a field"
  flowedit edit clip.mp4 --source "a fox runs" --target "a panda runs" --source-words fox --target-words panda
  flowedit edit examples/cup.yaml --mode inversion --steps 20
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


class Parser(argparse.ArgumentParser):
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
        raise InputError(f"{message} ({self.prog} --help)")


def command(name: str, about: str, flags: Iterable[str], epilog: str = EPILOG) -> argparse.ArgumentParser:
    parser = Parser(
        f"flowedit {name}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--quiet", action="store_true", help="no progress, notices only")
    for flag in flags:
        metavar, text = FLAGS[flag]
        parser.add_argument(f"--{flag.replace('_', '-')}", metavar=metavar, default=UNSET, help=text)
    return parser


def as_flags(argv: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    """`steps=4` as `--steps=4`, so that the last one wins whichever way it is written."""
    awaited = False
    for text in argv:
        flag = f"--{text.partition('=')[0].replace('_', '-')}"
        known = not awaited and is_override(text) and parser.get_default(text.partition("=")[0]) is UNSET
        yield f"{flag}={text.partition('=')[2]}" if known else text
        awaited = not awaited and text.startswith("--") and "=" not in text and text not in SWITCHES


def is_override(text: str) -> bool:
    return bool(re.match(r"[A-Za-z_][\w.]*=", text)) and not Path(text).exists()


def with_instruction(named: list[str]) -> tuple[list[str], dict[str, str]]:
    """What stands beside flags: files, and in second place an instruction, which is none; raises ValueError for a word.

    A word alone is what is left of a prompt without quotes.
    """
    if len(named) != 2 or os.path.exists(named[1]) or re.fullmatch(r"\S+\.\w{2,5}", named[1]):
        return named, {}
    if " " not in named[1].strip():
        from flowedit.language.grammar import EXAMPLES

        raise InputError(f"{named[1]!r} is no instruction, such as {EXAMPLES} (quote a text that has spaces)")
    return named[:1], {"instruction": named[1]}


def whole(options: argparse.Namespace, name: str) -> int:
    """A flag's value as a whole number."""
    text = getattr(options, name)
    if not text.isdecimal():
        raise InputError(f"--{name.replace('_', '-')} {text!r} is not a whole number from 0 up")
    return int(text)


def listed(text: str) -> list[str]:
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
