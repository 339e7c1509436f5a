"""Every kind of file that an edit is written as, read back by other programs: ffprobe, OpenCV and Pillow.

Where ffprobe is not installed, PyAV says what it would.
"""

import json
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from PIL import Image

from flowedit.media.colours import Colour, Light
from flowedit.media.formats.containers import CONTAINERS, Container
from flowedit.media.formats.forms import ENCODERS, FileForm, FileOptions
from flowedit.media.formats.resolve import form_of, of_file
from flowedit.media.formats.yuv import yuv_of
from flowedit.media.pixels import resize
from flowedit.media.planes.picture import EXACT, Planar
from flowedit.media.probe import comment, probe
from flowedit.media.sound import Sound
from flowedit.media.stills.write import AnimationWriter, FolderWriter, in_hundredths
from flowedit.media.writer import Writer, time_base
from flowedit.messages import InputError

SIZE, FPS, FRAMES = (64, 96), Fraction(24000, 1001), 12
PAL = Colour(5, 6, 5)
"""Tags that no default is like: PAL's."""
NAMED = {5: "bt470bg"}, {1: "bt709", 6: "smpte170m"}, {5: "bt470bg", 6: "smpte170m"}, {1: "tv"}
NAMES = {"primaries": "bt470bg", "transfer": "smpte170m", "matrix": "bt470bg"}

TABLE = [
    # options, suffix, codec, four letters, pixels, sound of an AAC source, PSNR in dB at least
    ({}, ".mp4", "h264", "avc1", "yuv420p", "aac", 40),
    ({"bit_depth": 10, "codec": "h264"}, ".mp4", "h264", "avc1", "yuv420p10le", "aac", 40),
    ({"codec": "h265"}, ".mp4", "hevc", "hvc1", "yuv420p", "aac", 39),
    ({"bit_depth": 10}, ".mp4", "hevc", "hvc1", "yuv420p10le", "aac", 39),
    ({"codec": "av1"}, ".mp4", "av1", "av01", "yuv420p", "aac", 39),
    ({"codec": "av1", "bit_depth": 10}, ".mp4", "av1", "av01", "yuv420p10le", "aac", 39),
    ({"format": "mov"}, ".mov", "h264", "avc1", "yuv420p", "aac", 40),
    ({"format": "mov", "codec": "h265", "bit_depth": 10}, ".mov", "hevc", "hvc1", "yuv420p10le", "aac", 39),
    ({"format": "webm"}, ".webm", "vp9", None, "yuv420p", "opus", 39),
    ({"format": "webm", "codec": "av1"}, ".webm", "av1", None, "yuv420p", "opus", 39),
    ({"format": "webm", "bit_depth": 10}, ".webm", "av1", None, "yuv420p10le", "opus", 39),
    ({"format": "prores"}, ".mov", "prores", "apch", "yuv422p10le", "aac", 41),
]


def pictures(size=SIZE, count=FRAMES):
    """A smooth pattern that moves, uint8 (f, H, W, 3)."""
    y, x = np.mgrid[: size[0], : size[1]]
    turns = [np.stack([np.sin(x / 9 + t / 3), np.cos(y / 7 - t / 4), np.sin((x + y) / 11)], -1) for t in range(count)]
    return (128 + 80 * np.stack(turns)).astype(np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """An mp4 of FRAMES frames with a tone as AAC."""
    path, tone = tmp_path_factory.mktemp("source") / "clip.mp4", np.sin(np.arange(48000) / 20)[None]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"crf": "10"})
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream("aac", rate=48000, layout="mono")
        for picture in pictures():
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        samples = av.AudioFrame.from_ndarray((0.5 * tone[:, :24024]).astype(np.float32), format="fltp", layout="mono")
        samples.sample_rate = 48000
        out.mux([*sound.encode(samples), *sound.encode(None), *video.encode(None)])
    return probe(path)


