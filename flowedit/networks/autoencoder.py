"""Frames to latents and back through a causal autoencoder of diffusers, a tile and a chunk of frames at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from flowedit.messages import NAN_ADVICE, NumericalError
from flowedit.types import Frames

Coder = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""An encoder or a decoder: a chunk and what its causal convolutions kept of the chunk before, to the same."""

Chunk = tuple[int, int]
"""[start, end), in frames of what goes in."""

SPAN = 24
"""Chunks that the tiles go over one after the other: every length that a model was trained at is one span."""

HOST = torch.device("cpu")


@dataclass(frozen=True)
class Tiles:
    """Overlapping tiles of `size`, a `stride` apart; outputs are blended over `blend` and cropped to `keep`."""

    size: tuple[int, int]
    stride: tuple[int, int]
    blend: tuple[int, int]
    keep: tuple[int, int]


@dataclass(frozen=True)
class Overlap:
    """How the outputs of chunks that share frames join, in frames of what comes out.

    Each but the first loses its first `drop`, and fades in over the last `blend` of the one before; `keep` of each
    stay, and of the first `drop` more.
    """

    drop: int
    blend: int
    keep: int


@dataclass(frozen=True)
class Stream:
    """One way through an autoencoder, to latents or back: its coder, the chunks of frames it takes, its tiles."""

    vae: Any
    coder: Coder
    chunks: Sequence[Chunk]
    tiles: Tiles | None
    pixels: Callable[[Tensor], Tensor] = lambda x: x
    """What is done to frames once their tiles are joined, such as to take patches apart."""
    overlap: Overlap | None = None
    """How the chunks join where they share frames; such a coder keeps nothing."""


def encode(
    stream: Stream, frames: Frames, device: torch.device, progress: Callable[[int], None] | None = None
) -> Tensor:
    """Frames uint8 (F, H, W, 3) to the mode of the latent distribution, (1, C, f, h, w) float32, unscaled, on the host.

    The device holds a chunk of one tile, of a size that the model was trained with, and that tile's cache.
    """

    def held(start: int, end: int) -> Tensor:
        return rearrange(torch.from_numpy(np.ascontiguousarray(frames[start:end])), "f h w c -> 1 c f h w")

    def put(part: Tensor) -> Tensor:
        return (part.to(device).float() / 127.5 - 1.0).to(stream.vae.dtype)

    def take(moments: Tensor) -> Tensor:
        return moments.chunk(2, dim=1)[0].float().to(HOST)  # mean and log-variance: the mode is the mean

    return torch.cat(list(_spans(stream, held, frames.shape[1:3], put, take, device, progress)), dim=2)


def decode(stream: Stream, z: Tensor, device: torch.device) -> Iterator[np.ndarray]:
    """An unscaled latent (1, C, f, h, w) to chunks of frames uint8 (F, H, W, 3); the device holds a chunk of one tile.

    Raises NumericalError on NaN or Inf.
    """

    def put(part: Tensor) -> Tensor:
        return part.to(device, stream.vae.dtype)

    def take(part: Tensor) -> Tensor:
        return _pixels(stream.pixels(part))

    for frames in _spans(stream, lambda start, end: z[:, :, start:end], z.shape[3:], put, take, device):
        yield np.ascontiguousarray(rearrange(frames, "1 c f h w -> f h w c").numpy())


