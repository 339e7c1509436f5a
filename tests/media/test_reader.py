"""Video files in and out: what is refused, both readers frame by frame, colours, rotation, the writer, sound."""

import importlib.util
import itertools
import resource
import struct
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flowedit.media import rates
from flowedit.media import reader as video
from flowedit.media import sound as sound_module
from flowedit.media.probe import Video, probe
from flowedit.media.reader import Selection, read, read_small, select
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer

PATCHES = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (0, 255, 255),
    (255, 0, 255),
    (128, 128, 128),
    (255, 255, 255),
    (0, 0, 0),
    (200, 60, 30),
]
CENTRES = [(24 + 48 * (k // 5), 16 + 32 * (k % 5)) for k in range(10)]
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def patches(size=(96, 160)):
    """Ten flat patches of 48x32."""
    picture = np.zeros((96, 160, 3), np.uint8)
    for colour, (row, column) in zip(PATCHES, CENTRES, strict=True):
        picture[row - 24 : row + 24, column - 16 : column + 16] = colour
    return picture[: size[0], : size[1]]


def moving(count, size=(64, 96)):
    """Frames that are all different: blocks that shift by 3 pixels a frame."""
    blocks = np.random.default_rng(0).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    picture = np.kron(blocks, np.ones((size[0] // 8, size[1] // 12, 1), np.uint8))
    return np.stack([np.roll(picture, 3 * i, 1) for i in range(count)])


def make(
    path,
    frames,
    codec="libx264",
    rate=25,
    fmt="yuv420p",
    pts=None,
    time_base=None,
    metadata=None,
    colour=None,
    tagged=True,
    sound=None,
    muxer=None,
    **options,
):
    """A video by PyAV, away from the writer under test; `colour` is (matrix, range), both tagged and applied."""
    with av.open(str(path), "w", options=muxer or {}) as out:
        stream = out.add_stream(codec, rate=rate, options={k: str(v) for k, v in options.items()})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = fmt
        stream.metadata.update(metadata or {})
        if time_base is not None:
            stream.codec_context.time_base = time_base
        conversion = {}
        if colour is not None and tagged:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
            stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        if colour is not None:
            conversion = {"dst_colorspace": colour[0], "src_color_range": 2, "dst_color_range": colour[1]}
        audio = None
        if sound is not None:
            audio = out.add_stream(sound[0], rate=48000)
            audio.layout = "mono"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=fmt, **conversion)
            if not tagged:  # the same planes without a word of their matrix, which the encoder would act upon
                picture = av.VideoFrame.from_ndarray(picture.to_ndarray(), format=fmt)
            if pts is not None:
                picture.pts, picture.time_base = pts[i], time_base
            out.mux(stream.encode(picture))
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(sound[1], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
            resampler = av.AudioResampler(format=audio.format, layout="mono", rate=48000, frame_size=audio.frame_size)
            for piece in [*resampler.resample(samples), *resampler.resample(None)]:
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
        out.mux(stream.encode(None))
    return path


def turn(path, degrees):
    """Patch an mp4's track header so that it is displayed turned clockwise."""
    data = bytearray(path.read_bytes())
    header = data.find(b"tkhd")
    matrix = header + 4 + 4 + 20 + 16
    a, b, c, d = (65536 * x for x in MATRICES[degrees])
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def refused(action, kind, *words):
    """The one line that `action` is refused with; it contains each word."""
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.fixture(params=["decord", "pyav"])
def reader(request, monkeypatch):
    if request.param == "pyav":
        monkeypatch.setitem(sys.modules, "decord", None)  # import decord now fails
    else:
        pytest.importorskip("decord")
        monkeypatch.setattr(video, "_decode", lambda *_: pytest.fail("PyAV read what decord should"))
    return request.param


FORMATS = {"decord": "yuv444p", "pyav": "yuv420p"}
"""A pixel format that each reads."""


def whole(path, indices=None, chunk=16):
    info = probe(path)
    return np.concatenate(list(read(info, range(info.frames) if indices is None else indices, chunk)))


# --- probe ---


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "libx264", 25),
        ("a.mkv", "libx264", Fraction(24000, 1001)),
        ("a.mov", "mpeg4", Fraction(26777, 1000)),
        ("a.webm", "libvpx-vp9", 30),
        ("a.avi", "mpeg4", 20),
        ("a.ts", "libx264", 50),
    ],
)
def test_probe_counts_and_times(tmp_path, name, codec, rate):
    path = make(tmp_path / name, moving(12), codec, rate)
    assert probe(path) == Video(path, 12, (64, 96), Fraction(rate), 0, False)


def test_probe_one_frame_and_sound(tmp_path):
    tone = np.zeros((1, 4800), np.float32)
    info = probe(make(tmp_path / "one.mp4", moving(1), sound=("aac", tone)))
    assert (info.frames, info.fps, info.has_audio) == (1, 25, True)


def test_probe_hidden_reference_frames_of_vp8_are_not_counted(tmp_path):
    path = make(tmp_path / "a.webm", moving(40), "libvpx", **{"auto-alt-ref": 1, "lag-in-frames": 16})
    assert probe(path).frames == len(whole(path)) == 40


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"hello " * 500, "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.com/a.ts\n", "not a video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "not a video"),
    ],
)
def test_probe_refuses_what_is_no_video(tmp_path, content, words):
    for name in ("a.mp4", "a.txt", "a.m3u8"):
        path = tmp_path / name
        path.write_bytes(content)
        refused(lambda path=path: probe(path), ValueError, str(path), words.split()[0])


def test_probe_refuses_missing_folder_picture_and_sound(tmp_path):
    refused(lambda: probe(tmp_path / "no.mp4"), FileNotFoundError, "no.mp4", "does not exist")
    refused(lambda: probe(tmp_path), ValueError, "is a folder")
    cv2.imwrite(str(tmp_path / "photo.tiff"), moving(1)[0])
    refused(lambda: probe(tmp_path / "photo.tiff"), ValueError, "is a still image of a format that is not read", "PNG")
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 480), np.int16), layout="mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
    refused(lambda: probe(tmp_path / "a.wav"), ValueError, "no video stream")


