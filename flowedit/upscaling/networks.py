"""Networks that make pictures larger: spandrel's, from weights by name, run tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from flowedit.media.pixels import Size
from flowedit.messages import InputError, first_line
from flowedit.tensors import Tensor, torch

TILE, OVERLAP = 256, 48
"""Pixels of a tile's side, and what the network sees around it; the grid lies the same way on every frame."""

LEAST = 16
"""Pixels of a side that each of spandrel's networks takes; a smaller frame is repeated at its edges for it."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lies, and what is seen of its surroundings: slices of rows and columns."""

    own: tuple[slice, slice]
    seen: tuple[slice, slice]


def tiles(size: Size, side: int = TILE, overlap: int = OVERLAP) -> Iterator[Tile]:
    """The tiles of a frame, from its upper left corner on, of `side` pixels or what is left; they cover it once."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            own = [slice(at, min(at + side, whole)) for at, whole in zip((top, left), size, strict=True)]
            seen = [
                slice(max(each.start - overlap, 0), min(each.stop + overlap, whole))
                for each, whole in zip(own, size, strict=True)
            ]
            yield Tile((own[0], own[1]), (seen[0], seen[1]))


class TiledNetwork:
    """An `Enlarge` by a network that maps (1, 3, h, w) in [0, 1] to `scale` times the size.

    A tile equals the whole frame's network to rounding where `overlap` is at least the network's reach.
    """

    def __init__(
        self, network: Any, scale: int, device: torch.device, side: int = TILE, overlap: int = OVERLAP
    ) -> None:
        self.scale, self._network, self._device = scale, network, device
        self._side, self._overlap = side, overlap

    def __call__(self, frame: np.ndarray, size: Size, wanted: np.ndarray | None = None) -> np.ndarray:
        """A frame at another size: `scale` times its own by the network, from there by area or cubic."""
        height, width = frame.shape[:2]
        places = [each for each in tiles((height, width), self._side, self._overlap) if _any(wanted, each)]
        full = self.scale * height, self.scale * width
        made = np.empty((*full, 3), np.float32)
        if wanted is not None and not wanted.all():
            made[:] = np.clip(cv2.resize(frame.astype(np.float32), full[::-1], interpolation=cv2.INTER_CUBIC), 0, 255)
        for tile in places:
            rows, columns = tile.own
            inner = tuple(
                slice(self.scale * (own.start - seen.start), self.scale * (own.stop - seen.start))
                for own, seen in zip(tile.own, tile.seen, strict=True)
            )
            larger = self._run(frame[tile.seen])[inner]
            made[_times(rows, self.scale), _times(columns, self.scale)] = larger
        return _resized(made, size)

    def _run(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) to float32 (scale h, scale w, 3) in 0 ... 255."""
        height, width = frame.shape[:2]
        more = (0, max(LEAST - height, 0)), (0, max(LEAST - width, 0)), (0, 0)
        whole = np.pad(frame, more, mode="edge")
        x = torch.from_numpy(np.ascontiguousarray(whole)).to(self._device).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            y: Tensor = self._network(x)
        larger = (255 * y[0, :3].float().clamp(0, 1)).permute(1, 2, 0).cpu().numpy()
        return larger[: self.scale * height, : self.scale * width]


def network_of(weights: Mapping[str, Tensor], device: torch.device, called: str) -> TiledNetwork:
    """The network that these weights are of, by spandrel, which knows it by their names and shapes.

    Raises InputError for weights of no network that spandrel knows, and of one that does not make RGB pictures larger.
    """
    import spandrel

    try:
        model = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(weights))
    except Exception as error:  # whatever an architecture of spandrel raises on shapes that are not its own
        reason = first_line(error)
        raise InputError(f"{called} is no network that spandrel knows ({reason}): give an upscaler's weights") from None
    if not isinstance(model, spandrel.ImageModelDescriptor):
        raise InputError(f"{called} is a {model.architecture.name}, which does not enlarge pictures: give an upscaler")
    if model.scale < 2 or (model.input_channels, model.output_channels) != (3, 3):
        raise InputError(
            f"{called} is a {model.architecture.name} from {model.input_channels} to {model.output_channels} channels "
            f"at {model.scale} times the size: give an upscaler of RGB, of 2 times or more"
        )
    return TiledNetwork(model.to(device).eval(), int(model.scale), device)


def _any(wanted: np.ndarray | None, tile: Tile) -> bool:
    return wanted is None or bool(wanted[tile.own].any())


def _times(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)


def _resized(frame: np.ndarray, size: Size) -> np.ndarray:
    """A frame float32 (h, w, 3) at another size: by area along sides that shrink, cubic along others."""
    shrunk = min(frame.shape[0], size[0]), min(frame.shape[1], size[1])
    small = frame if shrunk == frame.shape[:2] else cv2.resize(frame, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk == size:
        return small
    return np.clip(cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC), 0, 255)
