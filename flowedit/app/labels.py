"""The studio's own words: what its page calls an option, a method and a cost, also in messages that name them."""

from collections.abc import Sequence

from flowedit.app.limits import closed
from flowedit.config.mode_lines import mode_lines
from flowedit.config.options import Declared
from flowedit.config.sections import section_of
from flowedit.config.wording import known, said

FIELDS = {
    "clip": "Your clip",
    "instruction": "The change",
    "source": "What the clip shows now",
    "target": "What it should show",
    "source_words": "Words of what is there now",
    "target_words": "Words of what shall be there",
    "user_mask": "a mask of your own",
    "quality": "Quality",
    "strength": "Strength",
    "seed": "Seed",
    "start": "the first frame of the part of your clip",
    "frames": "frames in the part of your clip",
    "backbone": "Models",
    "modes": "Methods",
    "evaluations": "Or at equal cost, with a report: runs of the model, of each",
}
"""Options that have a place of their own on the page, by what stands beside it; the others stand under `ALL`."""

ALL = "All options"

METHOD = "the method"

COSTS = {"network evaluations": "runs of the model", "network evaluation": "run of the model"}


def title(key: str) -> str:
    """An option's name as a person reads it: mask.grow is Grow."""
    words = key.rpartition(".")[2].replace("_", " ")
    return words[:1].upper() + words[1:]


def section(key: str) -> str:
    """The heading under which the accordion has an option."""
    return METHOD if key.partition(".")[0] in ("mode", "edit_strength") else section_of(key)


def offered(each: Declared, allow: Sequence[str]) -> bool:
    """Whether the page has a field for an option: most stand under `ALL`, and of a quality the name is chosen alone."""
    group, _, name = each.key.partition(".")
    inside = group in ("quality", "backbone") or name in ("name", "preset")
    return closed(each, allow) is None and not (name and inside)


def label(key: str) -> str:
    """Where on the page an option is: the name of its field, or the way to it through the accordion."""
    heading = section(key)
    return FIELDS.get(key) or f"{ALL} > {heading[:1].upper()}{heading[1:]} > {title(key)}"


def method(name: str) -> str:
    """A mode or preset by its name and what comes of it, or what it is: "inversion: keeps what both ..."."""
    what = mode_lines(name).in_short or mode_lines(name).title
    same = "".join(filter(str.isalnum, what)).casefold() == "".join(filter(str.isalnum, name)).casefold()
    return what if same else f"{name}: {what}" if what else name


def on_page(text: str, allow: Sequence[str] = ()) -> str:
    """A message in the words of the page: options as their fields, with the value to choose; costs as what they are.

    An option that this page has no field for stays as it is called elsewhere.
    """

    def mention(key: str, value: str | None, stands: str) -> str:
        shown = None if value is None else value.strip("\"'")
        if key == "mode" and shown is not None:
            return f"the method “{method(shown)}”"
        if key in known() and (key not in FIELDS or stands == key) and not offered(known()[key], allow):
            return stands
        return f"“{label(key)}”" if shown is None else f"“{label(key)}: {shown}”"

    told = said(text, mention)
    for cost, here in COSTS.items():
        told = told.replace(cost, here)
    return told