def test_probe_refuses_truncated_files(tmp_path):
    at_end = make(tmp_path / "end.mp4", moving(20))
    at_front = make(tmp_path / "front.mp4", moving(20), muxer={"movflags": "faststart"})
    matroska = make(tmp_path / "a.mkv", moving(100), rate=10)
    assert probe(at_front).frames == 20
    for path in (at_end, at_front, matroska):
        path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
        refused(lambda path=path: probe(path), ValueError, str(path), "truncated", "copy or export it again")
    one_byte = make(tmp_path / "byte.mp4", moving(20), muxer={"movflags": "faststart"})
    one_byte.write_bytes(one_byte.read_bytes()[:-1])
    refused(lambda: probe(one_byte), ValueError, "truncated")


def test_probe_refuses_no_frames(tmp_path):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as out:
        out.add_stream("libx264", rate=25, width=64, height=64)
        out.start_encoding()
    refused(lambda: probe(path), ValueError, "none.mp4", "without frames")


class Stream:
    def __init__(self, average, base):
        self.average_rate, self.guessed_rate, self.time_base = Fraction(average), None, Fraction(base)


@pytest.mark.parametrize(
    ("times", "average", "base", "fps", "held"),
    [
        ([round(i * 1001 / 24) for i in range(50)], "24000/1001", "1/1000", "24000/1001", 0),
        ([i // 3 * 100 + (0, 33, 66)[i % 3] for i in range(50)], "30", "1/1000", "30", 0),
        ([0, 16610, *(16610 + 2999 * i for i in range(1, 40))], "369000/13657", "1/90000", "90000/2999", 5),
        ([0, *(20 * i + 12 for i in range(1, 40))], "30", "1/600", "30", 1),
        ([0, *(20 * i + 9 for i in range(1, 40))], "30", "1/600", "30", 0),
        ([0, *(20 * i - 11 for i in range(1, 40))], "30", "1/600", None, None),
        ([0, *(20 * i + 2000 for i in range(1, 40))], "30", "1/600", None, None),
        ([20 * i for i in range(30)], "15", "1/600", "30", 0),  # a header that says another rate
        ([20 * i for i in range(30) if i != 17], "29", "1/600", None, None),
        ([20 * i for i in range(30) if i != 28], "29", "1/600", None, None),
        ([0, 20], "30", "1/600", "30", 0),
        ([0, 20, 60], "20", "1/600", None, None),
        ([0, 0, 20, 40], "30", "1/600", None, None),
    ],
)
def test_rate(times, average, base, fps, held):
    """`held` is None where the frames do not come steadily."""
    rate, steady, first = rates.of_header(Stream(average, base), times)
    assert (first if steady else None) == held
    assert fps is None or rate == Fraction(fps)


# --- select ---

INFO = Video(Path("clip.mp4"), 100, (48, 64), Fraction(30), 0, False)


def test_select():
    assert select(INFO) == Selection(tuple(range(100)), Fraction(30), Fraction(0), Fraction(100, 30))
    assert select(INFO, 90, 5) == Selection(tuple(range(90, 95)), Fraction(30), Fraction(3), Fraction(5, 30))
    assert select(INFO, 10, 4, 12) == Selection((10, 12, 15, 17), Fraction(12), Fraction(1, 3), Fraction(4, 12))
    assert select(INFO, fps=10).indices == tuple(range(0, 100, 3))
    assert select(INFO, fps=30.01).fps == 30
    assert select(INFO, fps=29.97).fps == Fraction(30000, 1001)
    ntsc = replace(INFO, fps=Fraction(30000, 1001))
    assert [select(ntsc, fps=fps).fps for fps in (29.97, 30)] == 2 * [Fraction(30000, 1001)]
    assert select(INFO, 99, fps=30).indices == (99,)
    assert select(INFO, fps=0.3).indices == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 100}, ["start 100", "0 to 99"]),
        ({"start": -1}, ["start -1", "0 to 99"]),
        ({"start": 90, "frames": 11}, ["frames 11", "1 to 10"]),
        ({"frames": 0}, ["frames 0", "1 to 100"]),
        ({"frames": 35, "fps": 10}, ["frames 35", "1 to 34"]),
        ({"fps": 60}, ["fps 60", "at most 30"]),
        ({"fps": 0}, ["fps 0"]),
        ({"fps": float("nan")}, ["fps nan"]),
        ({"fps": 1e-9}, ["fps 1e-09 is not a frame rate"]),
        ({"fps": 0.29}, ["fps 0.29", "lasts 3.33333 s", "at least 0.3"]),
        ({"start": 90, "fps": 2}, ["from frame 90 on it lasts 0.333333 s", "at least 3"]),
    ],
)
def test_select_refuses(arguments, words):
    refused(lambda: select(INFO, **arguments), ValueError, *words)