def _spans(
    stream: Stream,
    held: Callable[[int, int], Tensor],
    size: Sequence[int],
    put: Callable[[Tensor], Tensor],
    take: Callable[[Tensor], Tensor],
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:
    """The output of each chunk, (1, C, f, h, w) on the host; those of a span come together.

    `held(start, end)` are the input's frames, `put` takes a part of them to the device, and `take` an output back. A
    tile goes through a whole span before the next one comes, and only its own cache is on the device; the caches of
    the others wait on the host where another span follows. Without tiles a span is a chunk.
    """
    starts = _starts(stream.tiles, size)
    places = [(i, j) for i in starts[0] for j in starts[1]]
    count = 1 if stream.tiles is None else SPAN
    spans = [stream.chunks[i : i + count] for i in range(0, len(stream.chunks), count)]
    caches: dict[tuple[int, int], Any] = {}
    told, seams = _told(progress, len(places)), _Seams(stream.overlap)
    follows = [*(start for start, _ in stream.chunks[1:]), stream.chunks[-1][1]]
    advances = {chunk: following - chunk[0] for chunk, following in zip(stream.chunks, follows, strict=True)}
    x, origin, read = torch.empty(0), 0, 0
    for span in spans:
        first, moved = span[0][0], len(places) > 1
        fresh = held(max(first, read), span[-1][1])  # what a span shares with the one before is asked for once
        x = fresh if first >= read else torch.cat([x[:, :, first - origin :], fresh], dim=2)
        origin, read, edges = first, span[-1][1], _Edges(stream)
        whole: dict[tuple[int, int], Tensor] = {}
        for place in places:
            past = caches.pop(place, None)
            past, parts = _moved(past, device) if moved else past, []
            for number, (start, end) in enumerate(span):
                part = _cut(x[:, :, start - first : end - first], stream.tiles, place)
                out, past = stream.coder(put(part), past)
                parts.append(take(seams.joined(edges.joined(out, number, place), place)))
                told(advances[start, end])
            if span is not spans[-1]:
                caches[place] = _moved(past, HOST) if moved else past
            whole[place] = torch.cat(parts, dim=2)
        rows = [torch.cat([whole.pop((i, j)) for j in starts[1]], dim=4) for i in starts[0]]
        yield from torch.cat(rows, dim=3).split([part.shape[2] for part in parts], dim=2)


def _starts(tiles: Tiles | None, size: Sequence[int]) -> tuple[range, range]:
    """The first row of each row of tiles, and the first column of each column."""
    if tiles is None:
        return range(1), range(1)
    return range(0, size[0], tiles.stride[0]), range(0, size[1], tiles.stride[1])


def _cut(x: Tensor, tiles: Tiles | None, place: tuple[int, int]) -> Tensor:
    if tiles is None:
        return x
    return x[..., place[0] : place[0] + tiles.size[0], place[1] : place[1] + tiles.size[1]]


class _Edges:
    """Blends each tile over the ones above and before it, as diffusers does, and keeps only the edges for the next."""

    def __init__(self, stream: Stream) -> None:
        self._tiles = stream.tiles
        self._below: dict[tuple[int, int], Tensor] = {}
        """Of a chunk and a column: the last rows of the tile above."""
        self._right: dict[tuple[int, int], Tensor] = {}
        """Of a chunk and a row: the last columns of the tile before."""

    def joined(self, out: Tensor, chunk: int, place: tuple[int, int]) -> Tensor:
        """The part of a tile's output that stays; whole without tiles."""
        tiles, (row, column) = self._tiles, place
        if tiles is None:
            return out
        if row:
            out = _blended(self._below.pop((chunk, column)), out, tiles.blend[0], -2)
        if column:
            out = _blended(self._right.pop((chunk, row)), out, tiles.blend[1], -1)
        self._below[chunk, column] = out[..., -tiles.blend[0] :, :].clone()
        self._right[chunk, row] = out[..., -tiles.blend[1] :].clone()
        return out[..., : tiles.keep[0], : tiles.keep[1]]


class _Seams:
    """Joins the chunks of a tile that share frames, one after the other, as diffusers does."""

    def __init__(self, overlap: Overlap | None) -> None:
        self._overlap = overlap
        self._ends: dict[tuple[int, int], Tensor] = {}
        """Of a tile: the last frames of its chunk before."""

    def joined(self, out: Tensor, place: tuple[int, int]) -> Tensor:
        """The part of a chunk's output that stays; whole where chunks share nothing."""
        if (overlap := self._overlap) is None:
            return out
        before, keep = self._ends.pop(place, None), overlap.keep
        if before is None:
            keep += overlap.drop
        else:
            out = _blended(before, out[:, :, overlap.drop :], overlap.blend, 2)
        self._ends[place] = out[:, :, -overlap.blend :].clone()
        return out[:, :, :keep]


def _blended(before: Tensor, out: Tensor, extent: int, axis: int) -> Tensor:
    """An output, whose first `extent` frames, rows or columns fade in over the last of the one before.

    The arithmetic, and so the bits, are those of `blend_t`, `blend_v` and `blend_h` in the autoencoders of diffusers.
    """
    extent = min(before.shape[axis], out.shape[axis], extent)
    for i in range(extent):
        old, new = before.select(axis, before.shape[axis] - extent + i), out.select(axis, i)
        new.copy_(old * (1 - i / extent) + new * (i / extent))
    return out


def _moved(cache: Any, device: torch.device) -> Any:
    """What a coder kept, lists and dicts of tensors, on a device."""
    if isinstance(cache, Tensor):
        return cache.to(device)
    if isinstance(cache, dict):
        return {name: _moved(each, device) for name, each in cache.items()}
    if isinstance(cache, (list, tuple)):
        return type(cache)(_moved(each, device) for each in cache)
    return cache


def _told(progress: Callable[[int], None] | None, tiles: int) -> Callable[[int], None]:
    """Counts frames of one tile, and tells of frames: one of all tiles is one frame."""
    done = 0

    def told(frames: int) -> None:
        nonlocal done
        before, done = done // tiles, done + frames
        if progress is not None and done // tiles > before:
            progress(done // tiles - before)

    return told


def _pixels(x: Tensor) -> Tensor:
    """In [-1, 1] to uint8 on the host."""
    if not torch.isfinite(x).all():
        raise NumericalError(f"decoding by the VAE gave NaN or Inf: {NAN_ADVICE}")
    return ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).to(HOST)
