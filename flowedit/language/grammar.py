"""What an instruction asks for, by patterns that are tried in order; text that none matches is refused."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, cast

from flowedit.language import patterns, senses
from flowedit.language.english import (
    ADJECTIVES,
    COMPARATIVES,
    PRONOUNS,
    QUALITIES,
    STOPS,
    fold,
    is_plural,
    split,
    word_set,
)
from flowedit.language.tasks import TaskName
from flowedit.messages import InputError

Kind = Literal["replace", "remove", "add", "recolour", "resize", "restyle", "background"]

TASK_OF_KIND: dict[str, TaskName] = {"remove": "remove", "add": "add"}
"""Any other kind of change replaces."""

WHOLE_FRAME = ("restyle", "background")

EXAMPLES = "'replace the fox with a panda', 'remove the ball', 'make the car red'"

LONGEST = 12
"""Words of one phrase."""

MOST_LETTERS, MOST_JOINTS = 1000, 24
"""Of an instruction, and of its commas and "and"s: patterns are tried on every part of it."""

VAGUE = PRONOUNS | word_set(
    "else different other new nicer better more less a an the of with good nice great cool "
    "cooler beautiful pretty amazing"
)

SOMETHING = word_set("something anything someone anyone everything")

UNSEEN = word_set("music sound audio voice voiceover narration subtitle caption transition")


@dataclass(frozen=True)
class Change:
    """One thing to change: the old and the new phrase in the words of the instruction, and where; "" for none.

    `where`: with `add` a place ("on the dog"), with `background` its preposition ("on"). `old`: with `background` the
    old background. `subject`: with `background` what is put before it, with `add` what gets the new object. `mood`:
    with `restyle`, whether the new phrase is a time, a season or a weather.
    """

    kind: Kind
    old: str = ""
    new: str = ""
    where: str = ""
    subject: str = ""
    mood: bool = False


@dataclass(frozen=True)
class Instruction:
    """What a text asks for: one change, or several of one task."""

    text: str
    changes: tuple[Change, ...]
    also: tuple[str, ...] = ()
    """Of a removal, what goes along with the objects: "shadow", "reflection"."""
    own: str = ""
    """The word before it: its, their, his or her."""

    @property
    def kind(self) -> Kind:
        """The first change's kind."""
        return self.changes[0].kind

    @property
    def task(self) -> TaskName:
        """The name of the edit's task."""
        if all(change.kind == "recolour" for change in self.changes):
            return "recolour"
        return TASK_OF_KIND.get(self.kind, "replace")


def parse(text: str) -> Instruction:
    """An instruction in plain English, such as "please replace the fox with a panda, and the car with a bus".

    Raises ValueError, in one line with three examples, for what it cannot read, and for changes of several tasks.
    """
    if len(text) > MOST_LETTERS:
        raise InputError(
            f"{_short(text)} is {len(text)} letters long, an instruction at most {MOST_LETTERS}: shorten it"
        )
    plain = _tidy(text)
    if len(patterns.JOINT.findall(plain)) > MOST_JOINTS:
        raise InputError(f"{_short(text)} asks for too much at once: say less, or make one edit after the other")
    if not patterns.NEGATION.search(plain) and (along := patterns.ALONG.search(plain)):
        changes = _changes(plain[: along.start()])
        if changes and all(change.kind == "remove" for change in changes):
            also = tuple(word.lower() for word in re.findall(r"\b(?:shadow|reflection)s?\b", along["also"], re.I))
            return Instruction(" ".join(text.split()), changes, also, along["own"].lower())
    changes = () if patterns.NEGATION.search(plain) else _changes(plain)
    if not changes:
        raise InputError(f"{_short(text)} is not an instruction that flowedit reads; say it like {EXAMPLES}")
    tasks = {TASK_OF_KIND.get(change.kind, "replace") for change in changes}
    if len(tasks) > 1 or (len(changes) > 1 and any(change.kind in WHOLE_FRAME for change in changes)):
        asked = " and ".join(dict.fromkeys(change.kind for change in changes))
        raise InputError(f"{_short(text)} asks for {asked} at once: make one edit of each, one after the other")
    return Instruction(" ".join(text.split()), changes)


def _tidy(text: str) -> str:
    """The text without politeness, quotation marks and requests to keep the rest; all capitals become lower case."""
    plain = " ".join(text.replace("’", "'").replace("‘", "'").split())
    plain = re.sub(r"[\"“”«»`*]|(?<!\w)'|'(?!\w)", "", plain)
    plain = patterns.HERE.sub("", plain.replace(" & ", " and "))
    plain = plain.lower() if plain.isupper() else plain
    before = None
    while plain != before:
        before, plain = plain, plain.strip(" .,;:!?…")
        plain = patterns.KEEPING.sub("", patterns.TRAILING.sub("", _cut(patterns.LEADING, plain)))
    return plain


def _cut(pattern: re.Pattern[str], text: str) -> str:
    """The text without a match at its beginning."""
    found = pattern.match(text)
    return text[found.end() :] if found else text


@lru_cache(4096)  # of several joints, every end of a text is asked for again and again
def _changes(text: str, verb: str = "") -> tuple[Change, ...]:
    """The changes of a text; one without a verb takes the verb of the change before it."""
    for own in filter(None, (text, verb and f"{verb} {text}")):
        if change := _one(own):
            return (change,)
    for joint in patterns.JOINT.finditer(text):
        left, right = text[: joint.start()], _cut(patterns.LEADING, text[joint.end() :])
        for own in filter(None, (left, verb and f"{verb} {left}")):
            if (change := _one(own)) and (rest := _changes(right, _verb(own))):
                return (change, *rest)
    return ()


