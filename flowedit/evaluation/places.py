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
        files = [file for file in sorted(job.iterdir()) if file.is_file() and file.name != RESULT]
        taken = [file.name for file in files if (place / file.name).exists()]
        if taken and not (place / RUN).is_file():
            raise FileTakenError(f"{str(place)!r} holds {', '.join(taken)}, which no edit left: choose another folder")
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            _place(file, place / file.name)
        for name in ("mask.mp4", "mask_plain.mp4"):  # of an earlier run that had a mask
            if not (job / name).exists():
                (place / name).unlink(missing_ok=True)


def _place(file: Path, target: Path) -> None:
    if target.exists() and target.samefile(file):
        return
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        part = Path(folder) / file.name
        try:
            os.link(file, part)
        except OSError:  # a disk without links
            shutil.copyfile(file, part)
        os.replace(part, target)
