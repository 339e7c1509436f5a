"""The examples of flowedit/README.md, run: a package that adds an editor, a backbone, a metric and a dataset."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from flowedit.config.compose import compose
from flowedit.declare import Registry, option
from flowedit.editors.spec import EDITORS
from flowedit.media.probe import probe
from flowedit.messages import InputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "flowedit" / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", PAGE, re.DOTALL))
FOX = ["--source", "a fox moves right over green grass", "--target", "a panda moves right over green grass"]
WORDS = ["--source-words", "fox", "--target-words", "panda"]


@pytest.fixture(scope="module")
def site(tmp_path_factory, backbone_2b):
    """A folder on the path with the package, installed as pip would: its code and its entry points."""
    place = tmp_path_factory.mktemp("site")
    (place / "my_flowedit").mkdir()
    (place / "my_flowedit" / "__init__.py").write_text("")
    for name, text in EXAMPLES.items():
        if name.endswith(".py"):
            (place / name).write_text(text)
    project = tomllib.loads(EXAMPLES["pyproject.toml"])["project"]
    info = place / "my_flowedit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    weights = shutil.copytree(backbone_2b, place / "weights")
    index = json.loads((weights / "model_index.json").read_text())
    (weights / "model_index.json").write_text(json.dumps(index | {"_class_name": "ToyPipeline"}))
    return place


PROGRAM = """
import contextlib, io, json, sys
from flowedit.cli.main import main
done = []
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def flowedit(site, tmp_path_factory):
    """`flowedit ARGS`, one after the other, in one process of their own that finds the package.

    It returns what each prints on stdout; of those that are `refused`, which come last, on stderr.
    """
    place = tmp_path_factory.mktemp("work")
    env = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "TOY_CHECKPOINT": str(site / "weights"),
        "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(*commands, refused=()):
        argv = [[str(word) for word in command] for command in (*commands, *refused)]
        program = [sys.executable, "-c", PROGRAM, json.dumps(argv)]
        done = subprocess.run(program, cwd=place, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = []
        for number, (code, out, err) in enumerate(json.loads(done.stdout.splitlines()[-1])):
            assert code == (number >= len(commands)), err
            said.append(err if code else out)
        return said

    run.place = place
    return run


@pytest.fixture(scope="module")
def said(flowedit):
    """What all of it says, run once in one process: list, edit, compare, evaluate, and two mistakes."""
    place, fox = flowedit.place, ROOT / "examples" / "fox.mp4"
    (place / "two.clips").mkdir()
    shutil.copy(fox, place / "two.clips" / "fox.mp4")
    start = ["edit", fox, *FOX, "--mode", "nudge"]
    small = ["--size", "32x32", "--frames", "5", "--backbone", "toy"]
    methods = ["--modes", "nudge,inversion_free", "--evaluations", "own", "--metrics", "psnr,brightness", "--quiet"]
    names = ("list", "options", "edit", "toy", "compare", "equal", "evaluate", "far", "misspelt")
    commands = (
        ["list", "editors", "backbones", "metrics", "datasets", "formats"],
        ["list", "options"],
        [*start, *WORDS, "mode.amount=0.25", "--format", "mkv", "--out", place / "edit", "--quiet"],
        [*start, *WORDS, *small, "--steps", "2", "--out", place / "toy", "--quiet"],
        ["compare", fox, *FOX, *WORDS, *methods, "--out", place / "compare", "--steps", "4", "--also",
         "mode=nudge mode.amount=2", "runtime.threads=1", "engine.workers=1"],
        ["compare", fox, *FOX, *WORDS, "--modes", "nudge,inversion_free", "--evaluations", "equal", "--steps", "4",
         "--frames", "5", "--metrics", "psnr", "--out", place / "equal", "--quiet"],
        ["evaluate", place / "two.clips", "--modes", "nudge", "--metrics", "brightness", *small, "--workers", "1",
         "--out", place / "evaluate", "--quiet"],
    )  # fmt: skip
    mistakes = ([*start, "mode.amount=3"], [*start, "mode.amont=1"])
    return dict(zip(names, flowedit(*commands, refused=mistakes), strict=True))


def test_list_marks_what_a_package_brings(said):
    for name in ("nudge", "toy", "brightness", "clips", "mkv"):
        line = next(line for line in said["list"].splitlines() if line.split()[:1] == [name])
        assert "[plug-in my-flowedit]" in line, line
    assert "ToyPipeline" in said["list"]
    assert "mode.amount" in said["options"]


def test_edit_takes_its_editor_its_options_and_its_backbone(said, flowedit):
    run = yaml.safe_load((flowedit.place / "edit" / "run.yaml").read_text())
    assert run["settings"]["mode"]["name"] == "nudge"
    assert run["settings"]["mode"]["amount"] == 0.25
    assert run["network_evaluations"] == 4  # two rows a side
    toy = yaml.safe_load((flowedit.place / "toy" / "run.yaml").read_text())
    assert toy["settings"]["backbone"]["name"] == "toy"
    assert "mode.amount 3.0 is out of range: 0 to 2" in said["far"]
    assert "did you mean 'mode.amount'" in said["misspelt"]


def test_a_format_is_an_option_and_names_its_file(said, flowedit):
    assert said["edit"].strip() == str(flowedit.place / "edit" / "edit.mkv")
    assert {path.name for path in (flowedit.place / "edit").glob("edit.*")} == {"edit.mkv"}
    assert probe(flowedit.place / "edit" / "edit.mkv").frames == probe(ROOT / "examples" / "fox.mp4").frames
    (line,) = (line for line in said["options"].splitlines() if line.startswith("format "))
    assert "mkv" in line


def test_compare_and_evaluate_take_all_of_it(said, flowedit):
    assert "brightness" in said["compare"]
    rows = [json.loads(line) for line in (flowedit.place / "compare" / "rows.jsonl").read_text().splitlines()]
    bright = {row["method"]: row["value"] for row in rows if row["metric"] == "brightness"}
    assert set(bright) == {"unedited", "nudge", "inversion_free", "nudge mode.amount=2"}
    assert all(0 < value < 255 for value in bright.values())
    rows = [json.loads(line) for line in (flowedit.place / "equal" / "rows.jsonl").read_text().splitlines()]
    made = {row["method"]: row["value"] for row in rows if row["metric"] == "network_evaluations"}
    assert (made["nudge"], made["inversion_free"]) == (4, 9)
    assert "nudge takes 4 network evaluations whatever its steps" in said["equal"]
    rows = [json.loads(line) for line in (flowedit.place / "evaluate" / "rows.jsonl").read_text().splitlines()]
    assert {(row["clip"], row["method"]) for row in rows} == {("fox", "nudge"), ("fox", "unedited")}
    assert any(row["metric"] == "brightness" and row["failure"] is None for row in rows)


def test_a_broken_plug_in_stops_nothing_and_says_why(site, flowedit):
    points = site / "my_flowedit-1.0.dist-info" / "entry_points.txt"
    whole = points.read_text()
    try:
        points.write_text(
            whole.replace("[flowedit.editors]\n", "[flowedit.editors]\nlost = my_flowedit.nowhere:NONE\n")
        )
        lost = ["edit", ROOT / "examples" / "fox.mp4", *FOX, "--mode", "lost"]
        said, refused = flowedit(["list", "editors"], refused=[lost])
        assert "nudge" in said
        assert re.search(r"lost .*\[broken\] plug-in 'my-flowedit'.*cannot be loaded.*repair the package", said)
        assert "cannot be loaded" in refused
    finally:
        points.write_text(whole)


def test_a_script_adds_an_editor_in_its_own_process(monkeypatch, site):
    monkeypatch.syspath_prepend(str(site))
    from my_flowedit.nudge import NUDGE

    EDITORS.add("nudge", NUDGE)
    try:
        settings = compose({"mode": "nudge", "mode.amount": 0.5, "source": "a", "target": "b"})
        assert (settings.mode.name, settings.mode.amount, settings.mode.grid) == ("nudge", 0.5, "model")
        with pytest.raises(InputError, match="there already"):
            EDITORS.add("nudge", EDITORS["inversion"])
    finally:
        EDITORS.remove("nudge")
    with pytest.raises(InputError, match="unknown mode 'nudge'"):
        compose({"mode": "nudge"})


def test_a_plug_in_that_cannot_be_takes_nothing_from_ours(monkeypatch):
    class Point:
        def __init__(self, name, entry):
            self.name, self.value, self.dist, self.load = name, "package.module:thing", None, lambda: entry

    points = [Point("red", 2), Point("blue", "text"), Point("green", 3)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    registry = Registry("flowedit.nothing", "thing", entry=int)
    registry.add("red", 1)
    assert (registry["red"], registry["green"], list(registry)) == (1, 3, ["red", "green"])
    assert "there already" in registry.broken["red"]
    with pytest.raises(InputError, match=r"'blue' cannot be loaded: package\.module:thing is no int"):
        registry["blue"]


def test_a_registry_knows_names_and_answers_unknown_ones():
    registry = Registry("flowedit.nothing", "thing")
    registry.add("red", 1)
    assert ("red" in registry, list(registry), registry["red"], registry.origin("red")) == (True, ["red"], 1, None)
    with pytest.raises(InputError, match="unknown thing 'rad': one of red; did you mean 'red'"):
        registry["rad"]
    with pytest.raises(InputError, match="letters, digits"):
        registry.add("a b", 2)
    assert option("help").metadata["option"].help == "help"
