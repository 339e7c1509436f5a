"""WebM."""

from flowedit.media.formats.containers import CONTAINERS, Container

CONTAINERS.add(
    "webm",
    Container(
        about="for web pages; it may be transparent",
        muxer="webm",
        file="edit.webm",
        codecs=("vp9", "av1"),
        deep="av1",
        sound=frozenset({"opus", "vorbis"}),
        encoded="libopus",
        spoken="Opus",
        subtitles=frozenset({"webvtt"}),
        square=True,
    ),
)
