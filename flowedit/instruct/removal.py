"""A caption without one of its objects.

The rule: an object that is a clause's subject takes the clause with it, up to the place where all happens; what is
left of a caption with no other clause is its place alone, "an empty beach" for "on the beach", "nothing over green
grass" for what is over it; without a place it is "nothing". An object elsewhere goes with the word that brought it
("with", "holding", "next to").
"""

import re

from flowedit.instruct import find
from flowedit.instruct.english import COUNTS, DETERMINERS, PLACE, PLACES, WITHIN, article, is_plural, split
from flowedit.instruct.find import Found

NOTHING = "nothing"
_NOUN = "|".join(sorted(DETERMINERS))
CLAUSE = re.compile(rf",? (?:and|while|as|but) (?=(?:{_NOUN})\b)|[,;] (?=(?:{_NOUN})\b)", re.IGNORECASE)
BROUGHT = re.compile(
    rf"(?:^|\s+)(?:(?:is |are )?\w+ing(?: {'| '.join(PLACES)})?|with|of|and|to|for|from|{'|'.join(PLACES)})$",
    re.IGNORECASE,
)
RELATIVE = re.compile(r"^ (?:that|which|who) .*?(?= (?:and|while|over|on|in|at) |,|$)", re.IGNORECASE)


def without(caption: str, phrase: str) -> str:
    """The caption without the object; raises ValueError as `find.objects` does."""
    body, stop = caption[: find.end(caption)], caption[find.end(caption) :]
    for _ in find.objects(body, phrase):
        if left := find.search(body, phrase):  # one may have gone with another's clause
            body = _without(body, left[-1])
    body = re.sub(r"\s+([,.;])", r"\1", " ".join(body.split())).strip(" ,;")
    body = re.sub(r"^(?:and|while|but|as) ", "", body, flags=re.IGNORECASE) or NOTHING
    return (body[:1].upper() + body[1:] if caption[:1].isupper() else body) + stop


def _without(body: str, found: Found) -> str:
    before, after = body[: found.start], body[found.end :]
    opened = [joint.end() for joint in CLAUSE.finditer(body)]
    if found.start != 0 and found.start not in opened:
        return _inside(before, after)
    if item := re.match(rf",? and (?=(?:{_NOUN})\b)|, (?=(?:{_NOUN})\b)", after, re.IGNORECASE):
        return before + after[item.end() :]  # "a fox and a car move": the first of a list
    start = max((joint.start() for joint in CLAUSE.finditer(body) if joint.end() <= found.start), default=0)
    earlier = body[:start]
    if found.start and not _says(earlier.rpartition(" and ")[2]):
        return earlier + after  # the last of a list
    end = next((joint.start() for joint in CLAUSE.finditer(body) if joint.start() >= found.end), len(body))
    rest = (earlier + body[end:]).strip()
    where = _place(body[found.end : end])
    if rest:
        return rest if not where or PLACE.search(rest) or end != len(body) else f"{rest} {where}"
    return _emptied(where)


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
    if brought := BROUGHT.search(own):
        ing = re.match(r"\s*((?:is|are) )\w+ing", brought.group(), re.IGNORECASE)
        kept = f" {ing.group(1).strip()}" if ing and after.strip() and PLACE.match(after.strip()) else ""
        own = own[: brought.start()] + kept
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
