"""How large the copies of videos on a page are."""

import numpy as np
import pytest
from conftest import write_clip
from PIL import Image

from flowedit.evaluation.report import preview
from flowedit.media.probe import probe


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
