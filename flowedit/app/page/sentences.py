"""What the sentences of the page come to: the line below them, and the words in them as chips."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowedit.app.page import chips
from flowedit.app.page.gather import Asked, read_of
from flowedit.app.page.known import good
from flowedit.messages import Error


def sides(asked: Asked) -> list[dict[str, Any]]:
    """The chips of the sentences; none where they cannot be read."""
    if asked.own:
        return chips.of_prompts(asked.source, asked.target) if asked.target.strip() else []
    return of_instruction(asked.instruction, asked.source) if asked.instruction.strip() else []


def of_instruction(instruction: str, source: str) -> list[dict[str, Any]]:
    """The chips of an instruction; none where it cannot be read."""
    try:
        return chips.of_read(read_of(instruction, source))
    except Error:
        return []


def told(asked: Asked, marked: Sequence[Mapping[str, Any]], bad: Callable[[str], str]) -> str:
    """What the instruction comes to, or why it cannot be read, told by `bad`; and words that are not known."""
    said = ""
    try:
        if not asked.own and asked.instruction.strip() and (target := read_of(asked.instruction, asked.source).target):
            said = good(f"It becomes: {target}")
    except Error as error:
        said = bad(str(error))
    strange = ", ".join(f"“{word}”" for word in chips.strange(marked))
    return said + (good(f"{asked.backbone} does not know {strange}.") if strange else "")
