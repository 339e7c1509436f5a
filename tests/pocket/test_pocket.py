"""The packaged checkpoint: it loads without a network, generates in diffusers' own pipeline, and edits what is true."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline

import flowedit
from flowedit.config import edit_file
from flowedit.masks import grids
from flowedit.media import pixels, probe, reader
from flowedit.pocket import Spec, Thing, scene

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "flowedit" / "pocket" / "checkpoint"


def small(path):
    """The frames of a file at the checkpoint's own size, float (F, 128, 128, 3)."""
    info = probe.probe(path)
    frames = np.concatenate(list(reader.read(info, range(info.frames))))
    return pixels.resize(frames, (128, 128)).astype(float)


def test_it_is_small_and_holds_no_pickle():
    files = [path for path in CHECKPOINT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 32e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".model"}


def looks_like(frame, kinds, ground):
    """The class whose rendering, wherever it is laid, has the least squared error over its own pixels."""
    errors = {}
    for kind in kinds:
        shown = scene(Spec((Thing(kind, "still", x=0.5, y=0.5),), ground), (128, 128), 1)
        covered = shown.masks[0, 0]
        (top, bottom), (left, right) = ((where.min(), where.max() + 1) for where in np.nonzero(covered > 0.5))
        window = np.s_[top:bottom, left:right]
        weight = np.repeat(covered[window][..., None], 3, -1).astype(np.float32)
        found = cv2.matchTemplate(
            frame.astype(np.float32), shown.frames[0][window].astype(np.float32), cv2.TM_SQDIFF, mask=weight
        )
        errors[kind] = found.min() / weight.sum()
    return min(errors, key=errors.get)


def test_it_generates_in_diffusers_own_pipeline():
    pipeline = CogVideoXPipeline.from_pretrained(CHECKPOINT, local_files_only=True, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    kinds = json.loads((CHECKPOINT / "flowedit.json").read_text())["classes"]
    for kind in ("fox", "car"):
        frames = pipeline(
            f"a {kind} moves right over green grass", height=128, width=128, num_frames=9, num_inference_steps=8,
            guidance_scale=4.0, max_sequence_length=24, generator=torch.Generator().manual_seed(0), output_type="np",
        ).frames[0]  # fmt: skip
        assert frames.shape == (9, 128, 128, 3)
        red, green, blue = frames[:, [8, 8, -9, -9], [8, -9, 8, -9]].mean((0, 1))
        assert green > 1.2 * red
        assert green > 1.2 * blue  # grass in the corners
        assert looks_like(255 * frames[4], kinds, "grass") == kind


@pytest.fixture(scope="module")
def fox(tmp_path_factory):
    row = edit_file.read_edit(ROOT / "examples" / "fox.yaml")
    path = Path(row.pop("clip"))
    editor = flowedit.load("pocket", **{"runtime.device": "cpu"})
    # as it was decoded: blended into the source, its background would be the source's own
    result = editor.edit(path, out=tmp_path_factory.mktemp("fox"), composite=False, **row)
    kinds = json.loads((CHECKPOINT / "flowedit.json").read_text())["classes"]
    scenes = {kind: scene(Spec((Thing(kind, motion="right"),), "grass", texture=7)) for kind in kinds}
    return result, small(path), small(result.video), scenes


def test_the_example_is_the_scene_that_it_says(fox):
    _, source, _, scenes = fox
    assert np.abs(source - scenes["fox"].frames).mean() < 6


def test_the_example_edit_looks_like_its_true_target(fox):
    _, _, edit, scenes = fox
    object_ = np.maximum(scenes["fox"].masks[0], scenes["panda"].masks[0]) > 0.5
    error = {kind: np.abs(edit - shown.frames)[object_].mean() for kind, shown in scenes.items()}
    assert min(error, key=error.get) == "panda", error
    assert error["panda"] < 0.75 * error["fox"], error


def test_the_example_edit_keeps_its_background(fox):
    _, source, edit, scenes = fox
    away = np.maximum(scenes["fox"].masks[0], scenes["panda"].masks[0]) < 0.01
    error = ((edit - source)[away] ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 28


def test_the_example_mask_finds_the_object_better_than_a_box_in_the_middle(fox):
    result, _, _, scenes = fox
    either = torch.from_numpy(np.maximum(scenes["fox"].masks[0], scenes["panda"].masks[0]))
    true = grids.to_latent(either, 4, (16, 16)) >= 0.5
    box = torch.zeros_like(true)
    box[..., 4:12, 4:12] = True

    def overlap(found):
        return ((found & true).sum() / (found | true).sum()).item()

    assert overlap(result.latent_mask == 1) > max(0.5, overlap(box))  # its sites, without their soft edge


def test_an_edit_of_its_own_world_has_no_notices(fox):
    result, *_ = fox
    assert result.run["notices"] == []
