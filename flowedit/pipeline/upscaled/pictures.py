"""A clip's pictures made larger in all that they hold: alpha, and the bits and colours that 8 bits of BT.709 do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from flowedit.media.pixels import Size, resize
from flowedit.media.planes.blend import SHARED, Depth
from flowedit.media.planes.picture import Planar
from flowedit.media.probe import Video
from flowedit.media.reader import read, read_planar
from flowedit.media.stills.decode import Decoded
from flowedit.media.stills.pictures import Pictures

FAINT = 5
"""Alpha up to here, of 255, is none: what lies below cannot be seen, and may be anything."""

ROUNDING = 1
"""Levels of 8 bits by which two ways of making a picture larger differ without saying anything."""

SeenPicture = tuple[np.ndarray, Planar | None]
"""A frame for an upscaler, uint8 (H, W, 3), and what is stored where that holds more."""


def seen(video: Video, indices: Sequence[int]) -> Iterator[SeenPicture]:
    """The frames at ascending indices; where nothing can be seen stands the nearest that can.

    Else an upscaler would draw what lies there, or the white that a model sees, into the edge of what is seen.
    """
    if video.pictures is not None:
        for each in video.pictures.read(indices):
            yield each.pixels if each.alpha is None else filled(each.pixels, each.alpha > FAINT), None
    elif not video.planar:
        yield from ((frame, None) for frames in read(video, indices, 1) for frame in frames)
    else:
        depth = Depth(video.colour)
        for picture, frame in read_planar(video, indices):
            if picture.alpha is None or picture.alpha.min() == 2**picture.bits - 1:
                yield frame, picture
                continue
            whole = _without_holes(picture, picture.alpha)
            shown = depth.shown(replace(whole, alpha=None))
            yield np.ascontiguousarray(video.upright(shown)), whole


def filled(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Values (H, W[, 3]) where `good`, boolean (H, W), elsewhere those of the nearest good place; all if none is."""
    if good.all() or not good.any():
        return values
    labels = cv2.distanceTransformWithLabels(
        np.where(good, np.uint8(0), np.uint8(1)), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    places = np.zeros(int(labels.max()) + 1, np.intp)
    places[labels[good]] = np.flatnonzero(good)
    return values.reshape(-1, *values.shape[2:])[places[labels]]


def _without_holes(picture: Planar, alpha: np.ndarray) -> Planar:
    """A picture whose colours go on where nothing can be seen; a sample of chroma is good where all its pixels are."""
    good = np.asarray(alpha > FAINT * (2**picture.bits - 1) // 255)
    down, across = SHARED.get(picture.chroma, (1, 1))
    height, width = picture.size
    whole = np.pad(good, [(0, -height % down), (0, -width % across)], mode="edge")
    few = whole.reshape(-(-height // down), down, -(-width // across), across).min((1, 3))
    luma, *chroma = picture.planes
    return replace(picture, planes=(filled(luma, good), *(filled(plane, few) for plane in chroma)))


def plainly(picture: Planar, size: Size) -> Planar:
    """A picture at another stored (height, width), each plane by a cubic in all its bits, chroma where it is sited.

    With s times the pixels along a row, sample j of a chroma of every second lies at j/s + (1/s - 1)/4 of the old ones.
    """
    down, across = SHARED.get(picture.chroma, (1, 1))
    scale = size[1] / picture.size[1], size[0] / picture.size[0]
    few = -(-size[1] // across), -(-size[0] // down)
    most = 2**picture.bits - 1

    def larger(plane: np.ndarray) -> np.ndarray:
        return np.minimum(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_CUBIC), plane.dtype.type(most))

    def sited(plane: np.ndarray) -> np.ndarray:
        ways = [[1 / scale[0], 0, (1 / scale[0] - 1) / 4], [0, 1 / scale[1], (1 / scale[1] - 1) / 2]]
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        found = cv2.warpAffine(plane, np.array(ways), few, flags=how, borderMode=cv2.BORDER_REPLICATE)
        return np.minimum(found, plane.dtype.type(most))

    luma, *chroma = picture.planes
    planes = larger(luma), *(larger(plane) if across == 1 else sited(plane) for plane in chroma)
    return replace(picture, planes=planes, alpha=None if picture.alpha is None else larger(picture.alpha))


def put_back(video: Video, picture: Planar, frame: np.ndarray, larger: np.ndarray) -> Planar:
    """What an upscaler made of a frame, uint8 (H, W, 3), in the planes of the picture that the frame was seen of.

    The picture is made larger plainly. Where the upscaler differs from a cubic of the frame by more than rounding, it
    is put into it as an edit is into its clip (`Depth.blended`): so bits, tone and gamut are the clip's own.
    """
    size = larger.shape[0], larger.shape[1]
    plain = resize(frame[None], size)[0]
    alike = np.abs(larger.astype(np.int16) - plain).max(-1, keepdims=True) <= ROUNDING
    new, old = (np.ascontiguousarray(video.stored(each)) for each in (np.where(alike, plain, larger), plain))
    stored = plainly(picture, new.shape[:2])
    return Depth(video.colour).blended(stored, old, new, np.ones(new.shape[:2], np.float32))


@dataclass(frozen=True)
class LargerPictures(Pictures):
    """The pictures of a clip at another size, for their alpha and for what is kept of their colours."""

    larger: Size = (0, 0)

    def read(self, indices: Sequence[int]) -> Iterator[Decoded]:
        """Yield the pictures at ascending indices, pixels and alpha at the larger size."""
        for each in super().read(indices):
            alpha = None if each.alpha is None else resize(each.alpha[None], self.larger)[0]
            yield replace(each, pixels=resize(each.pixels[None], self.larger)[0], alpha=alpha)
