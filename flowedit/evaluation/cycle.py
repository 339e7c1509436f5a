"""An edit edited back: the same settings on the edit, with the prompts and words of both sides swapped."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flowedit.config.schema import Settings
from flowedit.evaluation.edit_job import edit_job
from flowedit.evaluation.engine.job import Job
from flowedit.messages import InputError
from flowedit.pipeline.checks import check
from flowedit.pipeline.source import open_clip

OTHER_WAY = {"add": "remove", "remove": "add"}


def back(settings: Settings, edit: Path) -> Settings:
    """The settings that edit the file `edit` back to its source; it is read whole, as it shows the chosen frames alone.

    Sub-prompts of the target have none of the source to go back by, and are left out, as is what goes along with an
    object; of its steps nothing is kept.

    Raises InputError for a user mask or a box beside a part of the clip, as their frames are not those of the edit.
    """
    part = settings.start or settings.frames is not None or settings.fps is not None
    if part and (settings.user_mask is not None or settings.box):
        raise InputError("an edit of a part of a clip is not edited back inside a user mask or box: leave out the part")
    return replace(
        settings,
        clip=str(edit),
        source=settings.target,
        target=settings.source,
        source_words=settings.target_words,
        also_words="",
        target_words=settings.source_words,
        target_parts=None,
        instruction=None,
        caption=None,
        task=OTHER_WAY.get(settings.task, settings.task),
        start=0,
        frames=None,
        fps=None,
        format="auto",
        codec="auto",
        crf=None,
        bit_depth="auto",
        save=None,
        log=None,
    )


def back_job(settings: Settings, edit: Path, label: str, threads: int | None, say: Callable[[str], None]) -> Job:
    """The job that edits `edit` back; raises ValueError or OSError for what cannot be, before a model is loaded."""
    swapped = back(settings, edit)
    check(swapped, open_clip(swapped))
    return edit_job(swapped, f"{label}: back", threads, say=say)
