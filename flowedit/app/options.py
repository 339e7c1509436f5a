"""The options of `flowedit app` and `flowedit serve`; their defaults are in conf/studio.yaml."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from flowedit.config.defaults import read
from flowedit.config.options import build, check_ranges, hint_of, kinds_of
from flowedit.declare import option, options_of
from flowedit.messages import FileError, InputError, one_line

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts that no other machine reaches."""

EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that stand for all addresses of a machine."""

MIB = 2**20

PASSWORD = "FLOWEDIT_PASSWORD"
"""The environment's variable of a password that no list of processes shows."""


@dataclass(frozen=True)
class StudioOptions:
    """Where the studio listens, where its files lie, and what it takes. Raises InputError for what cannot be."""

    host: str = option("address to listen on; any other than this machine's own needs --password", typed="ADDRESS")
    port: int = option("port to listen on; 0: any that is free", typed="N", least=0, most=65535)
    out: str = option("folder of the results and, hidden in it, of the clips and the queue", typed="DIR")
    password: str | None = option("what a browser asks for, under any user's name", typed="TEXT", written="text")
    password_file: str | None = option("a file whose first line is the password", typed="FILE", written="text")
    backbone: str = option("the model that a new edit begins with", typed="NAME")
    caption: str | None = option(
        "a vision-language model that says what a clip shows, where an instruction has no source",
        typed="NAME|DIR",
        written="text",
    )
    allow: tuple[str, ...] = option(
        "keys of an edit that may be set from the page and the API though they read or write elsewhere", typed="KEY,KEY"
    )
    upload_limit: int = option("most MiB of an upload", typed="MIB", least=1)
    longest: float = option("most seconds of a clip", typed="SECONDS", above=0)
    queue: int = option("most jobs that wait", typed="N", least=1)
    evaluations: int = option(
        "most network evaluations of a job, of 49 frames at 720x480 each: more frames or pixels count for more",
        typed="N",
        least=1,
    )
    keep_days: float = option("days after which a clip or a look that no job needs is removed", typed="DAYS", above=0)
    open: bool = option("open the page in a browser")

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.local and not self.password:
            raise InputError(
                f"--host {self.host} lets other machines in: give a --password-file FILE or set {PASSWORD} too"
            )

    @property
    def local(self) -> bool:
        """Whether nobody but this machine is let in."""
        return self.host in LOCAL

    @property
    def most_bytes(self) -> int:
        """The largest upload."""
        return self.upload_limit * MIB


def studio_options(flags: Mapping[str, Any] | None = None) -> StudioOptions:
    """Options from conf/studio.yaml and flags, texts as typed; the password from a flag, a file or the environment.

    Raises InputError for a value that does not fit, FileError for a password file that cannot be read.
    """
    given = {name: _value(name, value) for name, value in (flags or {}).items()}
    values = {**_defaults(), **given}
    _check_host(str(values["host"]))
    made: StudioOptions = build(StudioOptions, values | {"password": _password(values)})
    return made


def _check_host(host: str) -> None:
    """Raise InputError for an address that this machine does not have; before a password is asked for it."""
    if host in (*LOCAL, *EVERYWHERE):
        return
    try:
        kind, _, _, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind) as probe:
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {host} is no address of this machine: leave it out, for this machine alone, or give "
            "--host 0.0.0.0, for all of its addresses"
        ) from error


def _password(values: Mapping[str, Any]) -> Any:
    """The password of whichever place names one."""
    given, file = values.get("password"), values.get("password_file")
    if file is None:
        return given or os.environ.get(PASSWORD) or None
    if given:
        raise InputError("--password and --password-file are two passwords: give one of them")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise FileError(
            f"--password-file {file!r} cannot be read: give a text file, {one_line(error)[:200]}"
        ) from error
    if not lines or not lines[0].strip():
        raise InputError(f"--password-file {file!r} has no password: write it into its first line")
    return lines[0].strip()


def _defaults() -> dict[str, Any]:
    known = {each.name for each in fields(StudioOptions)}
    return {key: value for key, value in read("studio").items() if key in known}


def _value(name: str, value: Any) -> Any:
    """A flag's text as the plain value that its field takes."""
    if not isinstance(value, str):
        return value
    kinds = kinds_of(hint_of(StudioOptions, name))
    if tuple[str, ...] in kinds:
        return [part.strip() for part in value.split(",") if part.strip()]
    if str in kinds or options_of(StudioOptions)[name].written == "text":
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
