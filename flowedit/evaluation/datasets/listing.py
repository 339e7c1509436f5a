"""Our own YAML list of edits: each row is what an edit's YAML file may say."""

from pathlib import Path
from typing import Any

from flowedit.config.edit_file import SUFFIXES, load, read_row
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.sample import Dataset, Sample, check_inside, dataset, missing, own_places, safe
from flowedit.messages import InputError


def read(file: Path) -> Dataset:
    """A list of edits, or one mapping alone; clips, masks and truths lie inside the file's folder.

    Raises ValueError, with the number of the row, for what `edit_file.read_row` refuses and for a name that is twice.
    """
    where, data = repr(str(file)), load(file)
    if data is None or data == [] or data == {}:
        raise InputError(f"{where} is empty: a dataset has at least one edit")
    if isinstance(data, dict):
        return dataset(file.stem, where, [(where, _sample(file, data, None, where))])
    if not isinstance(data, list):
        raise InputError(f"{where} is not a list: a dataset is a list of mappings with clip, source and target")
    samples = []
    for number, row in enumerate(data, 1):
        place = f"{where} row {number}"
        if not isinstance(row, dict):
            raise InputError(f"{place} is not a mapping; an edit is a mapping with clip, source and target")
        samples.append((place, _sample(file, row, number, place)))
    return dataset(file.stem, where, samples, "give one of them a name of its own, such as edit: red")


def _sample(file: Path, data: dict[Any, Any], number: int | None, where: str) -> Sample:
    row = read_row(file, data, number)
    user_mask = Path(row.flags["user_mask"]) if "user_mask" in row.flags else None
    problems = missing(row.clip, "video", str(data["clip"]))
    for key, path in (("score_mask", row.score_mask), ("user_mask", user_mask), ("truth", row.truth)):
        check_inside(file.parent, path, f"{where}: {key}")
        problems += missing(path, key, str(data[key]) if path else "")
    sides = () if "instruction" in row.flags else ("source", "target")
    problems += [f"the {side} prompt is missing" for side in sides if not _said(row.flags.get(side))]
    name, edit = safe(row.name), safe(row.edit or "edit")
    return Sample(
        name=name,
        edit=edit,
        kind=row.kind,
        clip=row.clip,
        frames=None,
        flags=row.flags,
        mask=row.score_mask or user_mask,
        truth=row.truth,
        questions=None,
        edit_places=own_places(name, edit),
        problem="; ".join(problems) or None,
    )


def _said(prompt: str | None) -> bool:
    return bool(prompt and prompt.strip())


def _matches(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).is_dir()


DATASETS.add("list", Layout("a .yaml list of edits", _matches, lambda name, _workspace, _scenes: read(Path(name))))
