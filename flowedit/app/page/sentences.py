"""What the sentences of the page come to: the line below them, and the words in them as chips."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from flowedit.app.labels import on_page
from flowedit.app.page import chips
from flowedit.app.page.gather import Asked, read_of
from flowedit.messages import Error


def line(text: str, good: bool = False) -> str:
    """One line for the user beside the buttons."""
    if not text:
        return ""
    role, kind, told = ("status", "fe-note", text) if good else ("alert", "fe-error", on_page(text))
    return f'<p class="{kind}" role="{role}">{html.escape(told)}</p>'


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


def told(asked: Asked, marked: Sequence[Mapping[str, Any]]) -> str:
    """What the instruction comes to, or why it cannot be read, and the words that the model does not know."""
    said = ""
    try:
        if not asked.own and asked.instruction.strip() and (target := read_of(asked.instruction, asked.source).target):
            said = line(f"It becomes: {target}", good=True)
    except Error as error:
        said = line(str(error))
    strange = ", ".join(f"“{word}”" for word in chips.strange(marked))
    return said + (line(f"{asked.backbone} does not know {strange}.", good=True) if strange else "")
