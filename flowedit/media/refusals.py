"""What of a file would be lost or shift without a word: refused or told, with the one ffmpeg command that mends it."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from flowedit.media import colours, rates
from flowedit.media.colours import Colour
from flowedit.messages import InputError, listed


@dataclass(frozen=True)
class Fault:
    """Something that an edit cannot keep: what a user reads, the filters that mend it, a word for the file's name."""

    text: str
    filters: tuple[str, ...]
    name: str
    mended: bool = True
    """Whether there are such filters (none need also be enough)."""


def of_pixels(stream: Any, frame: Any, colour: Colour) -> list[Fault]:
    """What speaks against a file's pixels, as its first frame and its tags show them."""
    faults = []
    fmt = frame.format
    deepest = max(component.bits for component in fmt.components)
    if stream.codec_context.codec_tag in ("dvh1", "dvhe", "dva1", "dvav"):
        text = "the colours of Dolby Vision, which FFmpeg cannot show here"
        faults.append(Fault(text, (), "bt709", mended=False))
    elif wrong := list(colours.refused(colour)):
        filters = colours.filters_to_bt709(colour, fmt.is_rgb)
        text = f"{listed(wrong)}, which cannot be edited and kept"
        faults.append(Fault(text, tuple(filters or ()), "bt709", mended=filters is not None))
    if deepest > 16 or fmt.name.startswith("xyz"):
        faults.append(Fault(f"pixels of the kind {fmt.name}, which are not edited", (), "8bit"))
    return faults


def judge(path: Path, stream: Any, frame: Any, colour: Colour, times: Sequence[int]) -> None:
    """Raise InputError for a file that cannot be taken; `times` are those of its frames where they come unsteadily."""
    faults = of_pixels(stream, frame, colour)
    if len(set(times)) < len(times):
        rate = rates.meant(times, stream.time_base)
        faults.append(Fault("frames that share a time", (f"fps={rate}",), "steady"))
    if faults:
        faults += [INTERLACED] if frame.interlaced_frame else []
        raise InputError(refusal(path, (frame.height, frame.width), faults))


UNDECODED = Fault("a codec that FFmpeg cannot decode here", (), "h264")

INTERLACED = Fault("interlaced frames", ("bwdif=mode=send_frame:deint=all",), "progressive")


def refusal(path: Path, size: tuple[int, int], faults: Sequence[Fault]) -> str:
    """The line that refuses a file for all its faults, with the one command that mends them."""
    text = f"{path} has {' and '.join(fault.text for fault in faults)}; "
    if not all(fault.mended for fault in faults):
        return text + "export it again, as BT.709 of 8 bits"
    return text + "convert it first: " + command(path, size, faults)


def told(video: Any, container: Any, stream: Any, frame: Any) -> list[str]:
    """What a user hears of a file that is taken: how it is shown to a model, combs, times, and what is left out."""
    path, notices = video.path, []
    if strange := list(colours.strange(video.colour)):
        notices.append(
            f"{path} has {listed(strange)}: a model is shown BT.709 in their place, and a video of the result has "
            "them again"
        )
    if lost := sorted({DYNAMIC[name] for name in colours.beside(frame) if name in DYNAMIC}):
        notices.append(f"{path} also says by {listed(lost)} how its scenes are shown, which the result leaves out")
    if video.times:
        gaps = [1000 * float(after - before) for before, after in pairwise(video.times)]
        notices.append(
            f"{path} shows its frames unevenly, for {min(gaps):.0f} to {max(gaps):.0f} ms: the result shows each at "
            f"its own time (--fps {float(video.fps):.6g} makes them even)"
        )
    if frame.interlaced_frame:
        mend = command(path, (frame.height, frame.width), [INTERLACED])
        notices.append(f"{path} is interlaced: what moves shows combs, and keeps them; to be rid of them first: {mend}")
    sound = container.streams.best("audio")
    if sound is not None and sound.codec_context is None:
        notices.append(f"the sound of {path} has a codec that FFmpeg cannot decode here: the result is silent")
    # a track of chapters in an mp4 is data
    kept = ("audio", "subtitle", "data") if container.chapters() else ("audio", "subtitle")
    if left := [described(each) for each in container.streams if each is not stream and each.type not in kept]:
        notices.append(f"{path} also has {listed(left)}, which the result leaves out")
    return notices


DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
}
"""What says anew for each scene how HDR is shown, by FFmpeg's name of it beside a frame."""

KINDS = {
    "audio": "a sound track",
    "subtitle": "a track of subtitles",
    "video": "another picture",
    "attachment": "an attachment",
}


def described(stream: Any) -> str:
    """A track by its kind, and what is known of it: language, title, codec."""
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    known = [tags.get("language"), tags.get("title") or tags.get("name"), _codec(stream)]
    said = ", ".join(each for each in known if each and each != "und")
    return KINDS.get(stream.type, f"a {stream.type or 'nameless'} track") + (f" ({said})" if said else "")


def _codec(stream: Any) -> str | None:
    return None if stream.codec_context is None else str(stream.codec_context.name)


def command(path: Path, size: tuple[int, int], faults: Sequence[Fault]) -> str:
    """The ffmpeg command that mends these faults of a file of this (height, width)."""
    ordered = sorted(faults, key=lambda fault: fault is not INTERLACED)  # fields are lost by whatever comes before
    filters = [each for fault in ordered for each in fault.filters]
    return ffmpeg(["-i", typed(path)], filters, size, path.with_name(f"{path.stem}-{_name(faults)}.mp4"))


def ffmpeg(source: Iterable[str], filters: Iterable[str], size: tuple[int, int], target: Path) -> str:
    """A command line that writes H.264 of 8 bits; pixels of an odd (height, width) keep their full chroma."""
    pixels = "format=yuv444p" if size[0] % 2 or size[1] % 2 else "format=yuv420p"
    chain = ",".join([*filters, pixels])
    return shlex.join(["ffmpeg", *source, "-vf", chain, "-c:v", "libx264", "-crf", "12", typed(target)])


def typed(path: Path) -> str:
    """A path that ffmpeg takes neither for an option nor for a protocol."""
    text = str(path)
    return f"./{text}" if text.startswith("-") or (":" in text and not path.is_absolute()) else text


def _name(faults: Sequence[Fault]) -> str:
    return "-".join(dict.fromkeys(fault.name for fault in faults))