# --- read ---


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_read_picks_the_right_frames(tmp_path, reader, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    frames = moving(30)
    path = make(tmp_path / name, frames, codec, fmt=FORMATS[reader], g=8, crf=10)
    read_back = whole(path).astype(int)
    assert read_back.shape == frames.shape
    for i in range(30):
        assert np.argmin(np.abs(read_back[i] - frames).mean((1, 2, 3))) == i
    indices = [2, 7, 8, 9, 15, 23, 29, 29]
    chunks = list(read(probe(path), indices, 3))
    assert [len(c) for c in chunks] == [3, 3, 2]
    np.testing.assert_array_equal(np.concatenate(chunks), read_back[indices])


@pytest.mark.parametrize("name", ["open.mp4", "a.avi", "a.ts", "a.mpg"])
def test_read_where_decord_would_return_other_frames(tmp_path, name):
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    options = {"bf": 3, "g": 8} | ({"x264-params": "open-gop=1"} if codec == "libx264" else {})
    frames = moving(24)
    path = make(tmp_path / name, frames, codec, **options)
    for first in range(24):
        picked = whole(path, [first, 23]).astype(int)
        assert np.argmin(np.abs(picked[0] - frames).mean((1, 2, 3))) == first
        assert np.argmin(np.abs(picked[1] - frames).mean((1, 2, 3))) == 23


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_read_turns_frames(tmp_path, reader, degrees):
    path = turn(make(tmp_path / "a.mp4", moving(5), fmt=FORMATS[reader], crf=5), degrees)
    info = probe(path)
    assert info.rotation == degrees
    assert info.size == ((96, 64) if degrees % 180 else (64, 96))
    expected = np.rot90(moving(5), -degrees // 90, axes=(1, 2)).astype(int)
    frames = whole(path)
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).mean() < 12  # chroma subsampling on random blocks
    other = np.rot90(expected, 2, axes=(1, 2))
    assert np.abs(frames - other).mean() > 50


@pytest.mark.parametrize(("matrix", "range_"), itertools.product([1, 5, 6], [1, 2]))
def test_read_honours_colour_tags(tmp_path, reader, matrix, range_):
    path = make(tmp_path / "a.mp4", np.stack([patches()] * 3), fmt=FORMATS[reader], colour=(matrix, range_), crf=5)
    frames = whole(path).astype(int)
    for colour, (row, column) in zip(PATCHES, CENTRES, strict=True):
        assert np.abs(frames[:, row, column] - colour).max() <= 3


def test_both_readers_agree(tmp_path, monkeypatch):
    pytest.importorskip("decord")
    path = turn(make(tmp_path / "a.mp4", moving(20), fmt="yuv444p", colour=(1, 1), g=6), 90)
    by_decord = whole(path)
    monkeypatch.setitem(sys.modules, "decord", None)
    by_pyav = whole(path)
    assert by_decord.shape == by_pyav.shape
    assert np.abs(by_decord.astype(int) - by_pyav).max() <= 2


@pytest.mark.parametrize("use_decord", [True, False])
@pytest.mark.parametrize("bad", [7, 19])
def test_read_names_the_damaged_frame(tmp_path, monkeypatch, use_decord, bad):
    if not use_decord:
        monkeypatch.setitem(sys.modules, "decord", None)
    path = make(tmp_path / "a.mp4", moving(20), fmt="yuv444p" if use_decord else "yuv420p", bf=0)
    offset, size = packets(path)[bad]
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    assert len(whole(path, range(bad))) == bad
    refused(lambda: whole(path), ValueError, f"frame {bad} of {path} cannot be decoded")


@pytest.mark.parametrize("indices", [[], [-1], [20], [3, 2]])
def test_read_refuses_indices(tmp_path, indices):
    info = Video(tmp_path / "a.mp4", 20, (8, 8), Fraction(1), 0, False)
    refused(lambda: read(info, indices), ValueError, "0 to 19")


@pytest.mark.parametrize("use_decord", [True, False])
def test_a_file_is_looked_through_once_however_often_it_is_read(tmp_path, monkeypatch, use_decord):
    """By PyAV every reading opens the file to decode it; nothing opens it to look for its frames again."""
    if not use_decord:
        monkeypatch.setitem(sys.modules, "decord", None)
    elif importlib.util.find_spec("decord") is None:
        pytest.skip("no decord on this machine")
    path = make(tmp_path / "a.mp4", moving(20), fmt="yuv444p", g=6)
    opened, plain = [], av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: (opened.append(args), plain(*args, **options))[1])
    video = probe(path)
    assert len(opened) == 1
    first, second = (np.concatenate(list(read(video, range(20), 7))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(opened) == (1 if use_decord else 3)
    assert len(list(read_small(video, range(0, 20, 3), 48))) == 7
    assert len(opened) == (2 if use_decord else 4)


# --- Writer ---


def test_writer_keeps_size_count_rate_and_bytes(tmp_path):
    rate = Fraction(369000, 13657)
    for size, fmt in (((64, 96), "yuv420p"), ((63, 95), "yuv444p")):
        for name in ("a.mp4", "b.mp4"):
            with Writer(tmp_path / name, size, rate, pixel_aspect=Fraction(4, 3)) as out:
                for part in np.array_split(moving(11)[:, : size[0], : size[1]], 3):
                    out.write(part)
        info = probe(tmp_path / "a.mp4")
        assert (info.frames, info.size, info.fps, info.pixel_aspect) == (11, size, rate, Fraction(4, 3))
        assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
        with av.open(str(tmp_path / "a.mp4")) as container:
            codec = container.streams.video[0].codec_context
            assert (codec.name, codec.pix_fmt, codec.colorspace, codec.color_range) == ("h264", fmt, 1, 1)
            assert Fraction(container.duration, av.time_base) == pytest.approx(11 / rate, abs=1e-3)
        data = (tmp_path / "a.mp4").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(("scale", "matrix"), [(8, 1), (1, 5)])
def test_untagged_colours_are_bt709_in_hd_and_bt601_below(tmp_path, scale, matrix):
    picture = np.kron(patches(), np.ones((scale, scale, 1), np.uint8))
    path = make(tmp_path / "a.mp4", np.stack([picture] * 2), colour=(matrix, 1), tagged=False, crf=5)
    info = probe(path)
    assert info.assumed_bt709 == (scale == 8)
    frames = np.concatenate(list(read(info, range(2)))).astype(int)
    for colour, (row, column) in zip(PATCHES, CENTRES, strict=True):
        assert np.abs(frames[:, row * scale, column * scale] - colour).max() <= 3


@pytest.mark.parametrize("size", [(96, 160), (95, 159)])
def test_writer_keeps_colours(tmp_path, size):
    with Writer(tmp_path / "a.mp4", size, Fraction(25)) as out:
        out.write(np.stack([patches(size)] * 4))
    frames = whole(tmp_path / "a.mp4").astype(int)
    for colour, (row, column) in zip(PATCHES, CENTRES, strict=True):
        assert np.abs(frames[:, row, column] - colour).max() <= 3


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_writer_leaves_nothing_half_written(tmp_path, kind):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")

    def interrupted():
        with Writer(path, (64, 96), Fraction(25)) as out:
            out.write(moving(3))
            raise kind("stop")

    with pytest.raises(kind, match="stop"):
        interrupted()
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_writer_does_not_take_another_fault_for_its_own(tmp_path):
    out = Writer(tmp_path / "a.mp4", (64, 96), Fraction(25))
    with pytest.raises(FileNotFoundError, match="elsewhere"), out:
        (tmp_path / "elsewhere").read_bytes()


def test_writer_refuses(tmp_path):
    def wrong(frames):
        with Writer(tmp_path / "a.mp4", (64, 96), Fraction(25)) as out:
            out.write(frames)

    for frames in (moving(2)[:, :, :90], moving(2)[0], moving(2).astype(np.float32)):
        refused(lambda frames=frames: wrong(frames), ValueError, "expected uint8 (f, 64, 96, 3)")
    refused(lambda: wrong(moving(2)[:0]), ValueError, "no frames")
    refused(lambda: Writer(tmp_path / "a.mp4", (64, 96), Fraction(0)), ValueError, "fps 0")
    assert not list(tmp_path.iterdir())


def write(path, count=3, sound=None):
    with Writer(path, (64, 96), Fraction(25), sound) as out:
        out.write(moving(count))
    return path


def test_writer_refuses_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "no" / "a.mp4"
    refused(lambda: write(path), OSError, f"cannot write {path}", "No such file")
    (tmp_path / "taken").mkdir()
    refused(lambda: write(tmp_path / "taken"), OSError, "cannot write")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("limit", [40, 3000])
def test_writer_refuses_a_full_disk(tmp_path, limit):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*a\.mp4: File too large"):
            write(path, 60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


# --- sound ---


@pytest.fixture
def burst():
    """Two seconds of silence with a tone from 1.0 s to 1.2 s."""
    samples = np.zeros((1, 96000), np.float32)
    samples[:, 48000:57600] = 0.5 * np.sin(np.arange(9600) * 0.1)
    return samples


def heard(path):
    """The codec of a file's sound, and when it begins and ends to be loud (s)."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        loud = []
        for frame in container.decode(stream):
            level = np.abs(frame.to_ndarray().astype(np.float32)).max(0)
            loud += [frame.time + i / frame.sample_rate for i in np.nonzero(level > 0.2)[0]]
        return stream.codec_context.codec.canonical_name, loud[0], loud[-1], container.duration / av.time_base


@pytest.mark.parametrize(
    ("name", "codec", "result"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.mkv", "libmp3lame", "mp3"),
        ("a.mkv", "ac3", "ac3"),
        ("a.mkv", "pcm_s16le", "aac"),
        ("a.avi", "mp2", "aac"),
    ],
)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(3, 5)])
def test_sound_is_cut_and_shifted(tmp_path, burst, name, codec, result, start):
    source = make(tmp_path / name, moving(50), "mpeg4" if name == "a.avi" else "libx264", sound=(codec, burst))
    length = 2 - start
    sound = Sound(probe(source), start, length)
    path = write(tmp_path / "out.mp4", int(25 * length), sound)
    kind, begin, end, duration = heard(path)
    assert kind == result
    assert begin == pytest.approx(1 - start, abs=0.03)
    assert end == pytest.approx(1.2 - start, abs=0.03)
    assert duration == pytest.approx(float(length), abs=0.002)
    assert path.read_bytes() == write(tmp_path / "again.mp4", int(25 * length), sound).read_bytes()


def test_sound_of_a_silent_or_missing_source(tmp_path):
    silent = make(tmp_path / "silent.mp4", moving(5))
    assert not probe(write(tmp_path / "out.mp4", 3, Sound(probe(silent), Fraction(0), Fraction(1)))).has_audio
    missing = Sound(replace(INFO, path=tmp_path / "no.mp4"), Fraction(0), Fraction(1))
    refused(lambda: write(tmp_path / "other.mp4", 3, missing), ValueError, "sound of", "no.mp4")
    assert not (tmp_path / "other.mp4").exists()


def test_sound_of_a_file_that_cannot_be_sought_in_is_read_from_its_beginning(tmp_path, clip_file, monkeypatch):
    """FFmpeg refuses a seek where a file's own tables lead nowhere; the sound is there all the same."""
    sound, opened = Sound(probe(clip_file), Fraction(1, 2), Fraction(1, 2)), sound_module.open_video

    class Stuck:
        def __init__(self, path):
            self._own = opened(path)

        def __getattr__(self, key):
            return getattr(self._own, key)

        def seek(self, *_):
            raise av.error.PermissionError(1, "Operation not permitted")

    times = []
    for place, name in ((opened, "sought.mp4"), (Stuck, "not.mp4")):
        monkeypatch.setattr(sound_module, "open_video", place)
        with Writer(tmp_path / name, (64, 96), Fraction(10), sound) as out:
            out.write(np.zeros((5, 64, 96, 3), np.uint8))
        with av.open(str(tmp_path / name)) as made:
            times.append([packet.pts for packet in made.demux(audio=0) if packet.size])
    assert times[0] == times[1]
    assert times[0]
