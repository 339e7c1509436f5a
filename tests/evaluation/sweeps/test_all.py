"""`--modes all` and `--sweep`: what cannot do what is asked is left out and told, or refused where it is named."""

import csv
import re

import pytest
from fox_edits import FEW, FOX, PROMPTS

from flowedit.config import compose
from flowedit.config.mode_lines import mode_lines
from flowedit.evaluation.files import facts
from flowedit.evaluation.methods import able, cannot, equalise, methods
from flowedit.evaluation.options import evaluation
from flowedit.evaluation.results import rows
from flowedit.pipeline.plan import network_evaluations

SMALL = ["--frames", "5", "--metrics", "psnr", *FEW[2:]]


def test_all_is_every_mode_after_those_that_are_named():
    made, lost = methods(["random_noise", "all"])
    assert [method.name for method in made][:3] == ["random_noise", "inversion_free", "inversion"]
    assert {method.name for method in made} == set(compose.options("mode"))
    assert [method.name for method in made if method.asked] == ["random_noise"]
    assert lost == {}


def test_a_key_that_only_some_modes_have_leaves_the_others_out():
    made, lost = methods(["all"], overrides=["mode.solver=heun"])
    assert {"inversion", "random_noise"} <= {method.name for method in made}
    assert "mode.solver" in lost["inversion_free"]
    assert any(text.startswith("inversion_free is left out: ") for text in cannot(lost))
    with pytest.raises(ValueError, match=r"mode\.solver"):
        methods(["inversion_free", "all"], overrides=["mode.solver=heun"])
    with pytest.raises(ValueError, match="no_such"):
        methods(["all"], overrides=["no_such=1"])


def test_a_budget_too_small_leaves_out_what_all_brought_in_and_refuses_what_was_named():
    made, lost = equalise(methods(["inversion", "all"])[0], 3)
    assert "inversion" in [method.name for method in made]
    reason = "3 network evaluations do not pay one step of flowedit, which takes 4: give --evaluations 4 or more"
    assert lost["flowedit"] == reason
    with pytest.raises(ValueError, match="do not pay one step of flowedit"):
        equalise(methods(["flowedit"])[0], 3)


def test_where_nothing_is_left_the_first_reason_is_said():
    made, _ = methods(["all"])

    def refuse(method):
        raise ValueError(f"{method.name} cannot")

    with pytest.raises(ValueError, match=r"^inversion_free cannot$"):
        able(made, refuse)


def compose_mask(mode):
    return None if mode == "unedited" else compose.compose({"mode": mode}).mask.name


def test_all_on_one_page_with_the_paper_and_what_each_is_good_at(tmp_path, command):
    args = ["compare", FOX, *PROMPTS, "--methods", "all", "--evaluations", "3", *SMALL]
    code, _, err = command(*args, "--out", tmp_path / "out", "--export", tmp_path / "t.tex", "--export",
                             tmp_path / "t.csv")  # fmt: skip
    assert code == 0, err
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    made = [row.method for row in rows.read(tmp_path / "out" / "rows.jsonl") if row.metric == "psnr"]
    assert {"inversion_free", "inversion", "random_noise", "flowalign"} <= set(made)
    for mode in set(made) - {"unedited"}:
        assert mode_lines(mode).good_at.replace("'", "&#39;") in page
    assert "what its publication claims; none of it was measured here" in page
    assert "No mask: the whole picture of ddim_inversion, " in err
    assert "may change (--mask attention makes one of the words)." in err
    assert page.count("No mask: the whole picture may change.") == len([m for m in made if compose_mask(m) == "none"])
    left = "flowedit is left out: 3 network evaluations do not pay one step of flowedit"
    assert left in err
    assert left in page
    assert re.search(r"leave [^:]*inversion_free \(1\)[^:]* fewer than 4 steps", page)
    assert mode_lines("flowedit").good_at.replace("'", "&#39;") not in page
    assert (tmp_path / "t.tex").read_bytes() == (tmp_path / "out" / "table.tex").read_bytes()
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        assert {line["method"] for line in csv.DictReader(file)} == set(made)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--mask", "attention"], "mode=flowopt takes no mask"),
        (["--mask", "attention", "--evaluations", "24"], "mode=flowopt takes no mask"),
        (["steps=1", "strength=0.5", "--evaluations", "own"], "strength 0.5 of 1 steps runs none"),
    ],
)
def test_a_method_that_is_named_and_cannot_is_refused(tmp_path, command, args, said, more):
    code, out, err = command("compare", FOX, *PROMPTS, "--modes", "flowopt,inversion_free", *args, *more, "--out",
                             tmp_path / "out")  # fmt: skip
    assert (code, out) == (1, "")
    assert said in err
    args = ["--modes", "inversion_free,all", "--mask", "attention", "--evaluations", "24", "--dry-run"]
    if more:
        assert "flowopt is left out: mode=flowopt takes no mask" in " ".join(
            command("compare", FOX, *PROMPTS, *args, "--out", tmp_path / "out")[1].split()
        )


