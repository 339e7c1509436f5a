"""Object words to the tokens of a prompt, by the characters that each token covers."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flowedit.messages import InputError, nearest

Span = tuple[int, int]
"""Characters [start, end) of a prompt."""

ARTICLES = ("a", "an", "the")

JOINTS = (
    *ARTICLES,
    *("and", "or", "of", "with", "without", "is", "are", "its", "their", "this", "that", "as", "by", "for"),
    *("in", "on", "over", "under", "at", "near", "from", "into", "onto", "to", "through", "across", "behind", "beside"),
)
"""Words that join others and name nothing themselves."""

NONE = ("nothing", "nobody", "no", "none", "empty", "any", "there", "only", "alone")
"""Words that say that something is not there."""

NOTHING = NONE[0]
"""What is shown in the place of a side that an object is not in."""


def content(prompt: str) -> frozenset[str]:
    """The words of a prompt that name something, in lower case and without a final s.

    Left out are words that join others, and words that say that nothing is there. Without the s a verb is the same word
    for one thing and for two: "a fox and a car move", "a car moves".
    """
    naming = frozenset(re.findall(r"[^\W_]+", prompt.lower())).difference(JOINTS, NONE)
    return frozenset(word.removesuffix("s") if len(word) > 3 else word for word in naming)


def content_words(prompt: str) -> tuple[str, ...]:
    """The words of a prompt that name something, each once, as they are written and in their order.

    Any of them can be given as source_words or target_words. Left out are the words that `content` leaves out.
    """
    found = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt)
    naming: dict[str, str] = {}
    for word in found:
        if word.lower() not in (*JOINTS, *NONE):
            naming.setdefault(word.lower(), word)
    return tuple(naming.values())


def phrases(words: str) -> list[str]:
    """'white fluffy dog, collar' to ['white fluffy dog', 'collar']; an empty string to []."""
    return [" ".join(p.split()) for p in re.split(r"[,;]", words) if p.strip()]


@dataclass(frozen=True)
class ObjectWords:
    """An object by its phrase in the source prompt and in the target's.

    An object that goes has an empty target, one that comes an empty source. A kept one is not edited.
    """

    source: str
    target: str
    kept: bool

    def __str__(self) -> str:
        return f"{self.source} (kept)" if self.kept else f"{self.source or NOTHING} → {self.target or NOTHING}"


def object_words(source_words: str, target_words: str) -> tuple[ObjectWords, ...]:
    """The objects that the words name, in the source's order: 'fox, car', 'panda, car' are fox → panda and a kept car.

    A phrase that both sides have is a kept object. If both sides have the very same phrases, only those at equal places
    are kept, and none if all are at equal places. The other phrases pair up by their order; if one side has none, each
    is an object that goes or comes. () for other unequal numbers, and for fewer than two objects.
    """
    old, new = phrases(source_words), phrases(target_words)
    stay = _kept(old, new)
    left, right = _others(old, stay), _others(new, stay.values())
    if left and right and len(left) != len(right):
        return ()
    partner = dict(zip(left, right, strict=False))
    by_place = {i: ObjectWords(old[i], new[j], True) for i, j in stay.items()}
    by_place |= {i: ObjectWords(old[i], new[partner[i]] if partner else "", False) for i in left}
    new_objects = [ObjectWords("", new[j], False) for j in right if not left]
    objects = [*(by_place[i] for i in sorted(by_place)), *new_objects]
    return tuple(objects) if len(objects) > 1 else ()


def edited_phrases(source_words: str, target_words: str) -> tuple[list[str], list[str]]:
    """The phrases of each side without those of kept objects, which `object_words` defines."""
    old, new = phrases(source_words), phrases(target_words)
    stay = _kept(old, new)
    return [old[i] for i in _others(old, stay)], [new[j] for j in _others(new, stay.values())]


def _kept(old: list[str], new: list[str]) -> dict[int, int]:
    """Where each kept phrase stands in the source's list, and where in the target's."""
    names = [phrase.casefold() for phrase in new]
    stay: dict[int, int] = {}
    for i, phrase in enumerate(old):
        same = [j for j, name in enumerate(names) if name == phrase.casefold() and j not in stay.values()]
        if same:
            stay[i] = same[0]
    if len(stay) < max(len(old), len(new)):
        return stay
    in_place = {i: i for i, phrase in enumerate(old) if phrase.casefold() == names[i]}
    return in_place if len(in_place) < len(old) else {}


def _others(side: list[str], kept: Collection[int]) -> list[int]:
    """Places of a side's phrases that are not kept; one that repeats a kept phrase says nothing more."""
    named = {side[i].casefold() for i in kept}
    return [i for i, phrase in enumerate(side) if phrase.casefold() not in named]


