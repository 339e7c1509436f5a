"""Options in messages: every flag that the house names is a declared option, and has its word for each reader."""

import ast
import re
from pathlib import Path

import pytest

from flowedit.cli.flags import FLAGS
from flowedit.config.wording import in_keywords, known, said

HOUSE = Path(__file__).resolve().parents[2] / "flowedit"
EDITS = [HOUSE / room for room in ("pipeline", "media", "masks", "language", "config", "flow", "editors", "networks")]
EDITS += [HOUSE / "backbones", HOUSE / "machine.py", HOUSE / "messages.py"]
"""Where messages come from that an edit may say."""

NO_OPTION = {"help", "local-dir", "logdir", "nproc-per-node", "sweep", "debug"}
"""Flags of other programs, and of commands that the studio has not."""


def mentioned(text):
    """Every option that is found in a text, with its value."""
    found = []
    said(text, lambda key, value, stands: found.append((key, value, stands)) or "")
    return found


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_is_known_alone_with_a_value_and_in_a_sentence(flag):
    typed = f"--{flag.replace('_', '-')}"
    assert mentioned(f"say it ({typed})") == [(flag, None, typed)]
    assert mentioned(f"give {typed} 17, or less") == [(flag, "17", f"{typed} 17")]
    assert mentioned(f"drop {typed} and rest.") == [(flag, None, typed)]
    assert mentioned(f'give {typed} "two words".') == [(flag, '"two words"', f'{typed} "two words"')]
    assert in_keywords(f"give {typed}, or none") == f"give {flag}=, or none"
    assert in_keywords(f"give {typed} 17.") == f"give {flag}=17."


@pytest.mark.parametrize("key", sorted(known()))
def test_every_key_is_known_with_a_value_and_where_it_cannot_be_english_alone(key):
    assert mentioned(f"set {key}=3, or leave it") == [(key, "3", f"{key}=3")]
    assert mentioned(f"{key} is too low") == ([(key, None, key)] if re.search("[._]", key) else [])
    assert in_keywords(f"set {key}=3, or leave it") == f"set {key}=3, or leave it"


@pytest.mark.parametrize(
    "text",
    [
        "a source of noise, the mode and 5 frames are English",
        "target 'a fox that drops --size and mode=inversion' is a user's own",
        "/data/size=3/--frames/mask.grow.mp4 cannot be read",
        "run `hf download a/model --local-dir DIR` first",
        "--sizes and size_of and mask.growth are no options",
        "start the studio with --allow runtime.cache",
        "take fewer, or start the studio with more --evaluations",
    ],
)
def test_what_is_no_option_stays(text):
    assert mentioned(text.replace("runtime.cache", "KEY").replace("fewer, or", "fewer or")) == []


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("(--fit crop fills the frame)", '(fit="crop" fills the frame)'),
        ("drop --size and --strength, lower --seed", "drop size= and strength=, lower seed="),
        ("at 64x64 it may do worse (--size 720x480)", 'at 64x64 it may do worse (size="720x480")'),
        ('say --source-words "fox, car"', 'say source_words="fox, car"'),
        ('say flowedit edit CLIP "replace it" now', 'say instruction="replace it" now'),
        ("give --backbone DIR", "give backbone=DIR"),
        ("try --runtime gpu_8gb, draws=1 or mask=none.", 'try runtime="gpu_8gb", draws=1 or mask=none.'),
    ],
)
def test_python_reads_keywords(text, python):
    assert in_keywords(text) == python
    assert in_keywords(python) == python


def test_every_flag_in_a_message_of_an_edit_is_an_option():
    found = set()
    for place in EDITS:
        for path in [place] if place.is_file() else place.rglob("*.py"):
            for text in messages(ast.parse(path.read_text(encoding="utf-8"))):
                found |= set(re.findall(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", text))
    assert {"source-words", "fit", "size"} <= found
    assert {flag.replace("-", "_") for flag in found - NO_OPTION} <= set(FLAGS)


def messages(tree):
    """The texts of a module but its docstrings."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    ]
