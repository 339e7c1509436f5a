"""LOVEU-TGVE 2023 (showlab/loveu-tgve-2023): a YAML file a clip, with four target prompts; clips as folders of frames.

Checked against its repository's text and one of its 76 files: `train_data.video_path` and `.prompt`, and
`validation_data.prompts` with style, object, background and multiple. The paths begin at the repository's root; what is
looked for is the path itself in the dataset's folder, or as much of its end as lies there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from flowedit.config.edit_file import inside, load
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import filmed, find, said
from flowedit.evaluation.datasets.sample import Dataset, Sample, dataset, own_places, safe
from flowedit.messages import InputError

DEPTH = 4
"""How many folders deep its YAML files lie, at most: configs/loveu-tgve-2023/DAVIS_480p/gold-fish.yaml."""

SETS = ("480p_frames", "480p_videos")


def read(root: Path, workspace: Path) -> Dataset:
    """Every prompt of every clip, the edit named by its kind; raises InputError for what is no such file."""
    made = []
    for file in _files(root):
        where = repr(str(file))
        inside(root, file.relative_to(root).as_posix(), where, "the dataset's folder")
        data = load(file)
        if not _is_clip(data):
            continue
        source, lost = said(where, data["train_data"], ("video_path", "prompt"))
        lost = [f"train_data.{text}" for text in lost]
        for kind, target, wrong in _targets(where, data["validation_data"]):
            name = source["video_path"] or file.stem
            sample = _sample(root, where, name, source["prompt"], kind, target, [*lost, *wrong])
            made.append((f"{where} {kind}", filmed(sample, workspace, name)))
    return dataset(safe(root.resolve().name), repr(str(root)), made)


def _targets(where: str, own: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Each kind of edit, its prompt, and what is wrong with it; those of a list are numbered."""
    prompts = own.get("prompts") if isinstance(own, dict) else None
    if isinstance(prompts, list):
        prompts = {str(number): prompt for number, prompt in enumerate(prompts, 1)}
    if not isinstance(prompts, dict) or not prompts:
        yield "edit", "", ["validation_data.prompts is no mapping, such as prompts: {style: a fox, drawn in ink}"]
        return
    for kind, prompt in prompts.items():
        made, lost = said(where, {str(kind): prompt}, (str(kind),))
        yield str(kind), made[str(kind)], [f"validation_data.prompts.{text}" for text in lost]


def _sample(root: Path, where: str, place: str, source: str, kind: str, target: str, lost: Sequence[str]) -> Sample:
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{where}: video_path {place!r} is not a path inside the dataset's folder")
    ends = ["/".join(path.parts[i:]) for i in range(len(path.parts) - 1)]
    ends += [end.replace(*SETS) for end in ends if SETS[0] in end]
    video = next((found for end in ends if (found := find(root, ("",), end, where))), None)
    home = next((part for part in path.parts if part.endswith("_480p")), "")
    clip, edit = safe(path.name), safe(kind)
    return Sample(
        name=clip,
        edit=edit,
        kind=kind,
        clip=video or root / place,
        frames=video if video and video.is_dir() else None,
        flags={"source": source, "target": target},
        mask=None,
        truth=None,
        questions=None,
        edit_places=(*own_places(clip, edit), *([f"{home}/{clip}/{edit}"] if home else [])),
        problem="; ".join(
            [*lost, *([] if video or any("video_path" in text for text in lost) else [f"video {place} is missing"])]
        )
        or None,
    )


def _is_clip(data: Any) -> bool:
    return isinstance(data, dict) and "train_data" in data and "validation_data" in data


def _files(root: Path) -> Iterator[Path]:
    for depth in range(DEPTH):
        yield from sorted(root.glob("*/" * depth + "*.yaml"))


def _matches(name: str) -> bool:
    root = Path(name)
    if not root.is_dir():
        return False
    heads = (file.read_text("utf-8", "replace") for file in _files(root) if file.is_file())
    return any("train_data:" in head and "validation_data:" in head for head in heads)


DATASETS.add(
    "tgve",
    Layout(
        "a folder with LOVEU-TGVE's YAML files and frames",
        _matches,
        lambda name, workspace, _scenes: read(Path(name), workspace),
    ),
)
