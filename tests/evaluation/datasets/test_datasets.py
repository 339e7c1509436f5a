"""Datasets: a list of our own, FiVE-Bench's layout, scenes of the pocket world; what is wrong with a row and a file."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from flowedit.config import compose
from flowedit.evaluation.datasets import catalogue, pocket
from flowedit.evaluation.datasets.sample import TRAINING_SEEDS, Scenes, safe
from flowedit.media.footage import open_footage
from flowedit.media.mask_file import read_mask_frames
from flowedit.pocket import edit, scene
from flowedit.pocket.world import Spec, Thing

ROOT = Path(__file__).resolve().parents[3]
SIZE = (32, 48)
SHOWN = {"source": "a dog on grass", "target": "a fox on grass", "source_words": "dog", "target_words": "fox"}


def images(path, count=3, size=SIZE, value=90):
    path.mkdir(parents=True)
    for i in range(1, count + 1):
        cv2.imwrite(str(path / f"{i:05d}.jpg"), np.full((*size, 3), value + i, np.uint8))
    return path


def row(name="dog", **changes):
    made = {
        "video_name": name,
        "editing_type_id": 1,
        "save_dir": "1_a [fox] on",
        "source_prompt": "a [dog] on grass",
        "target_prompt": "a [fox] on grass",
        "source_yes_no_question": "a dog?",
        "target_yes_no_question": "a fox?",
        "multiple_choice_question": "which? a) dog b) fox",
    } | changes
    return {key: value for key, value in made.items() if value is not ...}


def write(root, **files):
    (root / "edit_prompt").mkdir(exist_ok=True)
    for name, rows in files.items():
        (root / "edit_prompt" / f"{name}_FiVE.json").write_text(json.dumps(rows), encoding="utf-8")


@pytest.fixture
def bench(tmp_path, clip_file):
    """Two videos in FiVE-Bench's layout, `cat` as images alone."""
    root = tmp_path / "five"
    for name in ("dog", "cat"):
        images(root / "images" / name)
        images(root / "bmasks" / name, value=0)
    (root / "videos").mkdir()
    shutil.copy(clip_file, root / "videos" / "dog.mp4")
    write(root, edit1=[row(), row("cat")], edit3=[row(editing_type_id="3"), row(editing_type_id=6, source_prompt="b")])
    return root


def read(path, **options):
    return catalogue.read(path, path.parent / "workspace", **options)


def refused(path, *says):
    with pytest.raises((ValueError, OSError)) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    for each in says:
        assert each in text
    assert not (path.parent / "workspace").exists(), "refused before anything is made"


# FiVE-Bench


def test_five_s_layout(bench):
    made = read(bench)
    assert made.name == "five"
    assert [(p.name, p.edit, p.kind, p.problem) for p in made.samples] == [
        ("dog", "edit1", "rigid replacement", None),
        ("cat", "edit1", "rigid replacement", None),
        ("dog", "edit3", "colour", None),
        ("dog", "edit3-2", "removal", None),
    ]
    dog = made.samples[0]
    assert dog.flags == SHOWN
    assert (dog.clip, dog.frames) == (bench / "videos" / "dog.mp4", bench / "images" / "dog")
    assert (dog.mask, dog.mask_above, dog.truth) == (bench / "bmasks" / "dog", 0, None)
    assert (dog.questions.source, dog.questions.target) == ("a dog?", "a fox?")
    assert dog.questions.choice == "which? a) dog b) fox"
    assert dog.edit_places[:4] == ("dog/edit1", "dog/edit1.mp4", "dog/1_a [fox] on", "dog/1_a [fox] on.mp4")
    assert "edit1/dog" in dog.edit_places
    assert "dog/edit3-2" in made.samples[3].edit_places
    assert "edit3/dog" not in made.samples[3].edit_places, "which of the two it is nobody can tell"
    assert compose.compose(dog.flags).target == "a fox on grass"


def test_a_mask_of_five_is_what_is_above_zero(bench):
    (masks,) = read_mask_frames(read(bench).samples[0].mask, [0, 1, 2], SIZE, 3, above=0)
    assert masks.all()  # 1, 2 and 3 of 255


def test_the_evaluator_s_own_folder_is_the_prompt_cut_as_long_as_save_dir(bench):
    write(bench, edit1=[row(save_dir="1_a [fix] on grass")], edit3=[])
    (sample,) = read(bench).samples
    assert {"dog/1_a [fix] on grass", "dog/1_a [fox] on grass"} < set(sample.edit_places)


