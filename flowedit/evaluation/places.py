"""Where a user finds the edits: under readable names, while the jobs that made them lie hidden under hashes."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flowedit.evaluation.datasets.sample import safe
from flowedit.evaluation.engine.job import RESULT
from flowedit.evaluation.plan import PlannedEdit
from flowedit.messages import FileTakenError
from flowedit.pipeline.outputs import EDIT, FOLDERS

EDITS, RUN = "edits", "run.yaml"


def unique(names: Iterable[str]) -> dict[str, str]:
    """Names as folders may have them, no two alike."""
    made: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        own, count = safe(name), 1
        while own.lower() in taken:  # a disk may not tell A from a
            count += 1
            own = f"{safe(name)}-{count}"
        taken.add(own.lower())
        made[name] = own
    return made


def layout(planned: Sequence[PlannedEdit], root: Path, flat: bool = False) -> dict[PlannedEdit, Path]:
    """The folder of each of our edits: root/METHOD/CLIP/EDIT; of a single clip, which is `flat`, root/METHOD."""
    names = unique(dict.fromkeys(p.method for p in planned))
    ours = [p for p in planned if p.job is not None]
    parts = {p: () if flat else (p.sample.name, p.sample.edit) for p in ours}
    return {p: root.joinpath(names[p.method], *parts[p]) for p in ours}


def publish(jobs: Mapping[Path, Path]) -> None:
    """Give each job's files (folder under a hash → readable folder) their places there, as links where disks can.

    Raises FileTakenError for a folder that holds files of these names which no edit left.
    """
    for job, place in jobs.items():
        made = [path for path in sorted(job.iterdir()) if path.name in FOLDERS or path.is_file()]
        made = [path for path in made if path.name != RESULT]
        taken = [path.name for path in made if (place / path.name).exists()]
        if taken and not (place / RUN).is_file():
            raise FileTakenError(f"{str(place)!r} holds {', '.join(taken)}, which no edit left: choose another folder")
        place.mkdir(parents=True, exist_ok=True)
        for path in made:
            _place(path, place / path.name)
        for name in (name for name in EDIT if not (job / name).exists()):  # of an earlier run that had it
            _remove(place / name)


def _place(path: Path, target: Path) -> None:
    """A file or a folder at its place, whole; what is there already is left as it is."""
    if _alike(path, target):
        return
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        part = Path(folder) / path.name
        if path.is_dir():
            shutil.copytree(path, part, copy_function=_linked)
            _remove(target)
        else:
            _linked(path, part)
        os.replace(part, target)


def _alike(path: Path, target: Path) -> bool:
    """Whether the target is the same file, or holds the same files and no others."""
    if not path.is_dir():
        return target.exists() and target.samefile(path)
    ours, theirs = ({each.relative_to(place) for each in place.rglob("*")} for place in (path, target))
    return ours == theirs and all(_alike(path / name, target / name) for name in ours if not (path / name).is_dir())


def _linked(file: Path | str, target: Path | str) -> None:
    try:
        os.link(file, target)
    except OSError:  # a disk without links
        shutil.copyfile(file, target)


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