def _verb(text: str) -> str:
    found = re.match(rf"{patterns.REMOVE}|\S+", text, re.IGNORECASE)
    return found.group() if found else ""


@lru_cache(4096)
def _one(text: str) -> Change | None:
    for own in dict.fromkeys((text, patterns.INSTEAD.sub("", text))):
        for kind, pattern in patterns.PATTERNS:
            if (found := pattern.fullmatch(own)) and (change := _made(kind, found)):
                return change
    return None


def _made(kind: str, found: re.Match[str]) -> Change | None:
    """The change of a match; None where a phrase of it is none, so that the next pattern is tried."""
    part = {name: _clean(value) for name, value in found.groupdict().items() if value is not None}
    old, new, where = patterns.SIDE.sub("", part.get("x", "")), part.get("y", ""), part.get("w", "")
    if any(name in part and not _is_phrase(value) for name, value in (("x", old), ("y", new))):
        return None
    if kind in ("remove", "replace") and _is_pair(old):
        return None
    if kind == "remove":
        return None if _is_vague(old) else Change("remove", old)
    if kind == "add":
        return None if _is_unseen(new) else Change("add", "", new, where)
    if kind == "give":
        refused = _is_unseen(new) or _is_vague(old) or _is_pair(old) or not senses.is_worn(split(new))
        return None if refused else Change("add", "", new, subject=old)
    if kind == "mood":
        return Change("restyle", "", re.sub("[ -]", "", new.lower()), mood=True)
    if kind in ("restyle", "style"):
        known = kind == "restyle" or re.search(patterns.STYLE, new, re.IGNORECASE)
        return Change("restyle", "", new) if known and not _is_vague(new) else None
    if kind in WHOLE_FRAME:
        tinted = re.fullmatch(patterns.COLOUR, new, re.IGNORECASE)
        return Change("background", old, f"a {new} background" if tinted else new)
    if kind == "place":
        return _placed(old, new, where.lower())
    if _is_vague(old):
        return None
    if kind == "replace":
        return None if _is_vague(new) or _is_degree(new) or _same(old, new) else _again(Change("replace", old, new))
    if kind == "resize":
        return Change("resize", old, COMPARATIVES.get(new.lower(), new.lower()))
    before = f"{part['c']} {split(old).text}" if "c" in part else old
    return Change(cast(Kind, kind), before, new)


def _placed(old: str, new: str, where: str) -> Change | None:
    """ "put it in a forest" is a background; "put the cup on the table" is a motion, which is refused."""
    whole = re.fullmatch(f"{patterns.WHOLE}|{patterns.IT}", old, re.IGNORECASE)
    defined = whole and split(new).article == "the" and fold(split(new).head) not in senses.NOWHERE
    named = split(new).head.istitle() and not old.istitle()
    seen = where == "in front of" and split(new).article != "the" and is_plural(split(new).head)
    if not (defined or named or seen or senses.is_place(split(new))):
        return None
    where = {"into": "in", "onto": "on", "to": ""}.get(where, where)
    return Change("background", "", new, where, "" if whole else old)


def _again(change: Change) -> Change:
    """The change with the old noun in the place of "one": "with a red one"."""
    said, old = split(change.new), split(change.old)
    if said.head.lower() not in ("one", "ones"):
        return change
    own = said.words.rpartition(" ")[0]
    if re.fullmatch(patterns.COLOUR, own, re.IGNORECASE):
        return Change("recolour", change.old, own)
    return replace(change, new=f"{said.article or 'a'} {own} {old.head}")


def _same(old: str, new: str) -> bool:
    return [fold(word) for word in split(old).words.split()] == [fold(word) for word in split(new).words.split()]


def _clean(text: str) -> str:
    """A phrase without the commas between its adjectives, which would part it in a list of words."""
    return text if patterns.SEVERAL.search(text) else " ".join(re.sub(r"[,;]", " ", text).split()).strip(" .")


def _is_phrase(text: str) -> bool:
    words = text.lower().split()
    return 0 < len(words) <= LONGEST and words[-1] not in STOPS and not patterns.SEVERAL.search(text)


def _is_pair(text: str) -> bool:
    """Whether "and" joins two objects, and not two adjectives."""
    return any(left.lower() not in ADJECTIVES for left, _ in patterns.PAIR.findall(text))


def _is_vague(text: str) -> bool:
    whole = rf"{patterns.WHOLE}|{patterns.BACKGROUND}"
    own = split(text).words.lower()
    return own in VAGUE or own.split()[0] in SOMETHING or bool(re.fullmatch(whole, text, re.IGNORECASE))


def _is_unseen(new: str) -> bool:
    """Whether a new phrase names no one object that can come into a clip."""
    said = split(new)
    unseen = fold(said.head) in UNSEEN or senses.is_abstract(said)
    return unseen or _is_vague(new) or _is_pair(new) or said.article == "the"


def _is_degree(new: str) -> bool:
    """Whether a new phrase tells by how much, or how, and not what: "a bit more like a panda", "fluffy"."""
    said = split(new)
    own = said.words.lower()
    if patterns.DEGREE.search(own) or said.head.lower() in COMPARATIVES:
        return True
    if own.startswith(("more ", "less ")) and not is_plural(said.head):
        return not said.article
    return said.head.lower() in QUALITIES and not said.article and not said.count


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
