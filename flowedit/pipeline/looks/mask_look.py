"""The attention that a look at an edit's mask found, kept: masks of any threshold and growth, without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flowedit.config.options import build, check_range
from flowedit.declare import options_of
from flowedit.machine import parsed_json, whole_file
from flowedit.masks.attention_mask import AttentionMask
from flowedit.masks.options import MaskOptions
from flowedit.media.fit import Fit
from flowedit.media.pixels import Size
from flowedit.messages import FileMissingError, InputError
from flowedit.pipeline.region import roles_of, softened
from flowedit.pipeline.render import at_source

FILE = "look.safetensors"
"""The maps, and in its metadata what they are of."""


@dataclass(frozen=True, eq=False)
class ShotMaps:
    """What the mask of a shot is made from, on the host.

    `maps` by name (`source`, `target`, `difference`): (rows, K, F, h, w), smoothed over frames, of the objects `shown`.
    `user` (1, 1, F, h, w): a user's mask that joins them, or None. The clip's own latent frames are `own`.
    """

    maps: Mapping[str, Tensor]
    shown: Mapping[str, tuple[int, ...]]
    user: Tensor | None
    own: tuple[int, int]
    frames: int
    fit: Fit


@dataclass(frozen=True, eq=False, repr=False)
class MaskLook:
    """The mask of an edit before the edit: the maps of a look, and the code that makes its mask of them.

    `kept` says of each object whether it is kept. `at` answers in a fraction of a second.
    """

    options: MaskOptions
    """How the edit's own settings make a mask of the maps."""
    kept: tuple[bool, ...]
    leading_latents: int
    frames_per_latent: int
    shots: tuple[ShotMaps, ...]

    @property
    def frames(self) -> int:
        """The frames of the clip that are edited."""
        return sum(shot.frames for shot in self.shots)

    @property
    def size(self) -> Size:
        """(height, width) of the clip's frames in pixels."""
        return self.shots[0].fit.source

    @cached_property
    def quantile(self) -> float:
        """The quantile whose mask is as large as the settings' own, found by bisection: where a slider begins."""
        if (self.options.threshold, self.options.level) == ("quantile", 1.0):
            return self.options.quantile
        low, high, wanted = 0.0, 0.999, self._share(self.options)
        while high - low > 0.001:
            middle = (low + high) / 2
            low, high = (middle, high) if self._share(self._adjusted(middle, None)) > wanted else (low, middle)
        return high

    def _share(self, options: MaskOptions) -> float:
        return float(np.mean([self._mask(shot, options)(0)[:, :, slice(*shot.own)].mean() for shot in self.shots]))

    def latents(self, quantile: float | None = None, grow: float | str | None = None) -> Iterator[Tensor]:
        """The soft latent mask (1, 1, F, h, w) of each shot, as a step that saw these maps would have it.

        `quantile`: of each frame's sites, the share that lies below the threshold, 0 up to but not 1; `grow`: how far
        the mask is widened, in shorter sides of the latent, 0 to 1, or as `mask.grow` has it, "0.1 down:0.5". None
        leaves what the settings say.
        """
        options = self._adjusted(quantile, grow)
        for shot in self.shots:
            yield self._mask(shot, options)(0)

    def at(
        self, quantile: float | None = None, grow: float | str | None = None, *, size: Size | None = None
    ) -> np.ndarray:
        """The mask uint8 (F, H, W), 255 inside, at the clip's size or at `size` (height, width).

        At the clip's own size it is the mask that the edit would blend by if all its steps saw these maps. `quantile`
        and `grow` are as in `latents`; a quantile takes the place of the settings' own threshold and level. Raises
        InputError for a number out of range.
        """
        parts = []
        for shot, latent in zip(self.shots, self.latents(quantile, grow), strict=True):
            lies = shot.fit if size is None or size == self.size else scaled(shot.fit, size)
            mask = at_source(latent[:, :, self.leading_latents :], range(shot.frames), self.frames_per_latent, lies)
            parts.append(np.rint(255 * mask).astype(np.uint8))
        return np.concatenate(parts)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write it into a folder as one file, whole or not at all, and return the file's path."""
        tensors: dict[str, Tensor] = {}
        for number, shot in enumerate(self.shots):
            tensors |= {f"{number:03}-{name}": maps.contiguous() for name, maps in shot.maps.items()}
            if shot.user is not None:
                tensors[f"{number:03}-user"] = shot.user.contiguous()
        told = {
            "options": asdict(self.options) | {"decay": str(self.options.decay)},  # JSON has no inf
            "kept": self.kept,
            "leading_latents": self.leading_latents,
            "frames_per_latent": self.frames_per_latent,
            "shots": [
                {"shown": dict(shot.shown), "own": shot.own, "frames": shot.frames, "fit": asdict(shot.fit)}
                for shot in self.shots
            ],
        }
        path = Path(folder) / FILE
        with whole_file(path) as part:
            save_file(tensors, part, {"look": json.dumps(told)})
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> MaskLook:
        """What `save` wrote into a folder; raises FileError for one that is not there, InputError for another file."""
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileMissingError(f"{str(folder)!r} holds no {FILE}: look at the mask first (Editor.look_at_mask)")
        with suppress(SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError):
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                told = parsed_json((file.metadata() or {})["look"].encode(), repr(str(path)), 2**20)
            return _read(told, tensors)
        raise InputError(f"{str(path)!r} is no look at a mask, or is damaged: look at the mask again")

    def _adjusted(self, quantile: float | None, grow: float | str | None) -> MaskOptions:
        options = self.options
        if quantile is not None:
            if not 0 <= quantile < 1:
                raise InputError(f"quantile {quantile} is out of range: give 0 up to, but not, 1")
            options = replace(options, threshold="quantile", quantile=float(quantile), level=1.0)
        if grow is not None:
            options = replace(options, grow=grow if isinstance(grow, str) else float(grow))
            check_range("grow", options.grow, options_of(MaskOptions)["grow"])
        return options

    def _mask(self, shot: ShotMaps, options: MaskOptions) -> AttentionMask:
        """The mask of a shot's maps."""
        side = min(next(iter(shot.maps.values())).shape[3:])
        return AttentionMask(
            [lambda maps=maps: maps for maps in shot.maps.values()],  # type: ignore[misc]
            replace(options, smooth_frames=0.0),  # which the maps are already
            side,
            own=slice(*shot.own),
            user=None if shot.user is None else softened(shot.user, options.decay / side),
            kept=self.kept,
            shown=list(shot.shown.values()),
            roles=roles_of(shot.shown, options),
        )

    def __repr__(self) -> str:
        return f"MaskLook({self.frames} frames of {self.size[1]}x{self.size[0]}, {len(self.shots)} shots)"