def facts(path):
    """What a file says of itself: its video's stream, its sound's, and its comment."""
    if shutil.which("ffprobe"):
        asked = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
        told = json.loads(subprocess.run(asked, capture_output=True, check=True, timeout=60).stdout)
        streams = {each["codec_type"]: each for each in told["streams"]}
        tags = {key.lower(): text for key, text in told["format"]["tags"].items()}
        video = streams["video"]
        return {
            "codec": video["codec_name"],
            "tag": video["codec_tag_string"],
            "pixels": video["pix_fmt"],
            "rate": Fraction(video["avg_frame_rate"]),
            "colour": tuple(video[f"color_{key}"] for key in ("primaries", "transfer", "space", "range")),
            "seconds": float(told["format"]["duration"]),
            "sound": streams.get("audio", {}).get("codec_name"),
            "comment": tags.get("comment"),
        }
    with av.open(str(path)) as container:
        video, sounds = container.streams.video[0].codec_context, container.streams.audio
        numbers = int(video.color_primaries), int(video.color_trc), int(video.colorspace), int(video.color_range)
        return {
            "codec": video.codec.canonical_name,
            "tag": video.codec_tag,
            "pixels": video.pix_fmt,
            "rate": container.streams.video[0].average_rate,
            "colour": tuple(NAMED[kind].get(n, n) for kind, n in enumerate(numbers)),
            "seconds": container.duration / av.time_base,
            "sound": sounds[0].codec_context.codec.canonical_name if sounds else None,
            "comment": comment(path),
        }


def packets(path, kind="audio"):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.best(kind)) if packet.size]


def _packets_of(path, number):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[number]) if packet.size]


def seen(path):
    """The frames as FFmpeg itself turns them to RGB, uint8 (f, H, W, 3)."""
    how = {"format": "rgb24", "interpolation": EXACT | Interpolation.BICUBIC}
    with av.open(str(path)) as container:
        return np.stack([frame.reformat(**how).to_ndarray() for frame in container.decode(video=0)])


