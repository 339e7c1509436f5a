"""The words of a prompt as chips that are clicked on and off."""

import re
from collections.abc import Mapping
from typing import Any

from flowedit.app.labels import FIELDS
from flowedit.language import words

WORD = r"[^\W_]+"

TITLES = {side: FIELDS[f"{side}_words"] for side in ("source", "target")}


def of_read(read: Any) -> list[dict[str, Any]]:
    """The chips of an instruction that was read, those on that it found."""
    return of_prompts(read.source, read.target, {"source": read.source_words, "target": read.target_words})


def of_prompts(source: str, target: str, chosen: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The chips of two prompts: their content words, each with whether it is on, and whether it follows the last."""
    prompts = {"source": source, "target": target}
    return [
        {"side": f"{side}_words", "title": TITLES[side], "words": _chips(text, (chosen or {}).get(side, ""))}
        for side, text in prompts.items()
        if text.strip()
    ]


def _chips(prompt: str, chosen: str) -> list[dict[str, Any]]:
    on = {word.casefold() for word in re.findall(WORD, chosen)}
    made, end = [], -1
    for found in re.finditer(WORD, prompt):
        word = found.group()
        if not words.content(word):
            continue
        follows = end >= 0 and prompt[end : found.start()].strip() == ""
        made.append({"text": word, "follows": follows, "on": word.casefold() in on})
        end = found.end()
    return made
