"""An edit's YAML file: what it may say, what the edit ignores, and no way in for a data file."""

import os
from pathlib import Path

import pytest
import yaml

from flowedit.config import compose, edit_file
from flowedit.messages import InputError, RenamedWarning

ROOT = Path(__file__).resolve().parents[2]


def test_a_data_file_cannot_read_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "7")
    path = tmp_path / "edit.yaml"
    for value in ("${oc.env:SECRET}", "${oc.decode:7}", "7 ", "[7]", "{a: 7}", "7,8"):
        path.write_text(yaml.safe_dump({"clip": "a.mp4", "steps": value}), encoding="utf-8")
        with pytest.raises(ValueError, match="is not a number"):
            edit_file.read_edit(path)


def test_a_row_of_the_shared_clips_is_an_edit(tmp_path):
    path = tmp_path / "row.yaml"
    path.write_text(
        "- clip: dog.mp4            # a comment\n"
        "  source: A white fluffy dog is lying, in front of a door.\n"
        "  target: 'A red fox: lying'\n"
        "  source_words: white fluffy dog\n"
        "  target_words: red fox\n"
        "  user_mask: masks/dog.png\n"
        "  composite: false\n"
        "  strength: 0.5\n"
        "  seed: null\n"
        "  redistribute: yes\n",
        encoding="utf-8",
    )
    settings = compose.compose(edit_file.read_edit(path))
    assert settings.clip == str(tmp_path / "dog.mp4")
    assert settings.user_mask == str(tmp_path / "masks" / "dog.png")
    assert settings.source == "A white fluffy dog is lying, in front of a door."
    assert (settings.composite, settings.strength, settings.seed) == (False, 0.5, 0)


def test_every_example_is_an_edit():
    examples = sorted(set((ROOT / "examples").glob("*.yaml")) - {ROOT / "examples" / "edits.yaml"})  # a dataset
    assert examples
    for path in examples:
        settings = compose.compose(edit_file.read_edit(path))
        assert Path(settings.clip or "").is_file()


def test_a_sweep_takes_an_edit_file_and_what_stands_beside_it_wins(tmp_path):
    path = tmp_path / "edit.yaml"
    path.write_text("clip: a.mp4\nsource: s\ntarget: t\nsteps: 9\n", encoding="utf-8")
    given = ["steps=7", f"clip={path}", "target=u"]
    settings = edit_file.swept(given)
    assert (settings.clip, settings.source, settings.target, settings.steps) == (str(tmp_path / "a.mp4"), "s", "u", 7)
    path.write_text("clip: a.mp4\nmode: inversion\n", encoding="utf-8")
    with pytest.raises(ValueError, match="chooses mode"):
        edit_file.swept(given)


def test_a_point_of_a_sweep_is_told_its_task_as_the_command_line_is(tmp_path):
    path = tmp_path / "edit.yaml"
    path.write_text("clip: a.mp4\nsource: a fox on grass\nsource_words: fox\ntarget: grass\n", encoding="utf-8")
    settings = edit_file.swept([f"clip={path}"])
    assert settings == compose.compose(edit_file.read_edit(path))
    assert settings.task == "remove"
    assert edit_file.swept([f"clip={path}", "target=a car on grass"]).task == "replace"
    assert edit_file.swept([f"clip={path}", "task=add"]).task == "add"


def test_what_is_for_scoring_is_read_beside_the_flags_and_ignored_by_the_edit(tmp_path):
    data = {"clip": "a/dog.mp4", "source": "s", "target": "t", "steps": 3, "seed": None}
    scoring = {"score_mask": "masks/dog", "truth": "true.mp4", "edit": "to fox", "kind": "animal"}
    path = tmp_path / "edit.yaml"
    path.write_text(yaml.safe_dump(data | scoring), encoding="utf-8")
    row = edit_file.read_row(path, data | scoring)
    assert row.flags == {"source": "s", "target": "t", "steps": 3}
    assert (row.clip, row.name, row.edit, row.kind) == (tmp_path / "a" / "dog.mp4", "a/dog", "to fox", "animal")
    assert (row.score_mask, row.truth) == (tmp_path / "masks" / "dog", tmp_path / "true.mp4")
    assert edit_file.read_edit(path) == row.flags | {"clip": str(row.clip)}
    alone = edit_file.read_row(path, data)
    assert (alone.score_mask, alone.truth, alone.edit, alone.kind) == (None, None, None, "")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("score_mask", "../m.png", "score_mask '../m.png' is not a path inside"),
        ("truth", "/etc/passwd", "truth '/etc/passwd' is not a path inside"),
        ("truth", 3, "truth 3 is not text"),
        ("edit", ["a"], r"edit \['a'\] is not text"),
        ("kind", True, "kind True is not text"),
        ("score_masks", "m.png", "did you mean 'score_mask'"),
    ],
)
def test_what_is_for_scoring_is_held_to_the_same_rules(tmp_path, key, value, says):
    with pytest.raises(ValueError, match=rf"edit.yaml' row 2: .*{says}"):
        edit_file.read_row(tmp_path / "edit.yaml", {"clip": "a.mp4", key: value}, 2)


