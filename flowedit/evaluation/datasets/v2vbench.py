"""V2VBench (wenhao728/awesome-diffusion-v2v): a folder with one YAML file, whose `data` lists clips and their prompts.

Checked against its documentation: `video_id` and `edit`, a list with a `prompt` each; edits lie in VIDEO_ID/INDEX. The
data were not to be had here: whether a clip's own `prompt` is there, and where the videos lie, was not checked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowedit.config.edit_file import inside, load
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import filmed, find, said, texts
from flowedit.evaluation.datasets.sample import Dataset, Sample, dataset, own_places, safe

PLACES = ("", "videos", "source_videos", "reference_videos")


def read(root: Path, workspace: Path) -> Dataset:
    """Every prompt of every clip; the edit is named by its number from 0. Raises InputError for what is no such row."""
    made = []
    for file in sorted(root.glob("*.yaml")):
        inside(root, file.name, repr(str(file)), "the dataset's folder")
        for number, row in enumerate(_rows(load(file)), 1):
            where = f"{str(file)!r} row {number}"
            clip = texts(where, row, ("video_id",), ("prompt",))
            edits = row.get("edit")
            for index, each in enumerate(edits if isinstance(edits, list) and edits else [None]):
                own = each if isinstance(each, dict) else {"prompt": each}
                target, lost = said(f"{where} edit {index}", own, ("prompt",))
                lost = lost if each is not None else ["edit is no list of prompts, such as edit: [{prompt: a red fox}]"]
                sample = _sample(root, where, clip, str(index), target["prompt"], lost)
                made.append((f"{where} edit {index}", filmed(sample, workspace, clip["video_id"])))
    return dataset(safe(root.resolve().name), repr(str(root)), made, "list all edits of a video_id in one row")


def _rows(data: Any) -> list[Any]:
    rows = data.get("data") if isinstance(data, dict) else data
    return [row for row in rows if isinstance(row, dict) and "video_id" in row] if isinstance(rows, list) else []


def _sample(root: Path, where: str, row: dict[str, str], index: str, target: str, lost: Sequence[str]) -> Sample:
    name = row["video_id"]
    video = find(root, PLACES, name, where)
    clip = safe(name)
    absent = f"video {name} is missing: it lies in none of {', '.join(p or '.' for p in PLACES)}"
    return Sample(
        name=clip,
        edit=index,
        kind="",
        clip=video or root / name,
        frames=video if video and video.is_dir() else None,
        flags={"target": target} | ({"source": row["prompt"]} if row["prompt"].strip() else {}),
        mask=None,
        truth=None,
        questions=None,
        edit_places=own_places(clip, index),
        problem="; ".join([*lost, *([] if video else [absent])]) or None,
    )


def _matches(name: str) -> bool:
    root = Path(name)
    return root.is_dir() and any("video_id:" in file.read_text("utf-8", "replace") for file in root.glob("*.yaml"))


DATASETS.add(
    "v2vbench",
    Layout(
        "a folder with V2VBench's YAML file and videos",
        _matches,
        lambda name, workspace, _scenes: read(Path(name), workspace),
    ),
)
