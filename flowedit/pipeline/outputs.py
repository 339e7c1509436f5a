"""What a job leaves: a folder that appears whole, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from flowedit.config.schema import Settings
from flowedit.media.formats.containers import CONTAINERS
from flowedit.media.stills.write import FRAMES
from flowedit.messages import FileError, FileTakenError, NoFolderError

RUN = "run.yaml"
"""What every job leaves: what was asked, and what it took."""

ROW = tuple(f"row_{number}" for number in range(33))
"""A row of results, of an editor that has one (`mode=flowopt`)."""

SHOWN = ("edit", "compare", "mask", "mask_plain", *ROW)
"""What an edit shows: of a video .mp4, of a still .png."""

LARGER_FRAMES = "video_frames"
"""The folder of the frames of a clip that was a folder, made larger."""

FORMATS = ("edit.png", *dict.fromkeys(each.file for each in CONTAINERS.values()), "edit.gif", "edit.webp", FRAMES)
"""What the edit itself may be, the first of them that is there."""

FOLDERS = ("edit_steps", "edit_logs", FRAMES, LARGER_FRAMES)
"""Folders that are ours: what is saved of an edit's steps, other programs' logs, the frames of a clip that was one."""

EDIT = (
    *(f"{name}{suffix}" for suffix in (".mp4", ".png") for name in SHOWN),
    *(name for name in FORMATS[2:] if name not in FOLDERS),
    *("run.yaml", "edit_steps", "edit_logs", FRAMES),
)

GENERATE = ("video.mp4", "picture.png", "run.yaml")
"""What a model of videos makes of text, or one of pictures."""

UPSCALE = (*GENERATE, "video.mov", "video.webm", "video.gif", "video.webp", LARGER_FRAMES)
"""What a clip becomes that is made larger."""

JobKind = Literal["edit", "generate", "upscale", "evaluate", "inspect"]

KINDS: dict[str, str] = {
    "edit": "an edit",
    "generate": "a generated clip",
    "upscale": "an upscaled clip",
    "evaluate": "an evaluation",
    "inspect": "a study",
}
"""Kinds of jobs that leave a run.yaml, which says so, and what people call what they leave."""


def shown(folder: Path, name: str = "edit") -> Path:
    """The file of an edit that shows this of SHOWN: the PNG of a still, or else the video, which may not be there.

    The edit itself may be of another format, or a folder of frames.
    """
    if name == "edit":
        there = (folder / each for each in FORMATS)
        return next((path for path in there if path.exists()), folder / "edit.mp4")
    still = folder / f"{name}.png"
    return still if still.is_file() else folder / f"{name}.mp4"


def delivered(video: Path) -> Path:
    """What the clip asks for: of an animation or a folder of frames its like, else the video."""
    there = (video.with_name(name) for name in ("edit.gif", "edit.webp", FRAMES))
    return next((path for path in there if video.stem == "edit" and path.exists()), video)


class Staging:
    """A hidden folder on the final one's disk; `commit` moves its files there, leaving the block drops them."""

    START = ".flowedit-"
    """The start of its name."""

    def __init__(self, stage: Path, final: Path, fixed: bool, files: Sequence[str], kind: JobKind = "edit") -> None:
        self.folder, self.final, self.fixed, self._files, self._kind = stage, final, fixed, files, kind

    def told(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What run.yaml says, which is written: the kind of the job, and all of `run`."""
        whole = {"kind": self._kind, **run}
        write_yaml(self.folder / RUN, whole)
        return whole

    def commit(self) -> Path:
        """Move the staged files to the final folder and return it.

        A new folder appears by one rename. Into a folder that is there already each file goes by a rename of its
        own, and a file that an earlier run left and this one did not make is removed.
        """
        if self.fixed and self.final.exists():
            made = {path.name for path in self.folder.iterdir()}
            for name in self._files:
                if (self.final / name).is_dir() and name in FOLDERS:
                    shutil.rmtree(self.final / name)
                if name in made:
                    os.replace(self.folder / name, self.final / name)
                else:
                    (self.final / name).unlink(missing_ok=True)
            return self.final
        os.chmod(self.folder, 0o777 & ~umask())  # a temporary folder is private; the result need not be
        final, count = self.final, 1
        while True:
            try:
                os.rename(self.folder, final)
                return final
            except OSError:  # another run was first
                if not final.exists():
                    raise
            count += 1
            final = self.final.with_name(f"{self.final.name}-{count}")


@contextmanager
def staging(
    out: str | None, clip: str, files: Sequence[str] = EDIT, inputs: Iterable[str] = (), kind: JobKind = "edit"
) -> Iterator[Staging]:
    """A staging area of `files` for --out, or for outputs/<clip>/<time>.

    Raises OSError if it cannot be written, or if it would replace one of `inputs`, a job of another kind or a file that
    is not ours.
    """
    final = Path(out) if out else Path("outputs") / clip / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    check_place(str(final), files, inputs, kind)
    parent = final.absolute().parent
    fresh = [p for p in (parent, *parent.parents) if not p.exists()]
    stage: Path | None = None
    done = False
    try:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            # Inside a folder that is there: it may be a mount of its own, and its parent closed to us.
            place = final if out and final.exists() else parent
            stage = Path(tempfile.mkdtemp(prefix=Staging.START, suffix=".partial", dir=place))
        except OSError as error:
            raise FileError(f"out {str(final)!r} cannot be written: {error.strerror or 'permission denied'}") from error
        yield Staging(stage, final, bool(out), files, kind)
        done = True
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        if not done:
            for path in fresh:
                _remove_empty(path)


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Plain values as YAML, in the order given."""
    path.write_text(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")


def inputs_of(settings: Settings) -> list[str]:
    """The files and folders of a user's own that a job with these settings reads: what it leaves may replace none."""
    own, loras = settings.backbone, [str(each.path) for each in settings.loras]
    places = (settings.clip, settings.user_mask, settings.upscale, own.path, own.transformer, own.transformer_2, *loras)
    return [place for place in places if place is not None]


def check_place(out: str | None, files: Sequence[str], inputs: Iterable[str] = (), kind: JobKind = "edit") -> None:
    """Raise FileError for a folder that cannot be made, or where `files` would replace what is to stay.

    That is one of `inputs`, also where it lies in a folder that goes; what another kind of job left; what is not ours.
    """
    if out is None:
        return
    final = Path(out)
    above = next((place for place in (final, *final.absolute().parents) if os.path.lexists(place)), final)
    if os.path.lexists(above) and not above.is_dir():
        raise NoFolderError(f"out {str(final)!r} cannot be made: {str(above)!r} is not a folder")
    taken = [name for name in files if (final / name).exists()]
    if folders := [name for name in taken if name not in FOLDERS and (final / name).is_dir()]:
        raise FileTakenError(f"out {str(final)!r} holds a folder named {folders[0]}: choose another folder")
    for path in inputs:
        if os.path.lexists(path) and any(_within(Path(path), final / name) for name in taken):
            raise FileTakenError(f"out {str(final)!r}: the result would replace {path!r}; choose another folder")
    if taken and not (final / RUN).is_file():
        raise FileTakenError(
            f"out {str(final)!r} holds {', '.join(taken)}, which no earlier run left; choose another folder"
        )
    if RUN in taken and (other := _kind_of(final / RUN)) not in (None, kind):
        raise FileTakenError(
            f"out {str(final)!r} holds {KINDS[str(other)]}, whose {RUN} {KINDS[kind]} would replace: choose another "
            f"folder, such as {f'{str(final).rstrip(os.sep)}_{kind}'!r}"
        )


def _within(path: Path, taken: Path) -> bool:
    """Whether a file or folder is one that goes, or lies in it, as it is named or behind its links."""
    if taken.exists() and path.exists() and taken.samefile(path):
        return True
    ways = (Path(os.path.abspath(path)), path.parent.resolve() / path.name, path.resolve())
    return taken.is_dir() and any(way.is_relative_to(taken.resolve()) for way in ways)


def _kind_of(run: Path) -> str | None:
    """The kind of job that left a run.yaml, of an older one by what it holds; None where nothing tells it."""
    lines = run.read_text(encoding="utf-8", errors="replace").splitlines()
    top = {key: value.strip() for key, _, value in (line.partition(":") for line in lines if line[:1].isalpha())}
    if top.get("kind") in KINDS:
        return top["kind"]
    if "factor" in top:
        return "upscale"
    if "network_evaluations" in top and "settings" in top:
        return "generate" if top.get("clip") == "null" else "edit"
    return None


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()


def umask() -> int:
    """The bits that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