def seen_by_opencv(path):
    """The same as OpenCV turns them, by a coarser filter; it has no decoder of AV1."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return np.stack(frames)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize(
    ("options", "suffix", "codec", "tag", "pixels", "sound", "least"), TABLE, ids=[str(row[0]) for row in TABLE]
)
def test_a_video_of_each_kind(tmp_path, source, options, suffix, codec, tag, pixels, sound, least):
    form = form_of(FileOptions(**options), source)
    path, whole = tmp_path / f"edit{form.container.suffix}", Sound(source, Fraction(0), FRAMES / FPS)
    labels = [("title", "A tone"), ("comment", '{"flowedit": "1"}')]
    with Writer(path, SIZE, FPS, whole, form=form, colour=PAL, labels=labels) as writer:
        writer.write(pictures())
    told = facts(path)
    assert path.suffix == suffix
    assert (told["codec"], told["pixels"], told["sound"]) == (codec, pixels, sound)
    assert tag is None or told["tag"] == tag
    same = {"transfer": "bt709", "matrix": "smpte170m"} if codec == "prores" else {}  # its names of the same
    assert told["colour"] == (*(NAMES | same).values(), "tv")
    assert told["comment"] == '{"flowedit": "1"}'
    assert abs(told["rate"] / FPS - 1) < (0.01 if suffix == ".webm" else 1e-9)  # which counts milliseconds
    assert told["seconds"] == pytest.approx(float(FRAMES / FPS), abs=0.03)
    found = seen(path)
    assert len(found) == FRAMES
    assert psnr(found, pictures()) > least
    if codec != "av1":
        assert psnr(seen_by_opencv(path), pictures()) > 34
    if sound == "aac":  # but what sounds after the last frame
        assert 0 <= len(packets(source.path)) - len(packets(path)) <= 2
        assert packets(path) == packets(source.path)[: len(packets(path))]
    assert list(of_file(FileOptions(**options), source)) == (
        [] if sound == "aac" else [f"the sound of {source.path} becomes Opus: webm cannot hold its aac"]
    )


def test_the_quality_is_that_which_is_asked(tmp_path):
    sizes = []
    for crf in (10, 40):
        with Writer(tmp_path / f"{crf}.webm", SIZE, FPS, crf=crf, form=FileForm("webm", "vp9")) as writer:
            writer.write(pictures())
        sizes.append((tmp_path / f"{crf}.webm").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    with pytest.raises(InputError, match="crf from 0 to 63"):
        Writer(tmp_path / "a.webm", SIZE, FPS, crf=64, form=FileForm("webm", "vp9"))


def test_each_codec_gives_the_same_bytes_twice(tmp_path):
    for name, codec in (("mp4", "h265"), ("mp4", "av1"), ("webm", "vp9"), ("prores", "prores")):
        form = FileForm(name, codec, ENCODERS[codec].depths[-1] if name == "prores" else 8)
        made = []
        for number in range(2):
            with Writer(tmp_path / str(number), SIZE, FPS, form=form) as writer:
                writer.write(pictures())
            made.append(packets(tmp_path / str(number), "video"))
        assert made[0] == made[1], codec


def test_ten_bits_are_finer_than_eight(tmp_path):
    """A ramp of greys between two levels of 8 bits comes back in steps of a quarter."""
    ramp = np.repeat(np.arange(400, 440, dtype=np.uint16), 3)[None].repeat(64, 0)
    grey = np.full_like(ramp, 512)
    with Writer(tmp_path / "a.mp4", ramp.shape, FPS, crf=0, form=FileForm("mp4", "h265", 10, chroma="444")) as writer:
        writer.write([Planar((ramp, grey, grey), None, 10, "444")])
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv444p10le"
        luma = np.frombuffer(frame.planes[0], np.uint16).reshape(frame.height, -1)[:, : frame.width]
    assert np.abs(luma.astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("depth", [8, 10, 12])
@pytest.mark.parametrize("sampling", ["420", "422", "444"])
def test_planes_of_one_colour(depth, sampling):
    frame = np.full((8, 12, 3), (255, 255, 255), np.uint8)
    luma, blue, red = yuv_of(frame, 1, sampling, depth)
    assert (luma == 235 * 2 ** (depth - 8)).all()
    assert (blue == 128 * 2 ** (depth - 8)).all()
    assert (red == blue).all()
    assert blue.shape == {"420": (4, 6), "422": (8, 6), "444": (8, 12)}[sampling]


@pytest.mark.parametrize(("name", "codec", "depth"), [("prores", "prores", 10), ("webm", "vp9", 8)])
def test_transparency(tmp_path, name, codec, depth):
    form = FileForm(name, codec, depth, alpha=True)
    path = tmp_path / f"a{form.container.suffix}"
    hole = np.full(SIZE, 255, np.uint8)
    hole[:32, :48] = 0
    stored = [Planar(tuple(np.moveaxis(frame, -1, 0)), hole, 8, "rgb", True) for frame in pictures()]
    with Writer(path, SIZE, FPS, form=form) as writer:
        writer.write(stored)
        writer.write(pictures(count=1))  # opaque
    with av.open(str(path)) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r") if name == "webm" else None
        stream = container.streams.video[0]
        found = [frame for packet in container.demux(stream) for frame in (decoder or stream).decode(packet)]
        assert stream.metadata.get("alpha_mode") == ("1" if name == "webm" else None)
    first, last = (frame.to_ndarray(format="rgba")[..., 3] for frame in (found[0], found[-1]))
    assert np.abs(first.astype(int) - hole).max() <= 3
    assert last.min() >= 250
    seen_through = found[0].to_ndarray(format="rgba")[..., :3][40:]
    assert psnr(seen_through, pictures()[0, 40:]) > 30


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_the_light_of_hdr_is_written(tmp_path, codec):
    shown = tuple(map(Fraction, ("0.68", "0.32", "0.265", "0.69", "0.15", "0.06", "0.3127", "0.329", "0.005", "1000")))
    colour = Colour(9, 16, 9, Light(shown, (1000, 400)))
    with Writer(tmp_path / "a.mp4", SIZE, FPS, form=FileForm("mp4", codec, 10), colour=colour) as writer:
        writer.write(pictures())
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    data = {frame.side_data[place].type.name: bytes(frame.side_data[place]) for place in range(len(frame.side_data))}
    numbers = np.frombuffer(data["MASTERING_DISPLAY_METADATA"], np.int32)[:20].reshape(10, 2)
    assert np.allclose(numbers[:, 0] / numbers[:, 1], np.array(shown, float), atol=1e-3)
    assert tuple(np.frombuffer(data["CONTENT_LIGHT_LEVEL"], np.uint32)) == (1000, 400)
    assert (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace)) == (9, 16, 9)


@pytest.mark.parametrize(
    ("name", "codec", "unit"),
    [("mp4", "h264", 0), ("mp4", "h265", 0), ("mp4", "av1", 0), ("prores", "prores", 0), ("webm", "vp9", 0.0005)],
)
def test_each_frame_at_its_own_time(tmp_path, name, codec, unit):
    times = [Fraction(each, 600) for each in (0, 20, 40, 45, 100, 101, 200, 260)]
    form = FileForm(name, codec, 10 if name == "prores" else 8)
    path = tmp_path / f"a{form.container.suffix}"
    with Writer(path, SIZE, FPS, form=form, times=times) as writer:
        writer.write(pictures(count=7))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.size)
        assert np.allclose([float(each) for each in shown], [float(each) for each in times[:-1]], rtol=0, atol=unit)
        assert container.duration / av.time_base == pytest.approx(float(times[-1]), abs=0.001)


def test_a_unit_for_times():
    assert time_base([Fraction(1, 24), Fraction(1, 30)]) == Fraction(1, 120)
    assert time_base([Fraction(1, 1001), Fraction(1, 999983)]) == Fraction(1, 90000)


@pytest.mark.parametrize(
    ("name", "codec", "given", "result"),
    [
        ("mp4", "h264", "aac", "aac"),
        ("mp4", "h264", "vorbis", "aac"),
        ("mov", "h264", "pcm_s16le", "pcm_s16le"),
        ("mov", "h264", "mp2", "pcm_s24le"),
        ("prores", "prores", "libopus", "pcm_s24le"),
        ("webm", "vp9", "libopus", "opus"),
        ("webm", "vp9", "vorbis", "vorbis"),
        ("webm", "vp9", "pcm_s16le", "opus"),
    ],
)
def test_sound_is_copied_where_it_may_be(tmp_path, name, codec, given, result):
    """A burst in the middle stays in its place, and copied packets keep their bytes."""
    rate, place = 48000, 0.5
    tone = (0.6 * np.sin(np.arange(rate) / 8) * (np.abs(np.arange(rate) / rate - place) < 0.05)).astype(np.float32)
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as out:
        video = out.add_stream("libx264", rate=12)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream(given, rate=rate, layout="stereo", options={"strict": "-2"})  # Vorbis is an experiment
        for picture in pictures():
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        samples.sample_rate = rate
        out.mux([*sound.encode(samples), *sound.encode(None), *video.encode(None)])
    form = FileForm(name, codec, 10 if name == "prores" else 8)
    path, info = tmp_path / f"a{form.container.suffix}", probe(clip)
    with Writer(path, SIZE, Fraction(12), Sound(info, Fraction(0), Fraction(1)), form=form) as writer:
        writer.write(pictures())
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == result
    if given != "vorbis":  # FFmpeg's own encoder of Vorbis is an experiment
        loud = loud_at(path)
        assert min(loud) == pytest.approx(place - 0.05, abs=0.03)
        assert max(loud) == pytest.approx(place + 0.05, abs=0.03)
    if result == given.removeprefix("lib") and result != "pcm_s16le":  # a mov parts PCM anew
        assert set(packets(path)) <= set(packets(clip))
    if result == "pcm_s16le":
        assert b"".join(packets(path))[: 4 * rate // 2] == b"".join(packets(clip))[: 4 * rate // 2]


@pytest.mark.parametrize(
    ("name", "layout", "result"),
    [
        ("mp4", "5.1", "5.1"),
        ("mp4", "5.1(side)", "5.1"),
        ("mp4", "7.1", "7.1"),
        ("mp4", "6.1", "5.1"),
        ("webm", "5.1(side)", "5.1"),
        ("webm", "4.0", "stereo"),
        ("mov", "7.1", "7.1"),
    ],
)
def test_every_loudspeaker_keeps_its_place(tmp_path, name, layout, result):
    """A tone goes from one to the next; what cannot be kept is mixed, and told."""
    rate, count = 48000, av.AudioLayout(layout).nb_channels
    turn = rate // count
    tone = 0.5 * np.sin(np.arange(turn * count) / 9)[:, None] * np.eye(count).repeat(turn, 0)
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as out:
        video, sound = out.add_stream("libx264", rate=12), out.add_stream("wavpack", rate=rate, layout=layout)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures():
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(tone.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
        samples.sample_rate = rate
        out.mux([*sound.encode(samples), *sound.encode(None), *video.encode(None)])
    info, form = probe(clip), form_of(FileOptions(name), probe(clip))
    path = tmp_path / f"a{form.container.suffix}"
    with Writer(path, SIZE, Fraction(12), Sound(info, Fraction(0), Fraction(1)), form=form) as writer:
        writer.write(pictures())
    with av.open(str(path)) as made:
        stream = made.streams.audio[0]
        assert stream.layout.name == result
        packed = av.AudioResampler("flt", result, rate)
        heard = [piece.to_ndarray() for frame in made.decode(stream) for piece in packed.resample(frame)]
        levels = np.abs(np.concatenate([piece.reshape(-1, stream.channels) for piece in heard]))
    told = [text for text in of_file(FileOptions(name), info) if "is mixed from" in text]
    if stream.channels == count:
        starts = range(1500, turn * count, turn)
        assert [levels[start : start + turn - 3000].sum(0).argmax() for start in starts] == list(range(count))
        assert told == []
    else:
        (text,) = told
        assert f"is mixed from {layout} to {result}" in text


@pytest.mark.parametrize("name", ["mp4", "mov"])
def test_sound_of_a_whole_clip_is_that_of_the_clip(tmp_path, name):
    """Every packet, AAC's first too, which sounds of nothing but is needed for the next; and the same samples."""
    rate = 44100
    tone = (0.5 * np.sin(np.arange(round(1.125 * rate)) / 16)).astype(np.float32)[None]
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as out:
        video = out.add_stream("libx264", rate=8)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream("aac", rate=rate, layout="mono")
        for picture in pictures(count=9):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = rate, 0, Fraction(1, rate)
        out.mux([*sound.encode(samples), *sound.encode(None), *video.encode(None)])
    info, path = probe(clip), tmp_path / f"a.{name}"
    with Writer(path, SIZE, Fraction(8), Sound(info, Fraction(0), Fraction(9, 8)), form=FileForm(name, "h264")) as out:
        out.write(pictures(count=9))
    assert packets(path) == packets(clip)
    assert np.array_equal(samples_of(path), samples_of(clip))


