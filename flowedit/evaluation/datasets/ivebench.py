"""IVEBench (Chen et al. 2025, arXiv 2510.11647): one JSON file of rows beside its videos.

The keys are those that its public code and paper name. The data themselves were not to be had here, so where the videos
lie was not checked: they are looked for beside the file and in the folders of `PLACES`.
"""

from collections import Counter
from pathlib import Path

from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import filmed, find, read_json, texts, words_of
from flowedit.evaluation.datasets.sample import Dataset, Sample, dataset, own_places, safe
from flowedit.messages import InputError

PLACES = ("", "videos", "source_videos", "short", "long", "Short", "Long")

KEYS = (
    "src_video_name",
    "id",
    "category",
    "subcategory",
    "source_prompt",
    "edit_prompt",
    "target_prompt",
    "target_phrase",
)


def read(file: Path, workspace: Path) -> Dataset:
    """Every row: its target prompt where it has one, else its instruction. Raises InputError for what is no row."""
    made, count = [], Counter[str]()
    for number, row in enumerate(_rows(file), 1):
        where = f"{str(file)!r} row {number}"
        own = texts(where, row, (), KEYS)
        if not own["id"].strip():  # the edits of one clip are numbered
            count[own["src_video_name"]] += 1
            nth = count[own["src_video_name"]]
            own["id"] = "edit" if nth == 1 else f"edit-{nth}"
        made.append((where, filmed(_sample(file.parent, where, own, number), workspace, "frames")))
    return dataset(safe(file.stem), repr(str(file)), made, "give each row of a clip an id of its own, or none")


def _rows(file: Path) -> list[object]:
    data = read_json(file)
    rows = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise InputError(f"{str(file)!r} is not a list: IVEBench's file is a list of rows with src_video_name")
    return rows


def _sample(root: Path, where: str, row: dict[str, str], number: int) -> Sample:
    name = row["src_video_name"]
    video = find(root, PLACES, name, where) if name.strip() else None
    source, target = row["source_prompt"], row["target_prompt"]
    flags = {"source": source} if source.strip() else {}
    if target.strip():
        flags |= {"target": target, "target_words": words_of(target, row["target_phrase"])}
    elif row["edit_prompt"].strip():
        flags |= {"instruction": row["edit_prompt"]}
    lost = f"video {name} is missing: it lies in none of {', '.join(p or '.' for p in PLACES)}"
    problems = [] if video else [lost if name.strip() else "src_video_name is missing"]
    if "target" not in flags and "instruction" not in flags:
        problems.append("the row has neither target_prompt nor edit_prompt")
    clip, edit = safe(Path(name).stem) if name.strip() else f"row-{number}", safe(row["id"])
    return Sample(
        name=clip,
        edit=edit,
        kind=row["category"],
        clip=video or root / name,
        frames=video if video and video.is_dir() else None,
        flags=flags,
        mask=None,
        truth=None,
        questions=None,
        edit_places=(*own_places(clip, edit), Path(name).stem, f"{Path(name).stem}.mp4"),
        problem="; ".join(problems) or None,
    )


def _matches(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() == ".json" and path.is_file() and "src_video_name" in path.read_text("utf-8", "replace")


DATASETS.add(
    "ivebench",
    Layout(
        "IVEBench's .json beside its videos", _matches, lambda name, workspace, _scenes: read(Path(name), workspace)
    ),
)
