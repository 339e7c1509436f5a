"""Instructions at the edges: the command line, YAML files, lists, Python; what is refused before anything is loaded."""

import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

import flowedit
from flowedit.config import compose, edit_file
from flowedit.config.folder import example
from flowedit.evaluation.compare import one_clip
from flowedit.evaluation.datasets import catalogue
from flowedit.evaluation.plan import complete
from flowedit.pipeline.prompts import instruction
from flowedit.types import QUIET

FOX = str(example("fox")).replace("fox.yaml", "fox.mp4")
CAPTION = "a fox moves right over green grass"
TARGET = "a panda moves right over green grass"
TEXT = "please replace the fox with a panda"


def made(settings):
    return settings.source, settings.target, settings.source_words, settings.target_words


@pytest.fixture
def caught(monkeypatch):
    """The settings that come to be checked; nothing runs."""
    seen = []

    def stop(settings, *_):
        seen.append(settings)
        raise ValueError("caught")

    monkeypatch.setattr("flowedit.pipeline.api.check", stop)
    return seen


def test_the_command_line_takes_it_after_the_clip_and_as_a_flag(command, caught, clip_file):
    for args in [(TEXT,), ("--instruction", TEXT), (f"instruction={TEXT}",)]:
        command("edit", clip_file, *args, "--source", CAPTION, "--quiet")
        assert made(caught[-1]) == (CAPTION, TARGET, "fox", "panda")
        assert caught[-1].instruction == TEXT
    command("edit", clip_file, TEXT)
    assert made(caught[-1]) == ("a fox", "a panda", "fox", "panda")


def test_it_takes_the_place_of_a_files_target_and_words(command, caught, clip_file, tmp_path):
    path = tmp_path / "edit.yaml"
    row = {"clip": "clip.mp4", "source": CAPTION, "target": "a cat", "source_words": "fox", "target_words": "cat"}
    path.write_text(yaml.safe_dump(row), encoding="utf-8")
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    command("edit", path, TEXT)
    assert made(caught[-1]) == (CAPTION, TARGET, "fox", "panda")
    path.write_text(yaml.safe_dump({"clip": "clip.mp4", "source": CAPTION, "instruction": TEXT}), encoding="utf-8")
    command("edit", path)
    assert made(caught[-1]) == (CAPTION, TARGET, "fox", "panda")
    assert made(instruction.complete(compose.compose(edit_file.read_edit(path)), QUIET)) == made(caught[-1])


def test_python_takes_it(caught, clip_file):
    with pytest.raises(ValueError, match="caught"):
        flowedit.edit(clip_file, source=CAPTION, instruction=TEXT)
    assert made(caught[-1]) == (CAPTION, TARGET, "fox", "panda")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("gibberish",), ("'replace the fox with a panda', 'remove the ball', 'make the car red'", "quote")),
        (("do something nice",), ("is not an instruction", "'remove the ball'")),
        (("--instruction", "gibberish"), ("is not an instruction", "'remove the ball'")),
        (("--instruction", ""), ("is not an instruction",)),
        (("replace the dog with a cat", "--source", CAPTION), ("'dog' is not in the caption", "fox, moves")),
        ((TEXT, "--target", "a cat"), ("target 'a cat' beside the instruction", "give one of the two")),
        ((TEXT, "--source", CAPTION, "--source-words", "grass"), ("source_words 'grass' beside the instruction",)),
        (("replace", "the", "fox"), ("quote the instruction", '"replace the fox"')),
    ],
)
def test_refusals_in_one_line(command, clip_file, args, says):
    code, out, err = command("edit", clip_file, *args, "--quiet")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    for text in says:
        assert text in err