def samples_of(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)


def loud_at(path):
    """The times of what is loud in a file."""
    with av.open(str(path)) as container:
        heard = [(frame.time, np.abs(frame.to_ndarray().astype(float)).max()) for frame in container.decode(audio=0)]
    return [time for time, level in heard if level > 0.5 * max(level for _, level in heard)]


def test_several_tracks_in_their_order(tmp_path):
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as out:
        video = out.add_stream("libx264", rate=12)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sounds = [out.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        for stream, language in zip(sounds, ("deu", "fra"), strict=True):
            stream.metadata["language"] = language
        for picture in pictures():
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for place, stream in enumerate(sounds):
            tone = (0.5 * np.sin(np.arange(48000) / (8 + 9 * place)))[None].astype(np.float32)
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.sample_rate = 48000
            out.mux([*stream.encode(samples), *stream.encode(None)])
        out.mux(video.encode(None))
    path = tmp_path / "a.mov"
    sound = Sound(probe(clip), Fraction(0), Fraction(1), (2, 1))
    with Writer(path, SIZE, Fraction(12), sound, form=FileForm("mov")) as writer:
        writer.write(pictures())
    found = []
    for place in (clip, path):
        with av.open(str(place)) as container:
            sounds = container.streams.audio
            names = [stream.metadata["language"] for stream in sounds]
        copied = [_packets_of(place, number) for number in range(len(names))]
        found.append(dict(zip(names, copied, strict=True)))
    assert list(found[1]) == ["fra", "ger"]
    for copied, own in zip(found[1].values(), (found[0]["fra"], found[0]["deu"]), strict=True):
        assert copied == own[: len(copied)]
        assert len(copied) >= len(own) - 2


def test_subtitles_are_copied_and_cut(tmp_path):
    clip = Path(__file__).parents[1] / "data" / "cases" / "subs.mp4"
    info = probe(clip)
    with av.open(str(clip)) as container:
        place = container.streams.subtitles[0].index
        shown = [(p.pts * p.time_base, p.duration * p.time_base, bytes(p)) for p in container.demux(place) if p.size]
    begin, seconds = Fraction(1, 2), Fraction(1)
    with Writer(tmp_path / "a.mp4", SIZE, FPS, Sound(info, begin, seconds, (place,))) as writer:
        writer.write(pictures(count=24))
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.subtitles[0]
        found = [(p.pts * p.time_base, p.duration * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
    cut = [(max(a, begin), min(a + b, begin + seconds), text) for a, b, text in shown]
    assert [each for each in found if len(each[2]) > 2] == [
        (a - begin, b - a, text) for a, b, text in cut if a < b and len(text) > 2
    ]


def test_frames_as_pngs(tmp_path, source):
    with FolderWriter(tmp_path / "frames", comment="made so", video=source) as writer:
        writer.write(pictures())
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == [f"{number:05}.png" for number in range(1, FRAMES + 1)]
    for file, picture in zip(files, pictures(), strict=True):
        with Image.open(file) as image:
            assert (np.asarray(image) == picture).all()
            assert image.info["Comment"] == "made so"
    assert comment(files[0]) == "made so"


def test_a_gif_keeps_time(tmp_path):
    lasting = in_hundredths([frame / FPS for frame in range(FRAMES + 1)])
    text = json.dumps({"long": "x" * 900})
    with AnimationWriter(tmp_path / "a.gif", None, range(FRAMES), lasting, text) as writer:
        writer.write(pictures())
    found = []
    with Image.open(tmp_path / "a.gif") as image:
        for frame in range(image.n_frames):
            image.seek(frame)
            found.append((image.info["duration"], np.asarray(image.convert("RGB"))))
    assert sum(each for each, _ in found) == 500  # 12 frames of 1001/24000 s
    assert {each for each, _ in found} == {40, 50}
    assert psnr(np.stack([picture for _, picture in found]), pictures()) > 25
    assert comment(tmp_path / "a.gif") == text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "gif", "crf": 3}, "--crf 3 is for videos, and --format gif is none"),
        ({"format": "png", "codec": "av1"}, "--codec av1 is for videos, and --format png is none"),
        ({"format": "webm", "codec": "h264"}, "--codec h264 does not go into --format webm: it takes vp9 and av1"),
        ({"format": "mov", "codec": "av1"}, "it takes h264 and h265"),
        ({"format": "prores", "codec": "h264"}, "leave --codec out"),
        ({"format": "prores", "crf": 3}, "--crf 3 has no meaning for prores"),
        ({"format": "prores", "bit_depth": 8}, "--bit-depth 8 is not there for prores"),
        ({"codec": "h264", "crf": 52}, "--crf 52 is out of range for h264: 0 (the best) to 51"),
        ({"format": "webm", "codec": "av1", "crf": 64}, "0 (the best) to 63"),
    ],
)
def test_what_makes_no_sense_is_refused(source, options, said):
    with pytest.raises(InputError) as error:
        form_of(FileOptions(**options), source)
    assert said in str(error.value)


