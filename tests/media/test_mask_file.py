"""A user's mask from images, videos and folders: values, lengths, sizes, notices, what is refused."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowedit.media.mask_file import read_mask
from flowedit.media.probe import Video
from flowedit.media.writer import Writer

INFO = Video(Path("clip.mp4"), 12, (32, 48), Fraction(25), 0, False)
INDICES = (2, 5, 11)


def box(left, size=(32, 48), value=255):
    mask = np.zeros(size, np.uint8)
    mask[8:16, left : left + 16] = value
    return mask


def video(path, masks):
    with Writer(path, masks[0].shape, Fraction(25)) as out:
        out.write(np.repeat(np.stack(masks)[..., None], 3, axis=-1))
    return path


def folder(path, masks):
    path.mkdir()
    for i, mask in enumerate(masks):
        cv2.imwrite(str(path / f"frame{i}.png"), mask)  # 10 comes after 9, not after 1
    (path / "notes.txt").write_text("not a frame")
    return path


def test_image_serves_all_frames(tmp_path):
    image = box(16)
    image[20:24] = 128
    cv2.imwrite(str(tmp_path / "m.png"), image)
    mask, notices = read_mask(tmp_path / "m.png", INFO, INDICES)
    assert (mask.shape, mask.dtype, notices) == ((3, 32, 48), np.uint8, [])
    for frame in mask:
        np.testing.assert_array_equal(frame, image)


@pytest.mark.parametrize("make", [video, folder])
@pytest.mark.parametrize(("count", "taken"), [(12, INDICES), (3, (0, 1, 2)), (1, (0, 0, 0))])
def test_length(tmp_path, make, count, taken):
    masks = [box(2 * i) for i in range(count)]
    mask, notices = read_mask(make(tmp_path / ("m.mp4" if make is video else "m"), masks), INFO, INDICES)
    assert notices == []
    expected = np.stack([masks[i] for i in taken]) / 255
    mask = mask[:] / 255
    assert np.abs(mask - expected).mean() < (0.02 if make is video else 1e-6)
    # black and white that a codec blurred are black and white again
    assert (mask[:, :4] == 0).all()
    assert (mask[0, 12, 2 * taken[0] + 8] == 1).all()


@pytest.mark.parametrize("make", [video, folder])
def test_other_length_is_refused(tmp_path, make):
    path = make(tmp_path / ("m.mp4" if make is video else "m"), [box(2)] * 5)
    with pytest.raises(
        ValueError, match=r"has 5 frames, but clip.mp4 has 12 and 3 of them .* give one of 1, 3, 12 frames"
    ):
        read_mask(path, INFO, INDICES)


@pytest.mark.parametrize(("size", "stretched"), [((64, 96), False), ((16, 24), False), ((48, 48), True)])
def test_other_size_is_resized_with_a_notice(tmp_path, size, stretched):
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    result, (notice,) = read_mask(tmp_path / "m.png", INFO, INDICES)
    assert f"{size[1]}x{size[0]} and was resized to the video's 48x32" in notice
    assert ("stretches" in notice) == stretched
    assert (result[:, :14] == 255).all()
    assert (result[:, 18:] == 0).all()


def test_alpha_only_where_colour_is_constant(tmp_path):
    white = np.full((32, 48, 4), 255, np.uint8)
    white[..., 3] = box(4)
    cv2.imwrite(str(tmp_path / "alpha.png"), white)
    np.testing.assert_array_equal(read_mask(tmp_path / "alpha.png", INFO, INDICES)[0][1], box(4))
    painted = np.repeat(box(20)[..., None], 4, axis=-1)
    painted[..., 3] = box(4)
    cv2.imwrite(str(tmp_path / "painted.png"), painted)
    np.testing.assert_array_equal(read_mask(tmp_path / "painted.png", INFO, INDICES)[0][1], box(20))


def test_sixteen_bits(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), box(4).astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", INFO, INDICES)[0][0], box(4))


def test_a_dark_mask_is_said(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), box(4, value=60))
    assert "0.24 of white" in read_mask(tmp_path / "m.png", INFO, INDICES)[1][0]


def test_what_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "black.png"), box(4, value=0))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    for name, kind, words in (
        ("black.png", ValueError, "is empty: it is black"),
        ("empty", ValueError, "has no images"),
        ("empty.png", ValueError, "not an image"),
        ("text.png", ValueError, "not an image"),
        ("text.mp4", ValueError, "not a video"),
        ("missing.png", FileNotFoundError, "does not exist"),
    ):
        with pytest.raises(kind, match=words) as caught:
            read_mask(tmp_path / name, INFO, INDICES)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
