"""What a kind of video file is, and the registry of those that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from flowedit.declare import Registry


@dataclass(frozen=True)
class Container:
    """A kind of video file: FFmpeg's `muxer`, the name of an edit's `file`, and the `codecs` it takes, the usual first.

    `deep` is the usual codec of more than 8 bits. Sound whose codec is among `sound` is copied; other becomes what the
    encoder `encoded` makes, which people call `spoken`. Subtitles of `subtitles` are copied.
    """

    about: str
    muxer: str
    file: str
    codecs: tuple[str, ...]
    deep: str
    sound: frozenset[str]
    encoded: str
    spoken: str
    subtitles: frozenset[str] = frozenset()
    chapters: bool = True
    """Whether it holds chapters."""
    square: bool = False
    """Whether its pixels are square: PyAV sets no pixel aspect where FFmpeg's muxer asks the stream for it."""

    hides: bool = False
    """Whether it plays nothing of a packet that lies before its beginning: an mp4's edit list does that."""

    @property
    def suffix(self) -> str:
        """That of its file, with the dot."""
        return PurePath(self.file).suffix


CONTAINERS: Registry[Container] = Registry("flowedit.formats", "format", "flowedit.media.formats.kinds", Container)
"""Formats that are one video file, by their names."""
