"""Evaluations: rows for every edit, resumed and never repeated; others' edits, FiVE's protocol, compare, refusals."""

import csv
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import write_clip
from fox_edits import COSTS, FEW, FOX, ROOT, ROW, dataset

from flowedit.evaluation import gather
from flowedit.evaluation.results import rows
from flowedit.evaluation.results.rows import JOB
from flowedit.evaluation.results.summary import UNEDITED
from flowedit.media import probe, reader

OFFLINE = {
    "psnr",
    "ssim",
    "lpips_bundled",
    "warp_error",
    "warp_ssim",
    "flow_cosine",
    "temporal_flicker",
    "target_preference",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished evaluation: two edits by two modes, and four rows that cannot be."""
    from flowedit.cli.main import main

    place = tmp_path_factory.mktemp("evaluate")
    file = dataset(
        place / "data",
        {"target": "a car moves right over green grass", "target_words": "car", "kind": "other"},
        {"clip": "none.mp4"},
        {"score_mask": "none.png"},
        {"target": None},
        {"source_words": "wolf"},
    )
    code = main(
        [
            "evaluate",
            str(file),
            "--modes",
            "inversion_free,inversion",
            "--workers",
            "1",
            "--out",
            str(place / "out"),
            *FEW,
        ]
    )
    return place, code, rows.read(place / "out" / "rows.jsonl")


def test_every_edit_has_its_rows_and_what_fails_fails_alone(done):
    _, code, made = done
    assert code == 2
    assert len({row[:5] for row in made}) == len(made)
    full = {row.metric for row in made if (row.edit, row.method) == ("edit", "inversion")}
    assert full == OFFLINE | COSTS | {"background_psnr", "background_ssim", "background_psnr_five"}
    other = {row.metric for row in made if (row.edit, row.method) == ("e0", "inversion")}
    assert other == OFFLINE | COSTS  # no mask: what needs one is not asked
    lost = {(row.clip, row.edit): row for row in rows.failures(made) if row.method == "inversion"}
    assert {row.metric for row in lost.values()} == {JOB}
    for key, reason in {
        ("none", "e1"): "none.mp4",
        ("fox", "e2"): "none.png",
        ("fox", "e3"): "target prompt",
        ("fox", "e4"): "'wolf'",
    }.items():
        assert reason in lost.pop(key).failure
    assert not lost


def test_the_clip_unedited_has_its_rows_and_is_never_best(done):
    place, _, made = done
    values = {(row.edit, row.metric): row.value for row in made if row.method == UNEDITED}
    assert {edit for edit, _ in values} == {"edit", "e0"}  # of what can be edited
    assert values["edit", "psnr"] == np.inf
    assert values["edit", "target_preference"] < 0
    text = (place / "out" / "index.html").read_text(encoding="utf-8")
    assert "These reward leaving the clip alone (the line unedited shows how much): LPIPS (bundled)," in text
    assert "composite=false" in text
    assert "composite=false" in (place / "out" / "table.txt").read_text(encoding="utf-8")
    with (place / "out" / "table.csv").open(encoding="utf-8") as file:
        assert UNEDITED in {line["method"] for line in csv.DictReader(file)}


def test_edits_lie_under_readable_names(done):
    edits = done[0] / "out" / "edits"
    held = {path.relative_to(edits).as_posix() for path in edits.rglob("edit.mp4")}
    assert held == {
        f"{mode}/fox/{edit}/edit.mp4" for mode in ("inversion_free", "inversion") for edit in ("edit", "e0")
    }
    assert not list(edits.rglob("result.json"))


def test_the_folder_holds_tables_a_page_and_the_runs(done):
    out = done[0] / "out"
    names = {"rows.jsonl", "table.csv", "table.json", "table.tex", "table.txt"}
    names |= {"index.html", "run.yaml", ".jobs", "edits"}
    assert {path.name for path in out.iterdir()} == names
    with (out / "table.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    (psnr,) = (each for each in lines if (each["kind"], each["method"], each["metric"]) == ("all", "inversion", "psnr"))
    values = [row.value for row in done[2] if (row.method, row.metric) == ("inversion", "psnr")]
    assert float(psnr["mean"]) == pytest.approx(np.mean(values))
    assert (psnr["n"], psnr["failed"]) == ("1", "4")  # two edits of one clip, beside four that cannot be
    assert json.loads((out / "table.json").read_text())[0].keys() == lines[0].keys()
    run = yaml.safe_load((out / "run.yaml").read_text(encoding="utf-8"))
    assert run["methods"]["inversion"]["composite"] is False
    assert "none.mp4" in (out / "index.html").read_text(encoding="utf-8")


def test_a_finished_job_is_not_run_again_and_the_tables_are_the_same(done, command, monkeypatch):
    place, _, before = done
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", lambda *_: pytest.fail("all edits were made"))
    args = [place / "data" / "edits.yaml", "--modes", "inversion_free,inversion", "--out", place / "out", *FEW]
    table = (place / "out" / "table.csv").read_bytes()
    code, _, err = command("evaluate", *args)
    assert code == 2
    assert "4 edits were made before and are kept; 0 are to do" in err
    assert rows.read(place / "out" / "rows.jsonl") == before
    assert (place / "out" / "table.csv").read_bytes() == table


def test_another_metric_is_scored_without_another_edit(done, command, monkeypatch):
    place, _, before = done
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", lambda *_: pytest.fail("all edits were made"))
    args = [place / "data" / "edits.yaml", "--modes", "inversion", "--out", place / "out", *FEW]
    code, out, _ = command("evaluate", *args, "--metrics", "mse,psnr,clip_t,background_mse", "--workers", 1)
    assert code == 2
    made = {(row.edit, row.metric): row for row in rows.read(place / "out" / "rows.jsonl")}
    old = next(row for row in before if (row.edit, row.method, row.metric) == ("edit", "inversion", "psnr"))
    assert made["edit", "psnr"] == old
    assert made["edit", "psnr"].value == pytest.approx(-10 * np.log10(made["edit", "mse"].value), abs=1e-9)
    assert "clip-vit-large-patch14" in made["edit", "clip_t"].failure  # no hub here: a row of its own
    assert made["e0", "background_mse"].failure == "needs a mask"  # asked for by name
    assert "clip-vit-large-patch14" in out


def test_the_halves_run_alone(tmp_path, command):
    file = dataset(tmp_path / "data")
    args = [file, "--modes", "random_noise", "--out", tmp_path / "out", "--workers", 1, *FEW]
    code, out, _ = command("evaluate", *args, "--do", "score")
    assert code == 2
    assert "not edited yet" in out
    code, _, err = command("evaluate", *args, "--do", "edit")
    assert code == 0, err
    assert {row.metric for row in rows.read(tmp_path / "out" / "rows.jsonl")} == COSTS
    code, _, err = command("evaluate", *args, "--do", "score")
    assert code == 0, err
    assert {row.metric for row in rows.read(tmp_path / "out" / "rows.jsonl")} > OFFLINE


def test_a_dry_run_lists_jobs_and_costs_and_leaves_nothing(done, tmp_path, command, monkeypatch):
    place = done[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", lambda *_: pytest.fail("a dry run loads nothing"))
    args = [place / "data" / "edits.yaml", "--modes", "inversion_free,random_noise", "--dry-run", *FEW]
    code, out, _ = command("evaluate", *args, "--out", place / "out")
    assert code == 0
    assert "12 edits, 8 network evaluations to go" in out  # random noise: 2 edits of 2 steps of 2 rows
    assert out.count("done") == 2
    assert out.count("to do") == 2
    assert "none.mp4 is missing" in out
    assert not list(tmp_path.iterdir())


def test_edits_of_another_method_are_scored_beside_ours(tmp_path, command):
    file = dataset(tmp_path / "data", {"target": "a car moves right over green grass", "target_words": "car"})
    others = tmp_path / "others"
    (others / "fox").mkdir(parents=True)
    shutil.copy(FOX, others / "fox" / "edit.mp4")
    frames = np.concatenate(list(reader.read(probe.probe(FOX), range(5))))
    (others / "fox" / "e0").mkdir()
    for index, frame in enumerate(frames):
        half = cv2.resize(frame[..., ::-1], None, fx=0.5, fy=0.5)
        cv2.imwrite(str(others / "fox" / "e0" / f"{index:05}.png"), half)
    code, _, err = command(
        "evaluate", file, "--do", "score", "--edits", f"theirs={others}", "--out", tmp_path / "out", "--workers", 1,
        "--metrics", "mse,ssim,psnr",
    )  # fmt: skip
    assert code == 0, err
    made = {(row.edit, row.metric): row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert (made["edit", "mse"], made["edit", "psnr"]) == (0, np.inf)
    assert made["edit", "ssim"] == pytest.approx(1)
    assert 0 < made["e0", "mse"] < 0.01
    assert "5 frames and its clip 9" in err
    assert "128x128" in err


def test_a_pocket_scene_is_scored_against_its_truth(tmp_path, command):
    code, _, err = command(
        "evaluate", "pocket", "--scenes", 1, "--kinds", "remove", "--modes", "inversion", "--out", tmp_path / "out",
        "--workers", 1, *FEW,
    )  # fmt: skip
    assert code == 0, err
    made = {row.metric: row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert made.keys() >= OFFLINE | {"truth_psnr", "truth_lpips", "background_psnr"}
    assert made["truth_psnr"] > made["psnr"]


def test_five_is_scored_at_every_8th_frame_and_by_types(tmp_path, command):
    root = tmp_path / "five"
    (root / "edit_prompt").mkdir(parents=True)
    entry = {"source_prompt": "a [fox] runs", "target_prompt": "a [panda] runs"}
    for name in ("one", "two"):
        write_clip(tmp_path / "clip.mp4", frames=17, sound=False)
        frames = np.concatenate(list(reader.read(probe.probe(tmp_path / "clip.mp4"), range(17))))
        for index, frame in enumerate(frames, 1):
            for part, picture in (("images", frame), ("bmasks", np.zeros_like(frame)), ("theirs", frame)):
                place = root / part / name if part != "theirs" else root / part / name / "edit1"
                place.mkdir(parents=True, exist_ok=True)
                changed = picture.copy()
                if part == "theirs" and index % 8 != 1:
                    changed[:] = 0  # frames that the protocol never sees
                if part == "theirs" and name == "two":
                    changed = np.clip(changed.astype(int) + 10, 0, 255).astype(np.uint8)
                if part == "bmasks":
                    changed[:20] = 3  # above 0 is inside, however dark
                cv2.imwrite(str(place / f"{index:05}.png"), changed[..., ::-1])
    prompts = [{**entry, "video_name": name, "editing_type_id": kind} for name, kind in (("one", 1), ("two", 6))]
    (root / "edit_prompt" / "edit1_FiVE.json").write_text(json.dumps(prompts))
    code, out, err = command(
        "evaluate", root, "--protocol", "five", "--do", "score", "--edits", f"theirs={root / 'theirs'}",
        "--metrics", "background_psnr_five,background_mse_five,mse", "--out", tmp_path / "out", "--workers", 1,
    )  # fmt: skip
    assert code == 0, err
    made = {(row.clip, row.kind, row.metric): row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert made["one", "rigid replacement", "mse"] == 0
    assert made["two", "removal", "background_mse_five"] < made["two", "removal", "mse"]
    assert "mean of 2 kinds' means" in out


def test_flow_has_no_meaning_at_every_8th_frame(tmp_path, command):
    code, _, err = command("evaluate", dataset(tmp_path), "--protocol", "five", "--metrics", "warp_ssim")
    assert code == 1
    assert "warp_ssim: needs neighbouring frames" in err


def test_compare_is_one_page_at_equal_cost(tmp_path, command):
    code, out, err = command(
        "compare", ROOT / "examples" / "fox.yaml", "--evaluations", 8, "--out", tmp_path / "out",
        "strength=1", "runtime.dtype=bfloat16", "runtime.device=cpu", "seed=3", "engine.workers=1",
    )  # fmt: skip
    assert code == 0, err
    made = rows.read(tmp_path / "out" / "rows.jsonl")
    costs = {row.method: row.value for row in made if row.metric == "network_evaluations"}
    assert costs == {"inversion_free": 6, "inversion": 6, "random_noise": 8}
    assert {row.metric for row in made} > OFFLINE | COSTS | {"background_psnr"}
    for name in ("grid.mp4", "index.html", "table.json", "table.csv"):
        assert (tmp_path / "out" / name).stat().st_size
    grid = probe.probe(tmp_path / "out" / "grid.mp4")
    assert (grid.frames, grid.size) == (9, (2 * 277, 512))  # 2 x 2 pictures of 256, each under its label
    assert "paired" not in out
    assert all(word in out for word in ("background PSNR", "seconds", "peak memory"))


def test_compare_takes_a_clip_flags_and_any_configuration(tmp_path, command, clip_file, backbone_2b):
    code, _, err = command(
        "compare", clip_file, "--source", "a dog", "--target", "a fox", "--backbone", backbone_2b, "--size", "48x32",
        "--frames", 3, "--modes", "random_noise", "--also", "mode=inversion strength=0.5", "--evaluations", "own",
        "--steps", 2, "--out", tmp_path / "out", "--metrics", "psnr", "runtime.device=cpu", "engine.workers=1",
    )  # fmt: skip
    assert code == 0, err
    made = rows.read(tmp_path / "out" / "rows.jsonl")
    costs = {row.method: row.value for row in made if row.metric == "network_evaluations"}
    assert costs == {"random_noise": 2, "inversion strength=0.5": 3}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("evaluate",), "one dataset, not 0: flowedit evaluate DATASET"),
        (("evaluate", "nothing"), "no file or folder of that name, and it is not a dataset that flowedit knows"),
        (("evaluate", "empty.yaml"), "is empty"),
        (("evaluate", "broken.yaml"), "is not YAML"),
        (("evaluate", "twice.yaml"), "already"),
        (("evaluate", "climbs.yaml"), "'../fox.mp4' is not a path inside"),
        (("evaluate", "edits.yaml", "--metrics", "psrn"), "unknown metric 'psrn': did you mean psnr or "),
        (("evaluate", "edits.yaml", "--modes", "invertion"), "unknown mode"),
        (("evaluate", "edits.yaml", "--do", "nothing"), "is not one of edit, score, both"),
        (
            ("evaluate", "edits.yaml", "--edits", "theirs"),
            "edits ['theirs'] is out of range: NAME=DIR, a method's name",
        ),
        (("evaluate", "edits.yaml", "--edits", "theirs=none"), "is not a folder"),
        (("evaluate", "edits.yaml", "--evaluations", "2"), "do not pay one step"),
        (
            ("evaluate", "edits.yaml", "--evaluations", "0"),
            "evaluations 0 is out of range: own, equal, or a number from 1 up",
        ),
        (("evaluate", "edits.yaml", "target=a cat"), "each clip brings its own"),
        (("evaluate", "edits.yaml", "engine.worker=2"), "did you mean 'engine.workers'"),
        (("evaluate", "edits.yaml", "stepz=2"), "did you mean 'steps'"),
        (("evaluate", "edits.yaml", "--engine", "rya"), "did you mean 'ray'"),
        (("evaluate", "pocket", "--kinds", "swap"), "unknown kind 'swap'"),
        (("evaluate", "edits.yaml", "--backbone", "cogvideox-2b"), "no GPU can be used"),
        (("compare", "none.mp4", "--source", "a fox", "--target", "a panda"), "none.mp4 does not exist"),
        (("compare", "fox.mp4", "--source", "a fox", "--target", ""), "no target prompt"),
        (("compare", "edits.yaml", "--score-mask", "no.png"), "'no.png' does not exist"),
        (("compare", "fox.mp4", "--source", "a fox", "--target", "a cat", "--modes", "invertion"), "unknown mode"),
        (("compare", "fox.mp4", "--source", "a fox"), "no target prompt"),
        (
            ("compare", "fox.mp4", "--source", "a fox", "--target", "a cat", "--seed", "1,2"),
            "compare CLIP --sweep seed=1,2",
        ),
        (("evaluate", "edits.yaml", "scenes=1,2"), "scenes takes one value, not 1,2"),
        (("edit", "fox.mp4", "--target", "a cat", "--steps", "1,2"), "steps takes one value, not 1,2"),
        (("edit", "fox.mp4", "--target", "a cat", "--seed", "1,,2"), "is no list of numbers: write --seed 1,2,3"),
        (("edit", "fox.mp4", "--source", "a fox", "--seed", "1,2"), "no target prompt"),
        (("edit", "fox.mp4", "--target", "a cat", "--strength", "0.5,7"), "strength 7"),
        (("compare", "two.yaml"), "holds 2 edits"),
        (("compare", "fox.mp4", "scenes=3"), "compare has no scenes"),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_nothing(command, tmp_path, monkeypatch, args, said):
    dataset(tmp_path)
    (tmp_path / "empty.yaml").write_text("[]")
    (tmp_path / "broken.yaml").write_text("- clip: [")
    (tmp_path / "twice.yaml").write_text(yaml.safe_dump([ROW, ROW]))
    (tmp_path / "two.yaml").write_text(yaml.safe_dump([ROW, {**ROW, "edit": "b"}]))
    (tmp_path / "climbs.yaml").write_text(yaml.safe_dump([{**ROW, "clip": "../fox.mp4"}]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowedit.machine.find_device", lambda _: torch.device("cpu"))  # whatever this machine has
    monkeypatch.setattr(
        "flowedit.pipeline.run.load_backbone", lambda *_: pytest.fail("refused before a model is loaded")
    )
    code, _, err = command(*args)
    assert code == 1
    assert said in err
    assert "ydra" not in err
    assert len(err.strip().splitlines()) <= 2  # "load", and the mistake
    assert not (tmp_path / "outputs").exists()


def test_an_interrupted_run_says_what_is_kept(command, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(gather.drive, "run", interrupted)
    code, _, err = command("evaluate", dataset(tmp_path / "data"), "--out", tmp_path / "out", *FEW)
    assert code == 1
    assert f"interrupted; what is done is kept in {str(tmp_path / 'out')!r}" in err


def test_a_bad_mask_or_truth_costs_what_needs_it_and_nothing_else(tmp_path, command):
    file = dataset(tmp_path / "data")
    (tmp_path / "data" / "short").mkdir()
    for index in range(4):
        cv2.imwrite(str(tmp_path / "data" / "short" / f"{index}.png"), np.full((64, 64), 255, np.uint8))
    row = {**ROW, "score_mask": "short", "truth": "short"}
    file.write_text(yaml.safe_dump([row]), encoding="utf-8")
    code, _, err = command("evaluate", file, "--modes", "random_noise", "--out", tmp_path / "out", "--workers", 1, *FEW)
    assert code == 2, err
    made = {row.metric: row for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert all(made[name].value is not None for name in OFFLINE)
    for name, what in (("background_psnr", "mask"), ("truth_psnr", "truth")):
        assert f"the {what}" in made[name].failure
        assert "has 4 frames: 9 would fit" in made[name].failure


def test_truth_and_masks_follow_the_frames_that_are_edited(tmp_path, command):
    shutil.copy(ROOT / "examples" / "fox_mask.mp4", tmp_path / "mask.mp4")
    shutil.copy(FOX, tmp_path / "fox.mp4")
    row = {**ROW, "truth": "fox.mp4", "score_mask": "mask.mp4", "start": 3, "frames": 5, "strength": 0}
    (tmp_path / "edits.yaml").write_text(yaml.safe_dump([row]), encoding="utf-8")
    args = [tmp_path / "edits.yaml", "--modes", "inversion_free", "--out", tmp_path / "out", "--workers", 1, *FEW[2:]]
    code, _, err = command("evaluate", *args)
    assert code == 0, err
    made = {row.metric: row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert made["truth_psnr"] == made["psnr"] > 35  # strength 0 is the clip itself, but for the codec


def test_flags_win_over_a_file_and_so_does_their_mask(tmp_path, command):
    file = dataset(tmp_path)
    white = np.full((64, 64), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "white.png"), white)
    file.write_text(yaml.safe_dump([{**ROW, "user_mask": "mask.mp4"}]), encoding="utf-8")
    args = ["compare", file, "--modes", "random_noise", "--metrics", "background_psnr", "engine.workers=1", *FEW[1:]]
    for mask, code_wanted in ((None, 0), (tmp_path / "white.png", 2)):
        more = [] if mask is None else ["--user-mask", mask]
        code, out, err = command(*args, *more, "--out", tmp_path / f"out{code_wanted}", "evaluations=own", "steps=2")
        assert code == code_wanted, err
    assert "no pixel" in out  # white: there is no background


def test_uneven_costs_are_told_and_a_reason_is_told_once(done, command, tmp_path):
    place = done[0]
    args = [place / "data" / "edits.yaml", "--modes", "inversion,random_noise", "--out", place / "out", *FEW]
    code, out, err = command("evaluate", *args, "--metrics", "clip_t,psnr", "--workers", 1)
    assert code == 2
    assert "network evaluations differ, inversion 6, random_noise 4: --evaluations equal" in err
    assert out.count("clip-vit-large-patch14") == 1


def test_points_of_a_sweep_keep_their_tables_and_a_failed_row_ends_none(tmp_path):
    file = dataset(tmp_path / "data", {"clip": "none.mp4"})
    args = ["-m", f"dataset={file}", "modes=[random_noise]", "metrics=[psnr]", f"out={tmp_path / 'out'}", "steps=2,3"]
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), *args, "engine.workers=1", *FEW[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    runs = [yaml.safe_load((tmp_path / "out" / f"steps-{n}" / "run.yaml").read_text()) for n in (2, 3)]
    assert [run["methods"]["random_noise"]["steps"] for run in runs] == [2, 3]
    last = (tmp_path / "out" / "table.txt").read_text(encoding="utf-8")
    assert all(name in last and name in done.stdout for name in ("steps-2", "steps-3", "unedited"))
    assert [path.name for path in (tmp_path / "out" / "steps-3" / "edits").iterdir()] == ["random_noise"]


def test_names_with_brackets_are_names(tmp_path, command):
    file = dataset(tmp_path, {"clip": "none.mp4", "kind": "[/soft] colour"})
    code, out, _ = command("evaluate", file, "--do", "score", "--out", tmp_path / "out", *FEW)
    assert code == 2
    assert "[/soft] colour" in (tmp_path / "out" / "table.csv").read_text() or "none.mp4" in out


def test_overrides_of_compare_and_bench_are_heard(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(
        "compare", ROOT / "examples" / "fox.yaml", "--dry-run", "evaluations=own", "--also", "steps=20", *FEW[1:]
    )
    assert code == 0, err
    assert "60" in out  # 20 steps of 3 rows
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("evaluations", "count"), [("equal", 1), ("own", 2)])
def test_methods_that_come_to_the_same_steps_are_one(command, tmp_path, monkeypatch, evaluations, count):
    monkeypatch.chdir(tmp_path)
    flags = ("--modes", "inversion_free", "--also", "steps=20", "--evaluations", evaluations)
    code, out, err = command("compare", ROOT / "examples" / "fox.yaml", *flags, "--dry-run")
    assert code == 0, err
    assert f"{count} edits" in out
    assert ("inversion_free steps=20 comes to the same edits" in out) == (count == 1)
    assert ("--evaluations own keeps those that you set" in " ".join(out.split())) == (count == 1)


def test_a_dry_run_downloads_nothing(command, tmp_path, monkeypatch):
    monkeypatch.setattr("flowedit.backbones.families.download", lambda *_: pytest.fail("a dry run downloads nothing"))
    code, out, err = command("evaluate", dataset(tmp_path), "--backbone", "cogvideox-2b", "--dry-run")
    assert code == 0, err
    assert "to do" in out


@pytest.mark.parametrize("kind", ["evaluate", "compare"])
def test_a_folder_with_files_of_somebody_else_is_refused_before_any_work(tmp_path, command, kind):
    file, out = dataset(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    (out / "table.csv").write_text("mine")
    code, _, said = command(kind, file, "--out", out, "--quiet", *FEW)
    assert code == 1
    assert "holds table.csv, which no earlier run left" in said
    assert [path.name for path in out.iterdir()] == ["table.csv"]
