"""Stills, folders of frames and animations as clips: what is read of each, and what is refused, in one line."""

import io
import zlib
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from flowedit.media.formats.forms import FileOptions
from flowedit.media.formats.resolve import of_file
from flowedit.media.probe import comment, probe
from flowedit.media.reader import read, read_small, select
from flowedit.media.stills.pictures import rate_told
from flowedit.messages import FileMissingError, InputError


def pattern(frames=1, size=(24, 40), seed=0, channels=3):
    """Noise in squares of four pixels, so that every codec's losses are small and no symmetry hides a turn."""
    small = np.random.default_rng(seed).integers(0, 256, (frames, size[0] // 4, size[1] // 4, channels), np.uint8)
    return small.repeat(4, 1).repeat(4, 2)


def whole(path):
    video = probe(path)
    return np.concatenate(list(read(video, range(video.frames))))


def said(path, *words):
    with pytest.raises(InputError) as caught:
        probe(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.gif"])
def test_a_still_is_a_clip_of_one_frame(tmp_path, name):
    frame = pattern()[0] if name != "a.gif" else pattern()[0] & 0xC0
    picture = Image.fromarray(frame)
    picture.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    video = probe(tmp_path / name)
    assert (video.frames, video.size, video.still, video.has_audio, video.notices) == (1, (24, 40), True, False, ())
    assert np.array_equal(whole(tmp_path / name)[0], frame)
    (small,) = read_small(video, [0], 10)
    assert small.shape == (6, 10, 3)


def test_a_jpeg_is_read_within_what_its_codec_loses(tmp_path):
    frame = cv2.GaussianBlur(pattern()[0], (0, 0), 3)
    Image.fromarray(frame).save(tmp_path / "a.jpg", quality=97, subsampling=0)
    assert np.abs(whole(tmp_path / "a.jpg")[0].astype(int) - frame).mean() < 2


def test_what_a_file_is_counts_and_not_its_name(tmp_path):
    Image.fromarray(pattern()[0]).save(tmp_path / "a.mp4", "PNG")
    assert probe(tmp_path / "a.mp4").still


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.flipud(np.rot90(a)),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.fliplr(np.rot90(a)),
    8: lambda a: np.rot90(a, -1),
}
"""What a camera stores of an upright picture under each number: the inverse of what a viewer does."""


@pytest.mark.parametrize("number", TURNED)
@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_a_photo_is_upright(tmp_path, name, number):
    upright = pattern(channels=4)[0]
    exif = Image.Exif()
    exif[0x0112] = number
    stored = Image.fromarray(np.ascontiguousarray(TURNED[number](upright)))
    stored.save(tmp_path / name, exif=exif, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    video = probe(tmp_path / name)
    (picture,) = video.pictures.read([0])
    assert video.size == (24, 40)
    assert np.array_equal(picture.pixels, upright[..., :3])
    assert np.array_equal(picture.alpha, upright[..., 3])


def test_what_cannot_be_seen_is_white_to_the_model_and_kept(tmp_path):
    frame = pattern(channels=4)[0]
    frame[..., 3] = 255
    frame[:8, :, 3], frame[8:12, :, 3] = 0, 90
    Image.fromarray(frame).save(tmp_path / "a.png")
    video = probe(tmp_path / "a.png")
    (text,) = of_file(FileOptions(), video)
    assert text == f"{tmp_path / 'a.png'} is transparent in places: edit.png keeps that, and shows nothing new there"
    (picture,) = video.pictures.read([0])
    shown = whole(tmp_path / "a.png")[0]
    assert (shown[:8] == 255).all()
    assert np.array_equal(shown[8:], frame[8:, :, :3])
    assert np.array_equal(picture.pixels, frame[..., :3])


def test_an_opaque_channel_is_no_transparency(tmp_path):
    Image.fromarray(pattern()[0]).convert("RGBA").save(tmp_path / "a.png")
    assert probe(tmp_path / "a.png").notices == ()
    assert next(probe(tmp_path / "a.png").pictures.read([0])).alpha is None


def test_a_folder_is_transparent_where_one_of_its_frames_is(tmp_path):
    """Not where its frames have a channel that says "opaque" alone."""
    frames = pattern(3, channels=4)
    frames[..., 3] = 255
    for clear in (False, True):
        frames[1, :8, :, 3] = 0 if clear else 255
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / f"{number}.png")
        video = probe(tmp_path)
        assert video.alpha == video.pictures.alpha == clear
        assert any("transparent in places: edit_frames" in text for text in of_file(FileOptions(), video)) == clear


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_grey_and_palettes_become_rgb(tmp_path, mode):
    picture = Image.fromarray(pattern()[0]).convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    picture.save(tmp_path / "a.png")
    assert np.array_equal(whole(tmp_path / "a.png")[0], np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("shape", [(24, 40), (24, 40, 3), (24, 40, 4)])
def test_sixteen_bits_are_rounded_and_told(tmp_path, shape):
    deep = np.random.default_rng(1).integers(0, 2**16, shape, np.uint16)
    deep[..., :1] |= 1
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    (text, *_) = probe(tmp_path / "a.png").notices
    assert text == f"{tmp_path / 'a.png'} has 16 bits a component: it is edited, and written, in 8"
    rounded = np.rint(deep / 257).astype(np.uint8)
    wanted = rounded[..., None].repeat(3, -1) if len(shape) == 2 else rounded[..., 2::-1]
    (picture,) = probe(tmp_path / "a.png").pictures.read([0])
    assert np.array_equal(picture.pixels, wanted)
    assert (picture.alpha is not None) == (shape[-1] == 4)


def test_a_cmyk_jpeg_is_read_and_told(tmp_path):
    frame = cv2.GaussianBlur(pattern()[0], (0, 0), 4)
    Image.fromarray(frame).convert("CMYK").save(tmp_path / "a.jpg", quality=97)
    (text,) = probe(tmp_path / "a.jpg").notices
    assert "is CMYK, for print: it is read as RGB (without a profile" in text
    assert np.abs(whole(tmp_path / "a.jpg")[0].astype(int) - frame).mean() < 3


def profile(name):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def other_profile():
    """sRGB's numbers under another name."""
    made = ImageCms.createProfile("sRGB")
    data = bytearray(ImageCms.ImageCmsProfile(made).tobytes())
    for old in ("sRGB built-in", "sRGB"):
        at = data.find(old.encode("utf-16-be"))
        while at >= 0:
            data[at : at + 8] = "Wide".encode("utf-16-be")
            at = data.find(old.encode("utf-16-be"))
    return bytes(data)


def test_a_profile_is_kept_and_told_where_it_is_no_srgb(tmp_path):
    Image.fromarray(pattern()[0]).save(tmp_path / "a.png", icc_profile=profile("sRGB"))
    assert probe(tmp_path / "a.png").notices == ()
    assert next(probe(tmp_path / "a.png").pictures.read([0])).profile == profile("sRGB")
    Image.fromarray(pattern()[0]).save(tmp_path / "b.png", icc_profile=other_profile())
    (text,) = of_file(FileOptions(), probe(tmp_path / "b.png"))
    assert "has the colours of 'Wide" in text
    assert "edit.png keeps them" in text
    (tmp_path / "row").mkdir()
    for number in range(2):
        (tmp_path / "row" / f"{number}.png").write_bytes((tmp_path / "b.png").read_bytes())
    row = probe(tmp_path / "row")
    for asked, kept in (("auto", "edit_frames keeps them"), ("webm", "edit.webm cannot name them")):
        assert any(kept in text for text in of_file(FileOptions(format=asked), row))
    Image.fromarray(pattern()[0]).save(tmp_path / "c.png", icc_profile=b"no profile at all")
    (text,) = probe(tmp_path / "c.png").notices
    assert "colour profile that cannot be read" in text
    assert next(probe(tmp_path / "c.png").pictures.read([0])).profile is None


def test_a_png_of_a_high_dynamic_range_is_refused(tmp_path):
    told = PngInfo()
    told.add(b"cICP", bytes([9, 16, 0, 1]))
    Image.fromarray(pattern()[0]).save(tmp_path / "a.png", pnginfo=told)
    said(tmp_path / "a.png", "BT.2020", "PQ", "export it as sRGB")


def test_another_picture_in_a_jpeg_is_told(tmp_path):
    first, second = (Image.fromarray(each) for each in pattern(2))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    video = probe(tmp_path / "a.jpg")
    assert video.still
    assert "holds another picture as well" in video.notices[0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp"])
def test_a_broken_picture_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for cut in (len(data) // 2, len(data) // 8, 13):
        (tmp_path / name).write_bytes(data[:cut])
        said(tmp_path / name, "damaged or truncated")
    (tmp_path / name).write_bytes(data[:10] + bytes(200))
    said(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    said(tmp_path / name, "empty (0 bytes)")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    data = io.BytesIO()
    Image.new("1", (8, 8)).save(data, "PNG")
    raw = bytearray(data.getvalue())
    raw[16:24] = (30000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(raw)
    said(tmp_path / "a.png", "million pixels", "make it smaller")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 49}, "frames 49"),
        ({"fps": 8}, "fps 8"),
        ({"start": 3}, "start 3"),
    ],
)
def test_a_still_has_no_time(tmp_path, options, words):
    Image.fromarray(pattern()[0]).save(tmp_path / "a.png")
    video = probe(tmp_path / "a.png")
    with pytest.raises(InputError, match=words) as caught:
        select(video, **options)
    assert "is a still, a clip of one frame; leave" in str(caught.value)
    assert select(video, 0, 1).indices == select(video).indices == (0,)


# --- folders ---


def folder(place, frames, names):
    place.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(place / name)
    return place


@pytest.mark.parametrize(
    "names",
    [
        [f"frame_{i:04d}.png" for i in range(7, 13)],
        [f"{i}.png" for i in range(8, 14)],
        [f"100% a b-{i:03d}.PNG" for i in range(1, 7)],
    ],
)
def test_a_folder_of_frames_is_a_clip(tmp_path, names):
    frames = pattern(6)
    place = folder(tmp_path / "my frames", frames, names)
    (place / ".hidden_1.png").write_bytes(b"")
    (place / "notes.txt").write_text("no image")
    video = probe(place)
    assert (video.frames, video.size, video.fps, video.still) == (6, (24, 40), 24, False)
    assert video.notices == ()
    assert (
        rate_told(video.pictures)
        == f"the folder {str(place)!r} names no rate: its frames, 6, play at 24 a second (--fps says another)"
    )
    assert np.array_equal(whole(place), frames)
    assert np.array_equal(np.concatenate(list(read(video, [1, 1, 4], 2))), frames[[1, 1, 4]])
    chosen = select(video, 2, 3, 12.5)
    assert (chosen.indices, chosen.fps, chosen.seconds) == ((2, 3, 4), Fraction(25, 2), Fraction(6, 25))


def test_gaps_in_the_numbers_are_told(tmp_path):
    place = folder(tmp_path / "f", pattern(4), [f"a{i}.png" for i in (1, 2, 4, 9)])
    assert probe(place).frames == 4
    assert (
        f"{place} lacks 5 of its frames, number 3, 5 to 8: those that are there follow each other"
        in probe(place).notices
    )


def test_folders_that_are_no_clip_are_refused(tmp_path):
    (tmp_path / "none").mkdir()
    said(tmp_path / "none", "is a folder without pictures")
    two = folder(tmp_path / "two", pattern(1), ["a_1.png"])
    folder(two, pattern(1, (24, 36)), ["a_2.png"])
    said(two, "several sizes", "a_2.png is 36x24, a_1.png is 40x24", "frames of one size")
    said(folder(tmp_path / "names", pattern(2), ["a_1.png", "cover.png"]), "cover.png has no number", "frame_0001.png")
    said(folder(tmp_path / "rows", pattern(2), ["a_1.png", "b_1.png"]), "more than one row", "a_1.png and b_1.png")
    said(folder(tmp_path / "twice", pattern(2), ["a_1.png", "a_01.png"]), "two pictures of one number")
    broken = folder(tmp_path / "broken", pattern(2), ["a_1.png", "a_2.png"])
    (broken / "a_2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a_2\.png is damaged"):
        probe(broken)
    with pytest.raises(FileMissingError):
        probe(tmp_path / "nowhere")


def test_a_frame_that_changes_later_is_named(tmp_path):
    place = folder(tmp_path / "f", pattern(2), ["1.png", "2.png"])
    video = probe(place)
    folder(place, pattern(1, (24, 36)), ["2.png"])
    with pytest.raises(InputError, match=r"2\.png is 36x24, others are 40x24"):
        list(read(video, [0, 1]))


# --- animations ---


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_an_animation_has_the_mean_rate_of_its_delays(tmp_path, name):
    frames = pattern(5) & 0xC0
    first, *rest = map(Image.fromarray, frames)
    how = {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=rest, duration=[40, 100, 200, 20, 90], loop=2, **how)
    video = probe(tmp_path / name)
    assert (video.frames, video.size, video.fps, video.still) == (5, (24, 40), Fraction(5000, 450), False)
    assert (video.pictures.delays, video.pictures.loop) == ((40, 100, 200, 20, 90), 2)
    assert "shown for 20 to 200 ms" in video.notices[-1]
    assert np.array_equal(whole(tmp_path / name), frames)
    assert np.array_equal(np.concatenate(list(read(video, [1, 1, 3]))), frames[[1, 1, 3]])


def test_delays_that_no_browser_keeps_count_as_a_tenth_of_a_second(tmp_path):
    first, *rest = map(Image.fromarray, pattern(3) & 0xC0)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[10, 10, 10])
    assert probe(tmp_path / "a.gif").fps == 10


def test_an_animated_png_stays_a_video(tmp_path):
    first, *rest = map(Image.fromarray, pattern(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=100)
    video = probe(tmp_path / "a.png")
    assert (video.frames, video.pictures) == (3, None)


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_a_truncated_animation_is_refused_or_told(tmp_path, name):
    first, *rest = map(Image.fromarray, np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8))
    first.save(tmp_path / name, save_all=True, append_images=rest, duration=100, lossless=True)
    assert not any("truncated" in text for text in probe(tmp_path / name).notices)
    data = (tmp_path / name).read_bytes()
    for share in (0.1, 0.3, 0.66, 0.9):
        (tmp_path / name).write_bytes(data[: round(share * len(data))])
        said(tmp_path / name, "damaged or truncated")


def test_a_gif_that_ends_between_two_frames_is_told(tmp_path):
    first, *rest = map(Image.fromarray, pattern(2) & 0xC0)
    first.save(tmp_path / "b.gif", save_all=True, append_images=rest, duration=100)
    (tmp_path / "b.gif").write_bytes((tmp_path / "b.gif").read_bytes()[:-1])
    video = probe(tmp_path / "b.gif")
    assert video.frames == 2
    assert video.notices[-1].endswith("so it may be truncated: 2 whole frames are read")


def test_a_png_says_its_comment(tmp_path):
    told = PngInfo()
    told.add_itxt("Comment", "ü {}")
    Image.fromarray(pattern()[0]).save(tmp_path / "a.png", pnginfo=told)
    Image.fromarray(pattern()[0]).save(tmp_path / "b.png")
    assert (comment(tmp_path / "a.png"), comment(tmp_path / "b.png")) == ("ü {}", None)
    with pytest.raises(InputError, match="is a folder"):
        comment(tmp_path)


def test_words_of_a_photo_become_labels(tmp_path):
    exif = Image.Exif()
    exif[0x013B], exif[0x010E] = "Ann", "A cat\0"
    Image.fromarray(pattern()[0]).save(tmp_path / "a.jpg", exif=exif)
    assert dict(probe(tmp_path / "a.jpg").labels) == {"artist": "Ann", "description": "A cat"}