def test_a_video_that_is_there_as_images_is_written_once_and_to_the_same_bytes(bench, tmp_path):
    (cat,) = (p for p in read(bench).samples if p.name == "cat")
    assert cat.clip.parent == tmp_path / "workspace"
    footage = open_footage(cat.clip)
    assert (footage.count, footage.size, footage.fps) == (3, SIZE, 16)
    first = next(footage.read([0])).astype(int)
    assert np.abs(first - next(open_footage(cat.frames).read([0]))).max() <= 2
    bytes_, time = cat.clip.read_bytes(), cat.clip.stat().st_mtime_ns
    assert read(bench).samples[1].clip.stat().st_mtime_ns == time
    (elsewhere,) = (p.clip for p in catalogue.read(bench, tmp_path / "b").samples if p.name == "cat")
    assert (elsewhere.name, elsewhere.read_bytes()) == (cat.clip.name, bytes_)
    cv2.imwrite(str(bench / "images" / "cat" / "00002.jpg"), np.zeros((*SIZE, 3), np.uint8))
    assert read(bench).samples[1].clip != cat.clip, "other images, another file"
    assert [f.suffix for f in (tmp_path / "workspace").iterdir()] == [".mp4", ".mp4"]


@pytest.mark.parametrize(
    ("prompt", "bare", "words"),
    [
        ("a [black  swan] and its [beak]", "a black  swan and its beak", "black swan, beak"),
        ("[a [big] dog] runs", "a big dog runs", "big"),
        ("a dog] [runs", "a dog runs", ""),
        ("a [ ] dog and a [dog]", "a   dog and a dog", "dog"),
        ("no brackets", "no brackets", ""),
    ],
)
def test_brackets_are_the_object_s_words(bench, prompt, bare, words):
    write(bench, edit1=[row(source_prompt=prompt, save_dir=...)], edit3=[])
    (sample,) = read(bench).samples
    assert (sample.flags["source"], sample.flags["source_words"], sample.problem) == (bare, words, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ("dog", "fox")),
        ({"source_object": "a dog", "target_object": "the fox"}, ("a dog", "the fox")),
        ({"source_prompt": "a [dog] on grass", "source_object": "grass"}, ("dog", "")),
        ({"editing_type_id": 6, "target_object": "grass"}, ("dog", "")),
        ({"source_object": "a wolf"}, ("", "fox")),
        ({"source_object": None, "target_object": ...}, ("", "")),
    ],
)
def test_without_brackets_the_objects_columns_have_the_words(bench, changes, words):
    plain = {"source_prompt": "a dog on grass", "target_prompt": "a fox on grass"}
    write(bench, edit1=[row(**({**plain, "source_object": "dog", "target_object": "fox"} | changes))], edit3=[])
    (sample,) = read(bench).samples
    assert (sample.flags["source_words"], sample.flags["target_words"], sample.problem) == (*words, None)


def test_a_negative_prompt_and_an_instruction_are_the_row_s(bench):
    asked = row("cat", target_prompt=..., instruction="replace the dog with a fox")
    write(bench, edit1=[row(negative_prompt="blurry", instruction="make it a fox"), asked], edit3=[])
    dog, cat = read(bench).samples
    assert dog.flags == {**SHOWN, "negative_prompt": "blurry"}
    assert compose.compose(dog.flags).negative_prompt == "blurry"
    assert cat.flags == {"source": "a dog on grass", "instruction": "replace the dog with a fox"}
    assert cat.problem is None


def test_words_that_no_longer_stand_in_their_prompt_are_the_row_s_problem(bench):
    write(bench, edit1=[row(target_prompt="an under[dog]"), row("cat")], edit3=[])
    bad, good = read(bench).samples
    assert "target_words: 'dog' is not in the prompt" in bad.problem
    assert good.problem is None


def test_questions_are_optional(bench):
    write(bench, edit1=[row(source_yes_no_question=None), row("cat", multiple_choice_question=...)], edit3=[])
    removal, none = (p.questions for p in read(bench).samples)
    assert removal.source == ""
    assert none is None


