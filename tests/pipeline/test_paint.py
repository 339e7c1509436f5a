"""Painting on a clip from Python: an edit reads the mask exactly; a base, shots, and nothing half-written."""

import struct
import threading
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import flowedit
from flowedit.media import mask_file, probe
from flowedit.media.writer import Writer
from flowedit.pocket import scene
from flowedit.pocket.world import Spec, Thing

CASES = Path(__file__).parents[1] / "data" / "cases"
SIZE, FRAMES = (64, 96), 9
DOT = {"frame": 2, "points": [[0.5, 0.5], [0.55, 0.5]], "radius": 0.08}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "fox.mp4"
    made = scene(Spec((Thing("fox", "right", x=0.45, scale=0.5, travel=0.3),)), SIZE, FRAMES)
    with Writer(path, SIZE, Fraction(8), crf=4) as writer:
        writer.write(made.frames)
    return path


def test_a_painted_mask_is_used_exactly_by_an_edit(clip, tmp_path):
    mask = flowedit.paint(clip, [DOT])
    assert mask.dtype == np.uint8
    assert mask.shape == (FRAMES, *SIZE)
    path = flowedit.paint(clip, [DOT], out=tmp_path / "mask.mkv")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mask.mkv"]
    video = probe.probe(clip)
    read, notices = mask_file.read_mask(path, video, range(FRAMES))
    assert notices == []
    kept = np.where(mask <= 3, 0, np.where(mask >= 252, 255, mask))  # near black and white are these
    np.testing.assert_array_equal(np.concatenate([read[k : k + 1] for k in range(FRAMES)]), kept)
    options = {"source": "a fox moves right over green grass", "target": "a panda moves right over green grass"}
    one, two = (
        flowedit.edit(clip, user_mask=given, out=tmp_path / str(k), steps=2, **options)
        for k, given in enumerate((path, mask))
    )
    assert one.video.read_bytes() == two.video.read_bytes()
    assert 0 < float((one.latent_mask == 1).float().mean()) < 0.5


def test_it_follows_and_a_base_is_painted_on(clip):
    painting = flowedit.Painting(clip)
    assert (painting.frames, painting.size) == (FRAMES, SIZE)
    plain = painting.at([DOT])
    middles = [np.nonzero(each > 127)[1].mean() for each in plain]
    assert middles[-1] - middles[0] > 0.15 * SIZE[1]
    base = np.zeros((FRAMES, *SIZE), np.uint8)
    base[:, :5] = 200
    both = painting.at([DOT], base=base)
    np.testing.assert_array_equal(both[:, :5], np.maximum(base, plain)[:, :5])
    np.testing.assert_array_equal(both[:, 5:], plain[:, 5:])
    np.testing.assert_array_equal(painting.at([DOT]), plain)
    small = painting.at([DOT], base=base, size=(32, 48))
    assert small.shape == (FRAMES, 32, 48)
    assert np.abs(small.astype(int) - both[:, 1::2, 1::2]).mean() < 6
    with pytest.raises(flowedit.InputError, match=r"base is float64 .*give uint8 \(9, 64, 96\)"):
        painting.at([DOT], base=base / 255)
    with pytest.raises(flowedit.InputError, match="base is uint8"):
        painting.at([DOT], base=base[:3])


def test_a_mask_file_is_a_base_too(clip, tmp_path):
    picture = np.zeros(SIZE, np.uint8)
    picture[50:] = 255
    cv2.imwrite(str(tmp_path / "base.png"), picture)
    mask = flowedit.paint(clip, [DOT], base=tmp_path / "base.png")
    assert mask[:, 55].min() == 255
    assert mask[2, 32, 48] == 255


def test_paint_stays_in_its_shot_and_counts_frames_as_they_are_read(clip):
    mask = flowedit.paint(clip, [DOT | {"frame": 1}], cuts=[4], start=1, frames=7)
    assert len(mask) == 7
    assert (mask.max((1, 2)) > 0).tolist() == [True] * 4 + [False] * 3
    with pytest.raises(flowedit.InputError, match="give 0 to 6"):
        flowedit.paint(clip, [DOT | {"frame": 7}], frames=7)


def test_a_turned_clip_is_painted_as_it_is_shown(tmp_path):
    data = bytearray((CASES / "plain.mp4").read_bytes())
    place = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[place : place + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    painting = flowedit.Painting(tmp_path / "turned.mp4", frames=1)
    height, width = painting.size
    assert height > width
    box = {"frame": 0, "x": 0.0, "y": 0.5, "width": 1.0, "height": 0.5}
    mask = painting.at(boxes=[box])[0]
    assert mask[height // 2 + 1 :].min() == 255
    assert mask[: height // 2 - 1].max() == 0


def test_nothing_is_half_written(clip, tmp_path):
    with pytest.raises(flowedit.InputError, match="the clip has 9"):
        flowedit.paint(clip, [DOT, DOT | {"frame": 40}], out=tmp_path / "mask.mkv")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.mkv").write_text("dear")
    with pytest.raises(flowedit.FileError, match="choose another file"):
        flowedit.paint(clip, [DOT], out=tmp_path / "mine.mkv")
    with pytest.raises(flowedit.InputError, match=r"let its name end in \.mkv"):
        flowedit.paint(clip, [DOT], out=tmp_path / "mask.mp4")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(flowedit.Cancelled):
        flowedit.paint(clip, [DOT], out=tmp_path / "mask.mkv", cancel=cancel)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.mkv"]
    assert (tmp_path / "mine.mkv").read_text() == "dear"
