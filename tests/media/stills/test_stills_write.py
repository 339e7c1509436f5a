"""How an edit of pictures is written: PNG without loss, a folder's names, an animation's delays, alpha, profiles."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from flowedit.media.probe import comment, probe
from flowedit.media.stills.decode import Decoded
from flowedit.media.stills.write import (
    AnimationWriter,
    FolderWriter,
    StillWriter,
    beside,
    delays,
    dressed,
    in_hundredths,
    indexed,
)
from flowedit.messages import FileError, InputError


def noise(frames, size=(16, 24), channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, channels), np.uint8)


def shown(path):
    video = probe(path)
    return list(video.pictures.read(range(video.frames)))


def test_a_still_keeps_pixels_alpha_profile_tags_and_words(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = PngInfo()
    told.add(b"gAMA", (45455).to_bytes(4, "big"))
    source = noise(1, channels=4)[0]
    source[:4, :, 3] = 0
    Image.fromarray(source).save(tmp_path / "in.png", icc_profile=srgb, pnginfo=told)
    video, new = probe(tmp_path / "in.png"), noise(1, seed=1)
    with StillWriter(tmp_path / "out.png", video.pictures, [("title", "Cat"), ("artist", "Änn")], "{}") as writer:
        writer.write(new)
    (made,), again = shown(tmp_path / "out.png"), probe(tmp_path / "out.png")
    assert np.array_equal(made.alpha, source[..., 3])
    assert np.array_equal(made.pixels[4:], new[0, 4:])
    assert np.array_equal(made.pixels[:4], source[:4, :, :3])
    assert (made.profile, dict(made.tags)) == (srgb, {b"gAMA": (45455).to_bytes(4, "big")})
    assert (comment(tmp_path / "out.png"), dict(again.labels)) == ("{}", {"title": "Cat", "artist": "Änn"})


def test_a_still_takes_one_frame_and_needs_one(tmp_path):
    with pytest.raises(InputError, match="takes one frame"), StillWriter(tmp_path / "a.png") as writer:
        writer.write(noise(2))
    with pytest.raises(InputError, match="no frames were written"), StillWriter(tmp_path / "b.png"):
        pass
    with (
        pytest.raises(FileError, match="choose a folder that exists"),
        StillWriter(tmp_path / "no" / "c.png") as writer,
    ):
        writer.write(noise(1))
    assert not (tmp_path / "b.png").exists()


def test_a_folder_keeps_names_and_each_frames_alpha(tmp_path):
    (tmp_path / "in").mkdir()
    source = noise(3, channels=4)
    source[..., 3] |= 1
    for number, frame in zip((2, 3, 7), source, strict=True):
        Image.fromarray(frame).save(tmp_path / "in" / f"a {number}.webp", lossless=True, exact=True)
    video, new = probe(tmp_path / "in"), noise(2, seed=1)
    (writer,) = beside(video.pictures, tmp_path, [0, 2])
    with writer:
        writer.write(new[:1])
        writer.write(new[1:])
    made = shown(tmp_path / "edit_frames")
    assert [path.name for path in sorted((tmp_path / "edit_frames").iterdir())] == ["a 2.png", "a 7.png"]
    for each, frame, original in zip(made, new, source[[0, 2]], strict=True):
        assert np.array_equal(each.pixels, frame)
        assert np.array_equal(each.alpha, original[..., 3])


def animation(path, frames, **how):
    first, *rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=rest, **how)
    return probe(path).pictures


@pytest.mark.parametrize(("name", "how"), [("a.gif", {}), ("a.webp", {"lossless": True})])
def test_an_animation_keeps_delays_repeats_and_few_colours(tmp_path, name, how):
    frames = noise(5) & 0xC0
    source = animation(tmp_path / name, frames, duration=[40, 100, 200, 20, 90], loop=3, **how)
    new = noise(5, seed=1) & 0xC0
    (writer,) = beside(source, tmp_path, range(5))
    with writer:
        writer.write(new[:2])
        writer.write(new[2:])
    made = probe(tmp_path / f"edit{name[1:]}").pictures
    assert (made.delays, made.loop, made.alpha) == ((40, 100, 200, 20, 90), 3, False)
    assert np.array_equal([each.pixels for each in made.read(range(5))], new)


@pytest.mark.parametrize(("name", "how"), [("a.gif", {"disposal": 2}), ("a.webp", {"lossless": True})])
def test_an_animation_keeps_what_is_transparent(tmp_path, name, how):
    frames = noise(4, channels=4) & 0xC0
    frames[..., 3] = 255
    for place, frame in enumerate(frames):
        frame[2 * place : 2 * place + 4, 3:9, 3] = 0
    source = animation(tmp_path / name, frames, duration=100, **how)
    assert source.alpha
    new = noise(4, seed=1) & 0xC0
    with AnimationWriter(tmp_path / "out", source, range(4)) as writer:
        writer.write(new)
    for each, frame, old in zip(shown(tmp_path / "out"), new, frames, strict=True):
        assert np.array_equal(each.alpha, old[..., 3])
        assert np.array_equal(each.pixels[each.alpha > 0], frame[old[..., 3] > 0])


def test_more_colours_than_a_gif_has_come_near():
    ramp = np.stack(np.meshgrid(np.arange(0, 256, 4), np.arange(0, 256, 4), [80]), -1)[:, :, 0].astype(np.uint8)
    for clear in (False, True):
        made = indexed(ramp, None, clear)
        assert np.asarray(made).max() <= 255 - clear
        assert np.abs(np.asarray(made.convert("RGB")).astype(int) - ramp).mean() < 8


def test_frames_that_are_left_out_leave_their_time():
    of = SimpleNamespace(delays=(10, 20, 30, 40, 50, 60))
    assert delays(of, (0, 2, 4)) == [120, 70, 110]  # browsers show 10 ms for 100
    assert delays(of, (1, 2)) == [20, 30]
    assert delays(of, (3,)) == [40]


def lasting(path):
    """Milliseconds of each frame of a file, by Pillow alone."""
    found = []
    with Image.open(path) as image:
        for place in range(image.n_frames):
            image.seek(place)
            image.load()
            found.append(image.info["duration"])
    return found


@pytest.mark.parametrize("delay", [33, [40, 45, 33, 67, 28], [5, 33, 33, 10, 33]])
def test_the_times_of_a_webp_do_not_drift_in_a_gif(tmp_path, delay):
    count = 20 if delay == 33 else 5
    source = animation(tmp_path / "a.webp", noise(count), duration=delay, lossless=True)
    with AnimationWriter(tmp_path / "a.gif", source, range(count)) as writer:
        writer.write(noise(count, seed=1))
    shown = np.cumsum([each if each > 10 else 100 for each in source.delays])
    np.testing.assert_allclose(np.cumsum(lasting(tmp_path / "a.gif")), shown, atol=5)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(50)])
def test_the_times_of_an_even_rate_do_not_drift_in_a_gif(tmp_path, rate):
    source = animation(tmp_path / "a.gif", noise(40), duration=20)
    (writer,) = beside(source, tmp_path, range(40), rate)
    with writer:
        writer.write(noise(40, seed=1))
    ends = [1000 * (frame + 1) / rate for frame in range(40)]
    np.testing.assert_allclose(np.cumsum(lasting(tmp_path / "edit.gif")), np.array(ends, float), atol=6)


def test_a_gif_of_more_frames_a_second_than_browsers_play_is_refused():
    for rate, instead in ((120, 40), (60, 30), (Fraction(60000, 1001), 29.97)):
        with pytest.raises(InputError, match=f"at most 50 frames a second, .* add --fps {instead}"):
            in_hundredths([frame / Fraction(rate) for frame in range(rate.__ceil__() + 1)])
    assert in_hundredths([Fraction(each, 100) for each in (0, 1, 10, 11, 30)]) == [20, 80, 20, 180]
    assert in_hundredths([Fraction(0), Fraction(1, 120)]) == [20]


def test_a_video_and_a_still_leave_nothing_beside(tmp_path):
    Image.fromarray(noise(1)[0]).save(tmp_path / "a.png")
    assert beside(None, tmp_path, [0]) == beside(probe(tmp_path / "a.png").pictures, tmp_path, [0]) == []


def test_a_frame_without_alpha_is_itself():
    frame = noise(1)[0]
    assert dressed(frame, None) is frame
    assert dressed(frame, Decoded(frame)) is frame


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot write"), FolderWriter(tmp_path / "file" / "x"):
        pass