def test_what_is_wrong_with_one_row_of_five_stands_in_it_alone(bench):
    images(bench / "images" / "bird")
    images(bench / "bmasks" / "fish")
    images(bench / "images" / "hen")
    images(bench / "bmasks" / "hen")
    (bench / "images" / "hen" / "00002.jpg").write_text("no image")
    rows = [
        row("bird"),
        row("fish"),
        row("dog", target_prompt=...),
        row("cat", source_prompt=" [] "),
        row("hen"),
        row(),
    ]
    write(bench, edit1=rows, edit3=[])
    problems = [p.problem for p in read(bench).samples]
    assert problems[0] is None, "a missing mask costs what needs it, and not the edit"
    assert problems[1] == "video videos/fish.mp4 is missing, and images/fish has no frames"
    assert problems[2] == "the target prompt is missing"
    assert problems[3] == "the source prompt is missing"
    assert "00002.jpg is not an image" in problems[4]
    assert problems[5] is None
    made = [file.name.partition("-")[0] for file in (bench.parent / "workspace").iterdir()]
    assert made == ["bird"], "nothing is half written"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{", ["edit1_FiVE.json", "is not JSON"]),
        ("[" * 100_000, ["edit1_FiVE.json", "is not JSON"]),
        ("{}", ["edit1_FiVE.json", "is not a list"]),
        ("[1]", ["edit1_FiVE.json' row 1", "is not an object"]),
        ([row(), row()], ["edit1_FiVE.json' row 2", "row 1 again"]),
        ([row("a b"), row("a-b")], ["edit1_FiVE.json' row 2", "has an edit 'edit1' already"]),
        ([row(), row(..., video="x")], ["row 2: video_name is missing (is it 'video'?)"]),
        ([row(editing_type_id=7)], ["row 1", "editing_type_id 7 is none of 1 to 6"]),
        ([row(editing_type_id=True)], ["row 1", "editing_type_id True"]),
        ([row(editing_type_id=...)], ["row 1: editing_type_id is missing"]),
        ([row(source_prompt=["a"])], ["row 1", "source_prompt ['a'] is not text"]),
        ([row(target_prompt="\ud800")], ["row 1", "is not text in UTF-8"]),
        ([row("")], ["row 1", "video_name ''"]),
        ([row("../dog")], ["row 1", "video_name '../dog' is not a path inside"]),
        ([row("..")], ["row 1", "video_name '..' is not a path inside"]),
        ([row("/etc")], ["row 1", "video_name '/etc' is not a path inside"]),
        ([row("a\0b")], ["row 1", "is not a path inside"]),
        ([row(save_dir="../x")], ["row 1", "save_dir '../x' is not a path inside"]),
        ([row(save_dir="/x")], ["row 1", "save_dir '/x' is not a path inside"]),
    ],
)
def test_what_is_wrong_with_a_file_of_five_is_said_at_once(bench, text, says):
    (bench / "edit_prompt" / "edit1_FiVE.json").write_text(text if isinstance(text, str) else json.dumps(text))
    refused(bench, *says)


@pytest.mark.parametrize(
    "place", ["images/dog", "bmasks/dog", "videos/dog.mp4", "edit_prompt/edit1_FiVE.json", "images"]
)
def test_a_link_out_of_five_is_refused(bench, place):
    outside = bench.parent / "outside"
    (bench / place).rename(outside)
    (bench / place).symlink_to(outside)
    refused(bench, place.split("/")[0], "is not a path inside the dataset's folder")


def test_a_frame_that_links_out_of_five_is_refused(bench):
    shutil.move(bench / "bmasks" / "cat" / "00002.jpg", bench.parent / "outside.jpg")
    (bench / "bmasks" / "cat" / "00002.jpg").symlink_to(bench.parent / "outside.jpg")
    refused(bench, "row 2", "bmasks/cat/00002.jpg' is not a path inside")


def test_a_dataset_without_edits_is_refused(bench):
    write(bench, edit1=[], edit3=[])
    refused(bench, "is empty")
    shutil.rmtree(bench / "edit_prompt")
    refused(bench, "': it is not a dataset that flowedit knows", "(with edit_prompt/*.json)")
    refused(bench / "nowhere", "is not a dataset that flowedit knows", ".yaml")
    refused(bench / "nowhere.yaml", "does not exist")


# A list of our own


