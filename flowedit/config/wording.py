"""Options in messages, in the words of who reads: messages name them as flags, and here a flag becomes another word.

A text names an option as the command line does, `--source-words`, or `--fit crop`, `mode=inversion`, `mask.grow`; these
cannot be mistaken for English. So a message is one plain text, through every file and log that it goes through, and
still each option in it can be told by its declaration.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args, get_origin

from flowedit.config.compose import GROUPS, options
from flowedit.config.options import Declared, declared, kinds_of
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS

Naming = Callable[[str, str | None, str], str]
"""A key, such as mask.grow, the value that is written with it or None, and how both stand there: what they become."""

QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
VALUE = rf"{QUOTED}|\[[^\]]*\]|[^\s,;:()'\"]+(?:,[^\s,;:()'\"]+)*"
FILE = r"[\w.]*=[^,;:()'\"=]*?\.(?:mp4|m4v|mov|mkv|webm|avi|gif|png|jpe?g|webp|ya?ml)(?!\w)"
"""How the name of a user's file may go on that begins as key=value does."""

NAMED = re.compile(
    rf"(?P<kept>the studio with (?:more )?--\S+(?: [\w.]+)?|(?<!\w)(?:{QUOTED})(?!\w)|(?<![\w./'\"=-])[a-z]{FILE})"
    rf"|flowedit edit CLIP (?P<sentence>\"[^\"]*\")"
    rf"|(?<![\w/-])--(?P<flag>[a-z]+(?:-[a-z]+)*)(?:[ =](?P<after>{VALUE}))?"
    rf"|(?<![\w./'\"=-])(?P<key>[a-z]\w*(?:\.[a-z]\w*)*)(?:=(?P<value>{VALUE})?)?(?![\w/-])"
)
"""What in a message may name an option; whether it does, its declaration says."""

COMPARED = ("modes", "evaluations")
"""What a comparison has beside the options of an edit."""

TYPED = re.compile(r"own|equal|-?\d[\w.,x-]*|[A-Z][A-Z|,]*|[\d.,]*inf|\[.*\]|" + QUOTED)
"""What after a flag is its value whatever the option: a number, a size, a word in capitals for one, a quotation."""


@cache
def known() -> dict[str, Declared]:
    """Every option of an edit by its key, those of all editors too."""
    common = {each.key: each for each in declared(Settings)}
    own = {each.key: each for spec in EDITORS.values() for each in declared(spec.options, "mode.")}
    return own | common


def said(text: str, mention: Naming) -> str:
    """The text with every option in it called as `mention` says; everything else stays to the letter."""

    def one(found: re.Match[str]) -> str:
        if found["kept"]:
            return found[0]
        if found["sentence"]:
            return mention("instruction", found["sentence"], found[0])
        if found["flag"]:
            return _of_flag(found, mention)
        key = found["key"]
        if key not in known() or (found["value"] is None and "=" not in found[0] and not re.search(r"[._]", key)):
            return found[0]  # English, or a name of something else
        value, end = _without_stop(found["value"])
        return mention(key, value, found[0].removesuffix(end)) + end

    return NAMED.sub(one, text)


def _of_flag(found: re.Match[str], mention: Naming) -> str:
    key, (value, end) = found["flag"].replace("-", "_"), _without_stop(found["after"])
    if key not in known() and key not in COMPARED:
        return found[0]
    if value is None or TYPED.fullmatch(value) or value in _names(key):
        return mention(key, value, found[0].removesuffix(end)) + end
    flag = f"--{found['flag']}"
    return mention(key, None, flag) + found[0][len(flag) :]  # the sentence goes on


def _without_stop(value: str | None) -> tuple[str | None, str]:
    """A value and the full stop after it, which ends a sentence."""
    if value is None or not value.endswith(".") or value == ".":
        return value, ""
    return value[:-1], "."


@cache
def _names(key: str) -> frozenset[str]:
    """The names that are valid values of an option."""
    kinds = kinds_of(known()[key].kind) if key in known() else ()
    names = {name for kind in kinds if get_origin(kind) is Literal for name in get_args(kind)}
    return frozenset(
        names | set(options(key) if key in GROUPS else ()) | ({"true", "false"} if bool in kinds else set())
    )


def in_keywords(text: str) -> str:
    """As Python writes them: `--fit crop` is fit="crop", `--source-words` is source_words=; key=value stays."""

    def mention(key: str, value: str | None, stands: str) -> str:
        if not stands.startswith(("--", "flowedit ")):
            return stands
        if value is None:
            return f"{key}="
        plain = re.fullmatch(rf"-?\d+(\.\d+)?|[A-Z|,]+|true|false|\[.*\]|{QUOTED}", value)
        return f"{key}={value}" if plain else f'{key}="{value}"'

    return said(text, mention)
