"""PocketBench's scenes as files: seeds x kinds of edit, each with its true target and the mask of what may change."""

import functools
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from flowedit.evaluation.datasets.catalogue import DATASETS, Layout
from flowedit.evaluation.datasets.sample import Dataset, Sample, Scenes, dataset, own_places
from flowedit.machine import whole_folder
from flowedit.media.writer import Writer
from flowedit.messages import FileTakenError
from flowedit.pocket import Edit, Vocabulary, edit

NAME = "pocket"

FPS = Fraction(8)


@dataclass(frozen=True)
class PackagedWorld:
    """What the packaged checkpoint learned: the words of its scenes, their (height, width) and number of frames."""

    vocabulary: Vocabulary
    size: tuple[int, int]
    frames: int


@functools.cache
def packaged_world() -> PackagedWorld:
    """The packaged checkpoint's own notes."""
    notes = json.loads(files("flowedit.pocket").joinpath("checkpoint/flowedit.json").read_text(encoding="utf-8"))
    world = {kind: notes[kind] for kind in ("classes", "grounds", "motions", "sizes", "tints")}
    return PackagedWorld(Vocabulary(**world), tuple(notes["size"]), notes["frames"])


def read(scenes: Scenes, workspace: Path, world: PackagedWorld | None = None) -> Dataset:
    """Every scene in every kind; `workspace` gets a folder for each, which is reused if it is there already."""
    world = world or packaged_world()
    places = [
        (seed, kind) for seed in range(scenes.first_seed, scenes.first_seed + scenes.count) for kind in scenes.kinds
    ]
    return dataset(
        NAME, NAME, [(f"scene {seed}", _sample(seed, kind, workspace, world, scenes.shadows)) for seed, kind in places]
    )


def _sample(seed: int, kind: str, workspace: Path, world: PackagedWorld, shadows: bool) -> Sample:
    true = edit(seed, kind, world.size, world.frames, world.vocabulary, shadows=shadows)
    folder = _written(true, f"{seed}-{kind}", workspace)
    return Sample(
        name=str(seed),
        edit=kind,
        kind=kind,
        clip=folder / "source.mp4",
        frames=None,
        flags={
            "source": true.source.caption,
            "target": true.target.caption,
            "source_words": ", ".join(true.source_words),
            "target_words": ", ".join(true.target_words),
            "seed": seed,
        },
        mask=folder / "mask",
        truth=folder / "truth.mp4",
        questions=None,
        edit_places=own_places(str(seed), kind),
        problem=None,
        mask_above=0,  # a pixel that the object covers in the least may change
    )


def _written(true: Edit, name: str, workspace: Path) -> Path:
    """The folder of a scene's files, named by what they show; it appears whole.

    x264 is lossless here, but 4:2:0 halves the colour's resolution: at 128x128 a read-back is 36 to 49 dB from the
    rendering. The truth goes the same way as the source, so that an edit is held to what such a file can show.
    """
    covered = np.ceil(255 * true.mask).astype(np.uint8)
    digest = hashlib.sha256()
    for array in (true.source.frames, true.target.frames, covered):
        digest.update(f"{array.shape}".encode() + array.tobytes())
    folder = workspace / f"{name}-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    with suppress(FileTakenError), whole_folder(folder) as part:  # another process may be first
        (part / "mask").mkdir()
        _film(part / "source.mp4", true.source.frames)
        _film(part / "truth.mp4", true.target.frames)
        _images(part / "mask", covered)
    return folder


def _film(path: Path, frames: np.ndarray) -> None:
    with Writer(path, frames.shape[1:3], FPS, crf=0) as out:
        out.write(frames)


def _images(folder: Path, frames: Sequence[np.ndarray] | np.ndarray) -> None:
    for number, frame in enumerate(frames, 1):
        data = cv2.imencode(".png", frame)[1]
        (folder / f"{number:05d}.png").write_bytes(data.tobytes())


DATASETS.add(
    NAME,
    Layout(
        f"{NAME} (scenes whose true edits are known)",
        lambda name: name == NAME,
        lambda _name, workspace, scenes: read(scenes or Scenes(), workspace),
    ),
)
