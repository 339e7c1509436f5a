"""VBench's custom input (Huang et al. 2024): a folder of videos named by their prompts, or with a JSON file of prompts.

As its documents have it: `PROMPT-INDEX.mp4`, or one .json file that maps a video's name to its prompt. They have no
target, so what can be done is to score edits of them that were made elsewhere. Its code was not run against.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from flowedit.config.edit_file import inside
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import read_json, texts
from flowedit.evaluation.datasets.sample import Dataset, Sample, dataset, own_places, safe
from flowedit.messages import InputError


def read(root: Path) -> Dataset:
    """Every .mp4 of the folder; raises InputError for a file of prompts that is none, and for a link that leaves it."""
    prompts = _prompts(root)
    made = []
    for file in sorted(root.glob("*.mp4")):
        inside(root, file.name, repr(str(file)), "the dataset's folder")
        prompt = prompts.get(file.name, prompts.get(file.stem, re.sub(r"-\d+$", "", file.stem)))
        clip = safe(file.stem)
        made.append((repr(str(file)), _sample(file, clip, prompt)))
    return dataset(safe(root.resolve().name), repr(str(root)), made)


def _sample(file: Path, clip: str, prompt: str) -> Sample:
    return Sample(
        name=clip,
        edit="edit",
        kind="",
        clip=file,
        frames=None,
        flags={"source": prompt},
        mask=None,
        truth=None,
        questions=None,
        edit_places=(*own_places(clip, "edit"), file.stem, file.name),
        problem=None,
    )


def _prompts(root: Path) -> Mapping[str, str]:
    files = sorted(root.glob("*.json"))
    if not files:
        return {}
    if len(files) > 1:
        raise InputError(f"{str(root)!r} has {len(files)} .json files: leave one in it, that of the prompts")
    file = inside(root, files[0].name, repr(str(files[0])), "the dataset's folder")
    data = read_json(file)
    if not isinstance(data, dict):
        raise InputError(f"{str(file)!r} is not an object: VBench's file of prompts maps a video's name to its prompt")
    return {Path(name).name: prompt for name, prompt in texts(repr(str(file)), data, tuple(data)).items()}


def _matches(name: str) -> bool:
    """Videos with a file of prompts, or whose names are all prompts of several words: a folder of clips is none."""
    root = Path(name)
    names = [file.stem for file in root.glob("*.mp4")] if root.is_dir() else []
    told = any(root.glob("*.json")) or all(" " in stem for stem in names)
    return bool(names) and told and not any(root.glob("*.yaml"))


DATASETS.add(
    "vbench",
    Layout(
        "a folder of .mp4 videos named by their prompts (VBench's custom input; to score edits of them)",
        _matches,
        lambda name, _workspace, _scenes: read(Path(name)),
    ),
)
