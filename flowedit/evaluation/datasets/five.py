"""FiVE-Bench's layout on disk: images/, bmasks/ and videos/ by video, and edit_prompt/edit1_FiVE.json to edit6."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from flowedit.config.edit_file import inside
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import filmed, read_json, words_of
from flowedit.evaluation.datasets.sample import Dataset, Sample, check_inside, dataset, own_places, safe
from flowedit.language.words import occurrences
from flowedit.media.footage import frame_files
from flowedit.messages import InputError

PROMPTS = "edit_prompt/*.json"

KINDS = ("rigid replacement", "non-rigid replacement", "colour", "material", "addition", "removal")
"""By editing_type_id, 1 to 6."""

NEEDED = ("video_name", "editing_type_id", "source_prompt", "target_prompt")

QUESTIONS = ("source_yes_no_question", "target_yes_no_question", "multiple_choice_question")

OBJECTS = ("source_object", "target_object")
"""The object of each side in words, where no brackets stand in the prompts."""

KEYS = (*NEEDED, "save_dir", *QUESTIONS, *OBJECTS, "negative_prompt", "instruction")


def read(root: Path, workspace: Path) -> Dataset:
    """Every row of every edit_prompt file; a video that is there as images alone is written into `workspace`.

    Raises ValueError, with the file and the row's number, for what is no such row, a row that is there twice, or a
    path that leaves `root`.
    """
    rows: list[tuple[str, Sample]] = []
    for file in sorted(root.glob(PROMPTS)):
        inside(root, file.relative_to(root).as_posix(), repr(str(file)), "the dataset's folder")
        rows += _file(root, file)
    made = dataset(root.resolve().name, repr(str(root)), rows)
    return replace(
        made, samples=tuple(filmed(sample, workspace, f"images/{sample.clip.stem}") for sample in made.samples)
    )


def _file(root: Path, file: Path) -> list[tuple[str, Sample]]:
    data = read_json(file)
    if not isinstance(data, list):
        raise InputError(f"{str(file)!r} is not a list: FiVE-Bench's files are lists of edits")
    edit = safe(file.stem.removesuffix("_FiVE"))
    samples, count, first = [], Counter[str](), dict[tuple[str, ...], int]()
    for number, row in enumerate(data, 1):
        where = f"{str(file)!r} row {number}"
        texts = _checked(where, row)
        same = tuple(texts[key] for key in ("video_name", "source_prompt", "target_prompt"))
        if other := first.get(same):
            raise InputError(f"{where} is row {other} again: the same video and the same prompts")
        first[same] = number
        count[texts["video_name"]] += 1
        samples.append((where, _sample(root, where, texts, edit, count[texts["video_name"]])))
    return samples


def _checked(where: str, row: Any) -> dict[str, str]:
    """A row as text by key, "" for what is left out; raises ValueError."""
    if not isinstance(row, dict):
        raise InputError(f"{where} is not an object: an edit has {', '.join(NEEDED)}")
    for key in NEEDED[:2]:  # without a prompt the row alone fails
        if key not in row:
            near = get_close_matches(key, [name for name in row if name not in KEYS], 1)
            raise InputError(f"{where}: {key} is missing" + (f" (is it {near[0]!r}?)" if near else ""))
    kind = row.get("editing_type_id")
    if isinstance(kind, bool) or str(kind) not in [str(i + 1) for i in range(len(KINDS))]:
        raise InputError(f"{where}: editing_type_id {kind!r} is none of 1 to {len(KINDS)}")
    texts = {key: "" if row.get(key) is None else row[key] for key in KEYS} | {"editing_type_id": str(kind)}
    for key, value in texts.items():
        if not isinstance(value, str) or not _encodes(value):
            raise InputError(f"{where}: {key} {value!r} is not text in UTF-8")
    name = texts["video_name"]
    if not name or Path(name).name != name or name == "..":
        raise InputError(f"{where}: video_name {name!r} is not a path inside images/: give the name of a video")
    if texts["save_dir"] and not _relative(texts["save_dir"]):
        raise InputError(f"{where}: save_dir {texts['save_dir']!r} is not a path inside a method's folder")
    return texts


def _sample(root: Path, where: str, row: Mapping[str, str], edit: str, nth: int) -> Sample:
    name = row["video_name"]
    images, masks, video = (
        inside(root, place, f"{where}: {place}", "the dataset's folder")
        for place in (f"images/{name}", f"bmasks/{name}", f"videos/{name}.mp4")
    )
    for folder in (images, masks):
        check_inside(root, folder, f"{where}: frame")
    pictures = images.is_dir() and bool(frame_files(images))
    problems = []
    if not video.is_file() and not pictures:
        problems.append(f"video videos/{name}.mp4 is missing, and images/{name} has no frames")
    source, source_words = _unbracketed(row["source_prompt"])
    target, target_words = _unbracketed(row["target_prompt"])
    kind = KINDS[int(row["editing_type_id"]) - 1]
    if not source_words and not target_words:
        source_words = words_of(source, row["source_object"])
        # what is there in place of a removed object is no object
        target_words = "" if kind == "removal" else words_of(target, row["target_object"])
    flags = {"source": source, "target": target, "source_words": source_words, "target_words": target_words}
    if row["instruction"].strip() and not target.strip():
        flags = {"source": source, "instruction": row["instruction"]}
    if row["negative_prompt"].strip():
        flags["negative_prompt"] = row["negative_prompt"]
    for side in ("source", "target") if "target" in flags else ("source",):
        if not flags[side].strip():
            problems.append(f"the {side} prompt is missing")
            continue
        try:
            occurrences(flags[side], flags.get(f"{side}_words", ""), f"{side}_words")
        except ValueError as error:
            problems.append(str(error))
    clip, each = safe(name), edit if nth == 1 else f"{edit}-{nth}"
    return Sample(
        name=clip,
        edit=each,
        kind=kind,
        clip=video,
        frames=images if pictures else None,
        flags=flags,
        mask=masks,
        truth=None,
        questions=_questions(row),
        edit_places=_places(row, clip, edit, each),
        problem="; ".join(problems) or None,
        mask_above=0,
    )


def _unbracketed(prompt: str) -> tuple[str, str]:
    """A prompt without its square brackets, and the phrases that stood between them: the object's words."""
    phrases = (" ".join(phrase.split()) for phrase in re.findall(r"\[([^\[\]]*)\]", prompt))
    return re.sub(r"[\[\]]", "", prompt), ", ".join(dict.fromkeys(filter(None, phrases)))