def test_a_still_stays_a_png(tmp_path):
    Image.new("RGB", (20, 16)).save(tmp_path / "a.png")
    still = probe(tmp_path / "a.png")
    assert form_of(FileOptions(), still) == form_of(FileOptions(format="png"), still)
    for options in ({"format": "mp4"}, {"crf": 3}, {"codec": "h265"}, {"bit_depth": 10}):
        with pytest.raises(InputError, match="the edit of a still is a PNG"):
            form_of(FileOptions(**options), still)


def test_an_encoder_that_is_not_there_is_named(source, monkeypatch):
    monkeypatch.setattr("flowedit.media.formats.resolve.codec_known", lambda name, write: name != "libsvtav1")
    with pytest.raises(InputError, match=r"no encoder of av1 \(libsvtav1\) here: it has h264 and h265"):
        form_of(FileOptions(codec="av1"), source)


def test_every_encoder_is_in_pyav():
    from flowedit.media.probe import codec_known

    assert [name for name, each in ENCODERS.items() if not codec_known(each.library, write=True)] == []
    assert all(set(each.codecs) <= set(ENCODERS) for each in CONTAINERS.values())


@pytest.mark.parametrize(
    ("size", "form", "pixels"),
    [
        ((64, 96), FileForm(), "yuv420p"),
        ((63, 96), FileForm(), "yuv444p"),
        ((63, 96), FileForm("prores", "prores", 10), "yuv422p10le"),
        ((64, 95), FileForm("prores", "prores", 10), "yuv444p10le"),
        ((64, 96), FileForm("prores", "prores", 10, alpha=True), "yuva444p10le"),
        ((64, 96), FileForm(codec="h265", depth=10, chroma="422"), "yuv422p10le"),
        ((64, 96), FileForm(codec="av1", chroma="444"), "yuv420p"),
        ((63, 95), FileForm("webm", "vp9", alpha=True, chroma="444"), "yuva420p"),
    ],
)
def test_pixels_of_a_size(size, form, pixels):
    assert form.pixel_format(size) == pixels


