"""Every family edits a real file in the three modes on its small random folder, with a words' mask.

A family that is added, with a random recipe in its sheet, is in these by itself.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import FPS, SIZE, write_clip

from flowedit.backbones.families import load
from flowedit.backbones.random_weights import KINDS, save_random
from flowedit.media.probe import probe
from flowedit.types import Backbone

FRAMES = 9

MODES = ("random_noise", "inversion", "inversion_free")

WORDS = (
    "--source",
    "a red fox on grass",
    "--target",
    "a blue panda on grass",
    "--source-words",
    "fox",
    "--target-words",
    "panda",
)


@dataclass(frozen=True)
class Family:
    """A small random checkpoint, opened once; `still` of one that knows one frame."""

    folder: Path
    backbone: Backbone

    @property
    def still(self) -> bool:
        return self.backbone.spec.trained_frames == 1


@pytest.fixture(scope="module", params=sorted(KINDS))
def family(request, tmp_path_factory):
    folder = save_random(tmp_path_factory.mktemp("families") / f"random-{request.param}", request.param)
    return Family(folder, load(folder, device="cpu"))


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """A clip with sound, and a picture, of one size."""
    place = tmp_path_factory.mktemp("subjects")
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    cv2.imwrite(str(place / "photo.png"), picture)
    return write_clip(place / "clip.mp4", frames=FRAMES), place / "photo.png"


@pytest.mark.parametrize("mode", MODES)
def test_a_family_edits_a_file_and_gives_it_back_as_it_came(mode, family, subjects, tmp_path, command):
    """Size, rate, length and sound are the clip's; the words' mask was read; what is outside of it is the source's."""
    clip, photo = subjects
    given, out = photo if family.still else clip, tmp_path / "out"
    code, _, error = command(
        "edit", given, "--backbone", family.folder, "--mode", mode, *WORDS, "--steps", "2", "--out", out,
        "--size", f"{SIZE[1]}x{SIZE[0]}", "runtime.device=cpu",
    )  # fmt: skip
    assert code == 0, error
    said = yaml.safe_load((out / "run.yaml").read_text(encoding="utf-8"))
    assert said["settings"]["mode"]["name"] == mode
    if family.still:
        assert cv2.imread(str(out / "edit.png")).shape == (*SIZE, 3)
        assert cv2.imread(str(out / "mask.png")) is not None
        return
    found, before = probe(str(out / "edit.mp4")), probe(str(clip))
    assert found.shown == before.shown == SIZE
    assert found.fps == before.fps == FPS
    assert found.frames == before.frames == FRAMES
    assert found.has_audio
    assert (out / "mask.mp4").is_file()
