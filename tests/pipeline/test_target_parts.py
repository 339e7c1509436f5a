"""Parts of the target, masks and rows of results: from every edge to the editor, and what is refused before a model."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import flowedit
from flowedit.config import compose, edit_file
from flowedit.evaluation.datasets.sample import Dataset, Sample
from flowedit.evaluation.methods import equalise, methods, parts_for, unfit_parts
from flowedit.evaluation.plan import complete
from flowedit.media import probe, reader
from flowedit.messages import InputError
from flowedit.pipeline.checks import check_kind
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, network_evaluations
from flowedit.pipeline.prompts import instruction
from flowedit.types import QUIET

CAPTION = "a red fox and a blue car move right over green grass"
ONE = "a red panda and a blue car move right over green grass"
TWO = "a red fox and a blue bus move right over green grass"
BOTH = "a red panda and a blue bus move right over green grass"
TEXT = "replace the fox with a panda and the car with a bus"


@pytest.fixture
def caught(monkeypatch):
    """The settings that come to be checked; nothing runs."""
    seen = []

    def stop(settings, *_):
        seen.append(settings)
        raise ValueError("caught")

    monkeypatch.setattr("flowedit.pipeline.api.check", stop)
    return seen


@pytest.mark.parametrize(
    "args", [("--target-parts", ONE, TWO), ("--target-parts", f"{ONE} | {TWO}"), (f"target_parts={ONE}|{TWO}",)]
)
def test_the_command_line_takes_them_one_after_the_other_or_in_one_text(command, caught, clip_file, args):
    command("edit", clip_file, "--source", CAPTION, "--target", BOTH, "--mode", "splitflow", *args, "--quiet")
    assert caught[-1].target_parts == (ONE, TWO)


@pytest.mark.parametrize("swallowed", ["CLIP", "mode.shift=2"])
def test_what_a_list_of_parts_would_swallow_is_answered(command, clip_file, swallowed):
    text = str(clip_file) if swallowed == "CLIP" else swallowed
    code, _, said = command("edit", "--target-parts", ONE, text, "--target", BOTH)
    assert code == 1
    assert "takes all texts up to the next flag: put it before" in said


def test_a_file_and_python_take_a_list(caught, clip_file, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    path = tmp_path / "edit.yaml"
    row = {"clip": "clip.mp4", "source": CAPTION, "target": BOTH, "target_parts": [ONE, TWO], "mode": "splitflow"}
    path.write_text(yaml.safe_dump(row), encoding="utf-8")
    assert compose.compose(edit_file.read_edit(path)).target_parts == (ONE, TWO)
    path.write_text(yaml.safe_dump(row | {"target_parts": [ONE, 3]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"target_parts .* is not a list of texts"):
        edit_file.read_edit(path)
    with pytest.raises(ValueError, match="caught"):
        flowedit.edit(clip_file, source=CAPTION, target=BOTH, target_parts=[ONE, TWO], mode="splitflow")
    assert caught[-1].target_parts == (ONE, TWO)


@pytest.mark.parametrize(
    ("mode", "text", "parts", "seen"),
    [
        ("splitflow", TEXT, (ONE, TWO), (ONE, TWO)),
        ("flowdc", TEXT, (ONE, BOTH), (ONE,)),  # the last is the target, which runs anyway
        ("inversion_free", TEXT, None, ()),
        ("splitflow", "replace the fox with a panda", None, ()),
        ("splitflow", "make the fox white and the car black", None, None),
    ],
)
def test_an_instruction_of_several_changes_is_split_as_the_mode_takes_it(mode, text, parts, seen):
    asked = compose.compose({"mode": mode, "source": CAPTION, "instruction": text})
    made = instruction.complete(asked, QUIET)
    if seen is None:
        parts = tuple(made.target.replace(new, old) for new, old in (("black", "blue"), ("white", "red")))
        seen = parts
    assert made.target_parts == parts
    assert brief(made).parts == seen


def test_given_parts_stand_beside_an_instruction():
    asked = {"mode": "splitflow", "source": CAPTION, "instruction": TEXT, "target_parts": [ONE]}
    assert instruction.complete(compose.compose(asked), QUIET).target_parts == (ONE,)


WORDS = {"source_words": "fox", "target_words": "panda"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target_parts": [ONE]}, "mode=inversion_free takes no target_parts: .* flowdc and splitflow"),
        ({"mode": "splitflow", "target_parts": [ONE, " "]}, "an empty prompt"),
        ({"mode": "flowopt", "mask": "attention", **WORDS}, "mode=flowopt takes no mask: .* choose one of .*flowdc"),
        ({"mode": "flowopt", "user_mask": "mask.png"}, "mode=flowopt takes no mask"),
        ({"mode": "sam_flow"}, "mode=sam_flow needs a mask: give words"),
        (
            {
                **{"mode": "splitflow", "mask": "attention", "target_parts": [ONE], "object_guidance_scales": [3, 4]},
                **{"source_words": "fox, car", "target_words": "panda, bus"},
            },
            "do not go together",
        ),
    ],
)
def test_what_an_editor_does_not_take_is_refused_with_those_that_do(options, says):
    with pytest.raises(InputError, match=says):
        check_kind(brief(compose.compose({"source": CAPTION, "target": BOTH} | options)))


def test_words_alone_refuse_no_editor_that_takes_no_mask():
    check_kind(brief(compose.compose({"mode": "flowopt", "source": CAPTION, "target": BOTH, **WORDS})))


def test_in_a_comparison_parts_go_to_the_methods_that_take_them():
    clip = {"source": CAPTION, "target": BOTH, "target_parts": f"{ONE}|{TWO}"}
    (free, split), _ = methods(["inversion_free", "splitflow"])
    assert free.on(clip).target_parts is None
    assert split.on(clip).target_parts == (ONE, TWO)


def test_in_a_comparison_an_instruction_is_split_for_each_method_as_it_takes_it():
    sample = Sample(
        "a", "edit", "", Path("a.mp4"), None, {"source": CAPTION, "instruction": TEXT}, *[None] * 3, (), None
    )
    chosen, _ = equalise(methods(["splitflow", "flowdc", "inversion_free"])[0], 48)
    (made,) = complete(Dataset("a", (sample,)), chosen, QUIET).samples
    settled = {method.name: method.on(made.flags) for method in chosen}
    assert {name: each.target_parts for name, each in settled.items()} == {
        "splitflow": (ONE, TWO), "flowdc": (ONE, BOTH), "inversion_free": None,
    }  # fmt: skip
    costs = {name: network_evaluations(each) for name, each in settled.items()}
    assert all(40 <= cost <= 48 for cost in costs.values()), costs
    assert settled["splitflow"].steps < chosen[0].settings.steps  # its parts are paid for out of the same budget


@pytest.mark.parametrize(
    ("given", "instruction", "alone", "growing"),
    [
        ((ONE, TWO), None, (ONE, TWO), None),
        ((ONE, BOTH), None, None, (ONE, BOTH)),
        ((ONE, TWO), TEXT, (ONE, TWO), (ONE, BOTH)),
        ((ONE, BOTH), TEXT, (ONE, TWO), (ONE, BOTH)),
        ((ONE,), None, (ONE,), (ONE,)),  # one change, and then the target
    ],
)
def test_in_a_comparison_given_parts_go_to_the_kind_that_they_are(given, instruction, alone, growing):
    clip = {"source": CAPTION, "target": BOTH, "target_parts": given, "instruction": instruction}
    chosen, _ = methods(["splitflow", "flowdc", "inversion_free"])
    assert [parts_for(method, clip) for method in chosen] == [alone, growing, None]
    end = "and has none" if instruction is None else "which the instruction gives it"
    told = {"splitflow": alone != given, "flowdc": growing != given}
    assert [text.split()[0] for text in unfit_parts(chosen, clip)] == [name for name, unfit in told.items() if unfit]
    assert all(text.endswith(end) for text in unfit_parts(chosen, clip))


FAST = {"size": "48x32", "frames": 5, "steps": 2, "strength": 1.0, "cuts": "none", "runtime.device": "cpu"}


def test_a_part_with_a_word_that_was_never_learned_is_named(clip_file, tmp_path):
    asked = {"mode": "splitflow", "source": "a fox moves right over green grass", **FAST}
    with pytest.raises(InputError, match=r"target_parts, part 2: .*does not know 'wolf'"):
        flowedit.edit(
            clip_file, out=tmp_path / "o", **asked, target="a panda moves right over green grass",
            target_parts=["a panda moves right over green grass", "a wolf moves right over green grass"],
        )  # fmt: skip


def test_a_row_of_results_is_written_beside_the_edit_and_goes_with_it(backbone_2b, clip_file, tmp_path):
    asked = {"backbone": backbone_2b, "mode": "flowopt", "source": "a fox", "target": "a panda", **FAST}
    editor = flowedit.load(**asked)
    made = editor.edit(clip_file, out=tmp_path / "o", **{"mode.iterations": 2})
    files = sorted(path.name for path in made.folder.glob("row_*.mp4"))
    assert files == ["row_0.mp4", "row_1.mp4", "row_2.mp4"]
    assert {probe.probe(made.folder / name).frames for name in files} == {5}
    assert (made.folder / "row_0.mp4").read_bytes() != (made.folder / "row_2.mp4").read_bytes()
    last, edit = (
        np.concatenate(list(reader.read(probe.probe(path), range(5)))) for path in (made.folder / files[2], made.video)
    )
    assert (last == edit).all()
    again = editor.edit(clip_file, out=tmp_path / "o", **{"mode.iterations": 2, "mode.row": False})
    assert not list(again.folder.glob("row_*.mp4"))
    assert (again.latents == made.latents).all()


def test_frames_in_memory_have_their_row_of_results(backbone_2b):
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    asked = {"mode": "flowopt", "source": "a fox", "target": "a panda", "composite": False, **FAST}
    editor = flowedit.load(backbone=backbone_2b, **asked)
    made = editor.edit_frames(frames, **{"mode.iterations": 2, "mode.step_size": 0.5})
    assert [each.shape for each in made.row] == [frames.shape] * 3
    assert all(each.dtype == np.uint8 for each in made.row)
    assert (made.row[2] == made.frames).all()
    assert (made.row[0] != made.row[1]).any()
    alone = editor.edit_frames(frames, **{"mode.iterations": 0, "mode.step_size": 0.5})
    assert (alone.frames == made.row[0]).all()  # the free end is the edit of no iteration
    assert editor.edit_frames(frames, **{"mode.iterations": 2, "mode.row": False}).row == ()
    assert editor.edit_frames(frames, mode="random_noise").row == ()


def test_a_method_whose_clips_may_bring_parts_is_not_said_to_lack_them():
    (split,), _ = methods([], ["mode=splitflow mode.merge=average"])
    assert split.notices == []


@pytest.mark.parametrize(
    ("mode", "parts", "said"),
    [
        ("splitflow", [ONE], "is one part alone: give a prompt for each change"),
        ("flowdc", [BOTH], "target_parts holds the target alone"),
        ("splitflow", [ONE, TWO], None),
        ("flowdc", [ONE, BOTH], None),
        ("flowdc", [ONE], None),
    ],
)
def test_parts_that_split_nothing_are_told(mode, parts, said):
    flags = {"mode": mode, "source": CAPTION, "target": BOTH, "target_parts": parts}
    lines = of_unused(brief(compose.compose(flags)))
    assert [said in line for line in lines] == [True] if said else lines == []