@pytest.mark.parametrize(
    ("options", "size", "bits", "alpha", "codec"),
    [
        ({}, (8, 96), 10, False, "h264"),  # h265 takes no such side
        ({"format": "webm"}, (63, 96), 10, False, "vp9"),  # which is of 8 bits, as the user hears
        ({"format": "webm"}, (64, 16), 10, False, "vp9"),
        ({"format": "webm"}, (64, 96), 10, True, "vp9"),
        ({"codec": "av1"}, (63, 96), 8, False, "is 96x63, and av1 takes even sides of 32 or more alone"),
        ({"codec": "av1"}, (64, 16), 8, False, "is 16x64, and av1 takes even sides of 32 or more alone"),
        ({"codec": "h265"}, (8, 96), 8, False, "is 96x8, and h265 takes sides of 16 or more alone"),
    ],
)
def test_sides_that_a_codec_does_not_take(source, options, size, bits, alpha, codec):
    video, asked = replace(source, size=size, bits=bits, alpha=alpha), FileOptions(**options)
    if " " in codec:
        with pytest.raises(InputError, match=codec):
            form_of(asked, video)
    else:
        assert form_of(asked, video).codec == codec


EVERY = [
    (name, codec, depth, alpha)
    for name, container in CONTAINERS.items()
    for codec in container.codecs
    for depth in ENCODERS[codec].depths
    for alpha in ((False, True) if ENCODERS[codec].alpha else (False,))
]


