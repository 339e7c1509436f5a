"""What goes in, and what an edit gives back of it: whole edits, read again by PyAV without any code of ours."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import flowedit
from flowedit.config.folder import example

CASES = Path(__file__).parents[1] / "data" / "cases"
README = Path(flowedit.__file__).parent / "media" / "README.md"
FOX = example("fox").with_suffix(".mp4")
ASKED = {
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
}
AS_IT_IS = {**ASKED, "strength": 0.0, "steps": 1}  # the clip itself: nothing is run, and all is written
PQ = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
GRADED = "colorprim=9:transfer=16:colormatrix=9:hdr10=1:max-cll=1000,400:master-display=" + (
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)


@pytest.fixture(scope="module")
def editor():
    return flowedit.load()


def fox(count=5):
    """The example's first frames, uint8 (F, H, W, 3)."""
    with av.open(str(FOX)) as container:
        frames = container.decode(video=0)
        return np.stack([next(frames).to_ndarray(format="rgb24") for _ in range(count)])


def write(path, frames, codec, pixels, options=(), tags=(), hole=False, aspect=Fraction(1)):
    """Frames as a file of 8 frames a second; with `hole` the left 64 columns are transparent."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.codec_context.sample_aspect_ratio = aspect
        for key, value in dict(tags).items():
            setattr(stream.codec_context, key, value)
        for number, picture in enumerate(frames):
            alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
            alpha[:, : 64 * hole] = 0
            frame = av.VideoFrame.from_ndarray(np.concatenate([picture, alpha], -1), "rgba").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 8)
            for key, value in dict(tags).items():
                setattr(frame, key, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoded(path, decoder=None):
    """The frames of a file, as PyAV decodes them, by another decoder if one is named."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if not decoder:
            return list(container.decode(stream))
        other = av.CodecContext.create(decoder, "r")
        frames = [frame for packet in container.demux(stream) if packet.size for frame in other.decode(packet)]
        return frames + other.decode(None)


def planes(frame):
    """The planes of a frame of 8 or of more bits, each (h, w)."""
    kind = np.uint16 if max(component.bits for component in frame.format.components) > 8 else np.uint8
    return [
        np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].astype(int) for plane in frame.planes
    ]


def test_times_of_their_own_come_back(tmp_path, editor):
    path = CASES / "vfr_drop.mp4"
    result = editor.edit(path, out=tmp_path / "out", **AS_IT_IS)
    times = [[frame.time - frames[0].time for frame in frames] for frames in (decoded(path), decoded(result.video))]
    assert len({round(1000 * (after - before)) for before, after in pairwise(times[0])}) > 1
    np.testing.assert_allclose(times[1], times[0], atol=5e-4)
    assert any("shows its frames unevenly" in notice for notice in result.notices)


RANGES = {
    "pq": (PQ, "libx265", "yuv420p10le", {"x265-params": f"lossless=1:log-level=error:{GRADED}"}),
    "hlg": ({**PQ, "color_trc": 18}, "libx265", "yuv420p10le", {"x265-params": "lossless=1:log-level=error"}),
    "display p3": ({**PQ, "color_primaries": 12, "color_trc": 1, "colorspace": 1}, "libx264", "yuv420p", {"qp": "0"}),
}
MOVED = 8
"""Of 1024 levels, outside the mask, as the README says."""


