"""Prompts as WanPipeline cleans them before they are read, with the place of each character in the prompt as given."""

import html
import re
from collections.abc import Callable

Places = list[tuple[int, int]]
"""For each character of a text, the [start, end) characters of the prompt that it stands for."""

ENTITY = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")
SPACES = re.compile(r"\s+")


def clean(prompt: str) -> tuple[str, Places]:
    """HTML entities read twice over, runs of white space as one space, none at the ends; and where it all was.

    The pipeline also repairs text with ftfy where that is installed, which by default is not so; nothing is repaired
    here, so that a prompt means the same everywhere.
    """
    text, places = prompt, [(i, i + 1) for i in range(len(prompt))]
    for _ in range(2):
        text, places = _replaced(text, places, ENTITY, html.unescape)
    text, places = _replaced(text, places, SPACES, lambda _: " ")
    start = len(text) - len(text.lstrip())
    end = max(start, len(text.rstrip()))
    return text[start:end], places[start:end]


def _replaced(
    text: str, places: Places, pattern: re.Pattern[str], replacement: Callable[[str], str]
) -> tuple[str, Places]:
    """Each match replaced; every character of a replacement stands for the whole of its match."""
    parts: list[str] = []
    kept: Places = []
    done = 0
    for match in pattern.finditer(text):
        new = replacement(match.group())
        whole = places[match.start()][0], places[match.end() - 1][1]
        parts += [text[done : match.start()], new]
        kept += [*places[done : match.start()], *[whole] * len(new)]
        done = match.end()
    return "".join([*parts, text[done:]]), [*kept, *places[done:]]