@pytest.mark.parametrize(("name", "codec", "depth", "alpha"), EVERY)
def test_every_way_to_hold_pixels_is_encoded(tmp_path, name, codec, depth, alpha):
    """Whatever a source's chroma and sides are, of RGB and of planes: what comes back is the picture."""
    for chroma, (height, width) in product(("420", "422", "444"), ((32, 48), (31, 48), (32, 47), (31, 47))):
        if codec == "av1" and (height % 2 or width % 2):
            continue  # refused before: see the test above
        form, frames = FileForm(name, codec, depth, alpha, chroma), pictures((height, width), 2)
        path = tmp_path / f"a{form.container.suffix}"
        hole = np.full((height, width), 255, np.uint8)
        hole[:16, :16] = 0
        stored = [Planar(tuple(np.moveaxis(frame, -1, 0)), hole, 8, "rgb", True) for frame in frames]
        with Writer(path, (height, width), FPS, form=form) as writer:
            writer.write(frames[:1])
            writer.write(stored[1:] if alpha else frames[1:])
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            decoder = av.CodecContext.create("libvpx-vp9", "r") if alpha and codec == "vp9" else stream.codec_context
            found = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        assert [(frame.height, frame.width) for frame in found] == [(height, width)] * 2
        samples = [name.split("p")[0] for name in (found[0].format.name, form.pixel_format((height, width)))]
        assert samples[0] == samples[1]  # 4444 of 10 bits is decoded as 12
        rgba = [frame.reformat(format="rgba", interpolation=EXACT | Interpolation.BICUBIC) for frame in found]
        seen = [frame.to_ndarray() for frame in rgba]
        assert psnr(seen[0][..., :3], frames[0]) > 30
        assert np.abs(seen[1][..., 3].astype(int) - (hole if alpha else 255)).max() <= 4


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, "what it leaves keeps its own bits"),
        ({"format": "prores"}, "what it leaves keeps its own bits"),
        ({"format": "png"}, "all of it is written with 8, as --format png is"),
        ({"format": "gif"}, "all of it is written with 8, as --format gif is"),
        ({"bit_depth": 8}, "all of it is written with 8, as --format mp4 is of h264"),
        ({"bit_depth": 10}, "all of it is written with 10, as --format mp4 is of h265"),
    ],
)
def test_one_line_says_what_becomes_of_the_bits(source, options, kept):
    bits = 12 if options.get("bit_depth") == 10 else 10
    told = [text for text in of_file(FileOptions(**options), replace(source, bits=bits)) if " bits" in text]
    assert told == [f"{source.path} has {bits} bits a component: the edit is made in 8, and {kept}"]


def faulty(*given, **named):
    raise av.error.InvalidDataError(1, "Invalid data")


@pytest.mark.parametrize(
    ("place", "heard", "said"),
    [
        (
            "flowedit.media.sound.SoundTrack.advance",
            True,
            "cannot write the sound of {path} as mp4: .*take the sound out",
        ),
        (
            "flowedit.media.sound.SoundTrack.finish",
            True,
            "cannot write the sound of {path} as mp4: .*take the sound out",
        ),
        ("flowedit.media.writer.Writer._mux", False, "cannot write {path} as mp4: .*; choose another --format$"),
        ("flowedit.media.writer.Writer._mux", True, "choose another --format, or take the sound out"),
    ],
)
def test_a_fault_says_what_is_at_fault(tmp_path, monkeypatch, source, place, heard, said):
    path, sound = tmp_path / "a.mp4", Sound(source, Fraction(0), FRAMES / FPS) if heard else None
    monkeypatch.setattr(place, faulty)
    with pytest.raises(InputError, match=said.format(path=path)), Writer(path, SIZE, FPS, sound) as writer:
        writer.write(pictures())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("heard", [True, False])