def test_it_is_refused_before_anything_heavy_is_imported(clip_file):
    script = (
        "import sys; from flowedit.cli.main import main; main(sys.argv[1:])\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    args = [sys.executable, "-c", script, "edit", str(clip_file), "do something nice"]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "'make the car red'" in done.stderr


def test_a_data_file_chooses_no_model(tmp_path):
    path = tmp_path / "edit.yaml"
    path.write_text(yaml.safe_dump({"clip": "a.mp4", "instruction": TEXT, "caption": "a/model"}), encoding="utf-8")
    with pytest.raises(ValueError, match="caption is not for an edit's file"):
        edit_file.read_edit(path)


def test_what_is_complete_stays_as_it_is():
    for source in (CAPTION, None):
        first = instruction.complete(compose.compose({"instruction": TEXT, "source": source}), QUIET)
        assert instruction.complete(first, QUIET) == first
    plain = compose.compose({"source": "a", "target": "b"})
    assert instruction.complete(plain, QUIET) is plain


def words_beside(source_words, target_words, text=TEXT):
    given = {"instruction": text, "source": f"{CAPTION} and a car stands still"}
    given |= {"source_words": source_words, "target_words": target_words}
    return instruction.complete(compose.compose(given), QUIET)


@pytest.mark.parametrize("given", [("fox, car", "panda, car"), ("car, fox, green grass", "car, panda, green grass")])
def test_kept_objects_may_stand_beside_the_words_that_it_makes(given):
    settings = words_beside(*given)
    assert (settings.source_words, settings.target_words) == given
    assert settings.target == f"{TARGET} and a car stands still"
    assert instruction.complete(settings, QUIET) == settings


@pytest.mark.parametrize(
    ("given", "text", "says"),
    [
        (("fox, car", "panda, bus"), TEXT, "source_words 'fox, car' beside the instruction"),
        (("fox, car", "panda"), TEXT, "source_words 'fox, car' beside the instruction"),
        (("car", "car"), TEXT, "source_words 'car' beside the instruction"),
        (("fox, fox", "panda, panda"), TEXT, "source_words 'fox, fox' beside the instruction"),
        (("car, fox", "car, fox"), "remove the fox", "source_words 'car, fox' beside the instruction"),
        (("fox, dog", "panda, dog"), TEXT, "source_words: 'dog' is not in the prompt"),
        (("fox, fox", "panda, fox"), TEXT, "target_words: 'fox' is not in the prompt"),
    ],
)
def test_other_words_beside_it_are_refused(given, text, says):
    with pytest.raises(ValueError, match=says):
        words_beside(*given, text=text)


def test_what_goes_along_is_named_in_the_source_and_given_words_stay():
    asked = compose.compose({"instruction": "remove the fox and its shadow", "source": CAPTION})
    settings = instruction.complete(asked, QUIET)
    assert made(settings) == (
        "a fox with its shadow moves right over green grass",
        "nothing over green grass",
        "fox",
        "",
    )
    assert settings.also_words == "shadow"
    assert instruction.complete(settings, QUIET) == settings
    (said,) = instruction.explain(settings)
    assert "'shadow' goes along, in the source 'a fox with its shadow moves" in said
    own = compose.compose({"instruction": "remove the fox", "source": CAPTION, "also_words": "grass"})
    assert instruction.complete(own, QUIET).also_words == "grass"
    with pytest.raises(ValueError, match="also_words 'grass' beside the instruction"):
        instruction.complete(replace(asked, also_words="grass"), QUIET)
    with pytest.raises(ValueError, match="pocket does not know 'shadow'"):
        flowedit.check(FOX, source=CAPTION, instruction="remove the fox and its shadow")


def test_plain_prompts_are_said_aloud():
    plain = instruction.complete(compose.compose({"instruction": TEXT}), QUIET)
    (said,) = instruction.explain(plain)
    assert "no caption" in said
    assert "'a fox'" in said
    assert "'a panda'" in said
    (said,) = instruction.explain(
        instruction.complete(compose.compose({"instruction": TEXT, "source": CAPTION}), QUIET)
    )
    assert "no caption" not in said
    assert TARGET in said


def test_a_list_and_a_comparison_take_it(tmp_path, clip_file):
    (tmp_path / "a.mp4").write_bytes(clip_file.read_bytes())
    rows = [
        {"clip": "a.mp4", "edit": "one", "source": CAPTION, "instruction": TEXT},
        {"clip": "a.mp4", "edit": "two", "instruction": TEXT},
        {"clip": "a.mp4", "edit": "three", "source": CAPTION, "instruction": "do something nice"},
        {"clip": "a.mp4", "edit": "four", "source": CAPTION, "target": "a cat"},
    ]
    path = tmp_path / "edits.yaml"
    path.write_text(yaml.safe_dump(rows), encoding="utf-8")
    one, two, three, four = complete(catalogue.read(path, tmp_path), [], QUIET).samples
    assert (one.flags["target"], one.flags["target_words"]) == (TARGET, "panda")
    assert (two.flags["source"], two.flags["target"], two.problem) == ("a fox", "a panda", None)
    assert "is not an instruction" in (three.problem or "")
    assert four.flags["target"] == "a cat"
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump({**rows[3], "target_words": "cat"}), encoding="utf-8")
    pair = one_clip(file, {"instruction": TEXT})
    assert "target" not in pair.flags
    assert pair.flags["instruction"] == TEXT


def test_compare_takes_it_after_the_clip(command, clip_file, backbone_2b, tmp_path):
    """And every method gets the same prompts; a dry run says what there is to do."""
    flags = ("--source", CAPTION, "--backbone", backbone_2b, "--steps", 2, "--dry-run", "--out", tmp_path / "out")
    code, out, err = command("compare", clip_file, TEXT, *flags, "--quiet")
    assert code == 0, err
    assert out.count("to do") == 3
    code, out, _ = command("compare", clip_file, "replace the dog with a cat", *flags, "--quiet")
    assert "'dog' is not" in " ".join(out.split())


def test_run_yaml_holds_the_instruction_and_what_it_came_to(command, clip_file, backbone_2b, tmp_path):
    flags = ("--backbone", backbone_2b, "--steps", 2, "--size", "48x32", "--frames", 5, "--out", tmp_path / "out")
    code, _, err = command("edit", clip_file, TEXT, "--source", CAPTION, *flags, "--quiet")
    assert code == 0, err
    run = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text(encoding="utf-8"))
    wanted = {"instruction": TEXT, "source": CAPTION, "target": TARGET, "source_words": "fox", "target_words": "panda"}
    assert {key: run["settings"][key] for key in wanted} == wanted
    assert any(TARGET in notice for notice in run["notices"])
