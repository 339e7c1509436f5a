"""The little English that instructions and captions are made of: articles, numbers, colours, plurals, places."""

import re
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


ARTICLES = word_set("a an the")

OWNERS = word_set("my your his her its our their this that these those")

COUNTS = word_set(
    "one two three four five six seven eight nine ten eleven twelve several many few some any all both each every "
    "another"
)

DETERMINERS = ARTICLES | OWNERS | COUNTS

EVERY = frozenset(("all", "both", "each", "every"))

PRONOUNS = word_set(
    "it this that these those them they him her he she something anything everything someone something nothing "
    "one ones there here what which"
)

COLOURS = (
    *("red", "green", "blue", "yellow", "orange", "purple", "violet", "pink", "brown", "black", "white", "grey"),
    *("gray", "gold", "golden", "silver", "bronze", "beige", "turquoise", "teal", "cyan", "magenta", "crimson"),
    *(
        "maroon",
        "navy",
        "indigo",
        "scarlet",
        "lavender",
        "lilac",
        "tan",
        "ivory",
        "emerald",
        "olive",
        "burgundy",
        "blond",
        "blonde",
    ),
)

SHADES = ("dark", "light", "bright", "deep", "pale", "neon", "hot", "pastel", "vivid", "dull", "very", "metallic")

SIZES = ("tiny", "huge", "small", "big", "large", "little", "giant", "gigantic", "enormous", "massive", "miniature")

COMPARATIVES = {"bigger": "big", "larger": "large", "smaller": "small", "tinier": "tiny"}

QUALITIES = word_set(
    "old young new fluffy furry white wooden tall short long fat thin beautiful pretty ugly dirty clean wet dry "
    "snowy sunny rainy foggy shiny soft hard round square cute wild empty calm stormy cloudy misty"
)

ADJECTIVES = frozenset((*COLOURS, *SHADES, *SIZES)) | QUALITIES

MASS = word_set(
    "grass sand snow water fire smoke gold silver ice rain fog mud lava lightning sunlight moonlight glass metal wood "
    "hay corn rice bread fur hair space food money furniture traffic fruit"
)
"""Words that take no a or an where they come without an article."""

PLACES = (
    *("in front of", "on top of", "next to", "over", "on", "in", "at", "against", "inside", "under", "across"),
    *("through", "along", "near", "beside", "by", "behind", "above", "around", "among", "between", "into", "onto"),
    *("upon", "within", "beneath", "below", "underneath", "towards", "toward", "outside", "beyond"),
)
"""Prepositions that say where."""

WITHIN = frozenset(("in", "on", "at", "inside", "within", "through", "across", "along"))
"""Of these, those whose place is what is seen when nothing else is there."""

BEFORE = frozenset(("over", "in front of", "against", "near", "by", "beside", "next to", "above"))
"""Of these, those that any background can follow."""

ON = word_set("beach street road grass sand snow moon mars field mountain island lawn rooftop stage bridge")

STOPS = word_set(
    "a an the and or but of with without is are was were be been being has have had while as than that who which "
    "to for from not then"
) | {word for place in PLACES for word in place.split()}
"""Words that are never adjectives of a noun after them."""

NOT_DOING = word_set(
    "ring king thing wing string spring swing ceiling building painting sling wedding clothing lightning drawing being "
    "pudding railing stocking earring awning duckling"
)
"""Nouns that end in -ing, as words for an action do."""

PLACE = re.compile(rf"(?<![\w-])({'|'.join(PLACES)})\s+(?=\w)", re.IGNORECASE)

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

IRREGULAR = {
    **{"man": "men", "woman": "women", "child": "children", "person": "people", "mouse": "mice", "goose": "geese"},
    **{"foot": "feet", "tooth": "teeth", "ox": "oxen", "wolf": "wolves", "leaf": "leaves", "knife": "knives"},
    **{"calf": "calves", "shelf": "shelves", "loaf": "loaves", "scarf": "scarves", "sheep": "sheep", "fish": "fish"},
    **{"deer": "deer", "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "potato": "potatoes"},
    **{"tomato": "tomatoes", "hero": "heroes", "thief": "thieves", "half": "halves", "life": "lives"},
}

SINGULAR = {plural: one for one, plural in IRREGULAR.items()}

SPELLINGS = {"gray": "grey", "color": "colour", "colored": "coloured", "aeroplane": "airplane", "fuzzy": "fluffy"}


@dataclass(frozen=True)
class Phrase:
    """A noun phrase in its parts: "the two big dogs" is (the, two, big dogs)."""

    article: str
    count: str
    words: str

    @property
    def head(self) -> str:
        """The noun: the last word before any preposition."""
        return head(self.words)

    @property
    def text(self) -> str:
        """The phrase with its count and without its article."""
        return f"{self.count} {self.words}".strip()


def split(text: str) -> Phrase:
    """A noun phrase in its parts; articles, owners and counts in front of it go."""
    words, article, count = text.split(), "", ""
    while len(words) > 1:
        word = words[0].lower()
        if word in ARTICLES | OWNERS or (word.endswith(("'s", "’s")) and len(word) > 2):
            article = word if word in ARTICLES else "the"
        elif word in COUNTS or word.isdecimal():
            count = word
        elif word != "of" or not count:
            break
        words = words[1:]
    return Phrase(article, count, " ".join(words))


def head(words: str) -> str:
    """The noun of a phrase: its last word, or the last before a preposition."""
    own = words.split()
    end = next((i for i, word in enumerate(own) if i and (word.lower() in STOPS)), len(own))
    return own[end - 1] if own else ""


def article(phrase: str) -> str:
    """`a` or `an`, by the sound that a phrase begins with."""
    word = phrase.lower()
    hard = re.match(r"uni(?!m)|us[eu]|eu|one\b|once|ufo|u-|ut[ei]", word)
    soft = re.match(r"hour|honest|heir|honou?r", word)
    return "an" if soft or (word[:1] in "aeiou" and not hard) else "a"


def plural(word: str) -> str:
    """The plural of a noun."""
    low = word.lower()
    if low in IRREGULAR or is_plural(low):
        return IRREGULAR.get(low, word)
    if re.search(r"(s|x|z|ch|sh)$", low):
        return word + "es"
    return word[:-1] + "ies" if re.search(r"[^aeiou]y$", low) else word + "s"


def singular(word: str) -> str:
    """The singular of a noun; the word itself if it looks like none."""
    low = word.lower()
    if low in SINGULAR:
        return SINGULAR[low]
    if not is_plural(low):
        return word
    if low.endswith("ies") and len(low) > 4:
        return word[:-3] + "y"
    return word[:-2] if re.search(r"(ss|x|z|ch|sh|us)es$", low) else word[:-1]


def is_plural(word: str) -> bool:
    """Whether a noun looks like a plural."""
    low = word.lower()
    if low in SINGULAR:
        return SINGULAR[low] != low
    return len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "us", "is", "'s"))


def fold(word: str) -> str:
    """A word as words are compared: lower case, singular, one spelling."""
    low = singular(word.lower().replace("’", "'"))
    return SPELLINGS.get(low, low)
