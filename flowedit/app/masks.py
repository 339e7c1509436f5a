"""A mask before the edit: kept maps under a threshold and a growth, strokes and boxes on them, a file of it all."""

import base64
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowedit.messages import InputError

SMALL = 160
"""Pixels of the longer side of a mask that is looked at."""

MOST_LOOKS = 4
"""Looks whose maps stay in memory."""

MOST_STROKES, MOST_POINTS = 500, 5000
"""Strokes or boxes of a mask, points of a stroke."""


def check_adjust(adjust: Any) -> dict[str, Any]:
    """{quantile, grow, strokes, boxes}, every number looked at; raises InputError for the first that is none."""
    if not isinstance(adjust, Mapping):
        raise InputError(
            'adjust is not a JSON object: write {"quantile": 0.8, "grow": 0.02, "strokes": [], "boxes": []}'
        )
    if unknown := set(adjust) - {"quantile", "grow", "strokes", "boxes"}:
        raise InputError(f"unknown key {sorted(map(str, unknown))[0][:80]!r}: quantile, grow, strokes, boxes")
    strokes, boxes = _list(adjust, "strokes"), _list(adjust, "boxes")
    return {
        "quantile": _number(adjust.get("quantile"), "quantile", 1.0),
        "grow": _number(adjust.get("grow"), "grow", 1.0),
        "strokes": [_stroke(each) for each in strokes],
        "boxes": [_box(each) for each in boxes],
    }


def _list(adjust: Mapping[str, Any], key: str) -> list[Any]:
    found = adjust.get(key) or []
    if not isinstance(found, list) or len(found) > MOST_STROKES:
        raise InputError(f"{key} is not a list of at most {MOST_STROKES}")
    return found


def _stroke(stroke: Any) -> dict[str, Any]:
    if not isinstance(stroke, Mapping) or not isinstance(stroke.get("points"), list):
        raise InputError("a stroke is not {frame, erase, radius, points: [[x, y], ...]}")
    points = stroke["points"]
    if not 1 <= len(points) <= MOST_POINTS or not all(isinstance(each, list) and len(each) == 2 for each in points):
        raise InputError(f"points of a stroke are not 1 to {MOST_POINTS} pairs [x, y]")
    return {
        "frame": _frame(stroke.get("frame")),
        "erase": stroke.get("erase") is True,
        "radius": _share(stroke.get("radius"), "radius"),
        "points": [[_share(each, "points") for each in point] for point in points],
    }


def _box(box: Any) -> dict[str, Any]:
    if not isinstance(box, Mapping):
        raise InputError("a box is not {frame, x, y, width, height}")
    sides = {key: _share(box.get(key), f"{key} of a box") for key in ("x", "y", "width", "height")}
    return {"frame": _frame(box.get("frame")), **sides}


def _number(value: Any, name: str, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise InputError(f"{name} {str(value)[:80]!r} is not a number from 0 to {most:g}")
    return float(value)


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 2:
        raise InputError(f"{name} {str(value)[:80]!r} is not a share of the frame, such as 0.25")
    return float(value)


def _frame(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 10**7:
        raise InputError(f"frame {str(value)[:80]!r} is not the number of a frame")
    return value


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
    """A folder of images for an edit's user mask: strokes and boxes on a look's mask, or on nothing without one."""
    base = None if look is None else look.at(mask["quantile"], mask["grow"])
    painting_of(clip, flags).save(out, mask["strokes"], mask["boxes"], base)
