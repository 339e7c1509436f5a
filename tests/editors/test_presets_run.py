"""Each preset on checkpoints of every shape: that it runs, and what it costs."""

import numpy as np
import pytest
import torch
import yaml
from presets import NUMBERS, PROMPTS, ROOT, WORDS

import flowedit
from flowedit.media import pixels, probe, reader
from flowedit.media.writer import Writer
from flowedit.pipeline import region


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Nine frames of real footage at 832x480."""
    path = tmp_path_factory.mktemp("wide") / "wide.mp4"
    source = probe.probe(ROOT / "examples" / "cup.mp4")
    frames = np.concatenate(list(reader.read(source, range(9))))
    with Writer(path, (480, 832), source.fps) as writer:
        writer.write(pixels.resize(frames, (480, 832)))
    return path


@pytest.mark.parametrize("kind", ["2b", "5b", "15", "wan"])
@pytest.mark.parametrize("preset", NUMBERS)
def test_every_preset_runs_on_every_shape(request, clip_file, wide, tmp_path, preset, kind):
    folder = request.getfixturevalue(f"backbone_{kind}")
    clip_file = wide if kind in ("2b", "wan") else clip_file
    options = {"steps": 3, "size": "96x64", "frames": 9, "runtime.device": "cpu"}
    if preset == "flowdirector_v2":
        options["mode.fixed_noise_steps"] = 1
    result = flowedit.edit(clip_file, backbone=folder, mode=preset, out=tmp_path / "o", **PROMPTS, **WORDS, **options)
    assert probe.probe(result.video).frames == 9
    assert np.isfinite(result.latents.numpy()).all()
    assert not torch.equal(result.latents, result.source_latents)
    assert (result.mask is not None) == preset.startswith("flowdirector")
    run = yaml.safe_load((result.folder / "run.yaml").read_text(encoding="utf-8"))
    assert (run["settings"]["mode"]["name"], run["settings"]["mode"]["preset"]) == ("inversion_free", preset)
    cost = {"flowdirector_v1": 2 * 16, "flowdirector_v2": 2 * 12 + 4, "flowedit": 4, "wan_edit": 8, "flowalign": 9}
    cost |= {"dfvedit": 8, "flowslider": 6}
    assert result.run["network_evaluations"] == cost[preset]


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A frame of real footage at 480x832."""
    path = tmp_path_factory.mktemp("tall") / "tall.mp4"
    source = probe.probe(ROOT / "examples" / "cup.mp4")
    with Writer(path, (832, 480), source.fps) as writer:
        writer.write(pixels.resize(np.concatenate(list(reader.read(source, range(1)))), (832, 480)))
    return path


@pytest.mark.parametrize(
    ("preset", "kind", "shape"),
    [
        ("flowdirector_v1", "2b", "tall"),
        ("flowdirector_v1", "wan", "wide"),
        ("flowdirector_v2", "2b", "wide"),
        ("flowdirector_v2", "wan", "tall"),
    ],
)
def test_both_versions_run_at_their_native_size_with_the_paper_s_mask(
    request, monkeypatch, tmp_path, preset, kind, shape
):
    made, whole = [], region.attention_mask.AttentionMask

    def spy(*args, **more):
        mask = whole(*args, **more)
        made.append((mask._pool, mask._decay))
        return mask

    monkeypatch.setattr(region.attention_mask, "AttentionMask", spy)
    folder, path = request.getfixturevalue(f"backbone_{kind}"), request.getfixturevalue(shape)
    size, latent = {"wide": ("832x480", (60, 104)), "tall": ("480x832", (104, 60))}[shape]
    # The words of one side: the union over the draws of both holds nearly every site of these random maps.
    options = {"steps": 1, "strength": 1, "size": size, "frames": 1, "source_words": "fox", "runtime.device": "cpu"}
    if preset == "flowdirector_v2":
        options |= {"steps": 2, "mode.fixed_noise_steps": 1}
    result = flowedit.edit(path, backbone=folder, mode=preset, out=tmp_path / "o", **PROMPTS, **options)
    assert result.run["clip"]["working_size"] == size
    assert tuple(result.latents.shape[3:]) == tuple(result.latent_mask.shape[3:]) == latent
    assert made == [(11, 0.25)]
    assert 0.01 < (result.latent_mask == 1).float().mean() < 0.99
    assert torch.isfinite(result.latents).all()
    assert not torch.equal(result.latents, result.source_latents)
