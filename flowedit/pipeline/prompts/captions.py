"""What a clip shows, in one sentence of a vision-language model on this machine; kept on disk by content."""

import contextlib
import gc
import hashlib
import re
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from flowedit import machine
from flowedit.config.schema import Settings
from flowedit.language import grammar
from flowedit.media.pixels import resize
from flowedit.media.probe import Video
from flowedit.messages import InputError
from flowedit.pipeline.source import open_clip
from flowedit.pretrained import vlm
from flowedit.types import Monitor

FRAMES = 8
"""Shown to the model, evenly spread over the clip; even, as it takes them in pairs."""

LONGEST = 64
"""Tokens of a caption."""

QUESTION = (
    "Describe this video in one plain English sentence, in the present tense, that says who or what is seen, what it "
    "does and where."
)

NAMED = " Name {} in these very words."

PREAMBLE = re.compile(
    r"(?:in )?(?:the|this) (?:video|clip|image|scene|footage),? (?:(?:shows|depicts|features|captures) )?",
    re.IGNORECASE,
)


class Captions:
    """A vision-language model that is loaded when a clip is first asked about, and gone when the block ends.

    With `ask` false it is never loaded: only captions that are kept on disk are given.
    """

    def __init__(self, monitor: Monitor, ask: bool = True) -> None:
        self._monitor, self._may_ask = monitor, ask
        self.lacking = False
        """Whether a caption was wanted that is not kept, and the model was not asked."""
        self._loaded: tuple[tuple[torch.device, str], vlm.Ask] | None = None

    def __enter__(self) -> "Captions":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()

    def of(self, settings: Settings, instruction: grammar.Instruction, video: Video | None = None) -> str | None:
        """The caption of the settings' clip, or None where the model may not be asked.

        The question names the instruction's objects. Raises ValueError for a model that cannot be used or says
        nothing, ConnectionError for one that cannot be had, OSError for a clip that cannot be read.
        """
        assert settings.caption is not None
        if video is None and settings.clip is None:
            raise InputError(
                "a caption model reads a clip's file: of frames in memory say yourself what is seen, source="
            )
        clip = open_clip(settings, video)
        chosen = clip.selection.indices
        indices = [int(i) for i in np.asarray(chosen)[spread(len(chosen))]]
        objects = [change.old or change.subject for change in instruction.changes]
        question = QUESTION + (NAMED.format(" and ".join(objects)) if all(objects) else "")
        path = _kept(settings, clip.video, indices, question)
        if path is not None and path.is_file():
            return path.read_text(encoding="utf-8")
        if not self._may_ask:
            self.lacking = True
            return None
        device = machine.find_device(settings.runtime.device)
        self._monitor.phase("caption", 0)
        distinct = sorted(set(indices))
        read = resize(np.concatenate(list(clip.read(distinct))), clip.video.shown)
        said = sentence(self._ask(device, settings.caption)(read[[distinct.index(i) for i in indices]], question))
        if not said:
            raise InputError(
                f"{settings.caption} says nothing of {clip.video.path}: describe the clip yourself (--source)"
            )
        _keep(path, said)
        return said

    def _ask(self, device: torch.device, place: str) -> vlm.Ask:
        if self._loaded is None or self._loaded[0] != (device, place):
            self._release()
            self._loaded = (device, place), vlm.load_anew(device, place, LONGEST)
        return self._loaded[1]

    def _release(self) -> None:
        """A backbone comes next, and wants the memory."""
        if self._loaded is not None:
            self._loaded = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def spread(count: int) -> list[int]:
    """FRAMES places among `count` frames, the middles of as many equal parts; a short clip repeats some."""
    return [(2 * part + 1) * count // (2 * FRAMES) for part in range(FRAMES)]


def sentence(said: str) -> str:
    """The first sentence of an answer, without quotation marks and without "the video shows"."""
    text = PREAMBLE.sub("", " ".join(said.split()).strip("\"'“” "), 1)
    first = re.match(r".+?[.!?](?=\s|$)", text)
    text = first.group() if first else text
    return text[:1].upper() + text[1:]


def _kept(settings: Settings, video: Video, indices: list[int], question: str) -> Path | None:
    """Where a caption is kept: by the clip's bytes, its frames and their size, the model and the question."""
    folder = machine.cache_folder(settings.runtime.cache)
    if folder is None:
        return None
    model = Path(settings.caption or "")
    files = sorted(file for file in model.iterdir() if file.is_file()) if model.is_dir() else []
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    with video.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr((settings.caption, facts, indices, video.shown, question, LONGEST)).encode())
    return folder / "captions" / f"{digest.hexdigest()}.txt"


def _keep(path: Path | None, text: str) -> None:
    """A cache that cannot be written is no reason to stop."""
    if path is None:
        return
    with contextlib.suppress(OSError), machine.whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
