"""What of a file would be lost or shift: refused or told, with commands that are run here and mend it."""

import itertools
import shlex
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from flowedit.media import colours, refusals
from flowedit.media.colours import Colour
from flowedit.media.formats.forms import FileForm, FileOptions
from flowedit.media.formats.resolve import of_file
from flowedit.media.probe import probe
from flowedit.media.reader import read, read_planar
from flowedit.media.writer import Writer
from flowedit.messages import InputError
from flowedit.metrics.pixels import psnr

CASES = Path(__file__).parents[1] / "data" / "cases"


def case(tmp_path, name):
    """A copy of a case, so that what a command writes lies beside it."""
    return Path(shutil.copy(CASES / name, tmp_path / name))


def scene(count, size=(96, 160), channels=3):
    """Smooth frames, a disc that moves by 4 pixels a frame over a gradient; opaque."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = np.full((count, *size, channels), 255, np.uint8)
    for i, frame in enumerate(frames):
        frame[..., 0], frame[..., 1], frame[..., 2] = 40 + columns % 200, 60 + rows, 90
        frame[(rows - 40) ** 2 + (columns - 30 - 4 * i) ** 2 < 400, :3] = (210, 80, 50)
    return frames


def make(path, frames, codec="libx264", fmt="yuv420p", rate=12, times=None, colour=None, **options):
    """A video by PyAV; `times` in ticks of 1/(12000) s; `colour` is primaries, transfer and matrix."""
    metadata = options.pop("metadata", {})
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options={"crf": "8", **options})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], fmt
        stream.metadata.update(metadata)
        stream.codec_context.time_base = Fraction(1, 12000)
        if colour is not None:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace = colour
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[-1] == 4 else "rgb24")
            picture = picture.reformat(format=fmt)
            picture.pts, picture.time_base = times[i] if times else round(i * 12000 / rate), Fraction(1, 12000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def said(path):
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        probe(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def command(message):
    """The words of the ffmpeg command that a message ends with."""
    assert message.count("ffmpeg -") == 1
    return shlex.split(message[message.index("ffmpeg -") :])


def obey(message):
    """Run the command that a message ends with, by ffmpeg where it is installed and by PyAV elsewhere; its file."""
    words = command(message)
    if shutil.which("ffmpeg"):
        subprocess.run([*words[:1], "-v", "error", "-y", *words[1:]], check=True, timeout=60)
    else:
        by_pyav(words)
    return Path(words[-1])


def by_pyav(words):
    """The same filters and encoder by PyAV, at the filters' own rate; skips where its build lacks a filter."""
    chain = [each.partition("=")[::2] for each in words[words.index("-vf") + 1].split(",")]
    if missing := {name for name, _ in chain} - av.filter.filters_available:
        pytest.skip(f"no ffmpeg, and PyAV has no filter {', '.join(missing)}")
    options = {key[1:]: words[words.index(key) + 1] for key in ("-framerate", "-start_number") if key in words}
    codec = words[words.index("-c:v") + 1]
    with av.open(words[words.index("-i") + 1], options=options) as source, av.open(words[-1], "w") as out:
        stream = source.streams.best("video")
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=stream), *(graph.add(*each) for each in chain), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        encoder = None
        frames = (frame for packet in source.demux(stream) for frame in packet.decode())
        for frame in itertools.chain(frames, [None]):
            graph.push(frame)
            while True:
                try:
                    picture = graph.vpull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    break
                if encoder is None:
                    rate = next((Fraction(value) for name, value in chain if name == "fps"), stream.average_rate)
                    encoder = out.add_stream(codec, rate=rate, options={"crf": words[words.index("-crf") + 1]})
                    encoder.height, encoder.width, encoder.pix_fmt = picture.height, picture.width, picture.format.name
                    context = encoder.codec_context
                    context.time_base = picture.time_base
                    context.colorspace, context.color_range = picture.colorspace, picture.color_range
                    context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc
                picture.pict_type = 0
                out.mux(encoder.encode(picture))
        out.mux(encoder.encode(None))


def whole(path):
    video = probe(path)
    return np.concatenate(list(read(video, range(video.frames))))


