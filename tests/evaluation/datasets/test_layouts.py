"""Other people's datasets: IVEBench, TGVE, V2VBench, PIE-Bench and VBench's folder, read, refused and kept inside."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from test_datasets import images, read, refused

from flowedit.evaluation.datasets import pie
from flowedit.evaluation.engine.job import Shelf
from flowedit.evaluation.plan import PlannedEdit
from flowedit.evaluation.score_job import ScoreSpec, score_id, work
from flowedit.evaluation.scores import _wanted
from flowedit.media.footage import open_footage
from flowedit.media.probe import probe
from flowedit.pipeline.api import settings_of
from flowedit.types import QUIET


def dump(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(data) if path.suffix == ".json" else yaml.safe_dump(data, sort_keys=False), encoding="utf-8"
    )
    return path


# IVEBench

IVE = {
    "id": 7,
    "src_video_name": "dog",
    "category": "Subject Editing",
    "source_prompt": "a dog on grass",
    "edit_prompt": "Replace the dog with a fox.",
    "target_prompt": "a fox on grass",
    "target_phrase": "a fox",
    "target_span": [0, 5],
}


def test_ivebench_rows_have_targets_or_instructions(tmp_path, clip_file):
    (tmp_path / "d" / "videos").mkdir(parents=True)
    shutil.copy(clip_file, tmp_path / "d" / "videos" / "dog.mp4")
    images(tmp_path / "d" / "videos" / "cat")
    rows = [IVE, IVE | {"id": 8, "src_video_name": "cat", "target_prompt": ""}, IVE | {"id": 9, "src_video_name": "no"}]
    made = read(dump(tmp_path / "d" / "info.json", rows))
    dog, cat, none = made.samples
    assert (dog.name, dog.edit, dog.kind, dog.problem) == ("dog", "7", "Subject Editing", None)
    assert dog.flags == {"source": "a dog on grass", "target": "a fox on grass", "target_words": "a fox"}
    assert {"dog/7.mp4", "dog", "dog.mp4"} < set(dog.edit_places)
    assert cat.flags == {"source": "a dog on grass", "instruction": "Replace the dog with a fox."}
    assert open_footage(cat.clip).count == 3
    assert none.problem.startswith("video no is missing: it lies in none of ., videos,")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([IVE | {"src_video_name": "../../dog"}], "is not a path inside the dataset's folder"),
        ([IVE | {"source_prompt": ["src_video_name"]}], "row 1: source_prompt ['src_video_name'] is not text"),
        (["src_video_name"], "row 1 is not an object"),
        ("src_video_name", "is not a list"),
        ([IVE, IVE], "row 1: give each row of a clip an id of its own, or none"),
    ],
)
def test_what_is_wrong_with_ivebench_is_said(tmp_path, rows, says):
    refused(dump(tmp_path / "d" / "info.json", rows), says)


def test_rows_of_ivebench_without_an_id_are_numbered_and_one_without_a_video_fails_alone(tmp_path):
    images(tmp_path / "d" / "dog")
    bare = {key: value for key, value in IVE.items() if key != "id"}
    rows = [bare, bare | {"target_prompt": "a cat"}, bare | {"src_video_name": ""}, bare | {"src_video_name": None}]
    made = read(dump(tmp_path / "d" / "info.json", rows)).samples
    assert [(each.name, each.edit, each.problem) for each in made[:2]] == [
        ("dog", "edit", None),
        ("dog", "edit-2", None),
    ]
    assert [each.problem for each in made[2:]] == ["src_video_name is missing"] * 2


# TGVE

GOLD = {
    "train_data": {"video_path": "./data/loveu-tgve-2023/DAVIS_480p/480p_frames/gold-fish", "prompt": "Goldfish swim."},
    "validation_data": {"prompts": {"style": "Goldfish swim, pixel art.", "object": "Sharks swim."}},
}


def test_tgve_s_prompts_are_edits_named_by_kind(tmp_path):
    root = tmp_path / "tgve"
    images(root / "DAVIS_480p" / "480p_frames" / "gold-fish")
    dump(root / "configs" / "loveu-tgve-2023" / "DAVIS_480p" / "gold-fish.yaml", GOLD)
    dump(root / "configs" / "template.yaml", {"train_data": None})
    style, other = read(root).samples
    assert (style.name, style.edit, style.kind, style.problem) == ("gold-fish", "style", "style", None)
    assert style.flags == {"source": "Goldfish swim.", "target": "Goldfish swim, pixel art."}
    assert "DAVIS_480p/gold-fish/style" in style.edit_places
    assert other.clip == style.clip
    assert open_footage(style.clip).count == 3
    shutil.rmtree(root / "DAVIS_480p")
    assert {sample.problem for sample in read(root).samples} == {f"video {GOLD['train_data']['video_path']} is missing"}


@pytest.mark.parametrize(
    ("train", "own", "problems"),
    [
        (
            {},
            {"prompts": {"style": None, "object": "Sharks swim."}},
            ["validation_data.prompts.style is missing", None],
        ),
        ({"prompt": " "}, {}, ["train_data.prompt is missing"] * 2),
        ({"video_path": 3}, {}, ["video 3 is missing"] * 2),
        ({"video_path": None}, {}, ["train_data.video_path is missing"] * 2),
        ({}, {"prompts": ["Sharks swim.", "Goldfish fly."]}, [None, None]),
        ({}, {"prompts": "Sharks swim."}, ["validation_data.prompts is no mapping, such as prompts: {style:"]),
        ({}, {"prompts": None}, ["validation_data.prompts is no mapping, such as prompts: {style:"]),
    ],
)
def test_what_is_wrong_with_one_prompt_of_tgve_fails_it_alone(tmp_path, train, own, problems):
    images(tmp_path / "tgve" / "DAVIS_480p" / "480p_frames" / "gold-fish")
    both = {"train_data": GOLD["train_data"] | train, "validation_data": GOLD["validation_data"] | own}
    dump(tmp_path / "tgve" / "a.yaml", both)
    made = read(tmp_path / "tgve").samples
    for sample, problem in zip(made, problems, strict=True):
        assert sample.problem is None if problem is None else (sample.problem or "").startswith(problem)


@pytest.mark.parametrize("place", ["../../fish/a", "/data/fish/a", "data/../../fish/a"])
def test_a_path_of_tgve_stays_inside(tmp_path, place):
    images(tmp_path / "fish" / "a")
    dump(tmp_path / "tgve" / "a.yaml", GOLD | {"train_data": {"video_path": place, "prompt": "a"}})
    refused(tmp_path / "tgve", "is not a path inside the dataset's folder")


# V2VBench


def test_v2vbench_s_edits_are_numbered(tmp_path, clip_file):
    root = tmp_path / "v2v"
    rows = [
        {"video_id": "hike", "prompt": "a man hikes", "edit": [{"prompt": "a robot hikes"}, {"prompt": "pixel art"}]}
    ]
    dump(root / "config.yaml", {"data": [*rows, {"video_id": "none", "edit": [{"prompt": "x"}]}]})
    (root / "videos").mkdir()
    shutil.copy(clip_file, root / "videos" / "hike.mp4")
    first, second, none = read(root).samples
    assert [(s.name, s.edit) for s in (first, second)] == [("hike", "0"), ("hike", "1")]
    assert first.flags == {"source": "a man hikes", "target": "a robot hikes"}
    assert first.edit_places == ("hike/0", "hike/0.mp4")
    assert none.flags == {"target": "x"}
    assert none.problem.startswith("video none is missing")
    dump(root / "config.yaml", {"data": [{"video_id": "../hike", "edit": [{"prompt": "x"}]}]})
    refused(root, "is not a path inside the dataset's folder")
    for edit in ("x", None, [], {}):
        dump(root / "config.yaml", {"data": [*rows, {"video_id": "none", "edit": edit}]})
        assert read(root).samples[2].problem.startswith("edit is no list of prompts, such as edit: [{prompt: ")
    dump(root / "config.yaml", {"data": [{"video_id": "hike", "edit": ["x", {"prompt": ""}]}]})
    assert [(each.flags["target"], each.problem) for each in read(root).samples] == [
        ("x", None), ("", "prompt is missing")
    ]  # fmt: skip
    dump(root / "config.yaml", {"data": [*rows, *rows]})
    refused(root, "has an edit '0' already", "list all edits of a video_id in one row")


# PIE-Bench

PIE = {
    "image_path": "1_change_object_80/a.jpg",
    "original_prompt": "a [cat] on a bench",
    "editing_prompt": "a [dog] on a bench",
    "editing_instruction": "Change the cat to a dog",
    "editing_type_id": "1",
    "blended_word": "cat dog",
    "mask": [512 * 10 + 20, 5, 512 * 11 + 20, 5],
}


@pytest.fixture
def bench(tmp_path):
    """PIE-Bench with one image, and a function that writes its rows."""
    root = tmp_path / "pie"
    images(root / "annotation_images" / "1_change_object_80", 1, (64, 64))
    (root / "annotation_images" / "1_change_object_80" / "00001.jpg").rename(
        root / "annotation_images" / "1_change_object_80" / "a.jpg"
    )
    return root, lambda **rows: dump(root / "mapping_file.json", {key[1:]: PIE | row for key, row in rows.items()})


def test_an_image_of_pie_is_a_clip_of_one_frame_with_its_mask(bench):
    root, dumped = bench
    dumped(
        _000=dict(PIE),
        _001={"original_prompt": "a cat", "editing_prompt": "a dog", "mask": []},
        _002={"editing_type_id": 3, "original_prompt": "a [cat]", "editing_prompt": "a [bench]"},
        _003={"image_path": "none.jpg"},
    )
    first, bare, gone, none = read(root).samples
    assert first.flags == {
        "source": "a cat on a bench",
        "target": "a dog on a bench",
        "source_words": "cat",
        "target_words": "dog",
    }
    assert (first.kind, first.problem) == ("change object", None)
    assert first.edit_places[2:] == ("000/edit.png", PIE["image_path"])
    footage = open_footage(first.clip)
    assert (footage.count, footage.size) == (1, (64, 64))
    mask = cv2.imread(str(first.mask), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (64, 64)
    assert (bare.flags["source_words"], bare.flags["target_words"], bare.mask) == ("cat", "dog", None)
    assert gone.flags["target_words"] == ""
    assert none.problem == "image annotation_images/none.jpg is missing"
    planned = PlannedEdit(first, "mine", settings_of({**first.flags, "clip": first.clip}))
    names = ("psnr", "warp_error")
    for asked, left in ((None, ("psnr",)), (names, names)):  # by name it fails, and says why
        run = SimpleNamespace(options=SimpleNamespace(metrics=asked), look=probe)
        assert _wanted(planned, names, run) == left


def test_a_mask_of_pie_is_runs_over_512_by_512_and_its_border():
    mask = pie.decoded("here", PIE["mask"])
    assert mask.shape == (512, 512)
    assert np.argwhere(mask[1:-1, 1:-1]).tolist() == [[y, x] for y in (9, 10) for x in range(19, 24)]
    assert mask[0].all() and mask[:, -1].all()  # noqa: PT018 - one border


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_path": "../../../a.jpg"}, "is not a path inside the dataset's folder"),
        ({"editing_type_id": "10"}, "editing_type_id '10' is none of 0 to 9"),
        ({"mask": [1]}, "mask is no list of pairs"),
        ({"mask": [-1, 5]}, "mask is no list of pairs"),
        ({"mask": "os.system"}, "mask is no list of pairs"),
    ],
)
def test_what_is_wrong_with_pie_is_said(bench, changes, says):
    root, dumped = bench
    dumped(_0=changes)
    refused(root, says)


@pytest.mark.parametrize("key", ["original_prompt", "editing_prompt", "image_path"])
def test_a_prompt_or_an_image_that_pie_lacks_fails_its_own_row(bench, key):
    root, dumped = bench
    dumped(_0={key: None}, _1={})
    first, *others = read(root).samples
    assert first.problem == f"{key} is missing"
    assert any(each.problem is None for each in others)


# VBench


def test_vbench_s_videos_are_named_by_their_prompts(tmp_path, clip_file):
    root = tmp_path / "videos"
    root.mkdir()
    for name in ("a dog runs-0.mp4", "b.mp4"):
        shutil.copy(clip_file, root / name)
    dump(root / "prompts.json", {"somewhere/b.mp4": "a boat"})
    first, second = read(root).samples
    assert (first.name, first.flags, first.problem) == ("a-dog-runs-0", {"source": "a dog runs"}, None)
    assert "a dog runs-0.mp4" in first.edit_places
    assert second.flags == {"source": "a boat"}
    dump(root / "prompts.json", ["a"])
    refused(root, "is not an object")


# A mask that is missing


def test_a_missing_mask_costs_the_measures_that_need_it_and_no_others(tmp_path, clip_file):
    spec = ScoreSpec(clip_file, None, tmp_path / "no", 0, None, "", None, ("psnr", "background_psnr"), 1, "dis", "cpu",
                     (("id", clip_file),))  # fmt: skip
    assert score_id(spec, "edit")
    scores = work(spec, tmp_path, QUIET, Shelf())["scores"]["id"]
    assert scores["values"] == {"psnr": float("inf")}
    assert list(scores["failures"]) == ["background_psnr"]
    assert str(tmp_path / "no") in scores["failures"]["background_psnr"]
