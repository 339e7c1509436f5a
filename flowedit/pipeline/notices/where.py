"""What is said on where an edit happens: words, masks, objects, the task."""

from collections.abc import Iterator

from flowedit.config.schema import Settings
from flowedit.language import words
from flowedit.language.tasks import TASKS
from flowedit.messages import listed
from flowedit.pipeline.checks import changed
from flowedit.pipeline.plan import Brief


def of_region(made: Brief) -> list[str]:
    """What a user should hear about where the edit happens."""
    settings, sides = made.settings, made.sides
    notices = [*_of_task(made), *_of_equal(settings)]
    if not made.reads_source and words.phrases(settings.source_words):
        notices.append(f"mode={settings.mode.name} never looks at the source prompt: no mask comes from source_words")
    if made.difference and settings.mask.name == "attention" and settings.mask.dependents > 0:
        return [*notices, *_of_dependents(made), *_of_objects(made)]
    if made.difference and settings.mask.name != "attention":
        others = f"the masks of {' and '.join(sides)} words and " if sides else ""
        notices.append(f"{others}the velocity difference: the mask is known after the first step, and grows surer")
        if not made.attended and words.phrases(settings.source_words + settings.target_words):
            notices.append("mask=difference reads no words (mask=both joins the two)")
        return notices + _of_objects(made)
    if not made.attended:
        if not settings.marked:
            notices.append(f"mask=none and no user mask: a global edit, the whole frame may change{_of_idle(made)}")
        elif settings.mask.name in ("difference", "both") or (
            settings.mask.name == "attention" and words.phrases(settings.source_words + settings.target_words)
        ):
            difference, text = "the velocity difference", "the words"
            of = {"difference": difference, "both": f"{text} and {difference}"}.get(settings.mask.name, text)
            notices.append(f"the mask comes from {_of_given(settings)}, not from {of} (mask.user=join joins them)")
        return notices
    if not sides:
        what = f"{_of_given(settings)} alone" if settings.marked else "a global edit, the whole frame may change"
        notices.append(f"no words to read attention for: {what} (give --source-words or --target-words)")
    elif len(sides) == 1 and made.reads_source:
        other = "target" if "source" in sides else "source"
        if TASKS[settings.task].words is None:
            notices.append(f"no {other}_words: the mask comes from the {next(iter(sides))} prompt alone")
    return notices + _of_objects(made)


def _of_dependents(made: Brief) -> Iterator[str]:
    yield (
        f"what depends on the object joins its mask: sites within {made.settings.mask.dependents:g} of it where the "
        "velocities differ (mask.dependents=0 leaves them out)"
    )


def _of_given(settings: Settings) -> str:
    """What a user gave that says where: the user mask, boxes, points."""
    kinds = [mark.kind for mark in settings.marks]
    marks = [
        f"the {kind}{'' if kinds.count(kind) == 1 else 'es' if kind == 'box' else 's'}" for kind in dict.fromkeys(kinds)
    ]
    return listed((["the user mask"] if settings.user_mask is not None else []) + marks)


def _of_idle(made: Brief) -> str:
    """The words that mask=none leaves aside, and what to type for a mask of them; empty without any."""
    texts = {side: getattr(made.settings, f"{side}_words") for side in ("source", "target")}
    idle = [f"{side} words {text!r}" for side, text in texts.items() if words.phrases(text)]
    if not idle:
        return ""
    instead = "--mask attention reads them" if made.editor.masked else f"mode={made.settings.mode.name} takes no mask"
    return f"; {' and '.join(idle)} are not used ({instead})"


def _of_equal(settings: Settings) -> Iterator[str]:
    source, target = (" ".join((text or "").lower().split()).rstrip(".") for text in (settings.source, settings.target))
    if source and source == target:
        yield "source and target prompts say the same: nothing tells the edit what to change"


def _of_objects(made: Brief) -> list[str]:
    settings = made.settings
    if made.objects:
        named = ", ".join(map(str, made.objects))
        return [f"{len(made.objects)} objects, a mask each: {named} (mask.objects=joined makes one of all)"]
    counts = [len(words.phrases(text)) for text in (settings.source_words, settings.target_words)]
    if settings.mask.objects == "apart" and all(counts) and max(counts) > 1 and not made.unseen:
        return [f"{counts[0]} source words and {counts[1]} target words do not pair up: one mask for all of them"]
    return []


def _of_task(made: Brief) -> Iterator[str]:
    settings = made.settings
    task = TASKS[settings.task]
    if task.words in made.sides:
        yield task.notice
    if task.words == "source":
        old, _ = changed(settings)
        kept = [phrase for phrase in words.phrases(settings.source_words) if phrase not in old]
        if left := words.content(" ".join(old)) & words.content(settings.target or "") - words.content(" ".join(kept)):
            yield f"the target prompt still says {', '.join(sorted(left))}: what is to go may stay"