def test_what_an_encoder_refuses_is_no_fault_of_the_sound(tmp_path, source, heard):
    """x265 takes no side below 16, which `form_of` refuses before."""
    sound = Sound(source, Fraction(0), FRAMES / FPS) if heard else None
    form = FileForm(codec="h265")
    with pytest.raises(InputError) as caught, Writer(tmp_path / "a.mp4", (8, 64), FPS, sound, form=form) as writer:
        writer.write(pictures((8, 64)))
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a.mp4'}: libx265 does not encode yuv420p of 64x8 (Invalid argument); "
        "choose another --codec or --format"
    )


def test_a_new_kind_of_file_is_one_entry(tmp_path, source):
    """What follows from it: the codecs and their check, the file's name, the sound, the notices, the aspect."""
    about = {"muxer": "matroska", "file": "edit.mkv", "codecs": ("h264", "h265", "vp9"), "deep": "h265"}
    sound = {"sound": frozenset({"flac"}), "encoded": "libopus", "spoken": "Opus"}
    CONTAINERS.add("mkv", Container("Matroska", **about, **sound, square=True))
    try:
        form = form_of(FileOptions("mkv"), replace(source, bits=10))
        assert (form.codec, form.depth, form.file) == ("h265", 10, "edit.mkv")
        assert form_of(FileOptions("mkv"), replace(source, alpha=True)).codec == "vp9"
        clear = replace(source, alpha=True, path=Path("a.mkv"))
        assert form_of(FileOptions(), clear).format == "mkv"
        with pytest.raises(InputError, match="--codec av1 does not go into --format mkv: it takes h264, h265 and vp9"):
            form_of(FileOptions("mkv", "av1"), source)
        told = list(of_file(FileOptions("mkv"), replace(source, pixel_aspect=Fraction(4, 3))))
        assert told == [
            f"the pixels of {source.path} are 4:3, which mkv cannot say: the result has square ones, 128x64",
            f"the sound of {source.path} becomes Opus: mkv cannot hold its aac",
        ]
        form = form_of(FileOptions("mkv"), source)
        with Writer(tmp_path / form.file, SIZE, FPS, Sound(source, Fraction(0), FRAMES / FPS), form=form) as writer:
            writer.write(pictures())
        with av.open(str(tmp_path / "edit.mkv")) as container:
            assert container.format.name == "matroska,webm"
            assert [each.codec_context.codec.canonical_name for each in container.streams] == ["h264", "opus"]
    finally:
        CONTAINERS.remove("mkv")


SQUARE = ("webm", "png", "gif")
"""Formats whose pixels are square."""


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9)])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("name", "codec"),
    [(name, codec) for name, each in CONTAINERS.items() for codec in each.codecs] + [("png", "png"), ("gif", "gif")],
)
def test_pixels_that_are_not_square_have_their_aspect(tmp_path, source, name, codec, stored, aspect):
    """Each kind of file says it, or has square pixels of the same picture; that is told."""
    video, (height, width), frames = replace(source, pixel_aspect=aspect), SIZE, pictures(count=2)
    given = [Planar(tuple(np.moveaxis(each, -1, 0)), None, 8, "rgb", True) for each in frames] if stored else frames
    form = FileForm(name, codec, 10 if name == "prores" else 8)
    if name == "png":
        path, writer = tmp_path / "00001.png", FolderWriter(tmp_path, video=video)
    elif name == "gif":
        path = tmp_path / "a.gif"
        writer = AnimationWriter(path, None, range(2), [80, 80], video=video)
    else:
        path = tmp_path / f"a{form.container.suffix}"
        writer = Writer(path, SIZE, FPS, pixel_aspect=aspect, form=form)
    with writer:
        writer.write(given)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shape, found = (stream.height, stream.width), Fraction(stream.sample_aspect_ratio or 1)
        frame = next(container.decode(stream)).to_ndarray(format="rgb24")
    assert shape == ((height, 2 * round(width * aspect / 2)) if name in SQUARE else SIZE)
    assert found == (1 if name in SQUARE else aspect)
    assert np.abs(frame - resize(frames[:1], shape)[0].astype(float)).mean() < (12 if name == "gif" else 4)
    told = [each for each in of_file(FileOptions(name), video) if "square" in each]
    w, h = aspect.numerator, aspect.denominator
    line = f"the pixels of {video.path} are {w}:{h}, which {name} cannot say: the result has square ones, {shape[1]}x64"
    assert told == ([line] if name in SQUARE else [])
