"""Where in a caption an object is mentioned, with its article and adjectives; its last place; its end."""

import re
from dataclasses import dataclass

from flowedit.language.english import (
    ADJECTIVES,
    DETERMINERS,
    EVERY,
    PLACE,
    STOPS,
    WORD,
    fold,
    head,
    is_plural,
    split,
    word_set,
)
from flowedit.messages import InputError

DEFINITE = word_set("the this that these those his her its their both all")


@dataclass(frozen=True)
class Mention:
    """A noun phrase in a caption: its characters [start, end), its article or count, its adjectives and its noun."""

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
        """Whether the phrase means several."""
        return self.article.lower() not in ("a", "an", "one") and is_plural(head(self.noun))


def objects(caption: str, phrase: str) -> list[Mention]:
    """Every mention of the object that a phrase names, as `search` finds them.

    Several mentions are of one object if the later ones are definite ("the dog"), or if the phrase means all. Raises
    ValueError for no mention, with the caption's words, and for several objects.
    """
    wanted, mentions = split(phrase), search(caption, phrase)
    if not mentions:
        spoken = (word for word in WORD.findall(caption) if word.lower() not in STOPS | DETERMINERS)
        raise InputError(
            f"{wanted.words!r} is not in the caption {caption!r}; its words are: {', '.join(dict.fromkeys(spoken))}"
        )
    others = [place for place in mentions[1:] if place.article.lower() not in DEFINITE]
    if others and wanted.count not in EVERY and not is_plural(wanted.head):
        named = ", ".join(repr(place.words) for place in mentions)
        raise InputError(f"{wanted.words!r} is in the caption {caption!r} {len(mentions)} times, as {named}: say which")
    return mentions


def search(caption: str, phrase: str) -> list[Mention]:
    """Every mention of a phrase, of one object or several, or none.

    Words are compared whatever their case, number and spelling (grey, gray). Where the whole phrase is nowhere, its
    noun is looked for, with all its adjectives somewhere before it.
    """
    wanted = split(phrase)
    want = [fold(word) for word in wanted.words.split()]
    tokens = [(m.group(), m.start(), m.end()) for m in WORD.finditer(caption)]
    folded = [fold(text) for text, _, _ in tokens]
    whole = [i for i in range(len(tokens) - len(want) + 1) if folded[i : i + len(want)] == want]
    mentions = [_phrase(caption, tokens, i, i + len(want)) for i in whole]
    if not mentions:
        noun, rest = fold(wanted.head), set(want) - {fold(wanted.head)}
        alone = [_phrase(caption, tokens, i, i + 1) for i in range(len(tokens)) if folded[i] == noun]
        mentions = [place for place in alone if rest <= {fold(word) for word in place.adjectives}]
    return mentions


def _phrase(caption: str, tokens: list[tuple[str, int, int]], first: int, last: int) -> Mention:
    """Tokens [first, last) with the adjectives and the article before them.

    Without an article only known adjectives count, as a verb may stand there.
    """
    start = first
    while start and _joined(caption, tokens, start) and _describes(tokens[start - 1][0]):
        start -= 1
    determined = start and _adjacent(caption, tokens, start) and tokens[start - 1][0].lower() in DETERMINERS
    if not determined:
        start = first
        while start and _joined(caption, tokens, start) and tokens[start - 1][0].lower() in ADJECTIVES | {"and"}:
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
    return Mention(tokens[begin][1], tokens[last - 1][2], own, tuple(adjectives), noun)


def _describes(word: str) -> bool:
    low = word.lower()
    return low not in STOPS and low not in DETERMINERS and (low in ADJECTIVES or not re.search(r"[^s]s$", low))


def _adjacent(caption: str, tokens: list[tuple[str, int, int]], at: int) -> bool:
    return not caption[tokens[at - 1][2] : tokens[at][1]].strip()


def _joined(caption: str, tokens: list[tuple[str, int, int]], at: int) -> bool:
    """Whether a word stands right before, or one adjective's comma away."""
    between = caption[tokens[at - 1][2] : tokens[at][1]].strip()
    return not between or (between == "," and tokens[at - 1][0].lower() in ADJECTIVES)


def place(caption: str) -> re.Match[str] | None:
    """The preposition of the place that a caption ends with ("on the beach"); None where it ends with none."""
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
