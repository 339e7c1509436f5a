"""PIE-Bench (Ju et al. 2024, cure-lab/PnPInversion): images and their edits, each a clip of one frame.

Checked against its evaluator: `mapping_file.json`, an object of rows by number with `image_path` below
annotation_images/, `original_prompt`, `editing_prompt` (the changed words in square brackets), `editing_instruction`,
`editing_type_id` 0 to 9, `blended_word` (the source's and the target's, separated by a space), and `mask`: pairs of
(start, length) over the 512 x 512 pixels of an image, row by row, whose border counts as masked.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from flowedit.config.edit_file import inside
from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.material import read_json, said, texts, words_of
from flowedit.evaluation.datasets.sample import Dataset, Sample, dataset, own_places, safe
from flowedit.machine import digest_file, whole_file
from flowedit.media.probe import probe
from flowedit.messages import InputError

MAPPING, IMAGES = "mapping_file.json", "annotation_images"

KINDS = (
    *("random", "change object", "add object", "delete object", "change content", "change pose", "change colour"),
    *("change material", "change background", "change style"),
)
"""By editing_type_id, 0 to 9."""

DELETE = 3
SIDE = 512
"""Of the images, and of the grid that their masks count in."""

NEEDED = ("editing_type_id",)
SAID = ("image_path", "original_prompt", "editing_prompt")
"""Without one of these a row alone fails."""

KNOWN = ("blended_word",)


def read(root: Path, workspace: Path) -> Dataset:
    """Every row; masks are written into `workspace`. Raises InputError for what is no row."""
    file = inside(root, MAPPING, repr(MAPPING), "the dataset's folder")
    data = read_json(file)
    if not isinstance(data, dict):
        raise InputError(f"{str(file)!r} is not an object: PIE-Bench's file has a row for each number")
    made = []
    for key, row in data.items():
        where = f"{str(file)!r} row {key}"
        own = texts(where, row, NEEDED, (*SAID, *KNOWN))
        lost = said(where, row, SAID)[1]
        made.append((where, _sample(root, workspace, where, key, own, row.get("mask"), lost)))
    return dataset(safe(root.resolve().name), repr(str(root)), made)


def _sample(
    root: Path, workspace: Path, where: str, key: str, row: dict[str, str], mask: object, lost: Sequence[str]
) -> Sample:
    place = f"{IMAGES}/{row['image_path']}"
    image = inside(root, place, f"{where}: {place}", "the dataset's folder")
    if row["editing_type_id"] not in [str(number) for number in range(len(KINDS))]:
        raise InputError(f"{where}: editing_type_id {row['editing_type_id']!r} is none of 0 to {len(KINDS) - 1}")
    kind = KINDS[int(row["editing_type_id"])]
    sides = {name: row[f"{old}_prompt"] for name, old in (("source", "original"), ("target", "editing"))}
    words = {name: _bracketed(prompt) for name, prompt in sides.items()}
    sides = {name: re.sub(r"[\[\]]", "", prompt) for name, prompt in sides.items()}
    if not any(words.values()) and len(blended := row["blended_word"].split()) == 2:
        words = {name: words_of(sides[name], word) for name, word in zip(sides, blended, strict=True)}
    if kind == KINDS[DELETE]:
        words["target"] = ""  # what is there in place of it is no object
    clip = safe(key)
    sample = Sample(
        name=clip,
        edit="edit",
        kind=kind,
        clip=image,
        frames=None,
        flags=sides | {f"{name}_words": words[name] for name in sides},
        mask=None,
        truth=None,
        questions=None,
        edit_places=(*own_places(clip, "edit"), f"{clip}/edit.png", row["image_path"]),
        problem="; ".join([*lost, *([] if image.is_file() or not row["image_path"] else [f"image {place} is missing"])])
        or None,
    )
    return sample if sample.problem else _made(sample, workspace, decoded(where, mask))


def decoded(where: str, mask: object) -> np.ndarray | None:
    """The mask of pairs (start, length) as bool (512, 512), its border True; None for none. Raises InputError."""
    if not mask:
        return None
    if not isinstance(mask, list) or len(mask) % 2 or not all(type(n) is int and 0 <= n <= SIDE * SIDE for n in mask):
        raise InputError(f"{where}: mask is no list of pairs, a start and a length each, over {SIDE}x{SIDE} pixels")
    flat = np.zeros(SIDE * SIDE, bool)
    for start, length in zip(mask[::2], mask[1::2], strict=True):
        flat[start : start + length] = True
    made = flat.reshape(SIDE, SIDE)
    made[[0, -1]] = made[:, [0, -1]] = True
    return made


def _made(sample: Sample, workspace: Path, mask: np.ndarray | None) -> Sample:
    """The sample with its mask as a picture of the image's size."""
    try:
        height, width = probe(sample.clip).size
    except (OSError, ValueError) as error:
        return replace(sample, problem=str(error))
    if mask is None:
        return sample
    place = workspace / f"{sample.name}-{digest_file(sample.clip)[:12]}-mask.png"
    shown = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_NEAREST)
    with whole_file(place) as part:
        part.write_bytes(cv2.imencode(".png", shown)[1].tobytes())
    return replace(sample, mask=place)


def _bracketed(prompt: str) -> str:
    found = (" ".join(phrase.split()) for phrase in re.findall(r"\[([^\[\]]*)\]", prompt))
    return ", ".join(dict.fromkeys(filter(None, found)))


def _matches(name: str) -> bool:
    return (Path(name) / MAPPING).is_file()


DATASETS.add(
    "pie",
    Layout(
        f"PIE-Bench's folder (with {MAPPING})",
        _matches,
        lambda name, workspace, _scenes: read(Path(name), workspace),
    ),
)
