"""Colours through reading and writing: no level is lost, whatever the pixel format, range or matrix of a file."""

import itertools
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from flowedit.media import reader
from flowedit.media.colours import Colour
from flowedit.media.probe import probe
from flowedit.media.reader import read, read_small
from flowedit.media.writer import Writer

SIZE = (64, 96)
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Of red and blue in luma, by ITU-T H.273's number of the matrix."""

CENTRES = np.zeros(SIZE, bool)
for _row in range(6, 10):
    for _column in range(6, 10):
        CENTRES[_row::16, _column::16] = True


def patches(seed, low, high):
    """Flat patches of 16x16, of which the middle is the same for every filter."""
    values = np.random.default_rng(seed).integers(low, high, (SIZE[0] // 16, SIZE[1] // 16))
    return np.kron(values, np.ones((16, 16))).astype(np.uint8)


def rgb_of(planes, matrix, full):
    """The exact colours of Y, Cb, Cr by the equations of H.273, float (H, W, 3), of 255."""
    (red, blue), (y, cb, cr) = WEIGHTS[matrix], (plane.astype(float) for plane in planes)
    y, cb, cr = (
        (y / 255, (cb - 128) / 255, (cr - 128) / 255) if full else ((y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)
    )
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return 255 * np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1)


def yuv_frame(planes, fmt):
    """A frame of three planes (H, W), of which every chroma sample is taken from the middle of its place."""
    frame = av.VideoFrame(SIZE[1], SIZE[0], fmt)
    for number, (plane, values) in enumerate(zip(frame.planes, planes, strict=False)):
        lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        down, right = SIZE[0] // plane.height, SIZE[1] // plane.width
        lines[:, : plane.width] = values[::down, ::right]
        if fmt == "nv12" and number:
            lines[:, 0 : SIZE[1] : 2], lines[:, 1 : SIZE[1] : 2] = (p[::2, ::2] for p in planes[1:])
    return frame


def yuv_file(path, codec, fmt, matrix, full, count=6, **options):
    """A file of random patches and their exact colours, both made here."""
    colours = []
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={k: str(v) for k, v in options.items()})
        (stream.height, stream.width), stream.pix_fmt = SIZE, fmt
        tagged = 2 if matrix is None else matrix
        stream.codec_context.colorspace, stream.codec_context.color_range = tagged, 2 if full else 1
        for i in range(count):
            planes = patches(3 * i, 60, 190), patches(3 * i + 1, 108, 148), patches(3 * i + 2, 108, 148)
            frame = yuv_frame(planes, fmt)
            frame.colorspace, frame.color_range, frame.pts = tagged, 2 if full else 1, i
            out.mux(stream.encode(frame))
            colours.append(rgb_of(planes, matrix or 5, full))
        out.mux(stream.encode(None))
    return path, np.stack(colours)


def bias(frames, colours):
    """Mean error of red, green, blue at the middle of the patches where nothing is clipped."""
    good = CENTRES & ((colours > 2) & (colours < 253)).all(-1)
    return (frames.astype(float) - colours)[good].mean(0)


LOSSLESS = {"qp": 0}
RANGES = (False, True)
CASES = [
    *itertools.product(["libx264"], ["yuv420p", "yuv422p", "yuv444p"], [None, *WEIGHTS], RANGES, [LOSSLESS]),
    *itertools.product(["libx264"], ["nv12"], [1, 6], [False], [LOSSLESS]),
    *itertools.product(["mjpeg"], ["yuvj420p", "yuvj422p", "yuvj444p"], [None], [True], [{"q:v": 1}]),
    *itertools.product(["ffv1"], ["yuv410p", "yuv411p", "yuv440p"], [1, 6], RANGES, [{}]),
]
RGB = [
    ("libx264rgb", "rgb24", "a.mp4"),
    ("qtrle", "rgb24", "a.mov"),
    ("png", "rgb24", "a.mov"),
    ("png", "gray", "a.mov"),
    ("ffv1", "gray", "a.mkv"),
    ("ffv1", "bgr0", "a.mkv"),
    ("rawvideo", "bgr24", "a.avi"),
    ("png", "pal8", "a.mov"),
]


@pytest.mark.parametrize("installed", [True, False], ids=["decord", "pyav"])
@pytest.mark.parametrize(("codec", "fmt", "matrix", "full", "options"), CASES)
def test_no_level_is_lost(tmp_path, monkeypatch, codec, fmt, matrix, full, options, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "decord", None)
    path, colours = yuv_file(tmp_path / "a.mkv", codec, fmt, matrix, full, **options)
    frames = np.concatenate(list(read(probe(path), range(6))))
    assert np.abs(bias(frames, colours)).max() < 0.1
    assert np.abs((frames - colours)[:, CENTRES]).max() < 1 or "j" in fmt


def test_decord_reads_no_format_that_it_darkens(tmp_path):
    """decord itself, so that a release of it that is right can be told."""
    decord = pytest.importorskip("decord")
    for fmt in ("yuv420p", "yuv444p"):
        path, colours = yuv_file(tmp_path / f"{fmt}.mp4", "libx264", fmt, 1, False, **LOSSLESS)
        dark = np.abs(bias(decord.VideoReader(str(path)).get_batch(range(6)).asnumpy(), colours)).max() > 0.5
        assert dark == (fmt not in reader.DECORD)


@pytest.mark.parametrize(("codec", "fmt", "name"), RGB)
def test_what_is_stored_as_rgb_comes_back_as_it_is(tmp_path, codec, fmt, name):
    colours = np.stack([np.stack([patches(3 * i + c, 0, 256) for c in range(3)], -1) for i in range(4)])
    if fmt == "gray":
        colours[..., 1:] = colours[..., :1]
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"qp": "0"} if "264" in codec else {})
        (stream.height, stream.width), stream.pix_fmt = SIZE, fmt
        for i, picture in enumerate(colours):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if fmt == "pal8":
                places, indices = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
                palette = np.zeros((256, 4), np.uint8)
                palette[:, 3], palette[: len(places), :3] = 255, places
                frame = pal8(indices.reshape(SIZE).astype(np.uint8), palette)
            elif fmt == "gray":
                frame = av.VideoFrame.from_ndarray(picture[..., 0], format="gray")
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    info = probe(tmp_path / name)
    np.testing.assert_array_equal(np.concatenate(list(read(info, range(info.frames)))), colours)


