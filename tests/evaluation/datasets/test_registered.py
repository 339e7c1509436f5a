"""A metric and a dataset that a script adds: scored, tabled and read like ours."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from flowedit.evaluation import files
from flowedit.evaluation.datasets import catalogue as datasets
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.sample import Dataset, Sample, Scenes
from flowedit.evaluation.gather import Evaluation
from flowedit.evaluation.options import evaluation
from flowedit.evaluation.plan import Comparison, metrics
from flowedit.evaluation.results.rows import Row
from flowedit.metrics import scoring
from flowedit.metrics.catalogue import METRICS, Metric, column_order, default_names
from flowedit.metrics.part import Stretch, Tools
from flowedit.types import QUIET

FOX = Path(__file__).resolve().parents[3] / "examples" / "fox.mp4"


@pytest.fixture
def brightness():
    """The mean of an edit's values, in 0 to 255, as a metric that runs without being asked for."""

    def part(part):
        return part.edit.mean((1, 2, 3))

    METRICS.add("brightness", Metric("mean brightness", "source", "lower", decimals=1, part=part, default=True))
    yield
    METRICS.remove("brightness")


@pytest.fixture
def folder():
    """Clips in a folder, each turned into a panda."""

    def read(name, workspace, scenes):
        return Dataset("clips", tuple(sample(path) for path in sorted(Path(name).glob("*.mp4"))))

    def sample(path):
        flags = {"source": "a fox", "target": "a panda"}
        return Sample(path.stem, "edit", "", path, None, flags, None, None, None, (), None)

    DATASETS.add("clips", Layout("a folder of clips", lambda name: any(Path(name).glob("*.mp4")), read))
    yield
    DATASETS.remove("clips")


def test_a_metric_is_scored_tabled_and_shown_by_its_own_label_and_decimals(brightness, tmp_path):
    frames = np.full((2, 16, 16, 3), 40, np.uint8)
    scores = scoring.score(["brightness", "psnr"], [Stretch(frames, frames)], Tools(total=2))
    assert scores.values == {"brightness": 40.0, "psnr": np.inf}
    assert "brightness" in default_names()
    sources = [name for name in column_order() if METRICS[name].group == "source"]
    assert sources[-1] == "brightness"  # ours first, whatever was added when
    assert "brightness" in metrics(evaluation({}, [])[0])
    rows = [Row("fox", "edit", "", name, "brightness", value) for name, value in (("one", 40.25), ("two", 50.0))]
    files.write(tmp_path, "title", {}, Evaluation(tuple(rows), ()), Comparison((), None), ["one", "two"], {}, QUIET)
    assert "mean brightness ↓" in (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "40.2" in (tmp_path / "table.txt").read_text(encoding="utf-8")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "mean brightness\u00a0↓" in page
    assert "<strong>40.2</strong>" in page
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert next((line["metric"], line["mean"]) for line in csv.DictReader(file)) == ("brightness", "40.25")


def test_rows_of_a_metric_that_is_gone_do_not_stop_the_others(tmp_path):
    rows = [
        Row("fox", "edit", "", "one", "brightness", 40.0),
        Row("fox", "edit", "", "two", "brightness", None, "too dark"),
        Row("fox", "edit", "", "one", "psnr", 30.0),
    ]
    files.write(tmp_path, "title", {}, Evaluation(tuple(rows), ()), Comparison((), None), ["one", "two"], {}, QUIET)
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "PSNR ↑" in text
    assert "too dark" in text


def test_a_dataset_is_read_and_named_among_the_choices(folder, tmp_path):
    shutil.copy(FOX, tmp_path / "fox.mp4")
    made = datasets.read(tmp_path, tmp_path / "workspace")
    assert [(sample.name, sample.flags["target"]) for sample in made.samples] == [("fox", "a panda")]
    with pytest.raises(ValueError, match=r"'nothing': there is no file .*: give .*, pocket .*, or a folder of clips"):
        datasets.read("nothing", tmp_path)
    with pytest.raises(ValueError, match="dataset 'five' is there already"):
        DATASETS.add("five", DATASETS["clips"])


def test_a_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "pocket" / "edit_prompt").mkdir(parents=True)
    (tmp_path / "pocket" / "edit_prompt" / "edit1_FiVE.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert datasets.read("pocket", tmp_path / "workspace", Scenes(0, 1, ("remove",))).name == "pocket"
