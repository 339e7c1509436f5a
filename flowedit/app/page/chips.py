"""The words of a prompt as chips that are clicked on and off."""

import re
from collections.abc import Collection, Mapping, Sequence
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


def marked(sides: Sequence[Mapping[str, Any]], chosen: Mapping[str, str], known: Collection[str] | None) -> list[Any]:
    """Chips with `strange` at the words that are not `known`, None where all are; those of `chosen` are on."""

    def chip(word: Mapping[str, Any], of: str | None) -> dict[str, Any]:
        text = word["text"].casefold()
        on = word["on"] if of is None else text in {each.casefold() for each in re.findall(WORD, of)}
        return {**word, "on": on, "strange": known is not None and text not in known}

    return [{**side, "words": [chip(word, chosen.get(side["side"])) for word in side["words"]]} for side in sides]


def strange(sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """The words of `marked` chips that the model does not know, each once."""
    return list(dict.fromkeys(word["text"] for side in sides for word in side["words"] if word["strange"]))