# --- rates ---


def test_frames_that_share_a_time_are_refused_and_mended(tmp_path):
    frames = scene(12, (32, 48))
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
        for i, frame in enumerate(frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                packet.pts = packet.dts = 100 * (i - (i == 5))
                packet.time_base = Fraction(1, 1000)
                out.mux(packet)
    message = said(path)
    assert "frames that share a time" in message
    assert "fps=10," in message
    assert probe(obey(message)).fps == 10


# --- odd sizes, alpha: more in planes/test_alpha.py ---


@pytest.mark.parametrize(("name", "size"), [("opaque.gif", (96, 160)), ("odd.gif", (95, 161))])
def test_a_gif_without_a_transparent_pixel_is_taken(name, size):
    video = probe(CASES / name)
    assert (video.size, video.frames) == (size, 24)
    plain = whole(CASES / "plain.mp4")
    assert psnr(whole(CASES / name)[:, :95, :160], plain[:, :95]) > 22


def test_a_tag_without_alpha_is_taken():
    video = probe(CASES / "alpha_tag_only.webm")
    assert (video.frames, video.notices) == (24, ())
    assert psnr(whole(video.path), whole(CASES / "plain.mp4")) > 28


# --- interlaced ---


def test_interlaced_footage_is_told_and_its_command_mends_it(tmp_path):
    video = probe(case(tmp_path, "inter.mp4"))
    (notice,) = video.notices
    assert "is interlaced: what moves shows combs" in notice
    mended = probe(obey(notice))
    assert (mended.notices, mended.frames, mended.fps, mended.size) == ((), video.frames, video.fps, video.size)
    assert combs(whole(mended.path)) < 0.6 * combs(whole(video.path))


def combs(frames):
    """How much rows differ from the mean of those above and below, where the picture moves."""
    grey = frames.astype(float).mean(-1)
    bent = np.abs(2 * grey[:, 1:-1] - grey[:, 2:] - grey[:, :-2])
    return bent[1:][np.abs(np.diff(grey, axis=0))[:, 1:-1] > 20].mean()


def test_interlaced_frames_of_ten_bits_are_told(tmp_path):
    woven = scene(12, (96, 160))
    woven[:-1, 1::2] = woven[1:, 1::2]
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
    video = probe(make(tmp_path / "a.mp4", woven, fmt="yuv422p10le", **options))
    combed, deep = of_file(FileOptions(), video)
    assert "10 bits a component" in deep
    chain = command(combed)[command(combed).index("-vf") + 1]
    assert chain == "bwdif=mode=send_frame:deint=all,format=yuv420p"
    assert probe(obey(combed)).notices == ()


# --- colours ---

NAMES = colours.PRIMARIES, colours.TRANSFERS, colours.MATRICES
EVERY = [
    *((number, 1, 1) for number in colours.PRIMARIES),
    *((1, number, 1) for number in colours.TRANSFERS),
    *((1, 1, number) for number in colours.MATRICES if number),
    (2, 2, 2),
    (2, 2, 6),
    (9, 16, 9),
    (9, 18, 9),
    (9, 14, 9),
    (2, 16, 2),
    (9, 16, 14),
    (9, 18, 10),
    (1, 9, 1),
    (12, 10, 6),
    (9, 2, 2),
    (12, 13, 5),
]


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("tags", EVERY, ids=lambda tags: "-".join(map(str, tags)))
def test_colours_are_kept_with_their_tags_or_refused_by_name(tmp_path, tags, fmt):
    written = {} if tags[0] < 22 and tags[2] < 15 else {"codec": "ffv1"}  # x264 has no word for some
    path = make(tmp_path / ("a.mkv" if written else "a.mp4"), scene(2, (64, 96)), fmt=fmt, colour=tags, **written)
    told = [names[number] for names, number in zip(NAMES, tags, strict=True) if number != 2]
    wrong = [name for name in told if not (name.kept or name.shown)]
    if wrong:
        message = said(path)
        assert "which cannot be edited and kept" in message
        assert all(name.text in message for name in wrong)
        if "convert it first" not in message:
            assert message.endswith("; export it again, as BT.709 of 8 bits")
            return
        mended = probe(obey(message))
        assert (mended.frames, mended.colour) == (2, Colour(1, 1, 1))
        return
    video = probe(path)
    wide = 9 in tags[:1] or (tags[0] == 2 and tags[1] in (colours.PQ, colours.HLG))
    assert video.colour == Colour(tags[0], tags[1], tags[2] if tags[2] != 2 else 9 if wide else 6)
    strange = [name.text for name in told if not name.kept]
    assert video.planar == bool(strange or "10" in fmt)
    assert all(any(text in notice for notice in video.notices) for text in strange)
    form = FileForm(codec="h265" if "10" in fmt else "h264", depth=video.bits)
    with Writer(tmp_path / "b.mp4", video.size, video.fps, colour=video.colour, form=form, crf=4) as out:
        out.write([stored for stored, _ in read_planar(video, range(2))] if video.planar else whole(path))
    again = probe(tmp_path / "b.mp4")
    assert (again.colour, again.bits) == (video.colour, video.bits)
    assert np.abs(whole(tmp_path / "b.mp4").astype(float) - whole(path)).mean() < 2


def test_display_p3_is_shown_as_bt709_of_the_same_looks(tmp_path):
    """A flat P3 colour, converted by hand with sRGB's curve."""
    linear = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    shown = np.array([150, 110, 90]) / 255
    light = linear @ np.where(shown < 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    path = make(tmp_path / "a.mp4", np.full((3, 64, 96, 3), (150, 110, 90), np.uint8), colour=(12, 1, 6))
    assert "SMPTE EG 432 (Display P3) primaries" in probe(path).notices[0]
    np.testing.assert_allclose(whole(path).mean((0, 1, 2)), expected, atol=2)


def test_dolby_vision_is_refused(tmp_path):
    if "libx265" not in av.codecs_available:
        pytest.skip("no HEVC encoder")
    path = make(tmp_path / "a.mp4", scene(3), "libx265", "yuv420p10le")
    data = path.read_bytes()
    for tag in (b"hev1", b"hvc1"):
        data = data.replace(tag, b"dvh1")
    path.write_bytes(data)
    assert "Dolby Vision" in said(path)
    assert said(path).endswith("; export it again, as BT.709 of 8 bits")


# --- what else a file holds ---


@pytest.mark.parametrize(("name", "tracks"), [("two_mono.mov", 2), ("two_audio.mp4", 2), ("subs.mp4", 2)])
def test_all_sound_and_subtitles_are_tracks_and_need_no_word(name, tracks):
    video = probe(CASES / name)
    assert (len(video.tracks), video.notices) == (tracks, ())


def test_subtitles_that_a_kind_of_file_cannot_hold_are_named():
    video = probe(CASES / "subs.mp4")
    assert not any("subtitles" in text for text in of_file(FileOptions(), video))
    texts = list(of_file(FileOptions(format="webm"), video))
    assert any(text.endswith("which webm cannot hold: the result leaves it out") for text in texts)


def test_a_file_with_nothing_else_is_taken_without_a_word():
    assert probe(CASES / "plain.mp4").notices == ()


# --- what is no file ---


@pytest.mark.parametrize("address", ["https://example.com/a.mp4", "s3://bucket/a.mp4", "rtsp://camera:554/1"])
def test_an_address_is_told(address):
    for given in (address, Path(address)):
        with pytest.raises(InputError, match="is an address: download the video first, and give the file") as caught:
            probe(given)
        assert str(caught.value).startswith(f"{given} is")


@pytest.mark.parametrize("name", ["-a.mp4", "it's a: b.mp4", "50%d.mp4", "ü ñ.mp4"])
def test_commands_take_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / name, scene(3, (32, 48)), colour=(1, 1, 8))
    assert probe(obey(said(path.relative_to(tmp_path)))).frames == 3


def test_a_command_has_the_chroma_that_its_size_allows():
    fault = refusals.UNDECODED
    assert "format=yuv420p " in refusals.refusal(Path("a.mp4"), (96, 160), [fault])
    assert "format=yuv444p " in refusals.refusal(Path("a.mp4"), (96, 161), [fault])