@pytest.mark.parametrize("name", RANGES)
def test_a_wide_range_keeps_its_bits_outside_the_mask_and_its_tags(tmp_path, editor, name):
    """Blended in the planes of the source: outside the mask nothing differs but by the encoder's own rounding.

    That the blend itself keeps every bit is shown in media/planes/test_blend.py.
    """
    tags, codec, pixels, options = RANGES[name]
    path = write(tmp_path / "in.mp4", fox(3), codec, pixels, options, tags)
    mask = np.zeros((256, 256), np.uint8)
    mask[96:224, 64:192] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    here = {"user_mask": tmp_path / "mask.png", "mask": "none", "crf": 0, "steps": 2}
    result = editor.edit(path, out=tmp_path / "out", **{**ASKED, **here})
    before, after = decoded(path), decoded(result.video)
    assert len(before) == len(after) == 3
    outside = mask == 0, *[mask[::2, ::2] == 0] * 2  # its sides are even: no sample of chroma lies across
    for one, other in zip(before, after, strict=True):
        assert other.format.name == pixels
        assert (other.color_primaries, other.color_trc, other.colorspace) == tuple(tags.values())
        kinds = " ".join(str(data.type) for data in other.side_data)
        assert ("MASTERING" in kinds and "CONTENT_LIGHT" in kinds) == (name == "pq")
        for plane, again, place in zip(planes(one), planes(other), outside, strict=True):
            assert np.abs(plane - again)[place].max() <= MOVED * (1 if "10" in pixels else 0.25)
    moved = np.abs(planes(before[1])[0] - planes(after[1])[0])
    assert moved.max() > (60 if "10" in pixels else 15)  # the edit is there
    assert any("a model is shown BT.709" in notice for notice in result.notices)
    assert f"moved by more than {MOVED} of 1024 levels" in README.read_text(encoding="utf-8")


