"""An instruction in the settings of an edit to its prompts and words: the one place that every edge goes through."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS
from flowedit.language import grammar, rewrite, words
from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.media.probe import Video
    from flowedit.pipeline.prompts.captions import Captions
    from flowedit.types import Monitor


MADE = ("target", "source_words", "also_words", "target_words")
"""What an instruction decides, and so nobody else does; `target_parts`, too, but they may be given."""


def complete(
    settings: Settings, monitor: Monitor, captions: Captions | None = None, video: Video | None = None
) -> Settings:
    """The settings with the prompts and words that their instruction comes to; without one, as they are.

    The caption is `source`; else the sentence of the model that `caption` names, which is loaded for it and let go
    (`captions` is one that is loaded already, `video` what was probed of the clip already); else plain prompts are made
    of the instruction alone. What is complete stays as it is; words that name the made ones and kept objects beside
    them ("fox, car" and "panda, car") stay too. Raises InputError for an instruction that cannot be read, one that
    speaks of what the caption does not have, and one beside a target or words of another meaning.
    """
    if settings.instruction is None:
        return settings
    instruction = grammar.parse(settings.instruction)
    source, model = (settings.source or "").strip(), settings.caption
    if source and model is not None and settings.target is None:
        monitor.notice(f"caption={model} has no effect: the source prompt is given")
        model = None
    if not source and model is not None:
        source = _caption(settings, instruction, monitor, captions, video) or ""
    made = rewrite.resolve(instruction, source)
    made = _kept(settings, made)
    if not made.also_words:  # those that are given say more than the instruction
        made = replace(made, also_words=settings.also_words)
    for key in MADE:
        given = getattr(settings, key)
        if given and given != getattr(made, key):
            raise InputError(
                f"{key} {given!r} beside the instruction {instruction.text!r}, which makes it "
                f"{getattr(made, key)!r}: give one of the two"
            )
    prompts = {key: getattr(made, key) for key in ("source", *MADE)}
    parts = settings.target_parts or _parts(settings, instruction, made) or None
    return replace(settings, **prompts, target_parts=parts, caption=model)


def _parts(settings: Settings, instruction: grammar.Instruction, made: rewrite.Prompts) -> tuple[str, ...]:
    """The target of each of several changes, as the mode takes them; () for a mode that takes none, and for one."""
    kind = EDITORS[settings.mode.name].parts
    return () if kind == "none" else rewrite.parts(instruction, made.source, cumulative=kind == "cumulative")


def explain(settings: Settings) -> list[str]:
    """What a user should hear about an edit that an instruction asked for, and that is complete."""
    if settings.instruction is None:
        return []
    to = f"target {settings.target!r}"
    if named := [repr(each) for each in (settings.source_words, settings.target_words) if each]:
        to += f", words {' and '.join(named)}"
    if settings.also_words:
        to += f", and {settings.also_words!r} goes along, in the source {settings.source!r}"
    if settings.caption is not None:
        return [f"{settings.caption} sees {settings.source!r}; the instruction makes it {to}"]
    if settings.source == rewrite.plain(grammar.parse(settings.instruction)):
        return [
            f"no caption of the clip: plain prompts are made of the instruction alone, source {settings.source!r}, "
            f"{to}; a sentence that describes the whole frame (--source) edits better"
        ]
    return [f"the instruction makes it {to}"]


def _kept(settings: Settings, made: rewrite.Prompts) -> rewrite.Prompts:
    """The prompts with the words that are given, if these name what changes as it was made, and what is kept beside it.

    Raises ValueError for a kept object that either prompt does not hold.
    """
    given = settings.source_words or "", settings.target_words or ""
    sides = list(zip(*(words.phrases(side) for side in given), strict=False))
    if len({len(words.phrases(side)) for side in given}) > 1 or not (made.source_words and made.target_words):
        return made
    changed = list(zip(words.phrases(made.source_words), words.phrases(made.target_words), strict=True))
    kept = [pair for pair in sides if pair not in changed]
    if [pair for pair in sides if pair in changed] != changed or any(old != new for old, new in kept):
        return made
    for same, _ in kept:
        words.occurrences(made.source, same, "source_words")
        words.occurrences(made.target, same, "target_words")
    return replace(made, source_words=given[0], target_words=given[1])


def _caption(
    settings: Settings,
    instruction: grammar.Instruction,
    monitor: Monitor,
    captions: Captions | None,
    video: Video | None,
) -> str | None:
    if captions is not None:
        return captions.of(settings, instruction, video)
    from flowedit.pipeline.prompts.captions import Captions

    with Captions(monitor) as own:
        return own.of(settings, instruction, video)
