"""Which frame is frame i: containers, codecs, layouts of key frames and starting points against another decode."""

import itertools
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from flowedit.media.probe import probe
from flowedit.media.reader import read, read_small, select
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer

CASES_FOLDER = Path(__file__).parents[1] / "data" / "cases"

COUNT, GROUP, SKIPPED = 26, 8, 3
"""Frames of each file, frames from key frame to key frame, and packets cut off a file that begins between them."""

CODECS = {
    "h264": ("libx264", {"bf": 2, "preset": "ultrafast", "sc_threshold": 0}),
    "hevc": ("libx265", {"preset": "ultrafast"}),
    "mpeg2": ("mpeg2video", {"bf": 2, "qmin": 2, "qmax": 2, "sc_threshold": 1000000000}),
    "mpeg4": ("mpeg4", {"bf": 2, "qmin": 2, "qmax": 2, "sc_threshold": 1000000000}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": 8, "b:v": 1000000}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": 8, "b:v": 1000000}),
    "av1": ("libsvtav1", {"preset": 12, "crf": 30}),
}
HOLDS = {
    "mp4": ("h264", "hevc", "mpeg2", "mpeg4", "vp9", "av1"),
    "frag": ("h264", "hevc", "mpeg4", "av1"),
    "mov": ("h264", "hevc", "mpeg4"),
    "mkv": tuple(CODECS),
    "webm": ("vp8", "vp9", "av1"),
    "ts": ("h264", "hevc", "mpeg2", "mpeg4"),
    "mpg": ("mpeg2",),
    "avi": ("h264", "mpeg2", "mpeg4", "vp8"),
}
LAYOUTS = ("closed", "open", "intra")
OPEN = ("h264", "hevc", "mpeg2", "mpeg4")


def options_of(codec, layout):
    group = 1 if layout == "intra" else GROUP
    encoder, options = CODECS[codec]
    options = dict(options) | {"g": group}
    if codec == "h264":
        options["x264-params"] = f"keyint={group}:min-keyint={group}:open-gop={int(layout == 'open')}:scenecut=0"
    elif codec == "hevc":
        b = 0 if layout == "intra" else 2
        options["x265-params"] = (
            f"keyint={group}:min-keyint={group}:open-gop={int(layout == 'open')}:bframes={b}:scenecut=0:b-adapt=0:"
            "log-level=none"
        )
    elif codec in ("mpeg2", "mpeg4"):
        options |= {"bf": 0 if layout == "intra" else 2, "flags": "+cgop" if layout == "closed" else "+bitexact"}
    elif codec == "av1":
        options["svtav1-params"] = f"keyint={group}:pred-struct=1"
    return encoder, {key: str(value) for key, value in options.items()}


def numbered(number):
    """A picture of six blocks that say a number, so large that any codec leaves them legible, and of some grain.

    Without grain a frame is so small that a program stream puts many under one time.
    """
    bits = [(number >> bit) & 1 for bit in range(6)]
    grey = np.kron(np.array(bits).reshape(2, 3), np.ones((32, 32))) * 140 + 60
    grain = np.random.default_rng(number).integers(-30, 30, (64, 96))
    return np.repeat((grey + grain)[..., None], 3, 2).astype(np.uint8)


def number_of(picture):
    """The number that such a picture shows."""
    means = picture.astype(float).mean(-1).reshape(2, 32, 3, 32).mean((1, 3)).ravel()
    return sum(int(mean > 130) << bit for bit, mean in enumerate(means))


