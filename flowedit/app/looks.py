"""A mask before the edit: kept maps under a threshold and a growth, strokes and boxes on them, a file of it all."""

import base64
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowedit.declare import options_of
from flowedit.masks import painted
from flowedit.masks.options import MaskOptions
from flowedit.messages import InputError
from flowedit.results import EditCheck

SMALL = 160
"""Pixels of the longer side of a mask that is looked at."""

MOST_LOOKS = 4
"""Looks whose maps stay in memory."""


def check_adjust(adjust: Any, frames: int = sys.maxsize) -> dict[str, Any]:
    """{quantile, grow, strokes, boxes} of a clip of so many frames, looked at; raises InputError for what is wrong."""
    if not isinstance(adjust, Mapping):
        raise InputError(
            'adjust is not a JSON object: write {"quantile": 0.8, "grow": 0.02, "strokes": [], "boxes": []}'
        )
    if unknown := set(adjust) - {"quantile", "grow", "strokes", "boxes"}:
        raise InputError(f"unknown key {sorted(map(str, unknown))[0][:80]!r}: quantile, grow, strokes, boxes")
    return {
        **{key: _number(adjust.get(key), key) for key in ("quantile", "grow")},
        "strokes": [_plain(each) for each in painted.strokes_of(_list(adjust, "strokes"), frames)],
        "boxes": [_plain(each) for each in painted.areas_of(_list(adjust, "boxes"), frames)],
    }


def _plain(each: painted.Stroke | painted.Area) -> dict[str, Any]:
    """As JSON has it."""
    made = asdict(each)
    return {**made, "points": [list(point) for point in made["points"]]} if "points" in made else made


def _list(adjust: Mapping[str, Any], key: str) -> list[Any]:
    found = adjust.get(key) or []
    if not isinstance(found, list):
        raise InputError(f"{key} is not a list")
    return found


def _number(value: Any, name: str) -> float | None:
    """A number in the range of the setting that it becomes."""
    if value is None:
        return None
    option = options_of(MaskOptions)[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or option.refusal(value) is not None:
        raise InputError(f"{name} {str(value)[:80]!r} is not a number: {option.range}")
    return float(value)


class OpenLook:
    """A look in memory: its maps, and its clip to paint on once it is painted on; one thread at a time."""

    def __init__(self, look: Any, clip: Path, flags: Mapping[str, Any]) -> None:
        self.look, self._clip, self._flags = look, clip, flags
        self._painting: Any = None
        self._lock = threading.Lock()

    def mask(self, adjust: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
        """The mask uint8 (F, H, W) under a threshold and a growth, with strokes and boxes on it."""
        with self._lock:
            base: np.ndarray = self.look.at(adjust["quantile"], adjust["grow"], size=size)
            if not adjust["strokes"] and not adjust["boxes"]:
                return base
            if self._painting is None:
                self._painting = painting_of(self._clip, self._flags)
            mask: np.ndarray = self._painting.at(adjust["strokes"], adjust["boxes"], base, size=size)
            return mask


def painting_of(clip: Path, flags: Mapping[str, Any]) -> Any:
    """A clip to paint on, of those frames that an edit by these flags reads."""
    import flowedit

    return flowedit.Painting(clip, **{key: flags[key] for key in READ if key in flags})


SUBJECT = ("source", "target", "instruction", "task", "source_words", "also_words", "target_words", "cuts")
"""The settings, beside the frames and the model, that say what a look is at."""


def subject(told: EditCheck, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a mask is of: the frames of a clip, the words, the model. Two that are equal may share a mask."""
    from flowedit.pipeline.api import settings_of

    settings = settings_of(options)
    return (told.indices, told.fps, told.backbone, *(getattr(settings, key) for key in SUBJECT))


READ = ("start", "frames", "fps", "cuts")
"""The settings that say which frames an edit reads, and in which shots."""


class Looks:
    """The looks that were asked about last, in memory."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, OpenLook] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, id: str, folder: Path, clip: Path, flags: Mapping[str, Any]) -> OpenLook:
        """The look whose maps are in a folder, of a clip and the flags that it was asked for with."""
        with self._lock:
            if id not in self._held:
                import flowedit

                self._held[id] = OpenLook(flowedit.MaskLook.load(folder), clip, flags)
                while len(self._held) > MOST_LOOKS:
                    self._held.popitem(last=False)
            self._held.move_to_end(id)
            return self._held[id]


def strip(held: OpenLook, adjust: Mapping[str, Any]) -> dict[str, Any]:
    """The mask of all frames, small and from top to bottom in one grey PNG, and what share of the clip it is."""
    height, width = held.look.size
    share = min(1.0, SMALL / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    mask = held.mask(adjust, size)
    _, data = cv2.imencode(".png", mask.reshape(-1, mask.shape[2]))
    quantile, grow = adjust["quantile"], adjust["grow"]
    return {
        "strip": "data:image/png;base64," + base64.b64encode(bytes(data)).decode(),
        "frames": len(mask),
        "width": size[1],
        "height": size[0],
        "share": round(float((mask >= 128).mean()), 4),
        "quantile": round(float(held.look.quantile), 4) if quantile is None else quantile,
        "grow": held.look.options.grow if grow is None else grow,
    }


def write_mask(out: Path, clip: Path, flags: Mapping[str, Any], mask: Mapping[str, Any], look: Any) -> None:
    """A file without loss for an edit's user mask: strokes and boxes on a look's mask, or on nothing without one."""
    base = None if look is None else look.at(mask["quantile"], mask["grow"])
    painting_of(clip, flags).save(out, mask["strokes"], mask["boxes"], base)
