"""From settings to a folder of files: the study of a clip or a prompt, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowedit.config.compose import compose
from flowedit.config.schema import Settings
from flowedit.inspection import page
from flowedit.inspection.reading import MOST_WORDS
from flowedit.inspection.study import Study, study
from flowedit.machine import versions
from flowedit.media.probe import probe
from flowedit.messages import InputError
from flowedit.pipeline import run
from flowedit.pipeline.outputs import check_place, inputs_of, staging
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.record import Session
from flowedit.types import Monitor

PAGE, NUMBERS = "inspect.html", "inspect.json"

FILES = (
    PAGE, NUMBERS, "run.yaml", "words.png", "frame.png", "encoder.png", "decoder.png", "latent.png", "round_trip.png",
    *(f"attention_{number}.png" for number in range(1, 2 * MOST_WORDS + 1)),
)  # fmt: skip
"""What a study may leave."""


class Written(NamedTuple):
    """A study, and the folder where its files are; None where none was asked for."""

    study: Study
    folder: Path | None


def inspect(
    flags: Mapping[str, Any],
    overrides: Sequence[str],
    monitor: Monitor,
    mask: Path | None = None,
    suggest: bool = False,
) -> Written:
    """Study what the flags of an edit name: its clip, its source prompt and words, on its backbone.

    With `suggest` only what a suggestion needs is looked at, and nothing is written. Raises what an edit raises for a
    clip, a word or a backbone that is not there.
    """
    settings = compose(flags, overrides)
    check_place(settings.out, FILES, inputs_of(settings), "inspect")
    video = None if settings.clip is None else probe(settings.clip)  # before a download
    settings = instruction.complete(settings, monitor, video=video)
    if video is None and settings.source is None:
        raise InputError('nothing to inspect: give a clip, or --prompt "what it shows"')
    if mask is not None and video is None:
        raise InputError("a mask belongs to a clip: give the clip, or leave the mask out")
    backbone = run.load_backbone(settings, monitor.notice)
    session = Session(backbone.device, monitor)
    made = study(settings, backbone, session, mask, alone=suggest)
    return Written(made, None if suggest else write(made, settings, session, mask))


def write(made: Study, settings: Settings, session: Session, mask: Path | None = None) -> Path:
    """Write the page, the pictures and the numbers into a folder that appears whole; returns it."""
    inputs = [str(each) for each in (settings.clip, mask) if each is not None]
    name = "inspect" if settings.clip is None else Path(settings.clip).stem
    with staging(settings.out, name, FILES, inputs, "inspect") as stage:
        with session.phase("write", 0):
            (stage.folder / PAGE).write_text(page.render(made), encoding="utf-8")
            for file, content in page.files(made).items():
                (stage.folder / file).write_bytes(content)
            (stage.folder / NUMBERS).write_text(as_json(made), encoding="utf-8")
            told = {"clip": settings.clip, "prompt": settings.source, "source_words": settings.source_words}
            described = {"seed": settings.seed, "notices": list(made.notes), "phases": session.meter.phases}
            stage.told({**told, "backbone": made.backbone, **described, "versions": versions()})
        return stage.commit()


def as_json(made: Study) -> str:
    """The study's numbers for a program."""
    return json.dumps(made.plain(), indent=1, ensure_ascii=False) + "\n"
