"""mp4, mov, and ProRes in mov."""

from flowedit.media.formats.containers import CONTAINERS, Container

PCM = frozenset(
    f"pcm_{name}" for name in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be", "u8", "s8")
)
MOV_SOUND = PCM | {"aac", "mp3", "ac3", "eac3", "alac"}
TEXT = frozenset({"mov_text"})

CONTAINERS.add(
    "mp4",
    Container(
        about="for players and browsers",
        muxer="mp4",
        file="edit.mp4",
        codecs=("h264", "h265", "av1"),
        deep="h265",
        sound=frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}),  # what players expect in an mp4
        encoded="aac",
        spoken="AAC",
        subtitles=TEXT,
        hides=True,
    ),
)
CONTAINERS.add(
    "mov",
    Container(
        about="for QuickTime and editing suites",
        muxer="mov",
        file="edit.mov",
        codecs=("h264", "h265"),
        deep="h265",
        sound=MOV_SOUND,
        encoded="pcm_s24le",
        spoken="PCM of 24 bits",
        subtitles=TEXT,
        hides=True,
    ),
)
CONTAINERS.add(
    "prores",
    Container(
        about="ProRes in a mov, for editing suites",
        muxer="mov",
        file="edit.mov",
        codecs=("prores",),
        deep="prores",
        sound=MOV_SOUND,
        encoded="pcm_s24le",
        spoken="PCM of 24 bits",
        subtitles=TEXT,
        hides=True,
    ),
)
