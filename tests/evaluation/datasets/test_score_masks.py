"""Scoring with masks that are not white on black: the same background whatever the file's kind; empty ones by name."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from flowedit.evaluation.results import rows
from flowedit.media import probe, reader
from flowedit.media.writer import Writer

CASES = Path(__file__).parents[2] / "data" / "cases"
ROW = {
    "clip": "plain.mp4",
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """One edit, changed in one region alone, scored with every kind of mask of it: the code, the rows."""
    from flowedit.cli.main import main

    folder = tmp_path_factory.mktemp("scores")
    shutil.copy(CASES / "plain.mp4", folder)
    for name in ("davis_palette.png", "rgba_hole.png", "mask_ok.png"):
        shutil.copy(CASES / name, folder)
    inside = cv2.imread(str(CASES / "mask_ok.png"), cv2.IMREAD_GRAYSCALE) > 0
    cv2.imwrite(str(folder / "zero_one.png"), inside.astype(np.uint8))
    cv2.imwrite(str(folder / "black.png"), np.zeros_like(inside, np.uint8))
    info = probe.probe(folder / "plain.mp4")
    frames = np.concatenate(list(reader.read(info, range(info.frames))))
    frames[:, inside] = 255 - frames[:, inside]
    place = folder / "ed" / "plain"
    place.mkdir(parents=True)
    masks = {path.stem: path.name for path in folder.glob("*.png")}
    with Writer(place / "mask_ok.mp4", info.size, info.fps) as out:
        out.write(frames)
    for name in set(masks) - {"mask_ok"}:
        shutil.copy(place / "mask_ok.mp4", place / f"{name}.mp4")
    made = [{**ROW, "edit": name, "score_mask": file} for name, file in masks.items()]
    (folder / "list.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    names = "background_psnr,background_mse,psnr"
    args = ["--do", "score", "--edits", f"plain={folder / 'ed'}", "--metrics", names, "--workers", "1"]
    code = main(["evaluate", str(folder / "list.yaml"), *args, "--out", str(folder / "out")])
    return code, {(row.edit, row.metric): row for row in rows.read(folder / "out" / "rows.jsonl")}


@pytest.mark.parametrize("kind", ["davis_palette", "rgba_hole", "zero_one"])
def test_every_kind_of_mask_gives_the_same_background(scored, kind):
    _, found = scored
    assert found["mask_ok", "background_psnr"].value > found["mask_ok", "psnr"].value + 10
    for metric in ("background_psnr", "background_mse"):
        assert found[kind, metric].value == found["mask_ok", metric].value


def test_a_mask_that_selects_nothing_fails_what_needs_it_by_name(scored):
    code, found = scored
    assert code == 2
    row = found["black", "background_psnr"]
    assert row.value is None
    assert "black.png selects nothing" in row.failure
    assert found["black", "psnr"].value == found["mask_ok", "psnr"].value