@pytest.fixture
def listed(tmp_path, clip_file):
    root = tmp_path / "clips"
    (root / "more").mkdir(parents=True)
    shutil.copy(clip_file, root / "dog.mp4")
    shutil.copy(clip_file, root / "more" / "cat.mp4")
    shutil.copy(clip_file, tmp_path / "outside.mp4")
    images(root / "mask")

    def make(data):
        (root / "list.yaml").write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
        return root / "list.yaml"

    return make


def test_a_list_of_edits(listed):
    clips = {"clip": "dog.mp4", "redistribute": True, **SHOWN}
    more = {"clip": "more/cat.mp4", "edit": "to fox!", "kind": "animal", "score_mask": "mask", "truth": "dog.mp4"}
    path = listed([clips, clips | more | {"steps": 7, "composite": False}])
    made = read(path)
    assert made.name == "list"
    dog, cat = made.samples
    assert (dog.name, dog.edit, dog.kind, dog.mask, dog.truth, dog.questions) == (
        "dog",
        "edit",
        "",
        None,
        None,
        None,
    )
    assert (dog.clip, dog.frames, dog.problem) == (path.parent / "dog.mp4", None, None)
    assert dog.flags == SHOWN
    assert (cat.name, cat.edit, cat.kind, cat.problem) == ("more-cat", "to-fox", "animal", None)
    assert (cat.mask, cat.mask_above, cat.truth) == (path.parent / "mask", 127, path.parent / "dog.mp4")
    assert cat.flags == SHOWN | {"steps": 7, "composite": False}
    assert cat.edit_places == ("more-cat/to-fox", "more-cat/to-fox.mp4")


def test_one_mapping_is_a_list_of_one(listed):
    (sample,) = read(listed({"clip": "dog.mp4", **SHOWN})).samples
    assert (sample.name, sample.problem) == ("dog", None)


def test_what_is_wrong_with_one_row_stands_in_it_alone(listed):
    good = {"clip": "dog.mp4", **SHOWN}
    rows = [
        good | {"clip": "none.mp4", "edit": "1"},
        good | {"clip": "more", "edit": "2"},
        good | {"score_mask": "none", "user_mask": "none.png", "edit": "3"},
        good | {"score_mask": "more", "truth": "none.mp4", "edit": "4"},
        good | {"source": " ", "target": None, "edit": "5"},
        good,
    ]
    assert [sample.problem for sample in read(listed(rows)).samples] == [
        "video none.mp4 is missing",
        "video more has no frames",
        "score_mask none is missing; user_mask none.png is missing",
        "score_mask more has no frames; truth none.mp4 is missing",
        "the source prompt is missing; the target prompt is missing",
        None,
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("a: [1,", ["list.yaml'", "is not YAML"]),
        ("a: 2020-13-45", ["list.yaml'", "is not YAML"]),
        ("clip: !!python/object/apply:os.system ['touch pwned']", ["list.yaml'", "is not YAML"]),
        ("", ["list.yaml'", "is empty"]),
        ("[]", ["list.yaml'", "is empty"]),
        ("hello", ["list.yaml'", "is not a list"]),
        ([{"clip": "dog.mp4"}, "hello"], ["list.yaml' row 2", "is not a mapping"]),
        (
            [{"clip": "dog.mp4"}] * 2,
            ["list.yaml' row 2", "has an edit 'edit' already", "row 1: give one of them a name of its own"],
        ),
        (
            [{"clip": "dog.mp4"}, {"clip": "more/../dog.mp4"}, {"clip": "../outside.mp4"}],
            ["row 3", "not a path inside"],
        ),
        ([{"clip": "/etc/passwd"}], ["row 1", "not a path inside"]),
        ([{"clip": "dog.mp4", "truth": "../outside.mp4"}], ["row 1: truth", "not a path inside"]),
        ([{"clip": "dog.mp4", "clipp": 1}], ["row 1", "unknown key 'clipp'"]),
        ([{"clip": "dog.mp4", "backbone": "x"}], ["row 1", "backbone is not for an edit's file"]),
        ([{"source": "a"}], ["row 1", "names no clip"]),
        ([{"clip": "dog.mp4", "steps": "${oc.env:HOME}"}], ["row 1", "is not a number"]),
        ([{"clip": "dog.mp4", "mode": {"_target_": "os.system"}}], ["row 1", "mode is a name, not a mapping"]),
    ],
)
def test_what_is_wrong_with_a_list_is_said_at_once(listed, data, says):
    refused(listed(data), *says)


