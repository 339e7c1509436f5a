"""LPIPS, the distance of deep features that people's judgements were fitted to."""

import warnings
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

CHUNK = 16
"""Frames a call; the features of a frame weigh more than the frame."""


def lpips_bundled(frames: np.ndarray, reference: np.ndarray) -> float:
    """Mean over frames of LPIPS, d = sum_l mean_hw ||w_l (f_l(a) - f_l(b))||^2; 0 for equal frames, lower is better.

    frames, reference: uint8 (F, H, W, 3), sides of at least 32 pixels. w_l are the published heads of the `lpips`
    package (squeeze, version 0.1; Zhang et al. 2018); f_l is SqueezeNet 1.1 from another training run, which ships
    with us. So values are not comparable with published LPIPS(squeeze): label them lpips-bundled. Raises ValueError
    for other shapes.
    """
    if frames.shape != reference.shape or min(frames.shape[1:3]) < 32:
        raise ValueError(f"LPIPS compares equal shapes from 32x32, not {frames.shape} with {reference.shape}")
    model, total = _bundled(), 0.0
    with torch.no_grad():
        for start in range(0, len(frames), CHUNK):
            pair = [_signed(clip[start : start + CHUNK]) for clip in (frames, reference)]
            total += float(model(*pair).sum())
    return total / len(frames)


def _signed(frames: np.ndarray) -> torch.Tensor:
    """uint8 (F, H, W, 3) to float32 (F, 3, H, W) in [-1, 1], as lpips wants it."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def _bundled() -> Any:
    import lpips  # brings torchvision, a second of import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by arguments that it renamed
        model = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    with as_file(files("flowedit.metrics").joinpath("weights/squeezenet1_1_features.safetensors")) as path:
        weights = load_file(path)
    with torch.no_grad():
        for name, value in model.net.named_parameters():
            # lpips cuts torchvision's `features` into slices, each of which keeps its layers' numbers.
            value.copy_(weights[f"features.{name.partition('.')[2]}"])
    return model.eval().requires_grad_(False)
