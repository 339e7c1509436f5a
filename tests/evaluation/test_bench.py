"""PocketBench: what it scores, that any number of processes gives the same rows, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from flowedit.evaluation.bench import run as report
from flowedit.evaluation.bench import scene
from flowedit.evaluation.bench.score import BOX, USUAL_BOX, centred_box, iou, nearest, references, score, truth
from flowedit.evaluation.datasets.sample import Scenes
from flowedit.evaluation.methods import methods
from flowedit.evaluation.options import evaluation
from flowedit.evaluation.results import rows
from flowedit.evaluation.results.rows import JOB, Row
from flowedit.evaluation.results.summary import CEILING, FLOOR
from flowedit.masks import grids
from flowedit.pipeline.api import Editor
from flowedit.pocket import KINDS, Vocabulary, edit
from flowedit.pocket.truth import KEPT
from flowedit.types import QUIET

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
    known = references(true)
    assert best["object_accuracy"] == best["mask_iou"] == 1
    assert best["truth_psnr"] == best["background_psnr"] == np.inf
    assert best["truth_lpips"] == best["motion_error"] == 0
    assert none["object_accuracy"] == known[FLOOR]["object_accuracy"] == 0
    assert {name: best[name] for name in known[CEILING]} == known[CEILING]
    assert set(known[CEILING]) == {name for name in best if name != "mask_iou" and "composited" not in name}
    assert best["truth_lpips_composited"] < known[FLOOR]["truth_lpips"]
    assert best["background_psnr_composited"] > 40  # nothing is to change there, and nothing does
    assert none["truth_psnr_composited"] == none["truth_psnr"]
    box = known[FLOOR].pop("mask_iou")
    assert {name: none[name] for name in known[FLOOR]} == known[FLOOR]
    assert none["mask_iou"] == 0  # a soft edge is no found site
    assert 0 < box < 1
    assert "mask_iou" not in score(true.edit.source.frames, None, true)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_metrics_and_the_truth_wins(kind):
    held = truth(edit(5, kind, vocabulary=KNOWN), KNOWN, lambda frames: frames, 4, (8, 8))
    values = score(held.edit.target.frames, None, held)
    assert values["object_accuracy"] == 1
    assert references(held)[FLOOR]["object_accuracy"] == 0
    assert ("right_object" in values) == (kind in ("replace_one_of_two", KEPT))
    assert ("motion_error" in values) == (kind not in ("remove", "ground"))
    assert values["background_psnr"] == np.inf


@pytest.mark.parametrize("kind", ["remove", "replace"])
def test_what_is_left_of_a_shadow_is_1_of_the_source_and_0_of_the_truth(kind):
    held = truth(edit(5, kind, vocabulary=KNOWN, shadows=True), KNOWN, lambda frames: frames, 4, (8, 8))
    source, target = held.edit.source.frames, held.edit.target.frames
    best, none = score(target, None, held), score(source, None, held)
    assert (best["shadow_left"], best["shadow_psnr"]) == (0, np.inf)
    assert none["shadow_left"] == 1
    half = np.rint((source.astype(float) + target) / 2).astype(np.uint8)
    assert score(half, None, held)["shadow_left"] == pytest.approx(0.5, abs=0.01)
    elsewhere = np.where(held.edit.mask[..., None] == 0, 0, target).astype(np.uint8)
    assert score(elsewhere, None, held)["shadow_left"] == 0
    everywhere = torch.ones((1, 1, 3, 8, 8))
    assert score(target, everywhere, held)["shadow_left_composited"] == 0
    assert score(target, 0 * everywhere, held)["shadow_left_composited"] == 1  # what is blended back brings it back


@pytest.mark.parametrize("kind", ["replace_one_of_two", KEPT])
def test_the_right_object_of_two_is_the_one_whose_place_changed(kind):
    held = truth(edit(5, kind, vocabulary=KNOWN), KNOWN, lambda frames: frames, 4, (8, 8))
    source, (changes,) = held.edit.source, held.edit.edited
    assert score(held.edit.target.frames, None, held)["right_object"] == 1
    assert score(source.frames, None, held)["right_object"] == 0
    wrong = source.frames.copy()
    wrong[source.masks[1 - changes] > 0] = 128
    assert score(wrong, None, held)["right_object"] == 0
    assert references(held)[FLOOR]["right_object"] == 0


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
        true = grids.to_latent(torch.from_numpy(mask), 4, (8, 8))[0, 0].numpy() >= 0.5
        for box, found in mean.items():
            found.append(iou(centred_box((3, 8, 8), box), true))
    best = max(np.mean(found) for found in mean.values())
    assert np.mean(mean[BOX.get(kind, USUAL_BOX)]) > best - 0.02


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two scenes by two methods, in this process and in two."""
    made = []
    for workers in (1, 2):
        settings, _ = evaluation(
            {
                "modes": ["random_noise"],
                "also": ["draws=1 target_guidance_scale=2"],
                "first_seed": 7,
                "scenes": 1,
                "kinds": ["replace", "remove"],
                "engine.workers": workers,
                "out": str(tmp_path_factory.mktemp("bench") / str(workers)),
            }
        )
        made.append(report.report(settings, FAST, FEW, QUIET))
    return made


