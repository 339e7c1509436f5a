"""What users read: the errors, each in one line, the nearest name that is known, names in a row."""

import difflib
import logging
import re
from collections.abc import Iterable, Sequence
from functools import partial


class Error(Exception):
    """Whatever flowedit refuses or cannot do; its text is one line that says what is wrong and what to type.

    A value of ten thousand letters in it is cut, as `cut` does; `args` hold it whole.
    """

    def __str__(self) -> str:
        return cut(super().__str__())


class InputError(Error, ValueError):
    """A value that cannot be used: an option, a prompt, a word, a file's content."""


class MachineError(InputError):
    """What this machine cannot run, whatever the clip."""


class FileError(Error, OSError):
    """A file or a folder that cannot be read or written."""


class FileMissingError(FileError, FileNotFoundError):
    """A file or a folder that is not there."""


class FileTakenError(FileError, FileExistsError):
    """A file that is there and is not to be replaced."""


class NoFolderError(FileError, NotADirectoryError):
    """A path that should be a folder and is not."""


class BusyError(FileError, BlockingIOError):
    """A folder that another run works in."""


class DownloadError(FileError, ConnectionError):
    """Weights or a service that cannot be reached."""


class NumericalError(Error, FloatingPointError):
    """NaN or infinity where numbers belong."""


NAN_ADVICE = "set runtime.dtype=float32; if that changes nothing, its weights are damaged: download them again"
"""What to try where a network gives NaN: a precision of too small a range is the likeliest cause."""


class OutOfMemoryError(Error, MemoryError):
    """Memory ran out; the text says what lowers it."""


class Cancelled(Error):
    """The caller stopped the edit; nothing was written."""


class RenamedWarning(FutureWarning):
    """An old name was taken for the new one."""


EXPECTED = (Error, ValueError, OSError, MemoryError, FloatingPointError)
"""Errors whose own text tells a user enough."""


def one_line(error: BaseException, hint: str = "") -> str:
    """An error in one line; of a kind that nobody expected its name comes first, and `hint` last."""
    text = printable(cut(str(error)))
    if isinstance(error, MemoryError) and not text:
        return "out of memory: lower it with --size or --frames"
    if isinstance(error, EXPECTED) and text:
        return text
    return " ".join(filter(None, [f"{type(error).__name__}: {text[:500]}".removesuffix(": "), hint]))


LONGEST_WORD, LONGEST = 300, 1000
"""Letters of one word and of a whole message; a path of a command that mends a file is within them."""


def cut(text: str) -> str:
    """A text for people: a word of more than 300 letters, and a whole of more than 1,000, lose their middle."""
    if len(text) <= LONGEST_WORD:
        return text
    short = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _middle(word.group(), 80), text)
    return short if len(short) <= LONGEST else _middle(short, LONGEST)


def _middle(text: str, most: int) -> str:
    return f"{text[: 2 * most // 3]} … {text[-(most // 3 - 3) :]}"


OF_TORCHAO = {
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
}
"""What torchao makes other libraries log when they are imported, by logger; none of it is a user's to mend.

The second is about checkpoints that torchao itself saved, of which we read none.
"""


def hush_torchao() -> None:
    """Let these lines, and no others, stay unsaid, whoever imports the libraries first."""
    for name, text in OF_TORCHAO.items():
        logging.getLogger(name).addFilter(partial(_other_than, text))


def _other_than(text: str, record: logging.LogRecord) -> bool:
    return text not in record.getMessage()


def printable(text: str) -> str:
    """A text in one line, with what no terminal should be told (escapes, halves of characters) spelt out."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


CLASS = re.compile(r"\b(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning)\b:?\s*|<class '([\w.]+)'>")
"""The name of a class of exceptions, which tells a user nothing."""


def first_line(error: BaseException) -> str:
    """The first lines of an error of another library, whose texts run over many: what is said up to a full line."""
    lines = [line for each in str(error).splitlines() if (line := " ".join(CLASS.sub(r"\1", each).split()))]
    said = " ".join(lines[:2]) if lines and lines[0].endswith(":") else lines[0] if lines else ""
    if isinstance(error, KeyError) and said:
        return f"{said} is missing"
    return said or "it gives no reason"


NUMBER = re.compile(r"\d+(?:\.\d+)?")
"""A number inside a name."""


def _numbers(name: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(name)]


def nearest(key: str, known: Iterable[str]) -> str:
    """What to add to a complaint about an unknown key: the known one that it resembles, or nothing.

    Where the numbers in it alone are wrong, those with the nearest ones, such as 'gpu_8gb' or 'gpu_12gb' for gpu_10gb.
    """
    known = list(known)
    if alike := [name for name in known if NUMBER.sub("#", name) == NUMBER.sub("#", key)]:
        away = {name: sum(abs(a - b) for a, b in zip(_numbers(name), _numbers(key), strict=True)) for name in alike}
        return f"; did you mean {' or '.join(repr(name) for name in alike if away[name] == min(away.values()))}?"
    by_tail = {name.rpartition(".")[2]: name for name in known} | {name: name for name in known}
    near = difflib.get_close_matches(key, by_tail, 1, 0.65) or difflib.get_close_matches(
        key.rpartition(".")[2], by_tail, 1, 0.65
    )
    return f"; did you mean {by_tail[near[0]]!r}?" if near else ""


def listed(words: Sequence[str]) -> str:
    """a; a and b; a, b and c; nothing for none."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
