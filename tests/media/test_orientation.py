"""Pictures as players show them: every way to turn and mirror, and pixels that are not square."""

import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from flowedit.media.fit import lay, mask_to_source, mask_to_working, to_source, to_working, working_size
from flowedit.media.pixels import resize
from flowedit.media.probe import probe
from flowedit.media.reader import read

CASES = Path(__file__).parents[1] / "data" / "cases"
EXAMPLES = Path(__file__).parents[2] / "examples"


def whole(path):
    video = probe(path)
    return np.concatenate(list(read(video, range(video.frames))))


def psnr(one, other):
    return 10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9))


@pytest.fixture(params=["decord", "pyav"])
def _reader(request, monkeypatch):
    if request.param == "pyav":
        monkeypatch.setitem(sys.modules, "decord", None)
    else:
        pytest.importorskip("decord")


def with_matrix(path, matrix):
    """plain.mp4 with these a, b, c, d in the display matrix of its video's header."""
    data = bytearray((CASES / "plain.mp4").read_bytes())
    place = data.find(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (round(65536 * each) for each in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


# a, b, c, d: where x and y go; and numpy's way to the same
SHOWN = {
    (1, 0, 0, 1): lambda f: f,
    (0, 1, -1, 0): lambda f: np.rot90(f, -1, (1, 2)),
    (-1, 0, 0, -1): lambda f: f[:, ::-1, ::-1],
    (0, -1, 1, 0): lambda f: np.rot90(f, 1, (1, 2)),
    (-1, 0, 0, 1): lambda f: f[:, :, ::-1],
    (1, 0, 0, -1): lambda f: f[:, ::-1],
    (0, 1, 1, 0): lambda f: f.transpose(0, 2, 1, 3),
    (0, -1, -1, 0): lambda f: f[:, ::-1, ::-1].transpose(0, 2, 1, 3),
}


@pytest.mark.usefixtures("_reader")
@pytest.mark.parametrize("matrix", SHOWN)
def test_every_display_matrix_is_read_as_players_show_it(tmp_path, matrix):
    plain = whole(CASES / "plain.mp4")
    expected = SHOWN[matrix](plain)
    path = with_matrix(tmp_path / "a.mp4", matrix)
    video = probe(path)
    assert video.size == expected.shape[1:3]
    assert video.mirrored == (np.linalg.det(np.reshape(matrix, (2, 2))) < 0)
    assert psnr(whole(path), expected) > 40
    others = [other(plain) for key, other in SHOWN.items() if key != matrix]
    assert all(psnr(whole(path), other) < 25 for other in others if other.shape == expected.shape)


@pytest.mark.usefixtures("_reader")
@pytest.mark.parametrize(
    ("name", "shown"), [("dm_hflip.mp4", lambda f: f[:, :, ::-1]), ("dm_vflip.mp4", lambda f: f[:, ::-1])]
)
def test_mirrored_cases(name, shown):
    assert psnr(whole(CASES / name), shown(whole(CASES / "plain.mp4"))) > 40


def test_a_display_matrix_in_matroska(tmp_path):
    """Matroska has a word for a mirror, and for a turn about the axis of view."""
    with av.open(str(CASES / "dm_hflip.mp4")) as source, av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = source.streams.video[0]
        target = out.add_stream_from_template(stream)
        target.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = target
                out.mux(packet)
    assert probe(tmp_path / "a.mkv").mirrored
    assert psnr(whole(tmp_path / "a.mkv"), whole(CASES / "dm_hflip.mp4")) > 40


def test_a_skewed_turn_is_refused(tmp_path):
    half = 0.5**0.5
    for mirror in (1, -1):
        with pytest.raises(ValueError, match=r"rotated by .* degrees: turn it by a multiple of 90"):
            probe(with_matrix(tmp_path / "a.mp4", (mirror * half, mirror * half, -half, half)))


def test_a_quarter_turn_of_wide_pixels_gives_tall_ones(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes((CASES / "fox_sar2.mp4").read_bytes())
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[place : place + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    video = probe(path)
    assert (video.size, video.pixel_aspect, video.shown) == ((128, 256), Fraction(1, 2), (128, 128))


# --- pixels that are not square ---


@pytest.mark.parametrize(("name", "stored"), [("fox_sar2.mp4", (256, 128)), ("fox_sar4_3.mp4", (256, 192))])
@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("working", [(64, 64), (256, 256), (96, 160)])
def test_the_model_sees_the_picture_as_shown(name, stored, how, working):
    video = probe(CASES / name)
    assert (video.size, video.shown) == (stored, (256, 256))
    assert working_size(video.shown, 64 * 64, 16) == (64, 64)
    frames, fox = whole(video.path), whole(EXAMPLES / "fox.mp4")
    laid = lay(video.size, working, how, video.pixel_aspect)
    seen = to_working(frames, laid)
    square = to_working(fox[: len(frames)], lay(fox.shape[1:3], working, how))
    assert seen.shape == square.shape
    assert psnr(seen, square) > 30
    squeezed = to_working(frames, lay(video.size, working, how))
    assert psnr(squeezed, square) < 25


SIZES = [(480, 720), (576, 720), (1080, 1440), (96, 128), (31, 57)]


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(4, 3), Fraction(8, 9), Fraction(64, 45), Fraction(1, 2)])
@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("working", [(64, 64), (96, 160), (480, 720)])
def test_a_window_is_as_wide_as_the_working_frame_in_shown_pixels(source, aspect, how, working):
    top, left, height, width = lay(source, working, how, aspect).window
    if how == "crop":  # the window, shown, has the working frame's aspect
        assert width * aspect / height == pytest.approx(working[1] / working[0], rel=1.2 / min(width, height))
        assert height == source[0] or width == source[1]
        assert (2 * top + height, 2 * left + width) in near(source)
    else:  # the window has the aspect of the source, shown
        assert width / height == pytest.approx(source[1] * float(aspect) / source[0], rel=1.2 / min(width, height))
        assert height == working[0] or width == working[1]
        assert (2 * top + height, 2 * left + width) in near(working)


def near(size):
    return [(size[0] - i, size[1] - j) for i in (0, 1) for j in (0, 1)]


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_the_way_back_has_the_stored_shape_and_mask(how):
    rows, columns = np.mgrid[:90, :64]
    frames = np.stack([columns * 3, rows * 2, columns + rows], -1).astype(np.uint8)[None]
    laid = lay((90, 64), (96, 160), how, Fraction(5, 2))
    back = to_source(to_working(frames, laid), frames, laid)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames)[:, 3:-3, 3:-3].max() <= 4
    mask = np.zeros((1, 90, 64), np.float32)
    mask[:, 30:60, 20:40] = 1
    again = mask_to_source(mask_to_working(mask, laid), laid)
    assert again.shape == mask.shape
    assert np.abs(again - mask).mean() < 0.03


@pytest.mark.parametrize("aspect", [Fraction(0), Fraction(-1)])
def test_an_aspect_of_nothing_is_refused(aspect):
    with pytest.raises(ValueError, match="a pixel's aspect above 0"):
        lay((30, 40), (16, 16), "crop", aspect)


def test_a_side_that_shrinks_is_averaged_while_the_other_grows():
    """Columns that alternate from 0 to 200, four times as many as there is room for: 100, at whatever height."""
    stripes = np.zeros((1, 16, 256, 3), np.uint8)
    stripes[:, :, ::2] = 200
    np.testing.assert_array_equal(resize(stripes, (64, 64)), np.full((1, 64, 64, 3), 100))
    soft = stripes[..., 0].astype(np.float32) / 200
    np.testing.assert_allclose(resize(soft, (64, 64)), np.full((1, 64, 64), 0.5))
