"""Where a caption says something: an object with its article and adjectives, its last place, its end."""

import re
from dataclasses import dataclass

from flowedit.language.english import (
    DETERMINERS,
    EVERY,
    KNOWN,
    PLACE,
    STOPS,
    WORD,
    fold,
    head,
    is_plural,
    listed,
    split,
)
from flowedit.messages import InputError

DEFINITE = listed("the this that these those his her its their both all")


@dataclass(frozen=True)
class Found:
    """A noun phrase of a caption: characters [start, end), its article or count, adjectives and noun."""

    start: int
    end: int
    article: str
    adjectives: tuple[str, ...]
    noun: str

    @property
    def words(self) -> str:
        """The phrase without its article."""
        return " ".join((*self.adjectives, self.noun))

    @property
    def plural(self) -> bool:
        """Whether it speaks of several."""
        return self.article.lower() not in ("a", "an", "one") and is_plural(head(self.noun))


def objects(caption: str, phrase: str) -> list[Found]:
    """The object that a phrase means, at each place where the caption speaks of it.

    Words are compared whatever their case, number and spelling (grey, gray); the noun with the adjectives named is
    looked for where the whole phrase is not. Several places are one object if the later ones are definite ("the
    dog"), or if the phrase means all. Raises ValueError for none, with the caption's words, and for several objects.
    """
    said, found = split(phrase), search(caption, phrase)
    if not found:
        spoken = (word for word in WORD.findall(caption) if word.lower() not in STOPS | DETERMINERS)
        raise InputError(
            f"{said.words!r} is not in the caption {caption!r}; its words are: {', '.join(dict.fromkeys(spoken))}"
        )
    others = [place for place in found[1:] if place.article.lower() not in DEFINITE]
    if others and said.count not in EVERY and not is_plural(said.head):
        named = ", ".join(repr(place.words) for place in found)
        raise InputError(f"{said.words!r} is in the caption {caption!r} {len(found)} times, as {named}: say which")
    return found


def search(caption: str, phrase: str) -> list[Found]:
    """As `objects`, whatever their number."""
    said = split(phrase)
    want = [fold(word) for word in said.words.split()]
    tokens = [(m.group(), m.start(), m.end()) for m in WORD.finditer(caption)]
    folded = [fold(text) for text, _, _ in tokens]
    whole = [i for i in range(len(tokens) - len(want) + 1) if folded[i : i + len(want)] == want]
    found = [_phrase(caption, tokens, i, i + len(want)) for i in whole]
    if not found:
        noun, rest = fold(said.head), set(want) - {fold(said.head)}
        alone = [_phrase(caption, tokens, i, i + 1) for i in range(len(tokens)) if folded[i] == noun]
        found = [place for place in alone if rest <= {fold(word) for word in place.adjectives}]
    return found


def _phrase(caption: str, tokens: list[tuple[str, int, int]], first: int, last: int) -> Found:
    """Tokens [first, last) with the adjectives and the article before them.

    Without an article only words that are known as adjectives belong: a verb may stand there.
    """
    start = first
    while start and _joined(caption, tokens, start) and _describes(tokens[start - 1][0]):
        start -= 1
    determined = start and _adjacent(caption, tokens, start) and tokens[start - 1][0].lower() in DETERMINERS
    if not determined:
        start = first
        while start and _joined(caption, tokens, start) and tokens[start - 1][0].lower() in KNOWN | {"and"}:
            start -= 1
        while start < first and tokens[start][0].lower() == "and":
            start += 1
        determined = start and _adjacent(caption, tokens, start) and tokens[start - 1][0].lower() in DETERMINERS
    begin = start
    while determined and begin and tokens[begin - 1][0].lower() in DETERMINERS and _adjacent(caption, tokens, begin):
        begin -= 1
    own = caption[tokens[begin][1] : tokens[start][1]].strip() if begin < start else ""
    adjectives = [text for text, _, _ in tokens[start:first]]
    phrase = [text for text, _, _ in tokens[first:last]]
    at = next((i for i, word in enumerate(phrase) if i and word.lower() in STOPS), len(phrase))
    adjectives, noun = [*adjectives, *phrase[: at - 1]], " ".join(phrase[at - 1 :])
    return Found(tokens[begin][1], tokens[last - 1][2], own, tuple(adjectives), noun)


def _describes(word: str) -> bool:
    low = word.lower()
    return low not in STOPS and low not in DETERMINERS and (low in KNOWN or not re.search(r"[^s]s$", low))


def _adjacent(caption: str, tokens: list[tuple[str, int, int]], at: int) -> bool:
    return not caption[tokens[at - 1][2] : tokens[at][1]].strip()


def _joined(caption: str, tokens: list[tuple[str, int, int]], at: int) -> bool:
    """Whether a word stands right before, or one adjective's comma away."""
    between = caption[tokens[at - 1][2] : tokens[at][1]].strip()
    return not between or (between == "," and tokens[at - 1][0].lower() in KNOWN)


def place(caption: str) -> re.Match[str] | None:
    """The preposition of the last place in a caption that runs to its end; None where there is none."""
    every = list(PLACE.finditer(caption, 0, end(caption)))
    if not every:
        return None
    found = every[-1]
    rest = caption[found.end() : end(caption)]
    return None if re.search(r",|\b(?:and|while|as|with|that|who|is|are)\b", rest) else found


def end(caption: str) -> int:
    """Where a caption ends, before its full stop."""
    return len(caption.rstrip(" .!"))


def before_end(caption: str, text: str) -> str:
    """A caption with a text before its full stop."""
    return caption[: end(caption)] + text + caption[end(caption) :]