def turned(path, across, down):
    """The file with a display matrix, copied: where what is stored across and down goes, (right, down) each."""
    made = path.with_name("turned.mp4")
    with av.open(str(path)) as source, av.open(str(made), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.set_display_matrix([*(65536 * x for x in across), 0, *(65536 * x for x in down), 0, 0, 0, 1 << 30])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return made


def matrix_of(frame):
    """What a frame says of how it is turned, in words of 4 bytes; None where it says nothing."""
    found = [bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    return np.frombuffer(found[0], np.int32).tolist() if found else None


@pytest.mark.parametrize(
    ("across", "down", "shown"),
    [
        ((0, 1), (-1, 0), lambda picture: np.rot90(picture, -1)),
        ((0, -1), (1, 0), np.rot90),
        ((-1, 0), (0, 1), lambda picture: picture[:, ::-1]),
    ],
    ids=["to the right", "to the left", "mirrored"],
)
def test_a_turned_picture_comes_back_upright(tmp_path, editor, across, down, shown):
    path = turned(write(tmp_path / "a.mp4", fox(2)[:, :192], "libx264", "yuv420p", {"crf": "4"}), across, down)
    result = editor.edit(path, out=tmp_path / "out", crf=4, **AS_IT_IS)
    for one, other in zip(decoded(path), decoded(result.video), strict=True):
        assert matrix_of(one) is not None
        assert matrix_of(other) is None
        upright = shown(one.to_ndarray(format="rgb24"))
        assert np.abs(upright.astype(float) - other.to_ndarray(format="rgb24")).mean() < 3


def test_ten_bits_turned_with_wide_pixels_come_back_as_they_are_stored(tmp_path, editor):
    options = {"x265-params": "lossless=1:log-level=error"}
    wide = {"options": options, "aspect": Fraction(4, 3)}
    path = turned(write(tmp_path / "a.mp4", fox(2)[:, :192], "libx265", "yuv420p10le", **wide), (0, 1), (-1, 0))
    result = editor.edit(path, out=tmp_path / "out", crf=0, **AS_IT_IS)
    shapes = []
    for file in (path, result.video):
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            shapes.append((stream.sample_aspect_ratio, stream.width, stream.height, stream.codec_context.pix_fmt))
    assert shapes[0] == shapes[1] == (Fraction(4, 3), 256, 192, "yuv420p10le")
    for one, other in zip(decoded(path), decoded(result.video), strict=True):
        assert matrix_of(one) == matrix_of(other) is not None
        for plane, again in zip(planes(one), planes(other), strict=True):
            assert np.abs(plane - again).max() <= MOVED


def test_combs_come_back(tmp_path, editor):
    result = editor.edit(CASES / "inter.mp4", out=tmp_path / "out", frames=3, crf=4, **AS_IT_IS)
    before = decoded(CASES / "inter.mp4")
    assert before[0].interlaced_frame
    for one, other in zip(before, decoded(result.video), strict=False):
        assert np.abs(one.to_ndarray(format="rgb24").astype(float) - other.to_ndarray(format="rgb24")).mean() < 3
    assert any("is interlaced: what moves shows combs, and keeps them" in notice for notice in result.notices)


def test_chapters_come_back(tmp_path, editor):
    """Those of the part that is edited, cut to it."""
    path = tmp_path / "a.mkv"
    with (
        av.open(str(write(tmp_path / "b.mp4", fox(8), "libx264", "yuv420p"))) as source,
        av.open(str(path), "w") as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        bounds = [(0, 250, "one"), (250, 700, "two"), (700, 1000, "three")]
        out.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(bounds)
            ]
        )
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    result = editor.edit(path, out=tmp_path / "out", start=4, **AS_IT_IS)
    with av.open(str(result.video)) as container:
        found = [
            (
                float(each["start"] * each["time_base"]),
                float(each["end"] * each["time_base"]),
                each["metadata"]["title"],
            )
            for each in container.chapters()
        ]
    assert found == [(0.0, 0.2, "two"), (0.2, 0.5, "three")]


def hdr10_plus():
    """A NAL unit of H.265 that says by SMPTE ST 2094-40 how bright a scene is: one window, no curve of tones."""
    bits = f"{1:08b}{1:02b}{400:027b}0" + 3 * f"{50000:017b}" + f"{20000:017b}{0:04b}{0:010b}" + "000"
    bits += "0" * (-len(bits) % 8)
    told = bytes.fromhex("b5003c000104") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    data, zeros = bytearray(), 0
    for byte in bytes([4, len(told)]) + told + b"\x80":
        if zeros == 2 and byte <= 3:  # no start code inside
            data, zeros = data + b"\3", 0
        data.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\x4e\x01" + bytes(data)


def test_what_is_left_out_is_told(tmp_path, editor):
    """HDR10+, another picture and an attachment: the result has none of them."""
    path, options = tmp_path / "a.mkv", {"x265-params": "lossless=1:log-level=error"}
    plain = write(tmp_path / "b.mp4", fox(2), "libx265", "yuv420p10le", options, PQ)
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        first, second = (out.add_stream_from_template(source.streams.video[0]) for _ in range(2))
        out.add_attachment("notes.txt", "text/plain", b"some notes")
        unit = hdr10_plus()
        for packet in source.demux(source.streams.video[0]):
            for stream in (first, second) if packet.size else ():
                whole = av.Packet(len(unit).to_bytes(4, "big") + unit + bytes(packet))
                whole.pts, whole.dts, whole.time_base, whole.stream = packet.pts, packet.dts, packet.time_base, stream
                whole.is_keyframe = packet.is_keyframe
                out.mux(whole)

    def plus(frame):
        return "DYNAMIC_HDR_PLUS" in [data.type.name for data in frame.side_data]

    assert all(map(plus, decoded(path)))
    result = editor.edit(path, out=tmp_path / "out", **AS_IT_IS)
    assert not any(map(plus, decoded(result.video)))
    with av.open(str(result.video)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    said = " ".join(result.notices)
    assert "also says by HDR10+ how its scenes are shown, which the result leaves out" in said
    assert "another picture" in said
    assert "an attachment" in said


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "left", "decoder"),
    [
        ("a.mov", "prores_ks", "yuva444p10le", "edit.mov", None),
        ("a.mov", "qtrle", "argb", "edit.mov", None),
        ("a.webm", "libvpx-vp9", "yuva420p", "edit.webm", "libvpx-vp9"),
    ],
)
def test_transparency_comes_back(tmp_path, editor, name, codec, pixels, left, decoder):
    path = write(tmp_path / name, fox(3), codec, pixels, hole=True)
    result = editor.edit(path, out=tmp_path / "out", **{**ASKED, "steps": 2})
    assert result.video.name == left
    for frame in decoded(result.video, decoder):
        alpha = frame.reformat(format="rgba").to_ndarray()[..., 3]
        assert alpha[:, :60].max() < 8
        assert alpha[:, 68:].min() > 247


