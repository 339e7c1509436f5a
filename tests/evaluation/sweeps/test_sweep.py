"""Several seeds and strengths of one clip: their names, their folders, their page, and what is scored of others."""

import cv2
import numpy as np
import pytest
import yaml
from fox_edits import FEW, FOX, PROMPTS, dataset

from flowedit.evaluation import places
from flowedit.evaluation.results import rows
from flowedit.evaluation.results.summary import UNEDITED
from flowedit.evaluation.sweeps import edit as sweep
from flowedit.media.footage import open_footage
from flowedit.metrics.catalogue import METRICS, Metric


def test_points_are_named_by_what_varies():
    assert sweep.points({"seed": "3", "strength": 0.5}) == {}
    assert list(sweep.points({"seed": "1, 2,2"})) == ["seed-1", "seed-2"]
    assert sweep.points({"strength": "[0.5,.7]", "seed": "4"}) == {
        "strength-0.5": {"strength": "0.5"},
        "strength-.7": {"strength": ".7"},
    }
    assert list(sweep.points({"strength": "0.5,1", "seed": "1,2"}))[:2] == ["seed-1-strength-0.5", "seed-1-strength-1"]
    for text in ("1,", "1,,2", "1,two", "-1,2", ","):
        with pytest.raises(ValueError, match="is no list of numbers: write --seed 1,2,3"):
            sweep.points({"seed": text})


def test_names_of_folders_are_safe_and_no_two_alike():
    made = places.unique(["inversion mode.solver=heun", "inversion mode.solver/heun", "A", "a", "../up"])
    assert list(made.values()) == ["inversion-mode.solver-heun", "inversion-mode.solver-heun-2", "A", "a-2", "up"]


def test_several_seeds_make_named_folders_a_table_and_a_page_and_go_on(tmp_path, command, monkeypatch):
    args = ["edit", FOX, *PROMPTS, "--seed", "1,2", "--strength", "0.5", "--out", tmp_path / "out", "--frames", "5"]
    args += [*FEW[2:], "steps=2"]
    code, out, err = command(*args)
    assert code == 0, err
    names = ["seed-1", "seed-2"]
    found = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert found == set(names)
    for name in names:
        run = yaml.safe_load((tmp_path / "out" / name / "run.yaml").read_text(encoding="utf-8"))
        assert f"seed-{run['settings']['seed']}" == name
        assert run["settings"]["strength"] == 0.5
        assert run["settings"]["composite"] == "auto"
        assert name in out
        assert f'<a href="{name}/edit.mp4">file</a>' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    files = [(tmp_path / "out" / name / "edit.mp4").read_bytes() for name in names]
    assert files[0] != files[1]
    values = {row.method: row.value for row in rows.read(tmp_path / "out" / "rows.jsonl") if row.metric == "psnr"}
    assert set(values) == {UNEDITED, *names}
    assert "evaluations equal" not in err
    monkeypatch.setattr("flowedit.pipeline.run.load_backbone", lambda *_: pytest.fail("all was made"))
    code, again, err = command(*args)
    assert (code, again) == (0, out), err


def test_strengths_that_come_to_the_same_steps_are_one_edit_and_told(tmp_path, command):
    args = ["edit", FOX, *PROMPTS, "--strength", "0.5,0.6", "--out", tmp_path / "out", "--frames", "5", "steps=2"]
    code, _, err = command(*args, *FEW[2:])
    assert code == 0, err
    assert "strength-0.6 comes to the same edits as strength-0.5, and is left out" in err
    assert (tmp_path / "out" / "strength-0.5" / "edit.mp4").is_file()
    assert not (tmp_path / "out" / "strength-0.6").exists()


def test_a_folder_of_a_user_is_not_written_over(tmp_path, command):
    (tmp_path / "out" / "seed-1").mkdir(parents=True)
    (tmp_path / "out" / "seed-1" / "edit.mp4").write_text("mine")
    args = ["edit", FOX, *PROMPTS, "--seed", "1,2", "--strength", "0", "--out", tmp_path / "out", *FEW[2:]]
    code, _, err = command(*args)
    assert code == 1
    assert "seed-1' holds edit.mp4, which no edit left" in err
    assert (tmp_path / "out" / "seed-1" / "edit.mp4").read_text() == "mine"


def test_frames_hold_for_scoring_as_for_editing(tmp_path, command):
    """Of another's edit of the whole clip the frames that are asked for are scored; of one of those frames, all."""
    file = dataset(tmp_path / "data", {})
    frames = np.concatenate(list(open_footage(FOX).read(range(9))))
    others = tmp_path / "others" / "fox"
    for edit, first in (("edit", 0), ("e0", 2)):
        (others / edit).mkdir(parents=True)
        for index, frame in enumerate(frames[first : None if first == 0 else 5]):
            bad = frame if index + first in (2, 3, 4) else 255 - frame
            cv2.imwrite(str(others / edit / f"{index:05}.png"), bad[..., ::-1])
    code, _, err = command(
        "evaluate", file, "--do", "score", "--edits", f"theirs={tmp_path / 'others'}", "--out", tmp_path / "out",
        "--workers", 1, "--metrics", "mse", "--start", 2, "--frames", 3,
    )  # fmt: skip
    assert code == 0, err
    made = {(row.method, row.edit): row.value for row in rows.read(tmp_path / "out" / "rows.jsonl")}
    assert made == {(method, edit): 0 for method in (UNEDITED, "theirs") for edit in ("edit", "e0")}


def test_an_edit_that_breaks_a_job_costs_the_others_nothing(tmp_path, command):
    def bug(part):
        if part.edit[0, 0, 0, 0] == 7:
            raise KeyError("bug")
        return part.edit.mean((1, 2, 3))

    METRICS.add("bug", Metric("bug", "source", None, part=bug))
    try:
        file = dataset(tmp_path / "data")
        for name, fill in (("good", 9), ("bad", 7)):
            (tmp_path / name / "fox" / "edit").mkdir(parents=True)
            for index in range(9):
                cv2.imwrite(
                    str(tmp_path / name / "fox" / "edit" / f"{index}.png"), np.full((64, 64, 3), fill, np.uint8)
                )
        (tmp_path / "torn" / "fox").mkdir(parents=True)
        (tmp_path / "torn" / "fox" / "edit.mp4").write_bytes(b"no video")
        edits = [part for name in ("good", "bad", "torn") for part in ("--edits", f"{name}={tmp_path / name}")]
        code, _, err = command(
            "evaluate", file, "--do", "score", *edits, "--out", tmp_path / "out", "--workers", 1, "--metrics", "bug,mse"
        )
        assert code == 2, err
        made = {(row.method, row.metric): row for row in rows.read(tmp_path / "out" / "rows.jsonl")}
        assert made["good", "bug"].value == 9
        assert made[UNEDITED, "mse"].value == 0
        assert made["bad", "mse"].failure == "KeyError: 'bug'"
        assert "torn" in made["torn", "mse"].failure
    finally:
        METRICS.remove("bug")
