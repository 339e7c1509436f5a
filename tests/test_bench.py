"""PocketBench: what it scores, that any number of processes gives the same rows, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from flowedit import masks
from flowedit.bench import bench, methods
from flowedit.bench import run as bench_run
from flowedit.bench.score import BOX, METRICS, USUAL_BOX, nearest, score, truth
from flowedit.bench.table import cell
from flowedit.metrics.intervals import Interval, share
from flowedit.metrics.overlap import centred_box, iou
from flowedit.pocket import KINDS, Vocabulary, edit

FAST = {"backbone": "pocket", "runtime.device": "cpu"}
KNOWN = Vocabulary(classes=("fox", "panda", "car", "apple"))
LEARNED = Vocabulary(
    classes=("fox", "panda", "car", "apple", "frog", "orange", "koala", "turtle"),
    grounds=("grass", "sand", "sky", "night"),
    motions=("right", "left", "still", "bounce"),
    tints=("", "red", "blue", "green"),
)
FEW = ["steps=2", "strength=1", "runtime.dtype=bfloat16"]


@pytest.fixture(scope="module")
def true():
    """A replacement whose autoencoder is the identity."""
    return truth(edit(3, "replace", vocabulary=KNOWN), KNOWN, lambda frames: frames, 4, (8, 8))


def test_the_truth_scores_as_its_ceiling_and_no_edit_as_the_floor(true):
    mask = torch.from_numpy(true.latent_mask.astype(np.float32))[None, None]
    best, none = score(true.edit.target.frames, mask, true), score(true.edit.source.frames, 0.9 * mask, true)
    assert best["object_accuracy"] == best["mask_iou"] == 1
    assert best["truth_psnr"] == best["background_psnr"] == np.inf
    assert best["truth_lpips"] == best["motion_error"] == 0
    assert none["object_accuracy"] == none["object_accuracy_floor"] == 0
    for metric in METRICS:
        if f"{metric}_ceiling" in best:
            assert best[metric] == best[f"{metric}_ceiling"]
        if f"{metric}_floor" in none and metric != "mask_iou":
            assert none[metric] == none[f"{metric}_floor"]
    assert none["mask_iou"] == 0  # a soft edge is no found site
    assert 0 < best["mask_iou_floor"] < 1
    assert "mask_iou" not in score(true.edit.source.frames, None, true)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_metrics_and_the_truth_wins(kind):
    held = truth(edit(5, kind, vocabulary=KNOWN), KNOWN, lambda frames: frames, 4, (8, 8))
    values = score(held.edit.target.frames, None, held)
    assert values["object_accuracy"] == 1
    assert values["object_accuracy_floor"] == 0
    assert ("motion_error" in values) == (kind not in ("remove", "ground"))
    assert values["background_psnr"] == np.inf


def test_the_nearest_choice_is_judged_where_the_object_is(true):
    choice = true.choices[0]
    frames = choice.frames["apple"].copy()
    frames[choice.where == 0] = 0  # whatever the background
    assert nearest(frames, choice) == "apple"


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_that_a_mask_must_beat_is_the_best_of_its_kind(kind):
    mean = {box: [] for box in (0.25, 0.5, 0.75, 1.0)}
    for seed in range(60):
        mask = edit(seed, kind, vocabulary=LEARNED).mask
        true = masks.to_latent(torch.from_numpy(mask), 4, (8, 8))[0, 0].numpy() >= 0.5
        for box, found in mean.items():
            found.append(iou(centred_box((3, 8, 8), box), true))
    best = max(np.mean(found) for found in mean.values())
    assert np.mean(mean[BOX.get(kind, USUAL_BOX)]) > best - 0.02


@pytest.fixture(scope="module")
def both():
    """Two scenes by two methods, in this process and in two."""
    chosen = methods(["random_noise"], ["draws=1 target_guidance_scale=2"], FAST, FEW)
    return [bench(chosen, 7, 2, ["replace", "remove"], workers=workers, pictures=3) for workers in (1, 2)]


def test_any_number_of_processes_gives_the_same_rows(both):
    assert both[0].rows == both[1].rows
    assert both[0].found == both[1].found


def test_rows_are_keyed_by_seed_kind_mode_and_metric(both):
    rows = both[0].rows
    keys = [row[:4] for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row.seed for row in rows} == {7, 8}
    assert {row.mode for row in rows} == {"random_noise", "random_noise draws=1 target_guidance_scale=2"}
    assert {row.value for row in rows if row.metric == "network_evaluations"} == {4.0}
    assert all(np.isfinite(row.value) for row in rows)


def test_pictures_show_source_methods_and_truth(both):
    assert len(both[0].pictures) == 3
    for title, clips in both[0].pictures:
        assert title.split(":")[0] in KINDS
        assert [*clips] == ["source", *dict.fromkeys(row.mode for row in both[0].rows), "truth"]


def test_the_command_leaves_rows_tables_and_a_picture(command, tmp_path):
    rows = tmp_path / "rows.json"
    code, out, err = command(
        "bench", "--first-seed", 3, "--scenes", 2, "--kinds", "replace", "--modes", "random_noise,inversion",
        "--workers", 1, "--json", rows, "--out", tmp_path / "out", *FEW,
    )  # fmt: skip
    assert code == 0, err
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert all([*line] == ["seed", "kind", "mode", "metric", "value"] for line in lines)
    assert {line["mode"] for line in lines} == {"random_noise", "inversion"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "rows.jsonl", "table.txt", "examples.png", "run.yaml",
    }  # fmt: skip
    for word in ("object accuracy", "ceiling", "floor", "paired differences from random_noise", "nearest to"):
        assert word in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--kinds", "swap"), "unknown kind 'swap'"),
        (("--kinds", ","), "name at least one"),
        (("--kinds", "add,add"), "each once"),
        (("--modes", ","), "no mode to compare"),
        (("--first-seed", "10000000000"), "training drew"),
        (("mode=inversion",), "choose with --modes"),
        (("composite=false",), "reads and writes no clip"),
        (("runtime.threads=2",), "one thread"),
        (("backbone=cogvideox-2b",), "no checkpoint of the pocket world"),
        (("--modes", "invertion"), "unknown mode"),
        (("--scenes", "many"), "--scenes 'many' is not a whole number"),
        (("--scenes", "0"), "scenes 0: at least 1"),
        (("seed=3",), "a scene of the bench brings its own"),
        (("--also", "steps=3", "--also", "steps=3"), "named more than once"),
        (("--also", "stepz=3"), "did you mean 'steps'"),
        (("--json", "nowhere/rows.json"), "folder that exists"),
        (("guidance=differential", "draws=2"), "below draws"),
    ],
)
def test_what_a_bench_refuses(command, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = command("bench", "--workers", "1", *args)
    assert code == 1
    assert said in err
    assert len(err.strip().splitlines()) <= 2  # "load", and the mistake
    assert not (tmp_path / "outputs").exists()


def test_a_key_without_effect_is_named(command, tmp_path):
    code, _, err = command(
        "bench", "--scenes", 1, "--kinds", "remove", "--modes", "inversion", "--workers", 1, "draws=4",
        "--out", tmp_path / "out", *FEW,
    )  # fmt: skip
    assert code == 0
    assert "inversion: draws=4 has no effect" in err


def test_a_scene_that_fails_is_a_row_of_its_own_and_the_rest_goes_on(command, monkeypatch, tmp_path):
    steer = bench_run.steer

    def broken(job, *rest):
        if job.settings.seed == 1:
            raise FloatingPointError("NaN in step 3")
        return steer(job, *rest)

    monkeypatch.setattr(bench_run, "steer", broken)
    code, out, _ = command(
        "bench", "--scenes", 2, "--kinds", "remove", "--modes", "random_noise", "--workers", 1,
        "--json", tmp_path / "rows.json", "--out", tmp_path / "out", *FEW,
    )  # fmt: skip
    assert code == 2
    assert "NaN in step 3" in out
    assert {json.loads(line)["seed"] for line in (tmp_path / "rows.json").read_text().splitlines()} == {0}
    assert "NaN in step 3" in (tmp_path / "out" / "run.yaml").read_text()


def test_cells_print_the_interval_that_was_computed():
    assert cell(Interval(18.264, 17.434, 19.094, 9), 2) == "18.26 ±0.83"
    assert cell(share([1.0] * 10), 2) == "1.00 [0.72, 1.00]"
    assert cell(Interval(0.5, float("nan"), float("nan"), 1), 2) == "0.50"
    assert cell(Interval(-0.1, -0.2, 0.0, 5), 2, "+") == "-0.10 ±0.10"


def test_also_takes_quoted_values_and_the_last_mode():
    (_, other) = methods(["inversion"], ["mode=inversion mode=random_noise 'negative_prompt=a fox'"], FAST)
    assert other.name == "random_noise negative_prompt=a fox"
    assert other.settings.negative_prompt == "a fox"


def test_a_backbone_of_another_world_is_refused(command, backbone_2b, tmp_path):
    code, _, err = command("bench", "--backbone", backbone_2b, "--out", tmp_path / "out")
    assert code == 1
    assert "no checkpoint of the pocket world" in err