def test_a_sweep_is_a_lattice_on_the_page_and_in_the_grid(tmp_path, command):
    args = ["compare", FOX, *PROMPTS, "--modes", "inversion_free,random_noise", "--sweep", "strength=0.5,1"]
    code, _, err = command(*args, "--sweep", "seed=0,1", "--evaluations", "4", *SMALL, "--out", tmp_path / "out")
    assert code == 0, err
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "fox: 2 methods, 8 settings" in page
    names = [f"{mode} strength={strength} seed={seed}" for mode in ("inversion_free", "random_noise")
             for strength in ("0.5", "1") for seed in "01"]  # fmt: skip
    values = {row.method: row.value for row in rows.read(tmp_path / "out" / "rows.jsonl") if row.metric == "psnr"}
    assert set(values) == {"unedited", *names}
    assert len(set(values.values())) == 9
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as file:
        swept = {line["method"]: (line["strength"], line["seed"]) for line in csv.DictReader(file)}
    assert swept == {name: tuple(re.findall(r"=(\S+)", name)) for name in names} | {"unedited": ("", "")}
    shown = re.findall(r'<video class="film " src="[^"]*" aria-label="(.*?) of fox', page)
    assert shown == ["source", *names]
    assert page.count('class="lattice"') == 2
    from flowedit.media import probe

    height, width = probe.probe(tmp_path / "out" / "grid.mp4").size
    assert width == 3 * 256  # a column of the source and two of values
    assert height // 256 == 4


def test_values_without_effect_on_a_method_are_edited_once_and_stand_in_each_column(tmp_path, command):
    args = ["compare", FOX, *PROMPTS, "--modes", "inversion,random_noise", "--sweep", "seed=2,0,1"]
    code, _, err = command(*args, "--evaluations", "4", *SMALL, "--out", tmp_path / "out")
    assert code == 0, err
    told = "inversion: seed has no effect (it needs a mode that draws noise): one edit stands for all its values"
    assert err.count(told) == 1
    assert "and is left out" not in err
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    noise = [f"random_noise seed={seed}" for seed in "201"]
    shown = re.findall(r'<video class="film " src="[^"]*" aria-label="(.*?) of fox', page)
    assert shown == ["source", *["inversion seed=2"] * 3, *noise]
    made = {row.method: row.value for row in rows.read(tmp_path / "out" / "rows.jsonl") if row.metric == "psnr"}
    assert set(made) == {"unedited", "inversion seed=2", *noise}
    assert len(set(made.values())) == 5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--export", "table.txt"], "ends in none of .csv, .json, .tex"),
        (["--export", "nowhere/table.tex"], "cannot be written: give a file in a folder that exists"),
        (["--sweep", "clip=a,b"], "each clip brings its own"),
        (["--sweep", "mode=inversion,random_noise"], "mode: choose with --modes"),
        (["--sweep", "strength=0.5,2"], "strength 2.0 is out of range"),
        (["--strength", "0.5", "--sweep", "strength=0.5,1"], "strength is set and swept"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, command, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = command("compare", FOX, *PROMPTS, *args, "--out", tmp_path / "out")
    assert code == 1
    assert said in err
    assert not (tmp_path / "out").exists()


def test_equal_evaluations_are_told_by_their_number():
    made, _ = equalise(methods(["inversion", "random_noise"])[0])
    cost = network_evaluations(compose.compose({"mode": "inversion"}))
    assert facts(evaluation(command="compare")[0], made)["network evaluations"] == f"equal, {cost} at most"
    assert facts(evaluation({"evaluations": 7})[0], made[:0])["network evaluations"] == "7"


def test_a_word_near_all_is_told_what_all_is(command):
    said = command("compare", FOX, *PROMPTS, "--modes", "alle", *SMALL)[2]
    assert "unknown mode 'alle'; did you mean 'all'? That is every mode and preset" in said