def name_of(folder, container):
    muxer = {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if container == "frag" else {}
    return folder / f"a.{'mp4' if container == 'frag' else container}", muxer


def encoded(folder, container, codec, layout, fmt="yuv420p"):
    path, muxer = name_of(folder, container)
    encoder, options = options_of(codec, layout)
    with av.open(str(path), "w", options=muxer) as out:
        stream = out.add_stream(encoder, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 96, fmt
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24").reformat(format=fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def cut_off(path, container):
    """The same file without its first packets, and so from between two key frames on (unless all are)."""
    folder = path.parent / "cut"
    folder.mkdir()
    target, muxer = name_of(folder, container)
    with av.open(str(path)) as source, av.open(str(target), "w", options=muxer) as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        packets = [packet for packet in source.demux(video=0) if packet.size]
        # AVI fills a late start with empty chunks, during which a player holds the first frame
        late = packets[SKIPPED].dts if container == "avi" else 0
        for packet in packets[SKIPPED:]:
            packet.stream, packet.pts, packet.dts = stream, packet.pts - late, packet.dts - late
            out.mux(packet)
    return target


def shown(path):
    """(display time, number) of the frames that PyAV decodes from the first key frame on, one after the other."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = itertools.dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream))
        frames = [frame for packet in packets for frame in packet.decode()]
    numbers = [(frame.pts, number_of(frame.to_ndarray(format="rgb24"))) for frame in frames]
    return numbers if path.suffix == ".avi" else sorted(numbers)


def check(path, first):
    """The reader gives the frames from number `first` on: whole, from every place, and in pieces."""
    info = probe(path)
    wanted = list(range(first, COUNT))
    numbers = [number_of(frame) for frames in read(info, range(info.frames)) for frame in frames]
    assert numbers == wanted
    other = [(time, number) for time, number in shown(path) if number >= first]
    assert [number for _, number in other] == wanted
    if info.index.times:
        assert [time for time, _ in other] == list(info.index.times)
    for place in (1, 5, 8, len(wanted) // 2, len(wanted) - 2):
        pieces = list(read(info, [place, place + 1, len(wanted) - 1], 2))
        assert [number_of(f) for piece in pieces for f in piece] == [first + place, first + place + 1, COUNT - 1]
        assert len(pieces) == 2
        small = next(read_small(info, [place], 96))
        assert number_of(small) == first + place
    return info


CASES = [
    (container, codec, layout)
    for container, codecs in HOLDS.items()
    for codec, layout in itertools.product(codecs, LAYOUTS)
    if layout != "open" or codec in OPEN
]


@pytest.mark.parametrize(("container", "codec", "layout"), CASES)
def test_frame_i_is_what_a_player_shows_as_frame_i(tmp_path, container, codec, layout):
    path = encoded(tmp_path, container, codec, layout)
    info = check(path, 0)
    assert (info.frames, info.notices, info.fps) == (COUNT, (), 25)
    path = cut_off(path, container)
    headless = probe(path)
    first = COUNT - headless.frames
    check(path, first)
    assert bool(headless.notices) == (layout != "intra")
    if layout == "intra":
        assert first == SKIPPED
    else:
        assert GROUP - 2 <= first <= GROUP + 2  # the first key frame that is there, in the order of display
    with av.open(str(path)) as source:  # the clock of the sound
        stream = source.streams.video[0]
        if headless.index.times:
            assert headless.index.start == headless.index.times[0] * stream.time_base


@pytest.mark.parametrize(("container", "codec"), [("mp4", "h264"), ("mkv", "h264"), ("frag", "h264"), ("mp4", "hevc")])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("installed", [True, False], ids=["decord", "pyav"])
def test_what_decord_may_read_has_the_same_frames(tmp_path, monkeypatch, container, codec, layout, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "decord", None)
    path = encoded(tmp_path, container, codec, layout, "yuv444p")
    check(path, 0)
    path = cut_off(path, container)
    check(path, COUNT - probe(path).frames)


def edit_list(path, entries):
    """Give an mp4 whose moov lies at its end the edit list [(seconds or None, first frame or -1)] of a 25 fps track."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        frame = int(1 / (25 * container.streams.video[0].time_base))
    at = data.index(b"elst") - 4
    size = struct.unpack_from(">I", data, at)[0]
    (own,) = struct.unpack_from(">i", data, at + 20)  # what hides the delay of B frames
    table = b"".join(
        struct.pack(">IiI", round(1000 * seconds), own + first * frame if first >= 0 else -1, 1 << 16)
        for seconds, first in entries
    )
    box = struct.pack(">I4sII", 16 + len(table), b"elst", 0, len(entries)) + table
    for name in (b"edts", b"trak", b"moov"):
        place = data.rindex(name, 0, at) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box) - size)
    data[at : at + size] = box
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("layout", ["closed", "open"])
@pytest.mark.parametrize(
    ("entries", "first", "start"),
    [
        ([(22 / 25, 4)], 4, 0),
        ([(16 / 25, 10)], 10, 0),
        ([(0.2, -1), (26 / 25, 0)], 0, 0.2),
        ([(0.2, -1), (21 / 25, 5)], 5, 0.2),
    ],
)
def test_edit_lists_hide_frames_and_delay_them(tmp_path, entries, first, start, layout, fmt):
    path = edit_list(encoded(tmp_path, "mp4", "h264", layout, fmt), entries)
    info = check(path, first)
    assert info.notices == ()
    assert float(info.index.start) == pytest.approx(start, abs=0.001)