def told(made):
    """What is the same wherever it ran."""
    return [row for row in made.rows if row.metric != "seconds"]


def test_any_number_of_processes_gives_the_same_rows(both):
    assert told(both[0]) == told(both[1])
    assert both[0].verdicts == both[1].verdicts


def test_rows_are_keyed_by_scene_kind_method_and_metric(both):
    made = both[0].rows
    assert len({row[:5] for row in made}) == len(made)
    assert {(row.clip, row.edit) for row in made} == {(s, k) for s in "7" for k in ("replace", "remove")}
    assert {row.method for row in made} == {*both[0].methods, FLOOR, CEILING}
    assert both[0].methods == ("random_noise", "random_noise draws=1 target_guidance_scale=2")
    assert {row.value for row in made if row.metric == "network_evaluations"} == {4.0}
    assert all(np.isfinite(row.value) for row in made)
    preferred = {(row.edit, row.method): row.value for row in made if row.metric == "target_preference"}
    assert all(preferred[kind, CEILING] > preferred[kind, FLOOR] for kind in ("replace", "remove"))


def test_a_bench_that_is_done_is_not_run_again(both, monkeypatch):
    monkeypatch.setattr(scene, "work", lambda *_: pytest.fail("it was done"))
    again, _ = evaluation(
        {
            "modes": ["random_noise"],
            "also": ["draws=1 target_guidance_scale=2"],
            "first_seed": 7,
            "scenes": 1,
            "kinds": ["remove"],
            "engine.workers": 1,
            "out": str(both[0].folder),
        }
    )
    made = report.report(again, FAST, FEW, QUIET)
    assert set(made.rows) < set(both[0].rows)


def test_a_scene_that_was_made_under_another_name_is_a_row_of_this_runs_method(both, monkeypatch):
    monkeypatch.setattr(scene, "work", lambda *_: pytest.fail("it was done"))
    options, _ = evaluation(
        {"modes": ["random_noise"], "first_seed": 7, "scenes": 1, "kinds": ["remove"], "engine.workers": 1}
        | {"out": str(both[1].folder)}
    )
    made = report.report(options, FAST, [*FEW, "draws=1", "target_guidance_scale=2"], QUIET)
    assert {row.method for row in made.rows} == {"random_noise", FLOOR, CEILING}
    (scale,) = {row.value for row in made.rows if (row.method, row.metric) == ("random_noise", "truth_psnr")}
    (named,) = {
        row.value
        for row in both[1].rows
        if (row.method, row.metric, row.kind) == (both[1].methods[1], "truth_psnr", "remove")
    }
    assert scale == named