def test_links_out_of_a_list_s_folder_are_refused(listed):
    path = listed([{"clip": "dog.mp4", "score_mask": "mask", **SHOWN}])
    (path.parent / "mask" / "00004.jpg").symlink_to(path.parent.parent / "outside.mp4")
    refused(path, "row 1: score_mask", "mask/00004.jpg' is not a path inside")
    (path.parent / "loop.mp4").symlink_to("loop.mp4")
    refused(listed([{"clip": "loop.mp4", **SHOWN}]), "row 1")
    (path.parent / "away.mp4").symlink_to(path.parent.parent / "outside.mp4")
    refused(listed([{"clip": "away.mp4", **SHOWN}]), "row 1", "'away.mp4' is not a path inside")


def test_the_example_s_mask_is_the_true_one():
    (sample,) = read(ROOT / "examples" / "fox.yaml").samples
    assert sample.problem is None
    fox, panda = (scene(Spec((Thing(kind, "right"),), "grass", texture=7), (256, 256)) for kind in ("fox", "panda"))
    (mask,) = read_mask_frames(sample.mask, range(9), (256, 256), 9, sample.mask_above)
    np.testing.assert_array_equal(mask, np.maximum(fox.masks[0], panda.masks[0]) > 0)


# Scenes of the pocket world


def test_scenes_of_the_pocket_world(tmp_path):
    scenes = Scenes(7, 2, ("replace", "add"))
    made = catalogue.read("pocket", tmp_path / "a", scenes)
    assert [(p.name, p.edit, p.kind) for p in made.samples] == [
        (seed, kind, kind) for seed in ("7", "8") for kind in ("replace", "add")
    ]
    world = pocket.packaged_world()
    for sample in made.samples:
        true = edit(int(sample.name), sample.edit, world.size, world.frames, world.vocabulary)
        assert sample.flags["source"] == true.source.caption
        assert sample.flags["target_words"] == ", ".join(true.target_words)
        assert compose.compose(sample.flags).seed == int(sample.name)
        for path, frames in ((sample.clip, true.source.frames), (sample.truth, true.target.frames)):
            footage = open_footage(path)
            assert (footage.count, footage.size, footage.fps) == (9, (128, 128), 8)
            (shown,) = footage.read(range(9))
            # the colour's resolution is halved: flat parts are exact, edges are not
            assert np.median(np.abs(shown.astype(int) - frames)) <= 2
            assert 10 * np.log10(255**2 / ((shown - frames.astype(float)) ** 2).mean()) > 25
        (mask,) = read_mask_frames(sample.mask, range(9), (128, 128), 9, sample.mask_above)
        np.testing.assert_array_equal(mask, true.mask > 0)


def test_scenes_are_the_same_bytes_twice_and_written_once(tmp_path, monkeypatch):
    def contents(folder):
        return {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}

    scenes = Scenes(3, 1, ("recolour",))
    first = catalogue.read("pocket", tmp_path / "a", scenes)
    second = catalogue.read("pocket", tmp_path / "b", scenes)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 2 + 9
    assert first.samples[0].flags == second.samples[0].flags
    monkeypatch.delattr(pocket, "_film")
    assert catalogue.read("pocket", tmp_path / "a", scenes) == first
    with pytest.raises(NameError):
        catalogue.read("pocket", tmp_path / "c", scenes)
    assert not contents(tmp_path / "c"), "nothing is half written"


@pytest.mark.parametrize(
    ("scenes", "says"),
    [
        ((0, 1, ("replce",)), "unknown kind 'replce'.*did you mean 'replace'"),
        ((0, 1, ()), "kinds none"),
        ((0, 1, ("add", "add")), "each once"),
        ((0, 0, ("add",)), "scenes 0: at least 1"),
        ((-1, 1, ("add",)), "first_seed -1"),
        ((TRAINING_SEEDS, 1, ("add",)), "training drew those above"),
    ],
)
def test_scenes_that_are_refused(scenes, says):
    with pytest.raises(ValueError, match=says):
        Scenes(*scenes)


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", "a\0b", "x" * 300, "", "狐狸 🦊", "a\nb"])
def test_safe_names(name):
    assert re.fullmatch(r"[\w-][\w.-]{0,79}", safe(name))
