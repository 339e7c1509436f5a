"""A caption without one of its objects.

A removed object that is the subject of a clause takes the clause with it, but not the place where all happens. The
place of a clause with "while" or "as" is that clause's own and goes too. If no other clause is left, the caption is its
place alone: "an empty beach" for "on the beach", "nothing over green grass" for what is over it, and "nothing" without
a place. An object that is no subject goes with the word that joins it ("with", "holding", "next to").
"""

import re

from flowedit.language.caption import Mention, end, objects, search
from flowedit.language.english import (
    ADJECTIVES,
    COUNTS,
    DETERMINERS,
    PLACE,
    PLACES,
    STOPS,
    WITHIN,
    article,
    is_plural,
    split,
)
from flowedit.language.patterns import SIDE

NOTHING = "nothing"

_NOUN = "|".join(sorted(DETERMINERS))

CLAUSE = re.compile(rf",? (?:and|while|as|but) (?=(?:{_NOUN})\b)|[,;] (?=(?:{_NOUN})\b)", re.IGNORECASE)

BRINGS = re.compile(
    rf"(?:^|\s+)(?:(?:is |are )?\w+ing(?: {'| '.join(PLACES)})?|with|\w+ed as|of|and|to|for|from|{'|'.join(PLACES)})$",
    re.IGNORECASE,
)

ASIDE = re.compile(
    r"(?:,? |^)(?:(?P<as>(?<!ed )(?<!same )as)|while) (?!(?:(?:still|also|just|\w+ly) )?\w+ing\b)(?P<says>[\w' -]+)",
    re.IGNORECASE,
)
"""A clause beside another, whose subject needs no article."""

ALSO = re.compile(r",? and (?P<noun>[\w-]+) (?P<verb>(?!\w+(?:ing|[^s]s)\b)\w+)", re.IGNORECASE)

FINITE = re.compile(
    r"(?:^|\b(?:and|while|as|,) )(?:an?|the|one) (?:[\w-]+ )*?[\w-]+ (?<!\b(?:in|on|of) )\w+[^s\W]s\b", re.I
)
"""A clause of one subject that does something: "a dog runs"."""

RELATIVE = re.compile(r"^ (?:that|which|who) .*?(?= (?:and|while|over|on|in|at) |,|$)", re.IGNORECASE)


def without(caption: str, phrase: str) -> str:
    """The caption without the object; raises ValueError as `caption.objects` does."""
    body, stop = caption[: end(caption)], caption[end(caption) :]
    for _ in objects(body, phrase):
        if left := search(body, phrase):  # one may have gone with another's clause
            body = _without(body, left[-1])
    body = re.sub(r"\s+([,.;])", r"\1", " ".join(body.split())).strip(" ,;")
    body = re.sub(r"^(?:and|while|but|as) ", "", body, flags=re.IGNORECASE) or NOTHING
    return (body[:1].upper() + body[1:] if caption[:1].isupper() else body) + stop


def _without(body: str, mention: Mention) -> str:
    before, after = body[: mention.start], body[mention.end :]
    joints = _joints(body)
    own = next(
        (joint for joint in joints if _begins(body[joint[1] : mention.start]) and joint[1] <= mention.start), None
    )
    if mention.start != 0 and own is None:
        return _inside(before, after)
    aside = own is not None and bool(re.search(r"\b(?:while|as) $", body[: own[1]], re.IGNORECASE))
    if item := re.match(rf",? and (?=(?:{_NOUN})\b)|, (?=(?:{_NOUN})\b)", after, re.IGNORECASE):
        return before + after[item.end() :]  # "a fox and a car move": the first of a list
    earlier = body[: 0 if own is None else own[0]]
    if mention.start and not aside and not _says(earlier.rpartition(" and ")[2]):
        return earlier + after  # the last of a list
    end = next((joint[0] for joint in joints if joint[0] >= mention.end), len(body))
    rest = (earlier + body[end:]).strip()
    where = _place(body[mention.end : end])
    where = "" if SIDE.match(f" {where}") else where
    if rest:
        return rest if not where or aside or PLACE.search(rest) or end != len(body) else f"{rest} {where}"
    return _emptied(where)


def _joints(body: str) -> list[tuple[int, int]]:
    """Where each clause of a caption begins: its joint's first character, and its own."""
    found = {(joint.start(), joint.end()) for joint in CLAUSE.finditer(body)}
    for joint in ASIDE.finditer(body):
        words = [word for word in joint["says"].split() if word.lower() not in ADJECTIVES]
        subject = bool(words) and words[0].lower() not in STOPS
        verb = len(words) > 1 and words[1].lower() not in STOPS and is_plural(words[0])
        if subject and (words[0].lower() in DETERMINERS or verb or not joint["as"]):
            found.add((joint.start(), joint.start("says")))
    for joint in ALSO.finditer(body):
        if is_plural(joint["noun"]) and joint["verb"].lower() not in STOPS and FINITE.search(body[: joint.start()]):
            found.add((joint.start(), joint.start("noun")))
    return sorted(found)


def _begins(text: str) -> bool:
    """Whether what stands between a joint and a noun belongs to the noun: nothing, or bare words before it."""
    return not any(
        word.lower() in STOPS | DETERMINERS or is_plural(word) or re.search(r"ing$|[^s]s$|,$", word)
        for word in text.split()
    )


def _place(clause: str) -> str:
    """The place that the rest of a clause ends with: from its first preposition, or the last if the noun has one."""
    found = list(PLACE.finditer(clause))
    if not found:
        return ""
    own = not clause[: found[0].start()].strip()
    return clause[found[-1 if own else 0].start() :].strip()


def _emptied(where: str) -> str:
    """A place where nothing is."""
    found = PLACE.match(where)
    if found is None:
        return NOTHING
    if found.group(1).lower() not in WITHIN:
        return f"{NOTHING} {where}"
    said = split(where[found.end() :])
    single = said.article and not is_plural(said.head.lower())
    return f"{article('empty')} empty {said.words}" if single else f"empty {said.words}"


def _inside(before: str, after: str) -> str:
    """A sentence whose object, or whose companion, is gone."""
    after = RELATIVE.sub("", after)
    own = before.rstrip()
    if (joint := re.match(r" and ", after)) and not _says(after[joint.end() :]):
        return f"{own} {after[joint.end() :]}"
    if brought := BRINGS.search(own):
        ing = re.match(r"\s*((?:is|are) )\w+ing", brought.group(), re.IGNORECASE)
        kept = f" {ing.group(1).strip()}" if ing and after.strip() and PLACE.match(after.strip()) else ""
        own = re.sub(r",? (?:while|as)$", "", own[: brought.start()]) + kept
    return own + after


def _says(text: str) -> bool:
    """Whether a stretch of text has a verb, as far as its form tells: a third person's -s, -ing, is, are."""
    said = split(text.strip())
    words = said.words.split()
    if re.search(r"\b(?:is|are|\w+ing)\b", text, re.IGNORECASE) or PLACE.search(text):
        return True
    if said.article in ("a", "an") or said.count == "one":
        return any(re.search(r"[^s]s$", word) for word in words[1:])
    return len(words) > 1 + (said.count in COUNTS)