def pal8(indices, palette):
    """An indexed frame; `palette` is uint8 (256, 4) RGBA."""
    argb = np.ascontiguousarray(palette[:, [3, 0, 1, 2]])  # PyAV takes the four bytes in this order
    return av.VideoFrame.from_ndarray((indices, argb), format="pal8")


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_the_writer_rounds_to_the_nearest_level(tmp_path, size, matrix):
    """The stored luma and chroma of a lossless file against H.273's equations."""
    (red, blue), errors = WEIGHTS[matrix], []
    colours = np.stack([np.stack([patches(30 + 3 * i + c, 20, 235) for c in range(3)], -1) for i in range(8)])
    with Writer(tmp_path / "a.mp4", size, Fraction(25), crf=0, colour=Colour(matrix=matrix)) as out:
        out.write(colours[:, : size[0], : size[1]])
    r, g, b = (colours[..., c] / 255.0 for c in range(3))
    y = red * r + (1 - red - blue) * g + blue * b
    exact = 16 + 219 * y, 128 + 112 * (b - y) / (1 - blue), 128 + 112 * (r - y) / (1 - red)
    with av.open(str(tmp_path / "a.mp4")) as container:
        for i, frame in enumerate(container.decode(video=0)):
            assert (frame.colorspace, frame.color_range) == (matrix, 1)
            for plane, wanted in zip(frame.planes, exact, strict=True):
                step = 1 + (plane.height < size[0])
                stored = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                middle = stored[8 // step :: 16 // step, 8 // step : plane.width : 16 // step]
                errors.append(middle - wanted[i, 8 : size[0] : 16, 8 : size[1] : 16])
    assert np.abs(np.concatenate([error.ravel() for error in errors])).max() < 0.6
    for plane in range(3):
        assert abs(np.mean(errors[plane::3])) < 0.06


def natural(seed, count=3):
    """Frames like footage: every scale, moving, no colour near an end."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((128, 160, 3))
    for scale in (4, 8, 16, 32):
        grain = rng.normal(0, scale, (128 // scale, 160 // scale, 3)) * (1, 1, 1)
        picture += np.kron(grain, np.ones((scale, scale, 1)))
    picture = 128 + np.clip(1.1 * picture, -100, 100)
    return np.stack([np.roll(picture, 2 * i, 1)[:96, :128] for i in range(count)]).round().astype(np.uint8)


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("size", [(96, 128), (95, 127)])
def test_six_passes_of_reading_and_writing_keep_the_colours(tmp_path, size, matrix):
    """What six edits at strength 0 do to a clip, losslessly coded; 4:2:0, and 4:4:4, which odd sizes become."""
    first, frames = None, natural(1)[:, : size[0], : size[1]]
    for number in range(7):
        path = tmp_path / f"{number}.mp4"
        with Writer(path, size, Fraction(25), crf=0, colour=Colour(matrix=matrix)) as out:
            out.write(frames)
        info = probe(path)
        assert info.colour.matrix == matrix
        frames = np.concatenate(list(read(info, range(3))))
        first = frames if first is None else first
    error = frames.astype(float) - first
    assert np.abs(error.mean((0, 1, 2))).max() < 0.3  # it was 5.7, 8.1 and 4.4 once
    assert (error**2).mean() < 1  # 48 dB; FFmpeg's kernels give 25, of which the codec takes nothing


def test_the_last_row_and_column_keep_their_colours(tmp_path):
    """Two colours that meet in the middle: nothing moves, and no edge of the frame is drawn in."""
    picture = np.full((64, 96, 3), (200, 60, 30), np.uint8)
    picture[24:, 40:] = (40, 90, 200)
    frames = np.stack([picture] * 2)
    for number in range(6):
        with Writer(tmp_path / f"{number}.mp4", (64, 96), Fraction(25), crf=0) as out:
            out.write(frames)
        frames = np.concatenate(list(read(probe(tmp_path / f"{number}.mp4"), range(2))))
    error = np.abs(frames[0].astype(int) - picture).max(-1)
    error[18:30, 34:] = error[18:, 34:48] = 0  # where they meet 4:2:0 blurs
    assert error.max() <= 2


def test_small_pictures_have_the_same_colours(tmp_path):
    path, colours = yuv_file(tmp_path / "a.mkv", "libx264", "yuv420p", 1, False, **LOSSLESS)
    small = np.stack(list(read_small(probe(path), range(6), 96)))
    assert np.abs(bias(small, colours)).max() < 0.2


def test_the_flags_are_what_makes_it_right(tmp_path):
    """The error that the reader had, so that these tests are known to see it."""
    path, colours = yuv_file(tmp_path / "a.mkv", "libx264", "yuv420p", 1, False, **LOSSLESS)
    with av.open(str(path)) as container:
        frames = [
            f.reformat(format="rgb24", interpolation=Interpolation.BICUBIC).to_ndarray()
            for f in container.decode(video=0)
        ]
    assert bias(np.stack(frames), colours).min() < -0.8
