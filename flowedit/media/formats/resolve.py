"""What a user asks of the file of an edit, and what it comes to for a clip; refused before anything is written."""

from __future__ import annotations

from collections.abc import Iterator

from flowedit.media import colours
from flowedit.media.formats.forms import CONTAINERS, ENCODERS, FileForm, FileOptions
from flowedit.media.planes.picture import Chroma
from flowedit.media.probe import Video, codec_known, open_video
from flowedit.media.reader import Selection
from flowedit.media.refusals import described
from flowedit.media.sound import carried, mixed_to
from flowedit.media.stills.write import check_animation
from flowedit.messages import InputError, listed

DEEP = {"mp4": "h265", "mov": "h265", "webm": "av1", "prores": "prores"}
"""The codec of more than 8 bits, where none is asked for; of 8 it is the container's first."""

SOUNDS = {"aac": "AAC", "libopus": "Opus", "pcm_s24le": "PCM of 24 bits"}
"""Names of encoded sound."""


def form_of(asked: FileOptions, video: Video) -> FileForm:
    """What the edit of a clip is written as; raises InputError for what is asked and cannot be."""
    name = _format(asked, video)
    if name in CONTAINERS:
        form = _video(asked, video, name)
        _check_quality(asked.crf, form)
        return form
    for option, value in (("codec", asked.codec), ("bit-depth", asked.bit_depth), ("crf", asked.crf)):
        if value not in ("auto", None):
            what = "the edit of a still is a PNG" if video.still else f"--format {name} is none"
            raise InputError(f"--{option} {value} is for videos, and {what}: leave --{option} out")
    return FileForm(name, name, alpha=video.alpha)


def check_file(asked: FileOptions, video: Video, selection: Selection, free: float | None) -> None:
    """Raise InputError for what is asked of the file of these frames and cannot be; `free` GiB of memory, or None."""
    form_of(asked, video)
    ends = [selection.time(frame) for frame in range(len(selection.indices) + 1)]
    check_animation(asked.format, video.pictures, ends, video.size, free)


def _format(asked: FileOptions, video: Video) -> str:
    if video.still:
        if asked.format in ("auto", "png"):
            return "png"
        raise InputError(
            f"--format {asked.format} is for clips of several frames: the edit of a still is a PNG, leave --format out"
        )
    if asked.format != "auto":
        return asked.format
    if not video.alpha:
        return "mp4"
    return "webm" if video.path.suffix.lower() == ".webm" else "prores"


def _video(asked: FileOptions, video: Video, name: str) -> FileForm:
    container = CONTAINERS[name]
    bits = video.bits if asked.bit_depth == "auto" else asked.bit_depth
    codec: str = asked.codec
    if codec == "auto":
        codec = DEEP[name] if bits > 8 and not (video.alpha and name == "webm") else container.codecs[0]
    if codec not in container.codecs:
        raise InputError(f"--codec {codec} does not go into --format {name}: {_codecs(name)}")
    encoder = ENCODERS[codec]
    if not codec_known(encoder.library, write=True):
        have = [each for each in container.codecs if codec_known(ENCODERS[each].library, write=True)]
        raise InputError(f"FFmpeg has no encoder of {codec} ({encoder.library}) here: it has {listed(have) or 'none'}")
    if video.alpha and not encoder.alpha:
        raise InputError(
            f"{video.path} is transparent, which {codec} in --format {name} cannot be: take --format prores, webm, png "
            "or gif, without --codec"
        )
    if asked.bit_depth != "auto" and asked.bit_depth not in encoder.depths:
        good = listed([str(depth) for depth in encoder.depths])
        raise InputError(f"--bit-depth {asked.bit_depth} is not there for {codec} in --format {name}: it has {good}")
    if encoder.sampling == ("420",) and any(side % 2 for side in video.size):
        raise InputError(
            f"{video.path} is {video.size[1]}x{video.size[0]}, and {codec} takes even sides alone: choose another "
            "--codec"
        )
    depth = next((depth for depth in encoder.depths if depth >= bits), encoder.depths[-1])
    return FileForm(name, codec, depth, video.alpha, _chroma(video.chroma, video.planar))


def _chroma(chroma: Chroma, planar: bool) -> str:
    """That of the file is kept where its own planes are, of which RGB has all."""
    return "420" if not planar else "444" if chroma == "rgb" else chroma


def _codecs(name: str) -> str:
    codecs = CONTAINERS[name].codecs
    return f"it takes {listed(codecs)}" if len(codecs) > 1 else "it has a codec of its own, so leave --codec out"


def _check_quality(crf: int | None, form: FileForm) -> None:
    if crf is None:
        return
    if form.encoder.crf is None:
        raise InputError(f"--crf {crf} has no meaning for {form.codec}, whose quality is fixed: leave --crf out")
    if crf > form.encoder.most:
        raise InputError(f"--crf {crf} is out of range for {form.codec}: 0 (the best) to {form.encoder.most}")


def of_file(asked: FileOptions, video: Video) -> Iterator[str]:
    """What a user hears of a clip, and of the file of its edit: what it cannot hold, and what becomes of the sound."""
    yield from video.notices
    if video.still:
        return
    form = form_of(asked, video)
    if form.format not in CONTAINERS:
        if video.has_audio:
            yield f"--format {form.format} holds no sound: that of {video.path} is left out"
        if form.format == "gif":
            yield "a frame of a GIF has 256 colours and is shown for whole 1/100 s: the edit is dithered and timed so"
        if strange := list(colours.strange(video.colour)):
            yield f"--format {form.format} has BT.709, as the model is shown it, in place of {listed(strange)}"
        if video.bits > 8:
            yield f"--format {form.format} is written with 8 bits, of {video.bits} that {video.path} has"
        return
    if form.depth < video.bits:
        yield f"{form.codec} in --format {form.format} holds {form.depth} bits, of {video.bits} that {video.path} has"
    if not video.tracks:
        return
    with open_video(video.path) as container:
        for stream in (container.streams[index] for index in video.tracks):
            how = carried(stream, form.container)
            if how == "encoded":
                codec, encoded = stream.codec_context.codec.canonical_name, form.container.encoded
                yield f"the sound of {video.path} becomes {SOUNDS[encoded]}: {form.format} cannot hold its {codec}"
                if mixed := mixed_to(stream, encoded):
                    given = stream.codec_context.layout.name
                    lacks = f"{SOUNDS[encoded]} has no {given}"
                    yield f"the sound of {video.path} is mixed from {given} to {mixed}: {lacks}"
            elif how is None:
                yield f"{video.path} has {described(stream)}, which {form.format} cannot hold: the result leaves it out"
