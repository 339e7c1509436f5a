"""What is made to be shown of an edit: one video of its clip, its result and its mask, and a poster."""

import functools
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from flowedit.app.clips import SHOWN, WIDEST, chunk_of, even, fitted, jpeg, seconds_of, write_poster
from flowedit.app.limits import UnknownError
from flowedit.config.edit_file import inside
from flowedit.machine import whole_file
from flowedit.media.pixels import resize
from flowedit.media.probe import Video, probe
from flowedit.media.reader import read, select
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer
from flowedit.messages import Error, InputError
from flowedit.pipeline import outputs
from flowedit.pipeline.outputs import EDIT, FOLDERS

FILES = tuple(name for name in EDIT if name not in FOLDERS)
"""What an edit leaves that is handed out."""

PLAYER, FIRST, POSTER = "player.mp4", "first.jpg", "poster.jpg"
"""What is made of it when it is first asked for; FIRST is the player's first frame, there long before it."""

MADE = (PLAYER, FIRST, POSTER)

PAINTED = "user_mask.mkv"
"""A mask that was painted, beside them."""

OF_REPORT = (".html", ".mp4", ".webp", ".png", ".jpg", ".svg", ".json", ".jsonl", ".csv", ".txt", ".tex")
"""Suffixes of what a comparison's report shows or links."""


def left(folder: Path, base: str) -> dict[str, Any]:
    """The addresses of an edit's files, and what its player needs to know."""
    files = {name: f"{base}/{name}" for name in FILES if (folder / name).is_file()}
    files[POSTER] = f"{base}/{POSTER}"
    with suppress(Error):
        video = _probed(outputs.shown(folder), outputs.shown(folder).stat().st_mtime_ns)
        height, width = _tile(video)
        return {
            "files": files,
            "player": {
                "url": f"{base}/{PLAYER}",
                "first": f"{base}/{FIRST}",
                "tiles": _tiles(folder),
                "width": width,
                "height": height,
                "fps": round(float(video.mean_rate), 6),
                "frames": video.frames,
                "times": seconds_of(video),
                "has_audio": video.has_audio,
            },
        }
    return {"files": files}


@functools.lru_cache(256)
def _probed(path: Path, _time: int) -> Video:
    return probe(path)


def _tile(video: Video) -> tuple[int, int]:
    height, width = video.shown
    return even(fitted(video.shown, round(WIDEST * width / max(height, width))))


def _tiles(folder: Path) -> list[str]:
    return ["source", "edit", *(["mask"] if outputs.shown(folder, "mask_plain").is_file() else [])]


def there(folder: Path, name: str, shown: Path) -> Path | None:
    """A file of an edit by its name; None for a player or a picture that is still to be made in the folder `shown`.

    Raises UnknownError for any other name, and for a file that this edit did not leave.
    """
    place = (shown if name == PAINTED else folder) / name
    if name in (*FILES, PAINTED) and place.is_file():
        return place
    if name not in MADE or not outputs.shown(folder).exists():
        raise UnknownError(f"this job has no file {name[:80]!r}: its files are listed in its status")
    path = shown / name
    with suppress(FileNotFoundError):
        if path.stat().st_mtime >= outputs.shown(folder).stat().st_mtime:
            return path
    return None


def make(folder: Path, name: str, shown: Path, clip: Path | None) -> Path:
    """Make a player or a picture where it is not there, as `there` says; raises UnknownError as it does."""
    if (path := there(folder, name, shown)) is not None:  # another who waited has made it
        return path
    path = shown / name
    shown.mkdir(parents=True, exist_ok=True)
    if name == PLAYER:
        write_player(folder, path, clip)
    elif name == FIRST:
        with whole_file(path) as part:
            part.write_bytes(jpeg(next(_stacked(folder, clip, 1))[0]))
    else:
        with whole_file(path) as part:
            write_poster(part, next(read(probe(outputs.shown(folder)), [0]))[0])
    if not outputs.shown(folder).exists():  # it was deleted meanwhile
        remove(shown)
        raise UnknownError("the job was deleted: it has no files any more")
    return path


def write_player(folder: Path, path: Path, clip: Path | None) -> None:
    """Source, edit and mask from top to bottom in one video, each at one size, its longer side at most 960 pixels."""
    edit = probe(outputs.shown(folder))
    height, width = _tile(edit)
    sound = Sound(edit, Fraction(0), edit.seconds) if edit.has_audio else None
    size = len(_tiles(folder)) * height, width
    with Writer(path, size, edit.fps, sound=sound, crf=18, times=edit.times) as writer:
        for frames in _stacked(folder, clip, chunk_of(edit.size)):
            writer.write(frames)


def _stacked(folder: Path, clip: Path | None, chunk: int) -> Iterator[np.ndarray]:
    """The frames of the player, uint8 (f, H, W, 3), f <= chunk."""
    edit = probe(outputs.shown(folder))
    size, places = _tile(edit), range(edit.frames)
    sources = [_source(folder, edit, clip, chunk), read(edit, places, chunk)]
    if outputs.shown(folder, "mask_plain").is_file():
        sources.append(read(probe(outputs.shown(folder, "mask_plain")), places, chunk))
    for parts in zip(*sources, strict=True):
        yield np.concatenate([resize(part, size) for part in parts], axis=1)


def _source(folder: Path, edit: Video, clip: Path | None, chunk: int) -> Iterator[np.ndarray]:
    """The frames that were edited: of the clip, or of the left half of `compare` where that is gone."""
    if clip is not None and clip.is_file():
        with suppress(Error, KeyError, TypeError, ValueError):
            settings = run_of(folder)["settings"]
            video = probe(clip)
            chosen = select(video, settings["start"], settings["frames"], settings["fps"])
            if len(chosen.indices) == edit.frames:
                return read(video, chosen.indices, chunk)
    return _left_half(probe(outputs.shown(folder, "compare")), edit, chunk)


def _left_half(compare: Video, edit: Video, chunk: int) -> Iterator[np.ndarray]:
    height, width = edit.size
    strip = max(height // 12, 20)  # of media/pictures.py, over each picture
    for part in read(compare, range(edit.frames), chunk):
        yield part[:, strip : strip + height, :width]


def made(folder: Path) -> bool:
    """Whether an edit is there."""
    return outputs.shown(folder).exists()


def run_of(folder: Path) -> dict[str, Any]:
    """What run.yaml says of an edit; raises InputError for one that cannot be read."""
    path = folder / "run.yaml"
    try:
        return _run(path, path.stat().st_mtime_ns)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} cannot be read") from error


@functools.lru_cache(512)
def _run(path: Path, _time: int) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} is no record of an edit")
    return found


def of_report(folder: Path, name: str) -> Path:
    """A file of a comparison's report; raises UnknownError for one outside it, hidden, or of another kind."""
    parts = Path(name).parts
    with suppress(InputError):
        path = inside(folder, name, "the file")
        if path.suffix.lower() in OF_REPORT and path.is_file() and not any(part.startswith(".") for part in parts):
            return path
    raise UnknownError(f"this comparison has no file {name[:80]!r}")


def served(page: str, clip: str | None) -> str:
    """A report's page as it is served: what points at the clip on the disk points at its address, or is left out."""
    link, film = (f' <a href="{clip}/original">file</a>', f' src="{clip}/{SHOWN}"') if clip else ("", "")
    return re.sub(r' src="\.\./[^"]*"', film, re.sub(r' <a href="\.\./[^"]*">file</a>', link, page))


def remove(*paths: Path) -> None:
    """Remove files and folders, those of them that are there."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
