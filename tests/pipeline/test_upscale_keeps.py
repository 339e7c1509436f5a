"""What `flowedit upscale` keeps of a clip, as an edit does: read again by PyAV and Pillow without any code of ours."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from flowedit.media.colours import BT709
from flowedit.media.planes.picture import Planar
from flowedit.media.planes.tone import _pq_light, _pq_signal
from flowedit.media.probe import Video, probe
from flowedit.media.reader import read
from flowedit.pipeline.upscaled import pictures
from flowedit.upscaling.lanczos import lanczos

CASES = Path(__file__).parents[1] / "data" / "cases"
PQ = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}


@pytest.fixture
def upscaled(command, tmp_path):
    """Runs `flowedit upscale CLIP TIMES` by lanczos; returns the folder and what was said."""

    def run(clip, times=2, *flags):
        out = tmp_path / "out"
        code, _, err = command("upscale", clip, times, "--upscale", "lanczos", "--out", out, "--quiet", *flags)
        assert code == 0, err
        return out, err

    return run


def write(path, frames, codec, pixels, options=(), tags=(), times=None, matrix=None):
    """Frames, uint8 (F, H, W, 3 or 4) or planes of YUV as decoded, as a file of 10 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixels
        if frames[0].ndim == 2:
            stream.height = frames[0].shape[0] * 2 // 3
        stream.codec_context.time_base = Fraction(1, 1000)
        if times is not None:
            stream.codec_context.max_b_frames = 0
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for key, value in dict(tags).items():
            setattr(stream.codec_context, key, value)
        for number, picture in enumerate(frames):
            form = pixels if picture.ndim == 2 else "rgba" if picture.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, form)
            frame = frame if form == pixels else frame.reformat(format=pixels)
            frame.pts = 100 * number if times is None else round(1000 * times[number])
            frame.time_base = Fraction(1, 1000)
            for key, value in dict(tags).items():
                setattr(frame, key, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoded(path, decoder=None):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return list(container.decode(stream))
        other = av.CodecContext.create(decoder, "r")
        return [frame for packet in container.demux(stream) for frame in other.decode(packet if packet.size else None)]


def luma(frame):
    """The plane of luma of 10 bits, (h, w)."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : plane.width].astype(float)


def disc(size=(48, 64), radius=14):
    """A red disc on nothing, uint8 (H, W, 4); what cannot be seen is black."""
    rows, columns = np.indices(size)
    within = np.hypot(rows - size[0] / 2 + 0.5, columns - size[1] / 2 + 0.5) < radius
    return np.where(within[..., None], np.array([200, 0, 0, 255], np.uint8), np.uint8(0))


def over_black(rgba):
    return rgba[..., :3].astype(float) * rgba[..., 3:] / 255


@pytest.mark.parametrize(("transfer", "light"), [(16, 201.0), (18, None)])
def test_hdr_keeps_its_light_its_bits_and_its_tags(upscaled, tmp_path, transfer, light):
    level = 500 if light is None else round(64 + 876 * float(_pq_signal(np.float64(light / 203))))
    frame = np.full((96, 64), 512, np.uint16)  # the planes below each other; x265 breaks on frames below its blocks
    frame[:64] = level
    lossless = {"x265-params": "lossless=1:bframes=0:log-level=error"}
    tags = PQ | {"color_trc": transfer}
    path = write(tmp_path / "hdr.mp4", [frame] * 2, "libx265", "yuv420p10le", lossless, tags)
    out, said = upscaled(path)
    assert "is made larger in 8, and what stays alike keeps its own bits" in said
    frames = decoded(out / "video.mp4")
    assert len(frames) == 2
    for each in frames:
        assert (each.format.name, each.width, each.height) == ("yuv420p10le", 128, 128)
        assert (int(each.color_primaries), int(each.color_trc), int(each.colorspace)) == (9, transfer, 9)
        assert abs(luma(each).mean() - level) < 1
    if light is not None:
        shown = 203 * _pq_light((luma(frames[0]).mean() - 64) / 876)
        assert shown == pytest.approx(light, abs=3)


def ramp(size, step):
    """10 bits of a ramp that is finer than 8 bits, and chroma that falls along the rows."""
    rows = np.arange(size[0])[:, None] + np.zeros(size[1])
    return Planar(
        (
            (256 + step * rows).astype(np.uint16),
            (600 - 4 * np.arange(size[1] // 2) + np.zeros((size[0] // 2, 1))).astype(np.uint16),
            np.full((size[0] // 2, size[1] // 2), 512, np.uint16),
        ),
        None,
        10,
        "420",
    )


@pytest.mark.parametrize("scale", [2, 3])
def test_what_8_bits_do_not_hold_is_made_larger_too_and_chroma_stays_in_its_place(scale):
    """A ramp is a ramp: luma at (Y + 1/2)/s - 1/2, chroma of every second pixel at half of (X + 1/2)/s - 1/2."""
    video = Video(Path("a"), 1, (40, 48), Fraction(10), 0, False, bits=10, colour=BT709)
    picture, size = ramp((40, 48), 1), (40 * scale, 48 * scale)
    frame = np.ascontiguousarray(pictures.Depth(video.colour).shown(picture))
    larger = np.clip(np.rint(lanczos(frame, size)), 0, 255).astype(np.uint8)
    made = pictures.put_back(video, picture, frame, larger)
    assert (made.bits, made.size, made.planes[1].shape) == (10, size, (size[0] // 2, size[1] // 2))
    inner = slice(4 * scale, -4 * scale)
    rows = 256 + (np.arange(size[0]) + 0.5) / scale - 0.5
    assert np.abs(made.planes[0][inner, size[1] // 2] - rows[inner]).max() <= 1
    columns = 600 - 4 * (((2 * np.arange(size[1] // 2) + 0.5) / scale - 0.5) / 2)
    assert np.abs(made.planes[1][size[0] // 4, inner] - columns[inner]).max() <= 1


def test_an_upscalers_detail_is_in_the_pictures_own_planes():
    video = Video(Path("a"), 1, (40, 48), Fraction(10), 0, False, bits=10, colour=BT709)
    picture = ramp((40, 48), 1)
    frame = np.ascontiguousarray(pictures.Depth(video.colour).shown(picture))
    larger = np.repeat(np.repeat(frame, 2, 0), 2, 1)
    larger[20:40, 20:60] = 250
    made = pictures.put_back(video, picture, frame, larger)
    assert np.abs(made.planes[0][24:36, 24:56] - (64 + 876 * 250 / 255)).max() <= 4


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "left", "decoder"),
    [
        ("a.mov", "prores_ks", "yuva444p10le", "video.mov", None),
        ("a.webm", "libvpx-vp9", "yuva420p", "video.webm", "libvpx-vp9"),
    ],
)
def test_a_transparent_video_stays_so_and_gets_no_halo(upscaled, tmp_path, name, codec, pixels, left, decoder):
    path = write(tmp_path / name, [disc()] * 2, codec, pixels)
    out, said = upscaled(path)
    assert "keeps that" in said
    for frame in decoded(out / left, decoder):
        rgba = frame.reformat(format="rgba").to_ndarray()
        assert rgba.shape == (96, 128, 4)
        assert rgba[:4, :, 3].max() < 8
        assert rgba[44:52, 60:68, 3].min() > 247
        assert over_black(rgba)[..., 1:].max() < 40  # chroma of few samples; white around it gave more


def test_a_transparent_still_gets_no_halo(upscaled, tmp_path):
    Image.fromarray(disc()).save(tmp_path / "edit.png")
    out, said = upscaled(tmp_path / "edit.png", 3)
    assert f"{tmp_path / 'edit.png'} is transparent in places: picture.png keeps that" in said.replace("\n", "")
    made = np.asarray(Image.open(out / "picture.png"))
    assert made.shape == (144, 192, 4)
    shown = over_black(made)
    assert shown[..., 1:].max() <= 1
    assert shown[..., 0].max() <= 201
    seen = made[..., 3] > 0
    assert np.abs(made[seen][:, 0].astype(int) - 200).max() <= 1


def test_what_cannot_be_seen_is_filled_from_the_nearest():
    values = np.arange(30).reshape(5, 6)
    good = np.zeros((5, 6), bool)
    good[0, 0] = good[4, 5] = True
    made = pictures.filled(values, good)
    assert (made[0, :3] == 0).all()
    assert (made[4, 3:] == 29).all()
    np.testing.assert_array_equal(pictures.filled(values, np.zeros_like(good)), values)
    np.testing.assert_array_equal(pictures.filled(values, np.ones_like(good)), values)


def test_frames_that_come_unevenly_keep_their_times(upscaled, tmp_path):
    times = [0, 0.1, 0.2, 0.8, 0.9, 1.6]
    frames = [np.full((32, 48, 3), 40 * number, np.uint8) for number in range(6)]
    path = write(tmp_path / "vfr.mp4", frames, "libx264", "yuv420p", times=times)
    out, said = upscaled(path)
    found = decoded(out / "video.mp4")
    np.testing.assert_allclose([frame.time for frame in found], times, atol=2e-3)
    assert "at its own time" in said.replace("\n", " ")


def tracks(path):
    """Codec and language of each track of sound or subtitles, and how many packets it has."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        said = [(stream.codec_context.name, stream.metadata.get("language", "und")) for stream in streams]
        counts = dict.fromkeys((stream.index for stream in streams), 0)
        for packet in container.demux(streams):
            counts[packet.stream.index] += bool(packet.size)
        return said, [*counts.values()]


@pytest.mark.parametrize("name", ["two_audio.mp4", "subs.mp4"])
def test_all_tracks_are_kept(upscaled, name):
    out, _ = upscaled(CASES / name, 1.5)
    (before, many), (after, left) = tracks(CASES / name), tracks(out / "video.mp4")
    assert before == after
    assert np.abs(np.subtract(many, left)).max() <= 3


def test_what_becomes_of_sound_that_cannot_be_kept_is_said(upscaled):
    out, said = upscaled(CASES / "two_mono.mov", 1.5)
    assert "becomes AAC" in said
    assert [name for name, _ in tracks(out / "video.mp4")[0]] == ["aac", "aac"]


def test_deep_pictures_that_are_stored_turned_come_back_turned(upscaled, tmp_path):
    frame = np.full((96, 96), 512, np.uint16)
    frame[:64] = np.linspace(200, 800, 96)
    quarter = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    options = {"x265-params": "lossless=1:bframes=0:log-level=error"}
    path = write(tmp_path / "turned.mp4", [frame], "libx265", "yuv420p10le", options, matrix=quarter)
    own = probe(path)
    assert (own.size, own.rotation) == ((96, 64), 90)
    out, _ = upscaled(path)
    made = probe(out / "video.mp4")
    assert (made.size, made.rotation, made.bits) == ((192, 128), 90, 10)
    before, after = (np.concatenate(list(read(each, [0]))) for each in (own, made))
    assert np.abs(after[0, ::2, ::2].astype(int) - before[0]).mean() < 4
    assert before[0, 0].mean() < before[0, -1].mean()  # what was left is above


def test_pictures_that_move_keep_how_long_each_is_shown(upscaled, tmp_path):
    frames = [Image.fromarray(np.full((16, 20, 3), 60 * number, np.uint8)) for number in range(4)]
    lasting = [100, 100, 500, 100]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=lasting, loop=0)
    out, _ = upscaled(tmp_path / "a.gif")

    def delays(path):
        with Image.open(path) as image:
            found = []
            for number in range(image.n_frames):
                image.seek(number)
                found.append(image.info["duration"])
        return found

    assert delays(out / "video.gif") == lasting
    shown = [frame.time for frame in decoded(out / "video.mp4")]
    np.testing.assert_allclose(shown, [0, 0.1, 0.2, 0.7], atol=2e-3)
    again, _ = upscaled(tmp_path / "a.gif", 2, "--fps", 5)
    assert sum(delays(again / "video.gif")) == sum(lasting)
    assert all(each % 200 == 0 for each in delays(again / "video.gif"))  # of frames that are alike one is written


def test_a_folder_in_use_is_refused(command, clip_file, tmp_path):
    """An edit's folder, whose settings would be lost; and one that holds the clip, which would be deleted."""
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "run.yaml").write_text("kind: edit\n")
    row = tmp_path / "row" / "video_frames"
    row.mkdir(parents=True)
    Image.fromarray(disc()).save(row / "f_1.png")
    (tmp_path / "row" / "run.yaml").write_text("kind: upscale\n")
    for clip, out, said in ((clip_file, "edited", "holds an edit"), (row / "f_1.png", "row", "would replace")):
        code, _, err = command("upscale", clip, 2, "--upscale", "lanczos", "--out", tmp_path / out, "--quiet")
        assert code == 1
        assert said in err
        assert "choose another folder" in err
        assert len(err.strip().splitlines()) == 1
    assert (tmp_path / "edited" / "run.yaml").read_text() == "kind: edit\n"
    assert (row / "f_1.png").exists()
