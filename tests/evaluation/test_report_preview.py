"""How large the copies of videos on a page are."""

import pytest
from conftest import write_clip

from flowedit.evaluation.report import preview
from flowedit.media.probe import probe


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (320, 320)), ((64, 96), (192, 288)), ((360, 640), (320, 568)), ((160, 90), (160, 90))],
)
def test_the_size_of_a_copy(tmp_path, size, shown):
    assert preview.size(probe(write_clip(tmp_path / "a.mp4", 1, size, sound=False))) == shown
