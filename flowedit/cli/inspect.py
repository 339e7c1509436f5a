"""`flowedit inspect`: what goes through a model, on one page."""

import argparse
import sys
from pathlib import Path
from typing import Any

from flowedit.cli.flags import OPTIONS, UNSET, add_example, command, given, monitor_of, texts_of
from flowedit.messages import InputError

ABOUT = {"inspect": "what goes through a model, on one page: flowedit inspect clip.mp4 --prompt TEXT"}

FLAGS = tuple(
    name
    for name in (
        "backbone", "source_words", "user_mask", "target", "target_words", "start", "frames", "fps", "size", "fit",
        "seed", "runtime", "out",
    )
    if name in OPTIONS
)  # fmt: skip
"""Flags of an edit that change what is seen."""

HELP = {
    "source_words": "the object's words in the prompt: the block that sees it best is suggested",
    "user_mask": "where the object is, white on black: each block's attention is held to it (AUC)",
    "target": "another prompt: without a mask a block is judged by where the two velocities differ",
    "target_words": "the object's words in that prompt",
    "seed": "random seed of the noise",
    "frames": "frames to read; at most as many as the backbone was trained on",
    "fps": "read at a lower rate; without it the clip's own",
    "out": "folder of the results; without it outputs/<clip>/<time>",
}

EXAMPLES = """\
examples:
  flowedit inspect examples/fox.yaml
  flowedit inspect clip.mp4 --prompt "a dog runs over grass" --source-words dog --backbone cogvideox-2b
  flowedit inspect --prompt "a fox moves right over green grass"
  flowedit inspect examples/fox.yaml --suggest
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def inspect_parser() -> argparse.ArgumentParser:
    """`flowedit inspect [CLIP]`."""
    about = "Show what goes through a model: the prompt's words, the autoencoder's stages, attention in every block."
    parser = command("inspect", about, FLAGS, "[CLIP]", EXAMPLES, HELP)
    add_example(parser)
    group = parser._action_groups[-1]
    group.add_argument(
        "--prompt",
        metavar="TEXT",
        default=UNSET,
        help="what the clip shows, as a sentence; without a clip it is studied alone",
    )
    group.add_argument(
        "--suggest", action="store_true", help="print the mask.blocks= that sees the object best, and write nothing"
    )
    group.add_argument("--json", action="store_true", help="print the numbers, beside the page")
    parser.add_argument(
        "rest", nargs="*", metavar="CLIP | key=value", help="a video, or a YAML file of an edit; any key of conf/"
    )
    parser.set_defaults(run=_inspect)
    return parser


PARSERS = {"inspect": inspect_parser}


def _inspect(options: argparse.Namespace) -> int:
    named, overrides = texts_of(options)
    if len(named) > 1:
        raise InputError(f"one clip at a time, not {len(named)}: {', '.join(named)} (a prompt stands after --prompt)")
    if options.suggest and options.json:
        raise InputError("--suggest prints one line, --json all numbers: give one of them")
    from flowedit.config import compose, edit_file

    flags: dict[str, Any] = {"clip": named[0]} if named else {}
    mask: str | Path | None = None
    if named and Path(named[0]).suffix.lower() in edit_file.SUFFIXES:
        flags, mask = edit_file.read_subject(Path(named[0]))
    flags = edit_file.over(flags, given(options, FLAGS))
    if options.prompt is not UNSET:
        flags["source"] = options.prompt
    mask = flags.pop("user_mask", None) or mask
    compose.check_keys(flags, overrides)
    with monitor_of(options.quiet) as monitor:
        from flowedit.inspection import command as job

        made = job.inspect(flags, overrides, monitor, None if mask is None else Path(mask), options.suggest)
    if options.suggest:
        assert made.study.suggestion is not None
        print(f"note: {made.study.suggestion.why}", file=sys.stderr)
        print(made.study.suggestion.option)
    elif options.json:
        print(job.as_json(made.study), end="")
    else:
        assert made.folder is not None
        print(made.folder / job.PAGE)
    return 0
