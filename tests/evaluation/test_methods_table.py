"""The tables of METHODS.md: one for each kind of edit, and what a method lacks is said beside it."""

import methods_table
import pytest

from flowedit.evaluation.results import rows
from flowedit.evaluation.results.rows import JOB, Row


def scored(method, kind, values):
    """A row of each metric of the table for each scene, or the failure of a scene that has no value."""
    made = []
    for seed, value in enumerate(values):
        key = str(seed), kind, kind, method
        if value is None:
            made.append(Row(*key, JOB, None, "NaN in step 3"))
            continue
        measured = {
            "object_accuracy": value,
            "background_psnr": 20 + value,
            "truth_lpips": 0.2,
            "network_evaluations": 48,
        }
        made += [Row(*key, metric, each) for metric, each in measured.items()]
    return made


@pytest.fixture
def folder(tmp_path):
    made = [*scored("inversion_free", "replace", [1.0, 1.0, 0.0]), *scored("other", "replace", [1.0, None, 0.0])]
    made += [*scored("inversion_free", "add", [0.0, 0.0, 0.0]), *scored("other", "add", [1.0, 1.0, 1.0])]
    rows.write(made, tmp_path / "rows.jsonl")
    return tmp_path


def test_each_kind_of_a_folder_has_a_table_of_its_own(folder, capsys):
    methods_table.main([str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "scenes" in line and "|" not in line] == ["replace, 3 scenes", "add, 3 scenes"]
    own = [line.split(" | ")[2] for line in lines if line.startswith("| `inversion_free`")]
    assert own == ["0.67", "0.00"]


def test_a_method_that_failed_in_a_scene_says_how_many_it_has(folder, capsys):
    methods_table.main([str(folder)])
    short, whole = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `other`")]
    assert short.startswith("| `other`, 2 of 3 scenes | 48 | 0.50 (+0.00 [")
    assert whole.startswith("| `other` | 48 | 1.00 (**+1.00 [")
    assert "nan" not in short


def test_one_scene_has_a_difference_without_an_interval(tmp_path, capsys):
    rows.write([*scored("inversion_free", "add", [0.0]), *scored("other", "add", [1.0])], tmp_path / "rows.jsonl")
    methods_table.main([str(tmp_path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `other`")]
    assert "| 21.0 (+1.0) |" in line
