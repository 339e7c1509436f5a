"""What stands on the page, as the settings of an edit: only what differs from what is usual."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowedit.app.page.choices import default_texts
from flowedit.language import grammar, rewrite
from flowedit.messages import InputError

MOST = 16
"""Of edits in one row."""

KEPT = (
    "instruction", "source", "own", "target", "quality", "strength", "seed", "vary", "seeds", "strengths", "methods",
)  # fmt: skip
"""Fields of Gradio's that a tab keeps over a reload; the parts keep theirs by themselves."""


@dataclass(frozen=True)
class Asked:
    """All fields of the page, as a person left them."""

    clip: Mapping[str, Any] | None
    instruction: str
    source: str
    own: bool
    """Whether both sentences are written by hand, and `target` counts in place of the instruction."""
    target: str
    words: Mapping[str, str]
    """Words that were clicked on or off, by side; {} where nobody clicked."""
    quality: str
    strength: float
    seed: int
    backbone: str
    options: Mapping[str, str] = field(default_factory=dict)
    adjust: Mapping[str, Any] | None = None
    look: str | None = None
    mask_file: Mapping[str, Any] | None = None
    wrong: Sequence[str] = ()
    """What is wrong in the fields of the options, a line each."""


def read_of(instruction: str, source: str) -> rewrite.Prompts:
    """The prompts and words that an instruction comes to; raises InputError for one that cannot be read."""
    return rewrite.resolve(grammar.parse(instruction), source.strip() or None)


def numbers(vary: str, which: str) -> list[float]:
    """The values of a row of edits; raises InputError for what are no numbers, or too many."""
    found, kind = list[float](), int if vary == "seed" else float
    for text in which.replace(",", " ").split():
        try:
            found.append(kind(text))
        except ValueError:
            whole = "a whole number" if kind is int else "a number"
            raise InputError(f"{text!r} is not {whole}: write numbers with commas, such as 0, 1, 2, 3") from None
    if not 1 <= len(found) <= MOST:
        raise InputError(f"{len(found)} values: write 1 to {MOST} of them")
    if not all(0 <= value < math.inf for value in found):
        raise InputError(f"{which!r}: each is to be a number from 0 up")
    return found


def clip_id(asked: Asked) -> str:
    """The clip's id; raises InputError where there is none yet."""
    if not asked.clip or not asked.clip.get("clip"):
        raise InputError("There is no clip yet: drop one on the page, or choose the fox.")
    return str(asked.clip["clip"]["id"])


def settings_of(asked: Asked) -> dict[str, Any]:
    """The settings by option name; raises InputError for a page that does not say what to change."""
    if asked.own and not asked.target.strip():
        raise InputError("Write what the clip should show, in one sentence.")
    if not asked.own and not asked.instruction.strip():
        raise InputError('Write what should change, such as "replace the fox with a panda".')
    if asked.seed < 0:
        raise InputError(f"The seed is {asked.seed}: it is a whole number from 0 up.")
    if asked.wrong:
        raise InputError(f"All options: {asked.wrong[0]}.")
    if asked.words and not any(asked.words.values()) and not asked.look and not asked.mask_file:
        raise InputError("No word is on, so nothing says where: click one, or give a mask.")
    made: dict[str, Any] = {"backbone": asked.backbone, "quality": asked.quality, **asked.options}
    if asked.source.strip():
        made["source"] = asked.source.strip()
    if asked.own:
        made |= {"target": asked.target.strip(), **asked.words}
    elif asked.words:  # an instruction decides the words itself: with other words it is the prompts that it came to
        read = read_of(asked.instruction, asked.source)
        made |= {"source": read.source, "target": read.target, **asked.words}
    else:
        made["instruction"] = asked.instruction.strip()
    made |= {key: value for key in ("start", "frames") if (value := (asked.clip or {}).get(key))}
    # as the page shows them: a task that the prompts tell may have others, which a slider left alone does not overrule
    usual = default_texts({"backbone": asked.backbone, "quality": asked.quality, **asked.options})
    for key, value in (("strength", asked.strength), ("seed", asked.seed)):
        if usual.get(key) != f"{value:g}":
            made[key] = value
    if made["quality"] == "auto":
        made.pop("quality")
    return made


def mask_of(asked: Asked) -> dict[str, Any] | None:
    """A mask's file, or what was done to the mask that was looked at, for the desk; None where nothing was."""
    if asked.mask_file:
        return {"file": str(asked.mask_file["id"])}
    adjust = asked.adjust or {}
    moved = any(adjust.get(key) is not None for key in ("quantile", "grow"))  # to 0 as well
    if asked.look is None or not (moved or adjust.get("strokes") or adjust.get("boxes")):
        return None
    return {"look": asked.look, **adjust}
