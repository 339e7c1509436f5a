"""A clip through each stage of an autoencoder and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowedit.backbones.adapter import Adapter
from flowedit.metrics.pixels import psnr
from flowedit.networks import stages
from flowedit.types import Frames


@dataclass(frozen=True, eq=False)
class StageSeen:
    """What leaves a stage: its shape (C, F, h, w) for the whole clip, and a picture (h, w, 3) of one of its frames."""

    name: str
    shape: tuple[int, ...]
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class CodingStudy:
    """A clip through the encoder's stages to a latent and back; `frame` is the one that is shown, from 0.

    `tiled`: the stages' shapes and pictures are those of the first of several tiles. `latent` (C, h, w) is that of the
    frame.
    """

    frame: int
    tiled: bool
    encoder: tuple[StageSeen, ...]
    decoder: tuple[StageSeen, ...]
    latent: np.ndarray
    before: np.ndarray
    after: np.ndarray
    psnr: float
    psnr_frames: tuple[float, ...]

    @property
    def error(self) -> np.ndarray:
        """|after - before| of the frame, the mean of its colours, (H, W), 0 to 255."""
        return np.abs(self.after.astype(np.float32) - self.before).mean(-1)

    def plain(self) -> dict[str, Any]:
        """Its numbers for JSON."""
        shapes = {
            side: {each.name: list(each.shape) for each in seen}
            for side, seen in (("encoder", self.encoder), ("decoder", self.decoder))
        }
        return {
            **shapes,
            "frame": self.frame,
            "tiled": self.tiled,
            "round_trip_psnr": round(self.psnr, 3),
            "round_trip_psnr_frames": [round(each, 3) for each in self.psnr_frames],
        }


@torch.no_grad()
def code(backbone: Adapter, frames: Frames) -> tuple[CodingStudy, Tensor]:
    """The study of frames uint8 (F, H, W, 3) of a valid shape, and their latent (1, C, f, h, w)."""
    vae, own = backbone.components.vae, backbone.architecture
    shown = len(frames) // 2
    up = own.encoder(vae, len(frames), frames.shape[1:3])
    with _heard(vae.encoder, len(up.chunks), frames.shape[1:3]) as into:
        x = backbone.encode(frames)
    latents = x.shape[2] - backbone.spec.leading_latents
    down = own.decoder(vae, latents, x.shape[3:])
    with _heard(vae.decoder, len(down.chunks), frames.shape[1:3]) as out:
        made = np.concatenate(list(backbone.decode(x)))[: len(frames)]
    source = frames[0 : len(frames)]
    each = tuple(psnr(made[i : i + 1], source[i : i + 1]) for i in range(len(frames)))
    place = backbone.spec.leading_latents + latent_of(shown, backbone.spec.frames_per_latent)
    study = CodingStudy(
        frame=shown,
        tiled=up.tiles is not None,
        encoder=tuple(into),
        decoder=tuple(out),
        latent=x[0, :, place].numpy(),
        before=np.asarray(source[shown]),
        after=made[shown],
        psnr=psnr(made, source),
        psnr_frames=each,
    )
    return study, x


def latent_of(frame: int, frames_per_latent: int) -> int:
    """The latent frame that holds a frame, as a causal autoencoder lays them."""
    return 0 if frame == 0 else 1 + (frame - 1) // frames_per_latent


@contextmanager
def _heard(coder: torch.nn.Module, chunks: int, size: Sequence[int]) -> Iterator[list[StageSeen]]:
    """After the block what left the coder's stages, in the order of the calls, with a picture of the middle chunk's.

    Where there are tiles, it is the first one's: a tile goes through all `chunks` before the next one comes. `size`
    (height, width) is that of the frames.
    """

    def keep(x: Tensor, number: int) -> tuple[tuple[int, ...], np.ndarray | None]:
        x = x.transpose(0, 1)[None] if x.ndim == 4 else x  # an image autoencoder's: a frame a row
        x = channels_first(x, size)
        return tuple(x.shape[1:]), picture(x[0, :, x.shape[2] // 2]) if number == chunks // 2 else None

    found: list[StageSeen] = []
    with stages.watched(stages.stages(coder), keep) as seen:
        yield found
    for name, calls in seen.items():
        (shape, drawn), frames = calls[chunks // 2], sum(each[1] for each, _ in calls[:chunks])
        found.append(StageSeen(name, (shape[0], frames, *shape[2:]), drawn))


def channels_first(x: Tensor, size: Sequence[int]) -> Tensor:
    """(1, C, f, h, w) of a stage's output; of (1, f, h, w, C), as a norm over channels gives, known by its aspect."""
    height, width = size
    first, last = (x.shape[i + 1] * height == x.shape[i] * width for i in (3, 2))
    return x.movedim(-1, 1) if last and not first else x


def picture(features: Tensor) -> np.ndarray:
    """Features (C, h, w) as colours uint8 (h, w, 3): their three strongest directions of variation, each to its range.

    The principal components over the sites, from the 1st to the 99th percentile; fewer than three channels are grey.
    """
    flat = features.double().cpu().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    if len(flat) < 3:
        parts = flat[:1].repeat(3, 1)
    else:
        _, directions = torch.linalg.eigh(flat @ flat.T)
        top = directions[:, -3:].flip(1)
        sign = top.gather(0, top.abs().argmax(0, keepdim=True)).sign()
        parts = (top * sign).T @ flat
    low, high = (np.quantile(parts.numpy(), share, axis=1, keepdims=True) for share in (0.01, 0.99))
    scaled = np.clip((parts.numpy() - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8).T.reshape(*features.shape[1:], 3)


def grey(values: np.ndarray) -> np.ndarray:
    """A channel (h, w) as levels uint8 from its least to its greatest value."""
    low, high = values.min(), values.max()
    return np.rint(255 * (values - low) / max(float(high - low), 1e-12)).astype(np.uint8)


def in_rows(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Channels (h, w) as one picture uint8 (H, W), a pixel between them, about twice as wide as high."""
    height, width = channels[0].shape
    columns = max(1, min(len(channels), round((2 * len(channels) * height / width) ** 0.5)))
    rows = -(-len(channels) // columns)
    sheet = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1), np.uint8)
    for place, channel in enumerate(channels):
        top, left = (place // columns) * (height + 1), (place % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = grey(channel)
    return sheet
