"""What words mean, as far as the grammar must know: what nobody can see, what is worn, and what a whole clip can be."""

import re

from flowedit.language.english import MASS, ON, Phrase, fold, head, is_plural, word_set
from flowedit.messages import InputError

ABSTRACT = word_set(
    "attention emphasis focus stress pressure importance interest end stop halt limit conclusion comparison parallel "
    "distinction contrast trust faith blame spell word drama emotion meaning value depth mood excitement energy life "
    "warmth feeling sense motion movement speed action tension saturation brightness blur quality detail clarity "
    "realism vibe variety charm magic bit lot deal more less hint touch"
)
"""What an instruction can ask for that is no object."""

AMOUNT = re.compile(r"(?:lots?|bit|deal|touch|hint|dash|amount|piece|more|less|extra|little|great|big|huge)(?: of)? ")

SETTINGS = ON | word_set(
    "beach moon snow desert forest jungle city street sea ocean sky mountain hill wood park rain space garden kitchen "
    "countryside sunset sunrise night dawn dusk daylight moonlight sunlight sunshine field river lake water mist fog "
    "winter summer autumn spring nature traffic cloud ruin wave"
)
"""Places that need no introduction: "on the moon", "in deep snow"."""

NOWHERE = word_set(
    "corner side mood trance row circle line hurry panic position pose cage box bag situation spin loop rest"
) | word_set("middle left right front")
"""What a thing can be put in or to, but no background."""

WORN = word_set(
    "hat cap crown tiara helmet scarf tie bowtie bow collar jacket coat shirt suit dress skirt cape cloak boot shoe "
    "sneaker glove mitten glass goggle mask moustache mustache beard wig wing horn necklace backpack bag belt "
    "sword shield umbrella balloon bandana costume uniform hoodie sweater jumper trouser jean sock ribbon earring "
    "sunglass hood"
)
"""What somebody wears or carries: "a dog with a hat"."""

_TIMES = {
    **dict.fromkeys(("night", "nighttime"), "at night"),
    **dict.fromkeys(("day", "daytime", "daylight"), "in daylight"),
    **{word: f"at {word}" for word in ("sunset", "sunrise", "dawn", "dusk", "noon")},
    **{word: f"in the {word}" for word in ("morning", "evening")},
}

_SEASONS = {word: f"in {word}" for word in ("winter", "summer", "autumn", "spring")}

_WEATHER = {
    **dict.fromkeys(("snow", "snowy", "snowing"), "in falling snow"),
    **dict.fromkeys(("rain", "rainy", "raining"), "in the rain"),
    **dict.fromkeys(("fog", "foggy"), "in thick fog"),
    **dict.fromkeys(("sunny", "sunshine"), "in bright sunshine"),
    **dict.fromkeys(("storm", "stormy"), "in a storm"),
}

PHRASINGS = ("by day", "by night", "during the day", "during the night")
"""Other ways to say a time."""

MOODS = (_TIMES, _SEASONS, _WEATHER)
"""Times, seasons and weathers of a whole clip, each with how a caption says it; one of a kind excludes the others."""

MOOD = rf"(?:{'|'.join(word for kind in MOODS for word in kind)})"


def is_abstract(phrase: Phrase) -> bool:
    """Whether a phrase names what no object is ("a lot of attention"), or more of one that is counted ("more fox")."""
    words, more = phrase.words.lower(), False
    while found := AMOUNT.match(words):
        more = more or found.group().startswith(("more", "less", "extra"))
        words = words[found.end() :]
    noun = head(words)
    return fold(noun) in ABSTRACT or (more and not is_plural(noun) and noun not in MASS)


def is_worn(phrase: Phrase) -> bool:
    """Whether a phrase names what somebody wears or carries."""
    return fold(phrase.head) in WORN


def is_place(phrase: Phrase) -> bool:
    """Whether a phrase can be a background: a known place, or an indefinite noun that is not known to be none."""
    noun = fold(phrase.head)
    if noun in NOWHERE | ABSTRACT | WORN:
        return False
    return noun in SETTINGS or bool(phrase.count) or phrase.article not in ("", "the")


def moody(caption: str, word: str) -> str:
    """The caption with the time, season or weather that a word of `MOOD` names, in the place of another of its kind.

    Raises ValueError for a caption that says it already, and for one that speaks of another in a way of its own.
    """
    kind = next(kind for kind in MOODS if word in kind)
    said, alike = kind[word], (*kind.values(), *(PHRASINGS if kind is _TIMES else ()))
    spoken = re.compile(rf"\b(?:{'|'.join(dict.fromkeys(alike))})\b", re.IGNORECASE)
    left, end = spoken.sub("", caption), len(caption.rstrip(" .!"))
    for other, how in kind.items():
        if how != said and re.search(rf"\b{other}\b", left, re.IGNORECASE):
            raise InputError(f"{said!r} beside {other!r} in the caption {caption!r}: say what is to replace that")
    new = spoken.sub(said, caption) if left != caption else f"{caption[:end]}, {said}{caption[end:]}"
    if new.lower() == caption.lower():
        raise InputError(f"the caption {caption!r} says {said!r} already")
    return new
