"""`flowedit edit` and `flowedit generate`."""

import argparse
from pathlib import Path
from typing import Any

from flowedit.cli.evaluate import tell
from flowedit.cli.flags import FLAGS, GENERATE, UNSET, command, given, is_override, monitor_of, with_instruction
from flowedit.evaluation import sweep
from flowedit.messages import InputError

ABOUT = {
    "edit": 'edit a clip: flowedit edit clip.mp4 "replace the fox with a panda"',
    "generate": "make a clip from text alone: flowedit generate --prompt ...",
}
CLIP = ("clip=", "video=")
"""What may stand before the clip's path; video is its old name."""


def edit_parser() -> argparse.ArgumentParser:
    """`flowedit edit CLIP`."""
    parser = command("edit", "Edit a clip from text.", FLAGS)
    about = "a video file or an edit's YAML file, and after it what to change, in plain English"
    parser.add_argument("rest", nargs="*", metavar="CLIP | TEXT | key=value", help=about)
    parser.set_defaults(run=_edit)
    return parser


def generate_parser() -> argparse.ArgumentParser:
    """`flowedit generate --prompt TEXT`."""
    parser = command("generate", "Make a clip from text alone.", GENERATE)
    parser.add_argument("--prompt", metavar="TEXT", default=UNSET, help="what the clip shows")
    parser.add_argument("rest", nargs="*", metavar="key=value", help="any key of conf/")
    parser.set_defaults(run=_generate)
    return parser


PARSERS = {"edit": edit_parser, "generate": generate_parser}


def _edit(options: argparse.Namespace) -> int:
    from flowedit.config import compose, edit_file
    from flowedit.media.probe import probe

    overrides = [text for text in options.rest if is_override(text) and not text.startswith(CLIP)]
    named = [text for text in options.rest if text not in overrides]
    named = [_path_of(text) for text in named]
    clips, asked = with_instruction(named)
    if len(clips) > 1:
        raise InputError(f"one clip at a time, not {len(clips)}: {', '.join(clips)} (quote a text that has spaces)")
    if not clips:
        raise InputError('no clip: flowedit edit CLIP "replace the fox with a panda"')
    flags: dict[str, Any] = {"clip": clips[0]}
    if Path(clips[0]).suffix.lower() in edit_file.SUFFIXES:
        flags = edit_file.read_edit(Path(clips[0]))
    flags = edit_file.over(flags, asked | given(options, FLAGS))
    compose.check_keys(flags, overrides)
    video = probe(flags["clip"])  # before the seconds that torch takes to import
    if several := sweep.points(flags):
        return _sweep(flags, overrides, several, options.quiet)
    settings = compose.compose(flags, overrides)
    with monitor_of(options.quiet) as monitor:
        from flowedit.pipeline.api import edit_settings

        result = edit_settings(settings, video, monitor)
    print(result.video)
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
    from flowedit.config import compose

    for key in (compose.current(text.partition("=")[0]) for text in options.rest):
        if key in FLAGS or key == "clip":
            raise InputError(f"flowedit generate has no {key}: it makes a clip from random noise and --prompt alone")
    flags = {"mode": "random_noise", "strength": "1", **given(options, GENERATE)}
    if options.prompt is not UNSET:
        flags["target"] = options.prompt
    settings = compose.compose(flags, options.rest)
    if not (settings.target or "").strip():
        raise InputError("no prompt: flowedit generate --prompt TEXT")
    with monitor_of(options.quiet) as monitor:
        from flowedit.pipeline import run
        from flowedit.pipeline.record import Session

        backbone = run.load_backbone(settings)
        folder = run.generate(settings, backbone, Session(backbone.device, monitor))
    print(folder / "video.mp4")
    return 0
