"""A video frame by frame: what a model of single pictures makes of it, each frame as if it were a still."""

import numpy as np
import pytest
import torch

import flowedit
from flowedit.cli import main
from flowedit.config.compose import compose
from flowedit.doctor import models
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.pipeline.plan import brief
from flowedit.pipeline.run import check_backbone

EDIT = {
    "source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda", "steps": 2,
    "strength": 1.0, "source_guidance_scale": 1.5, "target_guidance_scale": 5.5, "size": "96x64",
}  # fmt: skip


def test_a_video_on_a_model_of_pictures_is_refused_in_one_line(backbone_flux, clip_file, tmp_path, monkeypatch):
    monkeypatch.setattr("flowedit.backbones.families.load", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(ValueError, match="random-flux knows single pictures, and this clip has 12 frames") as caught:
        flowedit.edit(clip_file, backbone=backbone_flux, out=tmp_path / "o", **EDIT)
    assert "frame_by_frame=true edits each by itself, which flickers" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_the_command_line_names_the_flag(backbone_flux, clip_file, tmp_path, capsys):
    words = ["--source", "a fox runs", "--target", "a panda runs", "--out", str(tmp_path / "o")]
    assert main.main(["edit", str(clip_file), "--backbone", str(backbone_flux), *words]) == 1
    assert "--frame-by-frame true edits each by itself" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_every_mode_edits_a_video_frame_by_frame(backbone_flux, clip_file, tmp_path, mode):
    made = flowedit.edit(
        clip_file, backbone=backbone_flux, mode=mode, frames=3, frame_by_frame=True, out=tmp_path / "o", **EDIT
    )
    source, edit, mask = (probe(path) for path in (clip_file, made.video, made.mask))
    assert (edit.size, edit.frames, edit.fps, edit.has_audio) == (source.size, 3, source.fps, source.has_audio)
    assert mask.frames == 3
    assert made.video.suffix == ".mp4"
    assert made.latents.shape[2] == made.latent_mask.shape[2] == 3
    assert [each for each in made.notices if "flickers" in each] == [
        "each of the 3 frames is edited by itself, from the same noise: what is new in them flickers"
    ]
    assert made.run["settings"]["frame_by_frame"] is True


def test_each_phase_is_told_once_with_the_units_of_all_frames(backbone_flux, clip_file, tmp_path):
    class Heard:
        def __init__(self):
            self.phases, self.done = {}, {}

        def phase(self, name, total):
            assert name not in self.phases
            self.name, self.phases[name] = name, total

        def advance(self, count=1):
            self.done[self.name] = self.done.get(self.name, 0) + count

        def notice(self, text):
            pass

    heard = Heard()
    flowedit.edit(
        clip_file, backbone=backbone_flux, frames=3, frame_by_frame=True, out=tmp_path / "o", monitor=heard, **EDIT
    )
    assert heard.phases["encode"] == heard.done["encode"] == 3
    assert heard.phases["edit"] == heard.done["edit"] == 3 * EDIT["steps"]


def test_each_frame_is_what_it_is_as_a_still_from_the_same_noise(backbone_flux, clip_file, tmp_path):
    editor = flowedit.load(backbone_flux, **EDIT)
    made = editor.edit(clip_file, frames=4, frame_by_frame=True, out=tmp_path / "o")
    for frame in range(4):
        alone = editor.edit(clip_file, start=frame, frames=1, out=tmp_path / str(frame))
        assert torch.equal(made.latents[:, :, [frame]], alone.latents)
        assert torch.equal(made.latent_mask[:, :, [frame]], alone.latent_mask)
    assert not torch.equal(made.latents[:, :, 0], made.latents[:, :, 2])


def test_a_frame_that_comes_again_is_edited_alike(backbone_flux, tmp_path):
    """The noise is shared: what does not move does not flicker."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8).repeat(3, 0)
    frames[1] = 255 - frames[0]
    options = EDIT | {"frame_by_frame": True, "backbone": backbone_flux}
    made = flowedit.edit_frames(frames, fps=10, **options)
    assert np.array_equal(made.frames[0], made.frames[2])
    assert not np.array_equal(made.frames[0], made.frames[1])


def test_a_video_model_edits_frame_by_frame_too(backbone_2b, clip_file, tmp_path):
    editor = flowedit.load(backbone_2b, **EDIT)
    made = editor.edit(clip_file, frames=3, frame_by_frame=True, out=tmp_path / "o")
    alone = editor.edit(clip_file, start=1, frames=1, out=tmp_path / "1")
    assert torch.equal(made.latents[:, :, [1]], alone.latents)
    whole = editor.edit(clip_file, frames=3, out=tmp_path / "w")
    assert whole.latents.shape[2] == 3  # of 9 frames, 6 of them repeated
    assert probe(made.video).frames == 3


def test_a_box_is_followed_from_frame_to_frame(backbone_flux, clip_file, tmp_path):
    words = EDIT | {"source_words": "", "target_words": "", "mask.user": "replace"}
    made = flowedit.edit(
        clip_file, backbone=backbone_flux, frames=4, frame_by_frame=True, box="4,4,30,30@0", out=tmp_path / "o", **words
    )
    video = probe(made.mask_plain)
    inside = np.concatenate(list(read(video, range(video.frames))))[..., 0] > 127
    assert inside.shape[0] == 4
    assert all(0.05 < frame.mean() < 0.3 for frame in inside)
    assert not any("no box or point" in text for text in made.notices)


def test_what_is_one_frame_needs_no_asking(backbone_flux, clip_file, tmp_path):
    made = flowedit.edit(clip_file, backbone=backbone_flux, frames=1, frame_by_frame=True, out=tmp_path / "o", **EDIT)
    assert any("frame_by_frame=True has no effect: it needs a clip of several frames" in each for each in made.notices)


def test_it_is_reckoned_and_foreseen(backbone_flux, clip_file):
    settings = compose({"backbone": str(backbone_flux), "frame_by_frame": True, "size": "96x64"})
    laid = models.work(models.found(settings, None), probe(clip_file))
    assert (len(laid.windows), laid.seen) == (12, (4, 1, 8, 12))
    seen = flowedit.check(clip_file, backbone=backbone_flux, frame_by_frame=True, frames=5, **EDIT)
    assert seen.shots == 5
    assert check_backbone(settings) == backbone_flux
    assert brief(compose(EDIT)).cost([1.0, 0.5, 0.0]) == 8
