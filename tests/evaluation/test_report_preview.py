"""How large the copies of videos on a page are."""

import base64
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import write_clip
from PIL import Image

from flowedit.evaluation.report import preview
from flowedit.media.probe import probe

CASES = Path(__file__).parents[1] / "data" / "cases"


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (320, 320)), ((64, 96), (192, 288)), ((360, 640), (320, 568)), ((160, 90), (160, 90))],
)
def test_the_size_of_a_copy(tmp_path, size, shown):
    assert preview.size(probe(write_clip(tmp_path / "a.mp4", 1, size, sound=False))) == shown


def test_what_no_video_element_plays_is_shown_by_a_copy(tmp_path):
    first, second = (Image.fromarray(np.full((60, 80, 3), level, np.uint8)) for level in (40, 90))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=100)
    assert preview.embed(tmp_path / "a.gif").src.startswith("data:video/mp4")
    linked = preview.link(tmp_path / "a.gif", tmp_path)
    assert (linked.src, linked.file) == ("", "a.gif")
    assert "shown by a copy alone" in linked.fault


def test_a_copy_of_an_uneven_clip_has_its_times(tmp_path, monkeypatch):
    path, times = CASES / "vfr_drop.mp4", times_of(CASES / "vfr_drop.mp4")
    whole = preview.embed(path)
    linked = preview.link(path, tmp_path)
    for film in (whole, linked):
        np.testing.assert_allclose(film.times[:-1], np.subtract(times, times[0]), atol=1e-3)
        assert film.seconds == pytest.approx(float(probe(path).seconds), abs=1e-5)
    monkeypatch.setattr(preview, "FRAMES", 4)
    part = preview.embed(path)
    assert (part.frames, part.total, len(part.times)) == (4, len(times), 5)
    for film in (whole, part):
        (tmp_path / "a.mp4").write_bytes(base64.b64decode(film.src.partition(",")[2]))
        np.testing.assert_allclose(times_of(tmp_path / "a.mp4"), film.times[:-1], atol=1e-3)


def times_of(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]
