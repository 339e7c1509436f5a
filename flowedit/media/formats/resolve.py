"""What a user asks of the file of an edit, and what it comes to for a clip; refused before anything is written."""

from __future__ import annotations

from collections.abc import Iterator

from flowedit.media import colours
from flowedit.media.formats.containers import CONTAINERS
from flowedit.media.formats.forms import ENCODERS, FileForm, FileOptions
from flowedit.media.pixels import Size
from flowedit.media.planes.picture import Chroma
from flowedit.media.probe import Video, codec_known, open_video
from flowedit.media.reader import Selection
from flowedit.media.refusals import described
from flowedit.media.sound import carried, mixed_to
from flowedit.media.stills.write import FRAMES, check_animation, like
from flowedit.messages import InputError, listed


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
    if not _clear(asked, video):
        return "mp4"
    clear = [name for name, each in CONTAINERS.items() if any(ENCODERS[codec].alpha for codec in each.codecs)]
    return next((name for name in clear if CONTAINERS[name].suffix == video.path.suffix.lower()), "prores")


def _clear(asked: FileOptions, video: Video) -> bool:
    """Whether the file is to be transparent: without a format, pictures have another of their own kind for that."""
    return video.alpha and (video.pictures is None or asked.format != "auto")


def _video(asked: FileOptions, video: Video, name: str) -> FileForm:
    container, clear = CONTAINERS[name], _clear(asked, video)
    bits = video.bits if asked.bit_depth == "auto" else asked.bit_depth
    codec = _usual(video.size, clear, name, bits) if asked.codec == "auto" else asked.codec
    if codec not in container.codecs:
        raise InputError(f"--codec {codec} does not go into --format {name}: {_codecs(name)}")
    encoder = ENCODERS[codec]
    if not codec_known(encoder.library, write=True):
        have = [each for each in container.codecs if codec_known(ENCODERS[each].library, write=True)]
        raise InputError(f"FFmpeg has no encoder of {codec} ({encoder.library}) here: it has {listed(have) or 'none'}")
    if clear and not encoder.alpha:
        raise InputError(
            f"{video.path} is transparent, which {codec} in --format {name} cannot be: take --format prores, webm, png "
            "or gif, without --codec"
        )
    if asked.bit_depth != "auto" and asked.bit_depth not in encoder.depths:
        good = listed([str(depth) for depth in encoder.depths])
        raise InputError(f"--bit-depth {asked.bit_depth} is not there for {codec} in --format {name}: it has {good}")
    depth = next((depth for depth in encoder.depths if depth >= bits), encoder.depths[-1])
    form = FileForm(name, codec, depth, clear, _chroma(video.chroma, video.planar))
    if not encoder.takes(form.written(video.size, video.pixel_aspect)):
        sides = f"{'even ' * encoder.even}sides of {encoder.least} or more"
        raise InputError(
            f"{video.path} is {video.size[1]}x{video.size[0]}, and {codec} takes {sides} alone: choose another --codec"
        )
    return form


def _usual(size: Size, clear: bool, name: str, bits: int) -> str:
    """The codec where none is asked for: that of so many bits, or the first of its kind of file that takes the clip."""
    container = CONTAINERS[name]
    codecs = ((container.deep,) if bits > 8 else ()) + container.codecs
    able = (each for each in codecs if ENCODERS[each].takes(size) and (ENCODERS[each].alpha or not clear))
    return next(able, codecs[0])


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
    form = form_of(asked, video)
    yield from _kept(asked, video, form)
    if video.still:
        return
    if form.format not in CONTAINERS:
        if video.has_audio:
            yield f"--format {form.format} holds no sound: that of {video.path} is left out"
        if form.format == "gif":
            yield "a frame of a GIF has 256 colours and is shown for whole 1/100 s: the edit is dithered and timed so"
        if strange := list(colours.strange(video.colour)):
            yield f"--format {form.format} has BT.709, as the model is shown it, in place of {listed(strange)}"
        return
    if not video.tracks:
        return
    with open_video(video.path) as container:
        for stream in (container.streams[index] for index in video.tracks):
            how = carried(stream, form.container)
            if how == "encoded":
                codec, spoken = stream.codec_context.codec.canonical_name, form.container.spoken
                yield f"the sound of {video.path} becomes {spoken}: {form.format} cannot hold its {codec}"
                if mixed := mixed_to(stream, form.container.encoded):
                    given = stream.codec_context.layout.name
                    yield f"the sound of {video.path} is mixed from {given} to {mixed}: {spoken} has no {given}"
            elif how is None:
                yield f"{video.path} has {described(stream)}, which {form.format} cannot hold: the result leaves it out"


def _kept(asked: FileOptions, video: Video, form: FileForm) -> Iterator[str]:
    """What becomes of a clip's bits, pixel aspect, transparency and profile, and in which file."""
    if video.bits > 8:
        kept = "what it leaves keeps its own bits"
        if form.depth < video.bits:
            kept = f"all of it is written with {form.depth}, as --format {form.format} is"
            kept += f" of {form.codec}" if form.format in CONTAINERS else ""
        yield f"{video.path} has {video.bits} bits a component: the edit is made in 8, and {kept}"
    if (written := form.written(video.size, video.pixel_aspect)) != video.size:
        aspect = f"{video.pixel_aspect.numerator}:{video.pixel_aspect.denominator}"
        yield (
            f"the pixels of {video.path} are {aspect}, which {form.format} cannot say: the result has square ones, "
            f"{written[1]}x{written[0]}"
        )
    file = like(video.pictures, asked.format) or form.file
    if video.alpha:
        yield f"{video.path} is transparent in places: {file} keeps that, and shows nothing new there"
    if video.pictures is not None and video.pictures.profile:
        kept = "keeps them" if file.endswith(KEEP_PROFILES) else "cannot name them, so players show others"
        kept = "has them in sRGB" if file.endswith(".gif") else kept
        named = f"the colours of {video.pictures.profile!r}"
        yield f"{video.path} has {named}: they are edited as they are, and {file} {kept}"
        if like(video.pictures, asked.format) not in ("", "edit.png"):
            yield f"a video cannot have {named}: beside {file} they are shown as BT.709"


KEEP_PROFILES = (".png", ".webp", FRAMES)
"""How files end that hold a colour profile."""
