"""What readers share: JSON rows, a file of the dataset by its name, and clips made of images."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from flowedit.config.edit_file import inside
from flowedit.evaluation.datasets.sample import Sample, check_inside
from flowedit.language.words import occurrences, phrases
from flowedit.media.footage import frame_files, open_footage
from flowedit.media.writer import Writer
from flowedit.messages import FileError, InputError

FPS = Fraction(16)
"""Of a video that is there as images alone."""

VIDEOS = ("", ".mp4", ".gif", ".mov", ".webm", ".mkv")
"""What may stand behind a video's name; without any it is the file's own, or a folder of frames."""


def read_json(file: Path) -> Any:
    """What a file of JSON holds; raises FileError or InputError in one line."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} is not JSON: {' '.join(str(error).split())[:200]}") from error


def texts(where: str, row: Any, needed: Sequence[str], known: Iterable[str] = ()) -> dict[str, str]:
    """A row's values of these keys as text, "" for what is left out; whole numbers become text.

    Raises InputError for what is no object, for a needed key that is missing, and for a value that is no text in UTF-8.
    """
    if not isinstance(row, dict):
        raise InputError(f"{where} is not an object: a row has {', '.join(needed)}")
    made = {}
    for key in (*needed, *known):
        value = row.get(key)
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else "" if value is None else value
        if not isinstance(value, str) or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise InputError(f"{where}: {key} {value!r} is not text in UTF-8")
        if key in needed and not value.strip():
            raise InputError(f"{where}: {key} is missing")
        made[key] = value
    return made


def said(where: str, row: Any, keys: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The values of these keys as text, "" for what `texts` refuses, and why it does: for what fails one row alone."""
    made: dict[str, str] = {}
    problems = []
    for key in keys:
        try:
            made |= texts(where, row, (key,))
        except InputError as error:
            made[key] = ""
            problems.append(str(error).removeprefix(f"{where}: "))
    return made, problems


def find(root: Path, folders: Sequence[str], name: str, where: str) -> Path | None:
    """The video or the folder of frames of this name in one of the folders of `root`; None where there is none.

    Raises InputError for a name or a link that leaves `root`.
    """
    for folder in folders:
        for ending in VIDEOS:
            place = f"{folder}/{name}{ending}" if folder else f"{name}{ending}"
            path = inside(root, place, f"{where}: {place}", "the dataset's folder")
            check_inside(root, path, f"{where}: frame")
            if path.is_file() or (path.is_dir() and frame_files(path)):
                return path
    return None


def words_of(prompt: str, words: str) -> str:
    """The words of a column, or none where the prompt does not have them: a column is no mark in the prompt."""
    try:
        occurrences(prompt, words)
    except ValueError:
        return ""
    return ", ".join(phrases(words))


def filmed(sample: Sample, workspace: Path, name: str) -> Sample:
    """The sample with a video made of its `frames` where `clip` is no file; the video is named by what it shows.

    What is wrong with the images is the sample's problem, where they are called `name`.
    """
    if sample.problem or sample.frames is None or sample.clip.is_file():
        return sample
    digest = hashlib.sha256()
    try:
        for file in frame_files(sample.frames):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        footage = open_footage(sample.frames)
        path = workspace / f"{sample.name}-{digest.hexdigest()[:12]}.mp4"
        if not path.is_file():
            write(path, footage.size, footage.read(range(footage.count)))
    except (OSError, ValueError) as error:
        return replace(sample, problem=f"{name}: {error}")
    return replace(sample, clip=path)


def write(path: Path, size: tuple[int, int], chunks: Iterable[np.ndarray]) -> None:
    """Frames uint8 (n, H, W, 3) as a video without loss; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Writer(path, size, FPS, crf=0) as out:
        for frames in chunks:
            out.write(frames)
