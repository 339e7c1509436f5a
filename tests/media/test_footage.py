"""Footage read by index from files and folders, and masks for scoring: order, sizes, thresholds, what is refused."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from flowedit.media.footage import frame_files, open_footage
from flowedit.media.mask_file import open_mask, read_mask, read_mask_frames
from flowedit.media.probe import Video
from flowedit.media.writer import Writer

SIZE = (16, 24)


def grey(value, size=SIZE):
    return np.full((*size, 3), value, np.uint8)


def folder(path, frames, suffix="png"):
    path.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(path / f"frame{i + 8}.{suffix}"), frame[..., ::-1] if frame.ndim == 3 else frame)
    return path


def film(path, frames):
    with Writer(path, frames[0].shape[:2], Fraction(25), crf=0) as out:
        out.write(np.stack(frames))
    return path


def masks(*args, **options):
    return np.concatenate(list(read_mask_frames(*args, **options)))


@pytest.mark.parametrize("make", [film, folder])
def test_frames_by_index_in_chunks(tmp_path, make):
    frames = [grey(20 * i) for i in range(7)]
    footage = open_footage(make(tmp_path / ("a.mp4" if make is film else "a"), frames))
    assert (footage.count, footage.size) == (7, SIZE)
    assert footage.fps == (25 if make is film else None)
    parts = list(footage.read([0, 2, 2, 6], 3))
    assert [part.shape for part in parts] == [(3, *SIZE, 3), (1, *SIZE, 3)]
    assert parts[0].dtype == np.uint8
    assert np.abs(np.concatenate(parts)[:, 0, 0, 0].astype(int) - [0, 40, 40, 120]).max() <= 2


def test_a_folder_is_read_in_natural_order_as_rgb_and_other_files_are_passed_over(tmp_path):
    red = np.zeros((*SIZE, 3), np.uint8)
    red[..., 0] = 200
    path = folder(tmp_path / "a", [grey(9), red, grey(50)])  # frame8, frame9, frame10
    (path / "notes.txt").write_text("no frame")
    (path / ".hidden.png").write_text("no frame")
    (path / "²3.png").write_bytes((path / "frame8.png").read_bytes())  # a digit that is no number
    assert [f.name for f in frame_files(path)] == ["frame8.png", "frame9.png", "frame10.png", "²3.png"]
    np.testing.assert_array_equal(next(open_footage(path).read([1]))[0], red)


@pytest.mark.parametrize("make", [film, folder])
@pytest.mark.parametrize("indices", [[], [-1], [3], [1, 0]])
def test_indices_outside_are_refused(tmp_path, make, indices):
    footage = open_footage(make(tmp_path / ("a.mp4" if make is film else "a"), [grey(0)] * 3))
    with pytest.raises(ValueError, match="give ascending indices from 0 to 2"):
        list(footage.read(indices))


def test_what_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("hello")
    mixed = folder(tmp_path / "mixed", [grey(0), grey(0, (16, 16))])
    broken = folder(tmp_path / "broken", [grey(0), grey(0)])
    (broken / "frame9.png").write_text("hello")
    for name, kind, words in (
        ("missing", FileNotFoundError, "missing does not exist"),
        ("empty", ValueError, "empty has no images"),
        ("text.mp4", ValueError, "text.mp4 is not a video"),
        (mixed.name, ValueError, "frame9.png is 16x16, the first is 24x16"),
        (broken.name, ValueError, "frame9.png is not an image"),
    ):
        with pytest.raises(kind, match=words) as caught:
            list(open_footage(tmp_path / name).read([0, 1]))
        assert "\n" not in str(caught.value)


# Masks


def test_a_mask_is_what_lies_above_its_threshold(tmp_path):
    values = np.repeat(np.array([[0, 1, 127, 128, 255, 255]], np.uint8), 4, 0)
    cv2.imwrite(str(tmp_path / "m.png"), values)
    path = folder(tmp_path / "m", [values, np.fliplr(values)])
    half, any_ = [0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1]
    assert masks(tmp_path / "m.png", [0, 5], (4, 6), 9)[1, 2].tolist() == half  # one image serves all
    assert masks(tmp_path / "m.png", [0], (4, 6), 9, above=0)[0, 0].tolist() == any_
    found = masks(path, [0, 1], (4, 6), 2, chunk=1)
    assert (found.shape, found.dtype) == ((2, 4, 6), bool)
    assert found[:, 0].tolist() == [half, half[::-1]]
    assert masks(path, [1], (4, 6), 2, above=0)[0, 0].tolist() == any_[::-1]


def test_a_mask_video_is_cut_in_the_middle(tmp_path):
    frames = [grey(120), grey(136)]
    found = masks(film(tmp_path / "m.mp4", frames), [0, 1, 1], SIZE, 2)
    assert found.all((1, 2)).tolist() == [False, True, True]
    assert not found[0].any()


def test_a_mask_painted_in_alpha_is_its_alpha(tmp_path):
    picture = np.zeros((*SIZE, 4), np.uint8)
    picture[:8, :, 3] = 255
    cv2.imwrite(str(tmp_path / "m.png"), picture)
    assert masks(tmp_path / "m.png", [0], SIZE, 1)[0].mean(1).tolist() == [1] * 8 + [0] * 8


@pytest.mark.parametrize("make", ["m.png", "m"])
def test_another_size_takes_the_nearest_pixel(tmp_path, make):
    small = np.array([[255, 0], [0, 255]], np.uint8)
    if make == "m":
        folder(tmp_path / make, [small])
    else:
        cv2.imwrite(str(tmp_path / make), small)
    (found,) = masks(tmp_path / make, [0], (4, 6), 3)
    np.testing.assert_array_equal(found, np.kron(small > 0, np.ones((2, 3), bool)))
    dots = np.zeros((6, 6), np.uint8)
    dots[::2, ::2], dots[4, 4] = 255, 0
    cv2.imwrite(str(tmp_path / "dots.png"), dots)
    assert masks(tmp_path / "dots.png", [0], (3, 3), 1).any() == (dots[1::2, 1::2] > 0).any(), "no pixel is averaged"


def test_masks_that_are_refused(tmp_path):
    folder(tmp_path / "two", [grey(0)] * 2)
    film(tmp_path / "two.mp4", [grey(0)] * 2)
    (tmp_path / "text.png").write_text("hello")
    for name, kind, words in (
        ("two", ValueError, "mask .*two has 2 frames, its clip has 3"),
        ("two.mp4", ValueError, "mask .*two.mp4 has 2 frames, its clip has 3"),
        ("text.png", ValueError, "mask .*text.png is not an image"),
        ("none.png", FileNotFoundError, "mask .*none.png does not exist"),
    ):
        with pytest.raises(kind, match=words):
            masks(tmp_path / name, [0], SIZE, 3)


def test_an_open_mask_is_read_again_without_being_looked_through(tmp_path, monkeypatch):
    mask = open_mask(film(tmp_path / "m.mp4", [grey(200), grey(0), grey(200)]))
    monkeypatch.setattr("flowedit.media.probe.probe", lambda path: pytest.fail("probed again"))
    first, second = (masks(mask, [0, 1, 2], SIZE, 3) for _ in range(2))
    assert first[:, 0, 0].tolist() == second[:, 0, 0].tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["missing.png", "missing", "empty", "text.png", "text.mp4"])
def test_a_mask_is_refused_in_the_same_words_for_an_edit_and_for_scoring(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(ValueError if "missing" not in name else FileNotFoundError) as scoring:
        masks(tmp_path / name, [0], SIZE, 1)
    with pytest.raises(type(scoring.value)) as edit:
        read_mask(tmp_path / name, Video(tmp_path / "clip.mp4", 1, SIZE, Fraction(25), 0, False), [0])
    assert str(scoring.value) == str(edit.value)


def test_frames_with_alpha_are_white_where_nothing_shows(tmp_path):
    frame = np.full((8, 12, 4), 90, np.uint8)
    frame[..., 3], frame[:2, :, 3] = 255, 0
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    footage = open_footage(tmp_path)
    (frames,) = footage.read([0, 1])
    assert (footage.count, footage.size, footage.fps) == (2, (8, 12), None)
    assert (frames[:, :2] == 255).all()
    assert (frames[:, 2:] == 90).all()
