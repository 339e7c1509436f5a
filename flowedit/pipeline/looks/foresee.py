"""An edit before it runs: whether it would be refused, what it will do, and what the clip shows."""

from typing import Unpack

from flowedit.config.schema import Settings
from flowedit.language.grammar import Change, Instruction
from flowedit.media.formats.resolve import of_file
from flowedit.media.probe import probe
from flowedit.messages import InputError
from flowedit.pipeline import run
from flowedit.pipeline.api import LoggingMonitor, path_of, settings_of, with_places
from flowedit.pipeline.checks import check as refuse
from flowedit.pipeline.keywords import EditOptions, Place, shows
from flowedit.pipeline.outputs import EDIT, check_place, inputs_of
from flowedit.pipeline.plan import Brief, foreseen
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.prompts.captions import Captions
from flowedit.pipeline.source import open_clip
from flowedit.results import EditCheck
from flowedit.types import Monitor


@shows(EditOptions)
def check(clip: Place, *, settings: Settings | None = None, **options: Unpack[EditOptions]) -> EditCheck:
    """Raise what `flowedit.edit` would before it loads a model, or else say what the edit will do.

    Options as in `edit`, or whole `settings` in their place. No network runs and nothing is downloaded or written: the
    clip's head is read, and a caption only where one is kept. What the model's own files are needed for, such as the
    length of a prompt, is refused when it is loaded. Raises flowedit.Error in one line.
    """
    given = {"clip": path_of(clip, "the clip", "a video file")}
    whole = settings_of({**options, **given}) if settings is None else with_places(settings, {**options, **given})
    check_place(whole.out, EDIT, inputs_of(whole))
    video = probe(whole.clip or "")
    told = LoggingMonitor(None, log=False)
    captions = None if whole.caption is None else Captions(told, ask=False)
    whole = instruction.complete(whole, told, captions, video)
    opened = open_clip(whole, video)
    made = refuse(whole, opened)
    place = run.check_backbone(whole)
    lacking = captions is not None and captions.lacking
    return EditCheck(
        source=None if lacking else whole.source,
        target=None if lacking else whole.target,
        source_words="" if lacking else whole.source_words,
        also_words="" if lacking else whole.also_words,
        target_words="" if lacking else whole.target_words,
        indices=tuple(opened.selection.indices),
        fps=opened.selection.fps,
        size=whole.frame_size,
        shots=_shots(whole, len(opened.selection.indices)),
        steps=made.steps,
        network_evaluations=_cost(made, known=place is not None),
        backbone=whole.backbone.name or "folder",
        checkpoint=place,
        notices=(
            *of_file(whole.file, video),
            *told.notices,
            *(() if lacking else instruction.explain(whole)),
        ),
    )


def _shots(settings: Settings, frames: int) -> int | None:
    """As many as the settings say; None where hard cuts are yet to be looked for."""
    if settings.frame_by_frame:
        return frames
    if isinstance(settings.cuts, str):
        return None if settings.cuts == "auto" else 1
    return len(settings.cuts) + 1


def _cost(made: Brief, known: bool) -> int | None:
    """Of one window of one shot; None where the model's times are needed and not `known`."""
    try:
        return made.cost(foreseen(made))
    except InputError:
        if known:
            raise
        return None


@shows(EditOptions)
def describe(clip: Place, *, monitor: Monitor | None = None, **options: Unpack[EditOptions]) -> str:
    """A sentence that says what a clip shows, by the vision-language model `caption`; it serves as the source prompt.

    The other options say which frames are shown to it (start, frames, fps) and where it runs (runtime). What it said
    is kept on disk. Raises InputError without a model, and for one that cannot be used; DownloadError for one that
    cannot be had.
    """
    settings = settings_of({**options, "clip": path_of(clip, "the clip", "a video file")})
    if settings.caption is None:
        raise InputError("no model is named that could see the clip: give caption, a name or a folder")
    with Captions(LoggingMonitor(monitor)) as captions:
        return captions.of(settings, Instruction("", (Change("replace"),))) or ""