@pytest.mark.parametrize("name", ["midgop.mkv", "midgop.ts"])
def test_notice_names_what_is_left_out(name):
    info = probe(CASES_FOLDER / name)
    lost = {"midgop.mkv": 3, "midgop.ts": 5}[name]
    assert info.frames == 16
    assert info.notices == (
        f"the file begins between key frames: {lost} frames at its start cannot be decoded and are left out, of "
        "picture and sound",
    )


@pytest.mark.parametrize("first", range(0, 75, 7))
def test_program_streams_seek_to_the_frame_that_is_asked_for(first):
    """mp2.mpg is white at frames 25 and 50, of 75."""
    info = probe(CASES_FOLDER / "mp2.mpg")
    frames = np.concatenate(list(read(info, range(first, 75), 8)))
    assert [first + place for place, frame in enumerate(frames) if frame.mean() > 220] == [
        place for place in (25, 50) if place >= first
    ]
    assert next(read(info, [50]))[0].mean() > 220
    assert next(read(info, [40]))[0].mean() < 220


def test_a_held_first_frame_leaves_the_others_their_rate():
    """first_held_av.mp4: the first frame lasts 13/24 s; white at 1.5 s and 2.5 s, as the sound is loud."""
    info = probe(CASES_FOLDER / "first_held_av.mp4")
    assert (info.fps, info.frames, info.index.held, info.index.start) == (24, 84, 12, 0)
    assert info.notices[0].startswith("the first frame is shown as long as 13 frames")
    frames = np.concatenate(list(read(info, range(84))))
    assert [place for place, frame in enumerate(frames) if frame.mean() > 220] == [36, 60]
    assert (frames[:13] == frames[0]).all()
    small = [frame.mean() > 200 for frame in read_small(info, range(84), 48)]
    assert [place for place, white in enumerate(small) if white] == [36, 60]


def white_and_loud(path):
    """When frames are white and when the sound begins to be loud, in seconds of the file."""
    with av.open(str(path)) as container:
        white = [frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 200]
    with av.open(str(path)) as container:
        loud = []
        for frame in container.decode(audio=0):
            level = np.abs(frame.to_ndarray().astype(np.float32)).reshape(len(frame.layout.channels), -1).max(0)
            level = level / (32768 if level.max() > 2 else 1)
            loud += [frame.time + i / frame.sample_rate for i in np.nonzero(level > 0.1)[0]]
    return white, [time for before, time in itertools.pairwise([-1, *loud]) if time - before > 0.3]


@pytest.mark.parametrize("skipped", [0, 10])
@pytest.mark.parametrize("name", ["midgop_av.mkv", "first_held_av.mp4", "frag_flash_av.mp4", "mp2.mpg"])
def test_sound_stays_in_step(tmp_path, name, skipped):
    """White flashes and beeps are as far apart in what is written as they are in the file."""
    info = probe(CASES_FOLDER / name)
    chosen = select(info, start=skipped)
    with Writer(tmp_path / "a.mp4", info.size, chosen.fps, Sound(info, chosen.start_seconds, chosen.seconds)) as out:
        for frames in read(info, chosen.indices):
            out.write(frames)
    (white, loud), (was_white, was_loud) = white_and_loud(tmp_path / "a.mp4"), white_and_loud(CASES_FOLDER / name)
    assert len(white) == len(loud) == 2
    for place in range(2):
        assert loud[place] - white[place] == pytest.approx(was_loud[place] - was_white[place], abs=0.012)
    assert white[0] + skipped / float(info.fps) == pytest.approx(was_white[0] - float(info.index.start), abs=0.001)
