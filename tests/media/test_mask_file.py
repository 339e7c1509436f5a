"""A user's mask from images, videos and folders: values, lengths, sizes, notices, what is refused."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flowedit.media.mask_file import open_mask, read_mask, read_mask_frames
from flowedit.media.pictures import overlay
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


# Masks that are not white on black


CASES = Path(__file__).parents[1] / "data" / "cases"
FILM = Video(Path("plain.mp4"), 24, (96, 160), Fraction(12), 0, False)
MADE = (96, 160)


def region(scale=1):
    return (cv2.imread(str(CASES / "mask_ok.png"), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8) * scale


def indexed(path, index, colours, alpha=None):
    """An image with a palette, by PyAV: OpenCV writes none."""
    palette = np.full((256, 4), 255, np.uint8)
    palette[:, 1:] = 0
    palette[: len(colours), 1:] = colours
    if alpha is not None:
        palette[: len(alpha), 0] = alpha
    frame = av.VideoFrame(index.shape[1], index.shape[0], "pal8")
    rows = np.zeros((index.shape[0], frame.planes[0].line_size), np.uint8)
    rows[:, : index.shape[1]] = index
    frame.planes[0].update(rows.tobytes())
    frame.planes[1].update(np.ascontiguousarray(palette).view("<u4").byteswap().astype("<u4").tobytes())
    codec = av.CodecContext.create({".png": "png", ".bmp": "bmp"}[path.suffix], "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = index.shape[1], index.shape[0], "pal8", Fraction(1, 25)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]))
    return path


def written(path, picture):
    cv2.imwrite(str(path), picture)
    return path


def photo(seed=0):
    """A picture in colour, (96, 160, 3)."""
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (6, 10, 3), np.uint8), (160, 96))


def hole(path):
    return written(path, np.dstack([photo(), 255 - region(255)]))


def numbers(path, values=(0, 1)):
    return written(path, np.array(values, np.uint8)[region()])


def labels_folder(path):
    path.mkdir()
    for i in range(24):
        numbers(path / f"{i:05}.png")
    return path


def labels_film(path):
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=12)
        stream.height, stream.width, stream.pix_fmt = *MADE, "gray"
        for _ in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(region(), format="gray")))
        container.mux(stream.encode(None))
    return path


BLACK, WHITE, RED, DARK = (0, 0, 0), (255, 255, 255), (255, 0, 0), (128, 0, 0)
VOC = [BLACK, DARK, (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128)]
STRANGE = {
    "a palette as DAVIS has": (lambda at: CASES / "davis_palette.png", "palette"),
    "a palette, another object": (lambda at: indexed(at / "m.png", 5 * region(), VOC), "palette"),
    "a palette, a grey object": (lambda at: indexed(at / "m.png", 7 * region(), VOC), "palette"),
    "a palette in a bmp": (lambda at: indexed(at / "m.bmp", region(), VOC), "palette"),
    "a palette of 0 and 1": (lambda at: indexed(at / "m.png", region(), [BLACK, (1, 1, 1)]), "palette"),
    "a palette, its ground transparent": (lambda at: indexed(at / "m.png", region(), VOC, [0]), "palette"),
    "a palette, white first": (lambda at: indexed(at / "m.png", 1 - region(), [WHITE, BLACK]), None),
    "a palette, red first": (lambda at: indexed(at / "m.png", 1 - region(), [RED, BLACK]), "in colour"),
    "a transparent hole": (lambda at: CASES / "rgba_hole.png", "transparent places"),
    "a transparent hole of ours": (lambda at: hole(at / "m.png"), "transparent places"),
    "values 0 and 1": (lambda at: numbers(at / "m.png"), "no value above 1 of 255"),
    "values 0 and 7": (lambda at: numbers(at / "m.png", (0, 7)), "no value above 7 of 255"),
    "16 bits of 0 and 1": (lambda at: written(at / "m.png", region().astype(np.uint16)), "all above 0 is inside"),
    "a folder of 0 and 1": (lambda at: labels_folder(at / "m"), "no value above 1 of 255"),
    "a video of 0 and 1": (lambda at: labels_film(at / "m.mkv"), "no value above 1 of 255"),
    "red on black": (lambda at: written(at / "m.png", np.dstack([0 * region(), 0 * region(), region(255)])), "colour"),
    "blue on black": (lambda at: written(at / "m.png", np.dstack([region(255), 0 * region(), 0 * region()])), "colour"),
    "white on black": (lambda at: CASES / "mask_ok.png", None),
    "white on black, opaque": (
        lambda at: written(at / "m.png", np.dstack([region(255)] * 3 + [np.full(MADE, 255, np.uint8)])),
        None,
    ),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_is_inside_and_what_is_said_is_the_same_for_an_edit_and_for_scoring(tmp_path, case):
    make, said = STRANGE[case]
    path, heard, inside = make(tmp_path), [], region() > 0
    mask, notices = read_mask(path, FILM, range(24))
    scored = np.concatenate(list(read_mask_frames(path, range(24), MADE, 24, say=heard.append)))
    np.testing.assert_array_equal(mask[23:24][0], 255 * inside)
    np.testing.assert_array_equal(scored[23], inside)
    assert notices == heard
    assert any(said in text and path.name in text for text in notices) if said else notices == []


def test_an_overlay_and_a_grey_picture_are_told_and_soft_edges_are_not(tmp_path):
    drawn = overlay(photo()[None], region()[None].astype(np.float32))[0]
    grey = cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY)
    soft = cv2.GaussianBlur(region(255), (0, 0), 6)
    for picture, said in ((drawn, "is in colour"), (grey, "is grey nearly everywhere"), (soft, None)):
        path = written(tmp_path / "m.png", picture)
        _, notices = read_mask(path, FILM, range(24))
        assert any(said in text and "mask_plain.mp4" in text for text in notices) if said else notices == []


def test_black_that_jpeg_blurred_is_no_number_of_an_object(tmp_path):
    noise = np.random.default_rng(0).integers(0, 3, MADE, np.uint8)
    path = written(tmp_path / "m.jpg", noise)
    with pytest.raises(ValueError, match="is empty"):
        read_mask(path, FILM, range(24))
    with pytest.raises(ValueError, match="selects nothing"):
        list(read_mask_frames(path, range(24), MADE, 24))


def test_black_that_a_lossy_video_blurred_is_no_number_of_an_object(tmp_path):
    path = tmp_path / "m.mp4"
    noise = np.random.default_rng(0).integers(0, 3, (24, *MADE, 1), np.uint8)
    with Writer(path, MADE, Fraction(12), crf=4) as writer:
        writer.write(np.repeat(noise, 3, axis=-1))
    assert max(picture.values.max() for picture in open_mask(path).read(range(24), 8)) > 0
    with pytest.raises(ValueError, match="is empty"):
        read_mask(path, FILM, range(24))
    with pytest.raises(ValueError, match="selects nothing"):
        list(read_mask_frames(path, range(24), MADE, 24))


def test_an_object_that_comes_late_counts_and_one_that_never_comes_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    for i in range(24):
        written(tmp_path / "m" / f"{i:02}.png", region(255 if i >= 20 else 0))
    found = np.concatenate(list(read_mask_frames(tmp_path / "m", range(24), MADE, 24)))
    assert found.any((1, 2)).tolist() == [i >= 20 for i in range(24)]
    for above, values in ((127, (0, 90)), (0, (0, 0))):
        path = written(tmp_path / "dark.png", np.array(values, np.uint8)[region()])
        with pytest.raises(ValueError, match=rf"dark.png selects nothing: .* above {above} of 255, .* is {values[1]};"):
            next(read_mask_frames(path, range(24), MADE, 24, above=above))
    with pytest.raises(ValueError, match="selects nothing"):
        next(read_mask_frames(tmp_path / "m", range(20), MADE, 24))