@pytest.mark.parametrize("name", ["fox_sar2.mp4", "fox_sar4_3.mp4"])
def test_pixels_that_are_not_square_come_back(tmp_path, editor, name):
    result = editor.edit(CASES / name, out=tmp_path / "out", frames=1, **AS_IT_IS)
    with av.open(str(CASES / name)) as source, av.open(str(result.video)) as edit:
        shapes = [
            (each.streams.video[0].sample_aspect_ratio, each.streams.video[0].width, each.streams.video[0].height)
            for each in (source, edit)
        ]
    assert shapes[0] == shapes[1]


def tracks(path):
    """Codec and language of each track of sound or subtitles, and its packets."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        said = [(stream.codec_context.name, stream.metadata.get("language", "und")) for stream in streams]
        data = [[bytes(packet) for packet in container.demux(stream) if packet.size] for stream in streams[:1]]
    return said, data


@pytest.mark.parametrize(
    ("name", "options"), [("two_audio.mp4", {}), ("subs.mp4", {}), ("two_mono.mov", {"format": "mov"})]
)
def test_all_tracks_come_back(tmp_path, editor, name, options):
    result = editor.edit(CASES / name, out=tmp_path / "out", **AS_IT_IS, **options)
    (before, first), (after, again) = tracks(CASES / name), tracks(result.video)
    assert after == before
    assert len(before) >= 1
    start = first[0].index(
        again[0][0]
    )  # copied, not encoded anew; what an encoder put before the start may be left out
    assert again[0] == first[0][start : start + len(again[0])]
    assert len(first[0]) - len(again[0]) <= 3


KINDS = [
    ("a.mkv", "libx264", "yuv420p"),
    ("a.mov", "libx264", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.mpg", "mpeg2video", "yuv420p"),
]


@pytest.mark.parametrize(("name", "codec", "pixels"), KINDS, ids=[name for name, *_ in KINDS])
def test_each_container_comes_back(tmp_path, editor, name, codec, pixels):
    frames = fox(9) if codec != "mpeg2video" else np.repeat(fox(9), 3, 0)
    path = write(tmp_path / name, frames, codec, pixels) if codec != "mpeg2video" else CASES / "mp2.mpg"
    result = editor.edit(path, out=tmp_path / "out", frames=5, **AS_IT_IS)
    before, after = decoded(path)[:5], decoded(result.video)
    assert len(after) == 5
    for one, other in zip(before, after, strict=True):
        difference = one.to_ndarray(format="rgb24").astype(float) - other.to_ndarray(format="rgb24")
        assert np.abs(difference).mean() < 4
    steps = [[after.time - before.time for before, after in pairwise(frames)] for frames in (before, after)]
    np.testing.assert_allclose(steps[1], steps[0], atol=2e-3)


@pytest.mark.parametrize(
    ("pixels", "limited"), [("gray", True), ("gray", False), ("gray10le", True), ("gray10le", False)]
)
def test_grey_keeps_its_light(tmp_path, editor, pixels, limited):
    """A ramp from black to white of the range that the file names: the edit's luma has it in its own range."""
    most = 255 if pixels == "gray" else 1023
    black, white = (most * 16 // 255, most * 235 // 255) if limited else (0, most)
    ramp = np.linspace(black, white, 64).round().astype(np.uint8 if pixels == "gray" else np.uint16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 64, pixels
        stream.codec_context.color_range = 1 if limited else 2
        frame = av.VideoFrame.from_ndarray(np.tile(ramp, (64, 1)), format=pixels)
        frame.pts, frame.time_base, frame.color_range = 0, Fraction(1, 8), 1 if limited else 2
        container.mux([*stream.encode(frame), *stream.encode(None)])
    result = editor.edit(tmp_path / "a.mkv", out=tmp_path / "out", crf=0, **AS_IT_IS)
    (edit,) = decoded(result.video)
    levels = 1 << max(component.bits for component in edit.format.components)
    assert int(edit.color_range) != 2
    lightness = (planes(edit)[0] * 256 / levels - 16) / 219
    assert np.abs(lightness - np.linspace(0, 1, 64)).max() < 0.012