def _questions(row: Mapping[str, str]) -> Any:
    source, target, choice = (row[key] for key in QUESTIONS)
    if not (target and choice):
        return None
    from flowedit.metrics.part import Questions  # lazily: the metrics bring torch

    return Questions(source, target, choice)


def _places(row: Mapping[str, str], clip: str, edit: str, each: str) -> tuple[str, ...]:
    """Where FiVE-Bench's own evaluator looks, besides our own names: by save_dir, and by the file of prompts."""
    name, places = row["video_name"], []
    if save_dir := row["save_dir"]:
        # what the evaluator opens: the target prompt cut as long as save_dir, whose spelling had slips
        cut = f"{row['editing_type_id']}_{row['target_prompt'][: max(len(save_dir) - 2, 0)]}"
        places += [f"{name}/{place}" for place in (save_dir, cut) if _relative(place)]
    if each == edit:
        places.append(f"{edit}/{name}")
    return tuple(dict.fromkeys([*own_places(clip, each), *(p for place in places for p in (place, f"{place}.mp4"))]))


def _encodes(text: str) -> bool:
    """JSON can write half a character, which no prompt and no name of a file is."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _relative(place: str) -> bool:
    path = PurePosixPath(place)
    return "\0" not in place and not path.is_absolute() and ".." not in path.parts


def _matches(name: str) -> bool:
    return Path(name).is_dir() and any(Path(name).glob(PROMPTS))


DATASETS.add(
    "five",
    Layout(
        f"a folder in FiVE-Bench's layout (with {PROMPTS})",
        _matches,
        lambda name, workspace, _scenes: read(Path(name), workspace),
    ),
)