def test_old_keys_of_a_file_are_taken_for_the_new_ones_or_answered(tmp_path):
    path = tmp_path / "edit.yaml"
    path.write_text(yaml.safe_dump({"clip": "a.mp4", "guidance": "differential"}), encoding="utf-8")
    with pytest.warns(RenamedWarning, match="guidance is called averaging now"):
        assert edit_file.read_edit(path)["averaging"] == "differential"
    with pytest.warns(RenamedWarning), pytest.raises(InputError, match="chooses averaging: in a sweep"):
        edit_file.swept([f"clip={path}"])
    path.write_text(yaml.safe_dump({"video": "a.mp4"}), encoding="utf-8")
    with pytest.raises(InputError, match="video is called clip now: write clip: FILE"):
        edit_file.read_edit(path)


def test_keys_of_groups_are_set_by_their_dotted_names_in_a_file_and_in_a_sweep(tmp_path):
    path = tmp_path / "edit.yaml"
    keys = {"mask": "both", "mask.grow": 0.125, "mask.blocks": [0.5, 0.25], "mode.region_refresh": 3}
    path.write_text(yaml.safe_dump({"clip": "a.mp4", "source": "s", "target": "t"} | keys), encoding="utf-8")
    made = compose.compose(edit_file.read_edit(path), ["mode.region_refresh=2"])
    assert (made.mask.grow, made.mask.blocks, made.mode.region_refresh) == (0.125, (0.5, 0.25), 2)
    path.write_text("clip: a.mp4\nsource: s\ntarget: t\nmask.grow: 0.125\nmask.decay: 3\n", encoding="utf-8")
    swept = edit_file.swept([f"clip={path}", "mask.decay=5"])
    assert (swept.mask.grow, swept.mask.decay) == (0.125, 5)
    assert swept == compose.compose(edit_file.read_edit(path), ["mask.decay=5"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mask.grw: 1", "unknown key 'mask.grw'; did you mean 'mask.grow'"),
        ("mask: {grow: 1}", "mask is a name, not a mapping; write its keys as mask.grow: VALUE$"),
        ("mask: {_target_: os.system}", "mask is a name, not a mapping$"),
        ("mask: {}", "mask is a name, not a mapping$"),
        ("mask.grow: '${oc.env:HOME}'", "mask.grow .* is not a number, true, false or a name"),
        ("mask.blocks: [a]", "mask.blocks .* is not a list of numbers"),
        ("mask.grow: [1, 2]", "mask.grow"),
        ("mask.grow.x: 1", "unknown key 'mask.grow.x'"),
        ("seed.x: 1", "unknown key 'seed.x'"),
        ("backbone.path: /etc", "backbone.path is not for an edit's file"),
        ("backbone.repository: a/b", "backbone.repository is not for an edit's file"),
        ("runtime.device: cuda", "runtime.device is not for an edit's file"),
        ("mode.preset: x", "mode.preset is not set by itself"),
        (
            "mode: random_noise\nmode.region_refresh: 1",
            "'mode.region_refresh' has no meaning here: it belongs to mode=",
        ),
    ],
)
def test_a_dotted_key_is_held_to_the_same_rules(tmp_path, text, says):
    path = tmp_path / "edit.yaml"
    path.write_text(f"clip: a.mp4\nsource: s\ntarget: t\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError, match=says):
        compose.compose(edit_file.read_edit(path))
    with pytest.raises(InputError):
        edit_file.swept([f"clip={path}"])


def laughs(open, each, close, levels=9):
    """Aliases of aliases: nine to the power of `levels` values in a few lines."""
    rows = [f"a{i}: &a{i} " + open + ", ".join([each.format(i - 1)] * 9) + close for i in range(1, levels + 1)]
    return "\n".join(["a0: &a0 {x: 1}", *rows])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "more than 40 deep"),
        ("seed: " + "{a: " * 3000 + "1" + "}" * 3000, "more than 40 deep"),
        ("- " * 3000 + "1", "more than 40 deep"),
        (laughs("[", "*a{}", "]"), "more than 100000 values"),
        (laughs("{<<: [", "*a{}", "]}"), "more than 100000 values"),
        ("seed: &a [*a]", r"\*a stands inside its own value"),
        ("&a {clip: *a}", r"\*a stands inside its own value"),
        ("seed: !!bool maybe", "'maybe' is not a value of the kind bool"),
        ("seed: !!timestamp foo", "'foo' is not a value of the kind timestamp"),
        ("seed: !!int 0b", "'0b' is not a value of the kind int"),
        ("seed: 2001-99-99", "'2001-99-99' is not a value of the kind timestamp"),
        ("seed: " + "9" * 5000, "is not a value of the kind int"),
        ("seed: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("seed: \x07", "is not text in UTF-8 or UTF-16"),
        ("k: " + "v" * 2**20, "longer than 1 MB"),
    ],
    ids=lambda value: value[:20],
)
def test_a_file_that_is_no_edit_costs_no_time_and_gets_one_line(tmp_path, text, says):
    path = tmp_path / "edit.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        edit_file.read_edit(path)
    assert len(str(caught.value)) < 400


def test_aliases_and_merges_of_ordinary_files_are_read(tmp_path):
    path = tmp_path / "edits.yaml"
    path.write_text("- &one {clip: a.mp4, source: s, target: t}\n- {<<: *one, target: u}\n- *one\n", encoding="utf-8")
    rows = edit_file.load(path)
    assert [row["target"] for row in rows] == ["t", "u", "t"]
    assert rows[1]["clip"] == "a.mp4"


def test_bytes_that_are_no_text_and_a_pipe_are_refused(tmp_path):
    path = tmp_path / "edit.yaml"
    path.write_bytes(b"clip: \xff\xfe.mp4\n")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        edit_file.read_edit(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a file"):
        edit_file.read_edit(path)