def scaled(lies: Fit, size: Size) -> Fit:
    """How a source of `size` lies on working frames of its own scale: (height, width) in the place of the source's."""
    scale = size[0] / lies.source[0], size[1] / lies.source[1]
    top, left, height, width = lies.window
    if lies.how == "crop":
        top, left = round(top * scale[0]), round(left * scale[1])
        inner = (
            max(1, min(size[0] - top, round(height * scale[0]))),
            max(1, min(size[1] - left, round(width * scale[1]))),
        )
        return Fit(size, inner, "crop", (top, left, *inner))
    factor = size[0] / height, size[1] / width
    working = tuple(max(1, round(side * each)) for side, each in zip(lies.working, factor, strict=True))
    top, left = round(top * factor[0]), round(left * factor[1])
    working = max(working[0], top + size[0]), max(working[1], left + size[1])
    return Fit(size, working, "pad", (top, left, *size))


def _read(told: Any, tensors: Mapping[str, Tensor]) -> MaskLook:
    """A look from plain values of a file, and its tensors; raises KeyError, TypeError or ValueError for others."""
    shots = []
    for number, each in enumerate(told["shots"]):
        start, lies = f"{number:03}-", each["fit"]
        top, left, height, width = map(int, lies["window"])
        shots.append(
            ShotMaps(
                maps={name: tensors[start + name].to(torch.float32) for name in each["shown"]},
                shown={name: tuple(map(int, places)) for name, places in each["shown"].items()},
                user=tensors.get(f"{start}user"),
                own=_two(each["own"]),
                frames=int(each["frames"]),
                fit=Fit(_two(lies["source"]), _two(lies["working"]), str(lies["how"]), (top, left, height, width)),
            )
        )
    options: MaskOptions = build(MaskOptions, told["options"] | {"decay": float(told["options"]["decay"])})
    leading, per_latent = int(told["leading_latents"]), int(told["frames_per_latent"])
    return MaskLook(options, tuple(map(bool, told["kept"])), leading, per_latent, tuple(shots))


def _two(values: Any) -> Size:
    first, second = values
    return int(first), int(second)
