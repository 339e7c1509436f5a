"""What kind of edit it is: to replace, to recolour, to remove or to add; each is a record, and the words tell which."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import Registry
from flowedit.language.english import COLOURS, SHADES
from flowedit.language.words import content, edited_phrases

TaskName = Literal["replace", "recolour", "remove", "add"]
"""Those that words and instructions can tell."""


@dataclass(frozen=True)
class EditTask:
    """A kind of edit.

    `words`: the side whose words say where the object is, of one that stands in one prompt alone; None for both.
    """

    about: str
    """One line."""
    words: Literal["source", "target"] | None = None
    alone: str = ""
    """Why the other side has no words."""
    notice: str = ""
    """What a user hears when the mask comes from that side."""

    @property
    def wordless(self) -> Literal["source", "target"] | None:
        """The side that has no words for the object."""
        return None if self.words is None else "target" if self.words == "source" else "source"


TASKS: Registry[EditTask] = Registry("flowedit.tasks", "task")
TASKS.add("replace", EditTask("an object becomes another one, or changes its look; also what is none of the others"))
TASKS.add("recolour", EditTask("an object changes its colour: the prompts differ in words for colours alone"))
TASKS.add(
    "remove",
    EditTask(
        "an object goes: the target prompt does without it",
        words="source",
        alone="what goes has no words in the target prompt",
        notice="a removal: the mask comes from the source prompt's words; task=replace takes those of both prompts",
    ),
)
TASKS.add(
    "add",
    EditTask(
        "an object comes: its words stand in the target prompt alone",
        words="target",
        alone="what comes has no words in the source prompt",
        notice="an addition: the mask comes from the target prompt's words; task=replace takes those of both prompts",
    ),
)


TINTS = frozenset((*COLOURS, *SHADES))


def infer(source: str, target: str, source_words: str, target_words: str) -> TaskName:
    """The task that two prompts and the words of the object in each tell.

    `remove`: source words alone, beside those of kept objects, and a target prompt without a content word of its own;
    `add`: target words alone, likewise, and a target prompt with every content word of the source's; `recolour`: words
    on both sides, and prompts that differ in words for colours and their shades alone; else
    `replace`.
    """
    before, after, (old, new) = content(source), content(target), edited_phrases(source_words, target_words)
    if old and not new and target.strip() and after < before:
        return "remove"
    if new and not old and source.strip() and before < after:
        return "add"
    if old and new and source.strip() and not (before ^ after).isdisjoint(COLOURS) and before ^ after <= TINTS:
        return "recolour"
    return "replace"
