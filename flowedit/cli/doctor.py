"""`flowedit doctor`: what this machine has, and what would fit, before anything is downloaded."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from flowedit.cli.flags import OPTIONS, UNSET, command, given, is_override
from flowedit.messages import InputError

ABOUT = {"doctor": "what this machine has and what fits it: flowedit doctor [clip.mp4] [--backbone NAME]"}

FLAGS = tuple(
    name
    for name in (
        "backbone", "mode", "quality", "steps", "strength", "source_guidance_scale", "target_guidance_scale", "draws",
        "mask", "averaging", "attention", "start", "frames", "fps", "size", "fit", "frame_by_frame", "window",
        "window_overlap", "runtime",
    )
    if name in OPTIONS
)  # fmt: skip
"""Flags of an edit that change what it needs, or what it costs."""

HELP = {"backbone": "the model that is asked about: a name, OWNER/NAME or a checkpoint folder; without it all"}

EXAMPLES = """\
examples:
  flowedit doctor
  flowedit doctor clip.mp4 --backbone cogvideox-5b
  flowedit doctor clip.mp4 --backbone cogvideox-2b --memory 8 --json
no model is loaded and nothing is downloaded; figures of memory are reckoned (flowedit/backbones/README.md)
exit codes: 0 done, whatever fits; 1 a mistake"""


def doctor_parser() -> argparse.ArgumentParser:
    """`flowedit doctor [CLIP]`."""
    about = "Say what this machine has, and whether an edit would fit it."
    parser = command("doctor", about, FLAGS, "[CLIP]", EXAMPLES, HELP)
    group = parser._action_groups[-1]
    group.add_argument(
        "--memory", metavar="GIB", default=UNSET, help="judge for a card with so many GiB free, not for this machine"
    )
    group.add_argument("--json", action="store_true", help="plain values for programs")
    parser.add_argument(
        "rest", nargs="*", metavar="CLIP | key=value", help="a video, or a YAML file of an edit; any key"
    )
    parser.set_defaults(run=_doctor)
    return parser


PARSERS = {"doctor": doctor_parser}


def _doctor(options: argparse.Namespace) -> int:
    clips = [text for text in options.rest if not is_override(text)]
    if len(clips) > 1:
        raise InputError(f"one clip at a time, not {len(clips)}: {', '.join(clips)}")
    free = _gib(options.memory)
    from flowedit.config import edit_file
    from flowedit.doctor import examine

    clip, flags = clips[0] if clips else None, given(options, FLAGS)
    if clip is not None and Path(clip).suffix.lower() in edit_file.SUFFIXES:
        flags = edit_file.over(edit_file.read_edit(Path(clip)), flags)
        clip = str(flags.pop("clip"))
    found = examine.examine(
        clip,
        flags,
        [text for text in options.rest if is_override(text)],
        free,
        machine="backbone" not in flags,
    )
    if options.json:
        print(examine.as_json(found))
        return 0
    for line in examine.lines(found, _columns()):
        print(line)
    return 0


def _gib(text: Any) -> float | None:
    """`--memory` as a number; raises InputError for another text, and for what no card has."""
    if text is UNSET:
        return None
    try:
        number = float(str(text).lower().removesuffix("gib").removesuffix("gb"))
    except ValueError:
        number = 0.0
    if not 0 < number <= 10_000:
        raise InputError(f"--memory {text!r} is not a number of GiB, such as 12")
    return number


def _columns() -> int:
    """Those of the terminal, but no longer lines than are easily read."""
    return max(60, min(120, shutil.get_terminal_size((80, 24)).columns))
