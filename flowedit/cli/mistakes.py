"""What a mistyped command line was meant to be: the one line that helps."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from flowedit.config.names import meant

SENTENCE = "replace the fox with a panda"
"""The instruction of the examples."""


def is_file(text: str) -> bool:
    """Whether a word is a file that is there, or looks like the name of one."""
    return Path(text).exists() or bool(re.fullmatch(r"(\S+[/\\])?[^/\\\s]*\.[A-Za-z]\w{1,4}", text))


def no_command(argv: Sequence[str], commands: Iterable[str]) -> str | None:
    """What to say of a command line that begins with none of the commands; None where it asks for help."""
    one_of = f"one of {', '.join(commands)}"
    if not argv:
        return f'no command: flowedit edit CLIP "{SENTENCE}" ({one_of}; flowedit --help)'
    word, rest = argv[0], argv[1:]
    if word in ("-h", "--help", "--version"):
        return None
    if word.startswith("-"):
        return f"no command before {word}: flowedit edit CLIP {shlex.join(argv)} ({one_of})"
    if is_file(word):
        said, flags = _sentence(rest)
        return f"no command before {word!r}: flowedit edit {shlex.join([word, *said, *flags])}"
    if near := get_close_matches(word.lower(), list(commands), 1, 0.6):
        return f"unknown command {word!r}; did you mean {near[0]!r}? ({one_of})"
    said, _ = _sentence(argv)
    if said and len(said[0].split()) > 1:
        return f'no command and no clip before the text: flowedit edit CLIP "{said[0]}"'
    return f"unknown command {word!r}: {one_of} (flowedit --help)"


def not_one_clip(command: str, named: Sequence[str], given: Mapping[str, str]) -> str | None:
    """What to say where `named` is not a clip, or a clip and one text; `given` are the prompts that flags gave."""
    if not named:
        return f'no clip: flowedit {command} CLIP "{SENTENCE}", or flowedit {command} --example fox'
    numbers = [word for word in named if re.fullmatch(r"[\d.,;@-]*\d[\d.,;@-]*", word) and not is_file(word)]
    if numbers:
        return (
            f"{' '.join(numbers)!r} stands alone: join the numbers of one option by commas, such as "
            "--box 30,66,118,122, --point 80,40 or --seed 1,2,3"
        )
    if not is_file(named[0]) and (len(named) > 1 or " " in named[0].strip()):
        return f'no clip before the text: flowedit {command} CLIP "{" ".join(named)}"'
    clips = [text for text in named if is_file(text)]
    if len(clips) > 1:
        return f"one clip at a time, not {len(clips)}: {', '.join(clips)} (quote a text that has spaces)"
    if len(named) > 2:
        words = " ".join(named[1:])
        if given:
            flag, text = list(given.items())[-1]
            return f'the words {words!r} stand alone: quote a text that has spaces, such as {flag} "{text} {words}"'
        return f'quote the instruction: flowedit {command} {shlex.quote(named[0])} "{words}"'
    return None


def not_one_prompt(texts: Sequence[str], flag: str | None) -> str | None:
    """What to say where there is not one prompt, in words that stand alone or after --prompt."""
    if flag is not None and texts:
        return f'one prompt, quoted: flowedit generate "{flag} {" ".join(texts)}"'
    if len(texts) > 1:
        return f'quote the prompt: flowedit generate "{" ".join(texts)}"'
    if flag is None and not texts:
        return 'no prompt: flowedit generate "a fox moves right over green grass"'
    return None


def unknown_flag(flag: str, command: str, flags: Iterable[str], options: Iterable[str]) -> str:
    """What to say of a flag that a command has not; `options` are those of an edit, which another command may lack."""
    key, known = flag.strip("-").replace("-", "_"), list(flags)
    typed = flag.replace("_", "-")
    # Two words that end a name come before a name that looks like them.
    tails = [name for name in known if "-" in typed[2:] and name.endswith(typed[1:])]
    if near := get_close_matches(typed, tails, 1, 0.0) or get_close_matches(typed, known, 1, 0.75):
        return f"unknown option {flag}; did you mean {near[0]}?"
    if key in options:
        return f"{command} has no {flag}"
    here = meant(key).rpartition(" ")[2]
    if not here:
        return f"unknown option {flag}"
    if here == "clip":
        return f"unknown option {flag}: the clip needs no flag, {command} CLIP"
    own = f"--{here.replace('_', '-')}"
    if own in known or "." in here:
        return f"unknown option {flag}: it is written {own if own in known else f'{here}=...'} here"
    return f"unknown option {flag}"


def _sentence(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first flag or key=value, as one text, and the rest."""
    end = next((i for i, word in enumerate(words) if word.startswith("-") or re.match(r"[\w.]+=", word)), len(words))
    return [" ".join(words[:end])] if end else [], list(words[end:])
