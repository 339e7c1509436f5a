"""An instruction and a caption to prompts: the target is the caption with the changes, and nothing else changed."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from flowedit.language import caption as captions
from flowedit.language import removal, senses
from flowedit.language.caption import Mention, before_end, objects, search
from flowedit.language.english import (
    ADJECTIVES,
    BEFORE,
    COLOURS,
    EVERY,
    MASS,
    NOT_DOING,
    ON,
    PLACE,
    SHADES,
    SIZES,
    STOPS,
    Phrase,
    article,
    fold,
    is_plural,
    plural,
    singular,
    split,
)
from flowedit.language.grammar import Change, Instruction, parse
from flowedit.language.tasks import TaskName
from flowedit.messages import InputError

SCENE = "a scene"
"""The plain prompt of a clip of which nothing is known."""

TINTS = frozenset((*COLOURS, *SHADES, "and"))

ARTICLE = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)

HOLDING = frozenset(("wearing", "holding", "carrying", "riding"))

LOOKS = re.compile(r"black[ -]and[ -]white|sepia|monochrome|gr[ea]yscale", re.IGNORECASE)


@dataclass(frozen=True)
class Prompts:
    """The source and the target prompt, the words of what changes in each, and the task.

    Words of several objects are parted by commas, the i-th of the source with the i-th of the target. `also_words` are
    those in the source of what goes along with them.
    """

    source: str
    target: str
    source_words: str
    target_words: str
    task: TaskName
    also_words: str = ""


def resolve(instruction: Instruction, caption: str | None = None) -> Prompts:
    """The prompts of an instruction on a clip of that caption; without one, plain prompts of the instruction alone.

    What goes along with a removed object and is not in the caption is said behind the object: "a fox with its shadow".

    A new phrase stands where the old one stood, with its article and number; adjectives that the instruction does not
    name stay, unless the new phrase has some of its own. A removed object takes its clause with it. Raises ValueError,
    with the caption's words, for an old phrase that the caption has not at all or several times.
    """
    source = " ".join((caption or "").split()) or _plain(instruction)
    task, changes = instruction.task, instruction.changes
    if task == "remove":
        target, words = source, []
        for change in changes:
            words.append(objects(source, change.old)[0].words)
            if search(target, change.old):  # it may have gone with the clause of one before
                target = removal.without(target, change.old)
        for each in instruction.also:
            if 0 < len(search(target, each)) == len(search(source, each)):  # else it has gone, and another's stays
                target = removal.without(target, each)
        source = _along(source, instruction)
        also = _listed(objects(source, each)[0].words for each in instruction.also)
        return Prompts(source, target, _listed(words), "", task, also)
    if task == "add":
        target, words = source, []
        for change in changes:
            target, new = _added(target, change)
            words.append(new)
        return Prompts(source, target, "", _listed(words), task)
    if instruction.kind == "restyle":
        how = changes[0].new
        if changes[0].mood:
            return Prompts(source, senses.moody(source, how), "", "", task)
        manner = f"in {how.lower()}" if LOOKS.fullmatch(how) else f"in the style of {how}"
        return Prompts(source, before_end(source, f", {manner}"), "", "", task)
    if instruction.kind == "background":
        return _background(source, changes[0])
    return _replaced(source, changes)


def read_instruction(source: str | None, instruction: str) -> Prompts:
    """What an edit with this source prompt and instruction comes to: target, source_words, target_words and task.

    `read_instruction("a fox runs", "replace the fox with a panda").target` is "a panda runs". Without a source plain
    prompts are made of the instruction alone. Raises InputError, in one line, for an instruction that cannot be read,
    and for one that speaks of what the source does not have.
    """
    return resolve(parse(instruction), source)


def parts(instruction: Instruction, source: str, cumulative: bool = False) -> tuple[str, ...]:
    """The target of each of several changes by itself, or `cumulative`, with those before it; () for one change.

    The last of the cumulative ones is the whole target.
    """
    changes = instruction.changes
    if len(changes) < 2:
        return ()
    first = (0 if cumulative else i for i in range(len(changes)))
    own = [Instruction(instruction.text, changes[start : i + 1]) for i, start in enumerate(first)]
    return tuple(resolve(each, source).target for each in own)


def plain(instruction: Instruction) -> str:
    """The source prompt of an instruction alone, of a clip of which nothing else is known."""
    return _along(_plain(instruction), instruction)


def _plain(instruction: Instruction) -> str:
    changes = instruction.changes
    named = [change.old or change.subject for change in changes]
    if not all(named) or (instruction.kind == "background" and not changes[0].subject):
        return SCENE
    return " and ".join(_introduced(split(old)) for old in named)


def _along(source: str, instruction: Instruction) -> str:
    """The source prompt with what goes along with its removed objects, where it does not say so itself."""
    if not (unsaid := [each for each in instruction.also if not search(source, each)]):
        return source
    end = max(place.end for change in instruction.changes for place in objects(source, change.old)[:1])
    return f"{source[:end]} with {instruction.own} {' and '.join(unsaid)}{source[end:]}"


def _introduced(said: Phrase) -> str:
    """A phrase as one that was not spoken of before: "the fox" is "a fox", "the two dogs" "two dogs"."""
    if said.count and said.count not in EVERY:
        return said.text
    if is_plural(said.head) or said.head.lower() in MASS:
        return said.words
    return f"{article(said.words)} {said.words}"


def _replaced(source: str, changes: tuple[Change, ...]) -> Prompts:
    """Every old phrase by its new one, all at once: no change sees the new phrase of another."""
    edits: list[tuple[Mention, str]] = []
    pairs = []
    for change in changes:
        places = objects(source, change.old)
        new = [_new(change, place, source) for place in places]
        edits += list(zip(places, new, strict=True))
        pairs.append((places[0].words, _named(new[0])))
    edits.sort(key=lambda edit: edit[0].start)
    for (one, _), (other, _) in pairwise(edits):
        if other.start < one.end:
            raise InputError(f"{source[other.start : other.end]!r} is to be changed twice: say it in one change")
    target = source
    for place, text in reversed(edits):
        text = text[:1].upper() + text[1:] if source[place.start].isupper() and place.start == 0 else text
        target = target[: place.start] + text + target[place.end :]
    return Prompts(source, target, _listed(s for s, _ in pairs), _listed(t for _, t in pairs), "replace")


def _new(change: Change, place: Mention, source: str) -> str:
    """The new phrase as it stands in the caption, in the place of the old one."""
    if change.kind == "recolour":
        rest = [word for word in place.adjectives if word.lower() not in TINTS]
        return _determined(place.article, " ".join((*rest, change.new, place.noun)))
    if change.kind == "resize":
        rest = [word for word in place.adjectives if word.lower() not in SIZES]
        return _determined(place.article, " ".join((change.new, *rest, place.noun)))
    said, old = split(change.new), split(change.old)
    named = {fold(word) for word in old.words.split()}
    kept = [word for word in place.adjectives if fold(word) not in named]
    words = said.words if said.words.split()[0] != said.head else " ".join((*kept, said.words))
    if said.count not in ("", "any", "another"):
        return f"{said.count} {words}"
    many, mass = is_plural(said.head), said.head.lower() in MASS
    if mass and not said.article and not place.article.strip().lower().startswith("the"):
        return words
    if place.plural and not many and (old.count or is_plural(old.head)):
        return f"{article(words)} {words}"  # "the two dogs with a cat"
    if place.plural and not many:
        return _determined(place.article, _numbered(words, said.head, plural))
    if many and not place.plural and is_plural(old.head):
        return _determined(place.article, _numbered(words, said.head, singular))
    if place.article.lower() in ("a", "an"):
        return words if many and not said.article else _determined("a", words)
    if not place.article and said.article and ARTICLE.search(source):
        return _determined(said.article, words)
    return _determined(place.article, words)


def _determined(own: str, words: str) -> str:
    own = article(words) if own.lower() in ("a", "an") else own
    return f"{own} {words}".strip()


def _numbered(words: str, noun: str, form: Callable[[str], str]) -> str:
    """The phrase with its noun in another number."""
    return re.sub(rf"\b{re.escape(noun)}\b", form(noun), words, count=1)


def _added(caption: str, change: Change) -> tuple[str, str]:
    """The caption with one object more, and its words.

    What another object gets stands right behind that one. An object that does something is a clause before the place
    where all happens; any other comes last, as "with" it.
    """
    said = split(change.new)
    thing = change.new if said.article or said.count else _introduced(said)
    noun, does = _doing(thing)
    if change.subject:
        owner = objects(caption, change.subject)[0].end
        rest = re.sub(r"^ with (?=an?\b)", " and ", caption[owner:])
        return f"{caption[:owner]} with {thing}{rest}", _named(thing)
    empty = re.match(r"nothing\b", caption, re.IGNORECASE)
    if empty:
        return f"{noun} {does}".strip() + caption[empty.end() :], _named(noun)
    if not does:
        where = re.sub(r"^to ", "on ", change.where)
        return before_end(caption, f", with {noun} {where}".rstrip()), _named(noun)
    place = captions.place(caption)
    at = captions.end(caption) if place is None else place.start()
    return f"{caption[:at].rstrip()} and {noun} {does} {caption[at:]}".replace(" .", ".").rstrip(), _named(noun)


def _doing(thing: str) -> tuple[str, str]:
    """An object and what it does: "a car that moves left" is "a car" and "moves left"; "" for nothing."""
    if told := re.fullmatch(r"(.+?) (?:that|which|who) (.+)", thing):
        return told.group(1), told.group(2)
    told = re.fullmatch(r"(\S+ .*?(\S+)) ((\w+ing)\b.*)", thing)
    if told and told.group(4).lower() not in NOT_DOING and told.group(2).lower() not in ADJECTIVES:
        return told.group(1), f"is {told.group(3)}"
    return thing, ""


def _background(source: str, change: Change) -> Prompts:
    """The place that the caption names last, or the one that is spoken of, by the new one; or the new one at its end.

    Where the words of the old place are not known there are none of the new one either: the whole frame changes.
    """
    if change.subject:
        objects(source, change.subject)
    said = split(change.new)
    where = change.where or ("on" if said.head.lower() in ON else "in")
    if change.old:
        spoken = objects(source, change.old)[0]
        start, end, was = spoken.start, spoken.end, spoken.words
        before = next((m for m in PLACE.finditer(source) if m.end() == start), None)
    else:
        before, end = captions.place(source), captions.end(source)
        was = "" if before is None else _named(source[before.end() : end])
        if before is None:
            return Prompts(source, before_end(source, f" {where} {change.new}"), "", "", "replace")
    if before is not None:
        start, kept = before.start(), before.group(1)
        where = kept if not change.where and kept.lower() in BEFORE else where
    new = change.new if before is None else f"{where} {change.new}"
    return Prompts(source, source[:start] + new + source[end:], was, _named(change.new), "replace")


def _named(phrase: str) -> str:
    """The words that name an object: its adjectives and noun, without what it is with, wears or does."""
    words = split(phrase).words.split()
    end = next((i for i, word in enumerate(words) if i and word.lower() in STOPS | HOLDING), len(words))
    return " ".join(words[:end])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
