"""`flowedit edit` and `flowedit generate`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from flowedit.cli import mistakes
from flowedit.cli.evaluate import tell
from flowedit.cli.flags import (
    FLAGS,
    GENERATE,
    UNSET,
    add_example,
    command,
    given,
    is_override,
    monitor_of,
    texts_of,
    with_instruction,
)
from flowedit.evaluation.sweeps import edit as sweep
from flowedit.messages import InputError

ABOUT = {
    "edit": f'edit a clip: flowedit edit clip.mp4 "{mistakes.SENTENCE}"',
    "generate": 'make a clip from text alone: flowedit generate "a fox moves right over green grass"',
}
CLIP = ("clip=", "video=")
"""What may stand before the clip's path; video is its old name."""

SHOWN = {
    "edit": "the edit",
    "video": "the clip",
    "picture": "the picture",
    "compare": "source beside edit",
    "mask": "where the clip may change, drawn over the source",
    "mask_plain": "the same in white on black: --user-mask takes it",
    "row_0": "the free end of a row of results: row_1, row_2 ... keep more and more of the clip",
}
"""What an edit or a generation shows, as a video or, of a still, as a PNG."""

LEFT = {
    "edit.gif": "the edit, as a GIF",
    "edit.webp": "the edit, as the clip was",
    "edit_frames": "the frames of the edit",
    "video.gif": "the clip, as a GIF",
    "video.webp": "the clip, as it was",
    "video_frames": "the frames of the clip",
    **{f"{name}{suffix}": about for name, about in SHOWN.items() for suffix in (".mp4", ".png")},
    "edit_steps": "what was saved of each step",
    "edit_logs": "other programs' logs of the steps",
    "run.yaml": "all settings, notices, seconds and memory",
}
"""The files that an edit, or a generation, leaves; and an edit of another format, by its container's name."""

MADE = {
    "negative_prompt": "what guidance steers away from",
    "seed": "random seed",
    "size": "size of the clip; without it the one that the backbone was trained at",
    "frames": "frames to make; without it as many as the backbone was trained on",
    "fps": "rate of the clip; without it the backbone's own",
    "out": "folder of the results; without it outputs/generate/<time>",
}
"""What flags mean to a clip that is made from text."""

GENERATED = """\
examples:
  flowedit generate "a fox moves right over green grass"
  flowedit generate "a red car moves left over yellow sand" --steps 28 --target-guidance-scale 4
any key of conf/ can follow as key=value: runtime.device=cpu mode.solver=heun
exit codes: 0 done, 1 a mistake (one line says which; --debug shows where)"""


def edit_parser() -> argparse.ArgumentParser:
    """`flowedit edit CLIP`."""
    parser = command("edit", "Edit a clip from text.", FLAGS, 'CLIP ["what to change"]')
    add_example(parser)
    parser._action_groups[-1].add_argument(
        "--like",
        metavar="FILE",
        help="take over the settings of an earlier edit: its file, such as edit.mp4, or run.yaml; flags win",
    )
    about = (
        "a video, a picture, a folder of frames or an edit's YAML file, and after it what to change, in plain English"
    )
    parser.add_argument("rest", nargs="*", metavar="CLIP | TEXT | key=value", help=about)
    parser.set_defaults(run=_edit)
    return parser


def generate_parser() -> argparse.ArgumentParser:
    """`flowedit generate TEXT`."""
    parser = command("generate", "Make a clip from text alone.", GENERATE, '"what the clip shows"', GENERATED, MADE)
    parser.add_argument("--prompt", metavar="TEXT", default=UNSET, help="what the clip shows; it may stand alone too")
    parser.add_argument("rest", nargs="*", metavar="TEXT | key=value", help="what the clip shows; any key of conf/")
    parser.set_defaults(run=_generate)
    return parser


PARSERS = {"edit": edit_parser, "generate": generate_parser}


def _edit(options: argparse.Namespace) -> int:
    from flowedit.config import compose, edit_file
    from flowedit.media.probe import probe
    from flowedit.pipeline.outputs import EDIT, JobKind, check_place

    options.rest = [_path_of(text) for text in options.rest]
    named, overrides = texts_of(options)
    clip, asked = with_instruction("edit", named, options)
    flags: dict[str, Any] = {"clip": clip}
    if Path(clip).suffix.lower() in edit_file.SUFFIXES:
        flags = edit_file.read_edit(Path(clip))
    flags = edit_file.over(flags, asked | given(options, FLAGS))
    if options.like is not None:
        flags = edit_file.over(_like(Path(options.like)), flags)
    compose.check_keys(flags, overrides)
    read = (clip, flags["clip"], flags.get("user_mask"), options.like)
    several = sweep.points(flags)
    kind: JobKind = "evaluate" if several else "edit"
    check_place(flags.get("out"), EDIT, [str(path) for path in read if path is not None], kind)
    video = probe(flags["clip"])  # before the seconds that torch takes to import
    if several:
        return _sweep(flags, overrides, several, options.quiet)
    settings = compose.compose(flags, overrides)
    with monitor_of(options.quiet) as monitor:
        from flowedit.pipeline.api import edit_settings

        result = edit_settings(settings, video, monitor)
    return told(result.video, options.quiet)


def _like(path: Path) -> dict[str, Any]:
    """The settings of an earlier edit as flags; what its file does not give is said on stderr."""
    from flowedit.pipeline.looks.settings_file import settings_from

    found = settings_from(path, say=lambda text: print(f"note: {text}", file=sys.stderr))
    if "prompt" in found:
        raise InputError(f"{str(path)!r} was made from text alone: its settings are those of no edit")
    return found


def told(video: Path, quiet: bool) -> int:
    """The path of the clip on stdout, for a script; and on stderr what lies beside it."""
    from flowedit.media.formats.containers import CONTAINERS
    from flowedit.pipeline.outputs import delivered

    if not quiet:
        print(f"in {video.parent}:", file=sys.stderr)
        for name, about in ({each.file: "the edit" for each in CONTAINERS.values()} | LEFT).items():
            if (video.parent / name).exists():
                print(f"  {name:<14}  {about}", file=sys.stderr)
    print(delivered(video))
    return 0


def _sweep(flags: dict[str, Any], overrides: list[str], several: dict[str, dict[str, str]], quiet: bool) -> int:
    """Several seeds or strengths: named folders, a table and a page."""
    with monitor_of(quiet) as monitor:
        made = sweep.sweep(flags, overrides, several, monitor)
    return tell(made)


def _path_of(text: str) -> str:
    """The path of clip=PATH, with a warning where its old name was typed; any other text is what it is."""
    from flowedit.config import compose

    key, _, path = text.partition("=")
    if not text.startswith(CLIP) or Path(text).exists():
        return text
    compose.current(key)
    return path


def _generate(options: argparse.Namespace) -> int:
    texts = [text for text in options.rest if not is_override(text)]
    prompt = None if options.prompt is UNSET else options.prompt
    if (said := mistakes.not_one_prompt(texts, prompt)) is not None:
        raise InputError(said)
    from flowedit.pipeline.outputs import GENERATE as FILES
    from flowedit.pipeline.outputs import check_place

    flags = {**given(options, GENERATE), "target": texts[0] if prompt is None else prompt}
    check_place(flags.get("out"), FILES, kind="generate")
    from flowedit.pipeline.api import generate_settings, generation

    settings = generation(flags, [text for text in options.rest if is_override(text)])
    with monitor_of(options.quiet) as monitor:
        made = generate_settings(settings, monitor)
    return told(made.video, options.quiet)
