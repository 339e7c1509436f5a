"""What a prompt must be for the backbone: readable, short enough, and of words that it has learned."""

import re
from collections.abc import Iterable

from flowedit.config.compose import compose
from flowedit.config.schema import Settings
from flowedit.language import words
from flowedit.messages import InputError
from flowedit.pipeline import region
from flowedit.pocket import Vocabulary, unlearned
from flowedit.pocket.world import GROUNDS, MOTIONS
from flowedit.types import Backbone

FULL_SIZE = "cogvideox-2b"


def check_prompt(settings: Settings, backbone: Backbone, name: str) -> list[str]:
    """Notices about a prompt's characters that the backbone cannot read, and words that it never learned.

    Raises ValueError for a prompt that is too long, an object word of which nothing can be read, and a word of the
    edit that a small backbone never learned.
    """
    prompt = getattr(settings, name) or ""
    said = []
    if (
        backbone.spec.world is not None
    ):  # before its length: a small model spells what it never learned letter by letter
        said = _check_learned(settings, backbone, Vocabulary(**backbone.spec.world), name, prompt)
    try:
        spans, lost = backbone.spans(prompt), backbone.unreadable(prompt)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    if backbone.spec.world is not None:
        return said
    holes = {place for start, end in lost for place in range(start, end)}
    if name in region.watched(settings):
        for start, end in words.occurrences(prompt, getattr(settings, f"{name}_words")):
            if holes >= set(range(start, end)):
                raise InputError(
                    f"{name}_words: {backbone.spec.name} cannot read {prompt[start:end]!r}: say it in English"
                )
    return [
        f"{name}: {backbone.spec.name} cannot read {prompt[a:b]!r}" for a, b in lost if spans and prompt[a:b].strip()
    ]


def _check_learned(settings: Settings, backbone: Backbone, known: Vocabulary, name: str, prompt: str) -> list[str]:
    strange = unlearned(prompt, known)
    edited = _edit_words(settings, name)
    if bad := [word for word in strange if word.lower() in edited]:
        raise InputError(
            f"{name}: {backbone.spec.name} never learned {_quoted(bad)}. It knows {_all(known)}; for anything else "
            f"name a full-size backbone: {_offer()}"
        )
    return [f"{name}: {backbone.spec.name} never learned {_quoted(strange)}"] if strange else []


def _edit_words(settings: Settings, name: str) -> set[str]:
    """Lower-case words that say what the edit is: the object words, and those that only one of the prompts has."""
    if name not in ("source", "target"):
        return set()
    own, other = (_split(text or "") for text in _sides(settings, name))
    return (_split(getattr(settings, f"{name}_words")) | (own - other if other else set())) - set(words.JOINTS)


def _sides(settings: Settings, name: str) -> tuple[str | None, str | None]:
    return (settings.source, settings.target) if name == "source" else (settings.target, settings.source)


def _split(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W_]+", text)}


def _offer() -> str:
    chosen = compose({"backbone": FULL_SIZE}).backbone
    return f"--backbone {FULL_SIZE} ({chosen.download} to download, {chosen.memory}, estimated)"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(repr(text) for text in dict.fromkeys(texts))


def _all(known: Vocabulary) -> str:
    """What a vocabulary holds, kind by kind."""
    phrases = [MOTIONS[name] for name in known.motions], [GROUNDS[name] for name in known.grounds]
    kinds = known.classes, known.sizes, known.tints, *phrases
    return "; ".join(", ".join(filter(None, kind)) for kind in kinds if any(kind))