def test_the_command_leaves_rows_tables_and_a_picture(command, tmp_path):
    copy = tmp_path / "rows.json"
    code, out, err = command(
        "bench", "--first-seed", 3, "--scenes", 2, "--kinds", "replace", "--modes", "random_noise,inversion",
        "--workers", 1, "--json", copy, "--out", tmp_path / "out", *FEW,
    )  # fmt: skip
    assert code == 0, err
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    assert all([*line] == [*Row._fields] for line in lines)
    assert {line["method"] for line in lines} == {"random_noise", "inversion", FLOOR, CEILING}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "rows.jsonl", "table.txt", "table.csv", "table.json", "table.tex",
        "examples.png", "index.html", "run.yaml", ".jobs",
    }  # fmt: skip
    assert copy.read_bytes() == (tmp_path / "out" / "rows.jsonl").read_bytes()
    for word in ("object accuracy", "ceiling", "floor", "paired differences from random_noise", "nearest to"):
        assert word in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--kinds", "swap"), "unknown kind 'swap'"),
        (("--kinds", ","), "name at least one"),
        (("--kinds", "add,add"), "each once"),
        (("--modes", ","), "--modes ',': name at least one"),
        (("--first-seed", "10000000000"), "training drew"),
        (("mode=inversion",), "choose with --modes"),
        (("composite=false",), "reads and writes no clip"),
        (("runtime.threads=2",), "one thread"),
        (("backbone=cogvideox-2b",), "no checkpoint of the pocket world"),
        (("--modes", "invertion"), "unknown mode"),
        (("--scenes", "many"), "--scenes 'many' is not a whole number"),
        (("--scenes", "0"), "scenes 0 is out of range: at least 1"),
        (("seed=3",), "a scene of the bench brings its own"),
        (("--also", "steps=3", "--also", "steps=3"), "named more than once"),
        (("--also", "stepz=3"), "did you mean 'steps'"),
        (("--json", "nowhere/rows.json"), "folder that exists"),
        (("averaging=differential", "draws=2"), "below draws"),
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
    whole = Editor.edit_frames

    def broken(editor, frames, *, settings, **more):
        if settings.seed == 1:
            raise FloatingPointError("NaN in step 3")
        return whole(editor, frames, settings=settings, **more)

    monkeypatch.setattr(Editor, "edit_frames", broken)
    code, out, err = command(
        "bench", "--scenes", 2, "--kinds", "remove", "--modes", "random_noise", "--workers", 1,
        "--json", tmp_path / "rows.json", "--out", tmp_path / "out", *FEW,
    )  # fmt: skip
    assert code == 2, err
    assert "NaN in step 3" in out
    made = [row for row in rows.read(tmp_path / "rows.json") if row.method == "random_noise"]
    assert {row.metric for row in made if row.clip == "1"} == {JOB}
    assert len([row for row in made if row.clip == "0"]) > 4
    assert "NaN in step 3" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_methods_are_compared_at_equal_cost_on_request(command, tmp_path):
    code, _, err = command(
        "bench", "--scenes", 1, "--kinds", "remove", "--modes", "inversion_free,random_noise", "--workers", 1,
        "--evaluations", 6, "--out", tmp_path / "out", "strength=1", "runtime.dtype=bfloat16",
    )  # fmt: skip
    assert code == 0, err
    made = rows.read(tmp_path / "out" / "rows.jsonl")
    costs = {row.method: row.value for row in made if row.metric == "network_evaluations"}
    assert costs == {"inversion_free": 6, "random_noise": 6}
    told = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text(encoding="utf-8"))
    assert told["evaluations"] == 6
    own = {**told["methods"]["inversion_free"], **told["by_kind"]["remove"]["inversion_free"]}
    assert (own["task"], own["mask"]["grow"], own["steps"]) == ("remove", 0.0625, 2)  # its task's own, as they were run
    assert "inversion_free (2)" in err  # few steps say little of a method


def test_also_takes_quoted_values_and_the_last_mode():
    (_, other), _ = methods(["inversion"], ["mode=inversion mode=random_noise 'negative_prompt=a fox'"], FAST)
    assert other.name == "random_noise negative_prompt=a fox"
    assert other.settings.negative_prompt == "a fox"


def test_what_cannot_make_a_kind_of_edit_is_left_out_or_refused_where_it_is_named():
    scenes = Scenes(3, 1, ("replace", "remove"))
    reason = "kind remove: attention to words needs target_words: those of the target prompt that name what is new"
    named, _ = methods(["inversion_free", "flowanchor"], flags=FAST)
    brought = [replace(method, asked=method.mode != "flowanchor") for method in named]
    made, lost = report._check(brought, scenes, QUIET)
    assert ([method.name for method in made], lost) == (["inversion_free"], {"flowanchor": reason})
    with pytest.raises(ValueError, match=f"^{reason}$"):
        report._check(named, scenes, QUIET)
    assert report._check(named, Scenes(3, 1, ("replace",)), QUIET) == (named, {})


def test_a_mask_that_a_method_does_not_take_is_told_before_a_scene_runs():
    both, _ = methods(["inversion_free", "flowopt"], flags=FAST, overrides=["mask=attention"])
    with pytest.raises(ValueError, match="kind replace: mode=flowopt takes no mask"):
        report._check(both, Scenes(3, 1, ("replace",)), QUIET)


def test_a_backbone_of_another_world_is_refused(command, backbone_2b, tmp_path):
    code, _, err = command("bench", "--backbone", backbone_2b, "--out", tmp_path / "out")
    assert code == 1
    assert "no checkpoint of the pocket world" in err