def occurrences(prompt: str, words: str, name: str = "words") -> list[Span]:
    """Characters [start, end) of every occurrence of the words in the prompt, whatever their case.

    A comma separates several phrases. A phrase that stands in the prompt as a whole is taken whole, each time it
    occurs; else each of its words but articles is looked for by itself. Raises ValueError, with the prompt's words,
    for a word that the prompt does not have.
    """
    places: list[Span] = []
    for phrase in phrases(words):
        whole = _find(prompt, phrase)
        for part in [phrase] if whole else _content(phrase.split()):
            spans = _find(prompt, part)
            if not spans:
                known = list(dict.fromkeys(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt)))
                said = f"{name}: {part!r} is not in the prompt {prompt!r}; its words are: {', '.join(known)}"
                raise InputError(f"{said}{nearest(part, known)}")
            places += spans
    return sorted(set(places))


def token_indices(prompt: str, words: str, spans: Sequence[Span], name: str = "words") -> list[int]:
    """Indices of the tokens whose characters `spans` overlap an occurrence of the words; [] for no words.

    Raises ValueError as `occurrences` does, and for words that no token covers.
    """
    places = occurrences(prompt, words, name)
    tokens = [i for i, span in enumerate(spans) if any(_overlap(prompt, span, place) for place in places)]
    if places and not tokens:
        raise InputError(f"{name}: {words!r} is in the prompt, but no token covers it")
    return tokens


def _content(words: list[str]) -> list[str]:
    """Without articles, unless nothing else is left: they stand all over a prompt."""
    return [word for word in words if word.lower() not in ARTICLES] or words


def _overlap(prompt: str, span: Span, place: Span) -> bool:
    """Whether they share a character that is not white: a piece may carry the space before its word."""
    return bool(prompt[max(span[0], place[0]) : min(span[1], place[1])].strip())


def _find(prompt: str, phrase: str) -> list[Span]:
    text, places = _plain(prompt)
    pattern = r"\s+".join(re.escape(_plain(word)[0]) for word in phrase.split())
    matches = (m.span() for m in re.finditer(pattern, text, re.IGNORECASE))
    return [(places[a], places[b]) for a, b in matches if not _joined(text, a) and not _joined(text, b)]


def _plain(text: str) -> tuple[str, list[int]]:
    """The text with one form for each letter (NFKC, straight apostrophes), and where each of its places came from."""
    plain, start = "", 0
    places: list[int] = []
    while start < len(text):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        letters = unicodedata.normalize("NFKC", text[start:end]).replace("’", "'")
        plain, places, start = plain + letters, places + [start] * len(letters), end
    return plain, [*places, len(text)]


def _joined(prompt: str, place: int) -> bool:
    """Whether a word goes on across a place between two characters; scripts without spaces never join."""
    if not 0 < place < len(prompt):
        return False
    return all(c.isalnum() and not _unspaced(c) for c in prompt[place - 1 : place + 1])


def _unspaced(char: str) -> bool:
    """Thai to Khmer, kana, Han: written without spaces between words."""
    code = ord(char)
    return 0x0E00 <= code <= 0x17FF or 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or code >= 0x20000
