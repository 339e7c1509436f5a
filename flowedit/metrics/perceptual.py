"""LPIPS, the distance of deep features that people's judgements were fitted to."""

import warnings
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

NETS = ("bundled", "alex", "vgg", "squeeze")
CHUNK = 16
"""Frames a call; the features of a frame weigh more than the frame."""


def lpips(frames: np.ndarray, reference: np.ndarray, net: str = "bundled", device: str = "cpu") -> float:
    """Mean over frames of d = sum_l mean_hw ||w_l (f_l(a) - f_l(b))||^2; 0 for equal frames, lower is better.

    frames, reference: uint8 (F, H, W, 3), sides of at least 32 pixels. `alex`, `vgg`, `squeeze` are the published
    networks, whose backbones are downloaded once; `bundled` is squeeze's heads on another training run of the same
    backbone, which ships with us: its values are not comparable with published ones, so label it lpips-bundled.
    Source: Zhang et al. 2018, version 0.1 of the `lpips` package. Raises ValueError for another net or other shapes.
    """
    if frames.shape != reference.shape or min(frames.shape[1:3]) < 32:
        raise ValueError(f"LPIPS compares equal shapes from 32x32, not {frames.shape} with {reference.shape}")
    model = _model(net, device)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(frames), CHUNK):
            pair = [_signed(clip[start : start + CHUNK], device) for clip in (frames, reference)]
            total += float(model(*pair).sum())
    return total / len(frames)


def _signed(frames: np.ndarray, device: str) -> torch.Tensor:
    """uint8 (F, H, W, 3) to float32 (F, 3, H, W) in [-1, 1], as lpips wants it."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def _model(net: str, device: str) -> Any:
    if net not in NETS:
        raise ValueError(f"lpips net {net!r} is not one of {', '.join(NETS)}")
    import lpips as package  # brings torchvision, a second of import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by arguments that it renamed
        bundled = net == "bundled"
        model = package.LPIPS(net="squeeze" if bundled else net, pnet_rand=bundled, verbose=False)
    if bundled:
        with as_file(files("flowedit.metrics").joinpath("weights/squeezenet1_1_features.safetensors")) as path:
            weights = load_file(path)
        # lpips cuts torchvision's `features` into slices and keeps each layer's number.
        named = {f"features.{name.partition('.')[2]}": value for name, value in model.net.named_parameters()}
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(weights[name])
    return model.to(device).eval().requires_grad_(False)
