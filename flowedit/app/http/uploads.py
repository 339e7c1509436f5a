"""Forms with files in them, from the wire to a folder piece by piece: never more than the limit is on disk."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from flowedit.app.limits import NoSpaceError, TooMuchError
from flowedit.app.options import MIB
from flowedit.machine import PARTIAL
from flowedit.messages import InputError

MOST_TEXTS = 2 * MIB
"""Bytes of all that is no file."""

MOST_PARTS, MOST_HEADER = 20, 8192

LEAST_FREE = 2**30
"""Bytes of the disk that uploads leave free."""

LINGER = 3.0
"""Seconds in which what comes after a refusal is read and dropped, so that a browser hears it."""


@dataclass
class Form:
    """The fields of a form: texts by name, and files by name as (path, the file's own name)."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)


@asynccontextmanager
async def received(request: Request, root: Path, most: int, refuse: Callable[[], TooMuchError]) -> AsyncIterator[Form]:
    """The form of a request, its files in a hidden folder under `root` that goes with the block.

    All files together have at most `most` bytes; what is beyond raises what `refuse` gives. Raises InputError for a
    body that is no such form, NoSpaceError where the disk has less than 1 GiB free, or than twice what comes.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InputError("the request is no form with a file: send it as multipart/form-data")
    folder = root / f".{secrets.token_hex(8)}{PARTIAL}"
    folder.mkdir(parents=True)
    reader = _Reader(folder, most, refuse)
    try:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most + MOST_TEXTS:
            raise refuse()
        if shutil.disk_usage(root).free < max(LEAST_FREE, 2 * int(length) if length.isdecimal() else 0):
            raise NoSpaceError("the studio's disk is full: delete edits and clips that are not needed")
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        async for part in request.stream():
            parser.write(part)
        parser.finalize()
        yield reader.form
    except FormParserError as error:
        raise InputError(f"the form cannot be read: {str(error)[:200]}") from error
    except ClientDisconnect as error:
        raise InputError("the upload was broken off") from error
    except TooMuchError:
        await _drain(request)
        raise
    finally:
        reader.close()
        shutil.rmtree(folder, ignore_errors=True)


async def text_of(request: Request) -> bytes:
    """The body of a request that is no form; raises TooMuchError beyond 2 MiB, while it comes."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_TEXTS:
            raise TooMuchError(f"the request is longer than {MOST_TEXTS >> 20} MiB")
    return bytes(data)


async def _drain(request: Request) -> None:
    with suppress(Exception):
        async with asyncio.timeout(LINGER):
            while (await request.receive()).get("more_body"):
                pass


class _Reader:
    """What the parser's callbacks make of a form."""

    def __init__(self, folder: Path, most: int, refuse: Callable[[], TooMuchError]) -> None:
        self.form = Form()
        self._folder, self._most, self._refuse = folder, most, refuse
        self._name, self._shown = "", ""
        self._path = folder
        self._text = bytearray()
        self._headers: dict[str, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._bytes = self._letters = self._parts = 0
        self._file: IO[bytes] | None = None

    def callbacks(self) -> Any:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
        }

    def close(self) -> None:
        """Close a file that was not ended."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InputError(f"the form has more than {MOST_PARTS} fields")
        self._headers, self._text = {}, bytearray()

    def _grow(self, buffer: bytearray, data: bytes) -> None:
        if len(buffer) + len(data) > MOST_HEADER:
            raise InputError("a name in the form is too long")
        buffer += data

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._file = None
        if b"filename" in options:
            self._shown = options[b"filename"].decode("utf-8", "replace")
            self._path = self._folder / str(self._parts)
            self._file = self._path.open("wb")

    def _data(self, data: bytes) -> None:
        if self._file is None:
            self._letters += len(data)
            if self._letters > MOST_TEXTS:
                raise InputError("the texts of the form are too long")
            self._text += data
            return
        self._bytes += len(data)
        if self._bytes > self._most:
            raise self._refuse()
        self._file.write(data)

    def _end(self) -> None:
        if self._file is None:
            self.form.texts[self._name] = self._text.decode("utf-8", "replace")
            return
        self._file.close()
        self._file = None
        self.form.files[self._name] = self._path, self._shown
