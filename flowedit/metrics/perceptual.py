"""LPIPS, the distance of deep features that people's judgements were fitted to."""

import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from flowedit.messages import InputError
from flowedit.metrics.catalogue import MASK, METRICS, TRUTH, Metric
from flowedit.metrics.part import CPU, Part
from flowedit.metrics.pixels import blacken
from flowedit.pretrained.raft import signed

CHUNK, PIXELS = 16, 480_000
"""The most frames and pixels a call, beyond one frame: features weigh some hundred times as much as the frame."""
LEAST = 32
"""Pixels of a side that the networks' strides leave something of."""
Net = Literal["bundled", "alex", "vgg", "squeeze"]
BACKBONES = {
    "alex": ("AlexNet_Weights.IMAGENET1K_V1", "233 MiB"),
    "vgg": ("VGG16_Weights.IMAGENET1K_V1", "528 MiB"),
    "squeeze": ("SqueezeNet1_1_Weights.IMAGENET1K_V1", "4.7 MiB"),
}
"""What `lpips` was fitted on, by torchvision's names, and the size of its download."""


def lpips_bundled(frames: np.ndarray, reference: np.ndarray) -> float:
    """Mean over frames of LPIPS, d = sum_l mean_hw ||w_l (f_l(a) - f_l(b))||^2; 0 for equal frames, lower is better.

    frames, reference: uint8 (F, H, W, 3), sides of at least 32 pixels. w_l are the published heads of the `lpips`
    package (squeeze, version 0.1; Zhang et al. 2018); f_l is SqueezeNet 1.1 from another training run, which ships
    with us. So values are not comparable with published LPIPS(squeeze): label them lpips-bundled. Raises ValueError
    for other shapes.
    """
    return float(lpips(frames, reference, "bundled").mean())


def lpips(frames: np.ndarray, reference: np.ndarray, net: Net, device: torch.device = CPU) -> np.ndarray:
    """LPIPS of each frame, float64 (F,), as in `lpips_bundled`; the clip's value is the mean over frames.

    alex, vgg and squeeze are the published networks: torchvision's backbones, which are downloaded once. Raises
    ValueError for other shapes, and ConnectionError if a backbone cannot be had.
    """
    if frames.shape != reference.shape or min(frames.shape[1:3]) < LEAST:
        raise InputError(f"LPIPS needs frames of one shape, from 32x32 up, not {frames.shape} and {reference.shape}")
    pairs = ((signed(clip[some], device) for clip in (frames, reference)) for some in _chunks(frames))
    return _distances(net, device, pairs)


def background_lpips_five(edit: np.ndarray, source: np.ndarray, mask: np.ndarray, device: torch.device) -> np.ndarray:
    """LPIPS (squeeze) of each frame as FiVE-Bench has it, float64 (F,): on [0, 1] x (1 - mask), then moved to [-1, 1].

    0 for equal backgrounds, lower is better; the clip's value is the mean over frames. edit, source: uint8
    (F, H, W, 3); mask: boolean (F, H, W). FiVE (Li et al. 2025), where it stands x 10^3 in tables. Raises as `lpips`.
    """
    if edit.shape != source.shape or min(edit.shape[1:3]) < LEAST:
        raise InputError(f"LPIPS needs frames of one shape, from 32x32 up, not {edit.shape} and {source.shape}")
    pairs = ((2 * blacken(clip[some], mask[some], device) - 1 for clip in (edit, source)) for some in _chunks(edit))
    return _distances("squeeze", device, pairs)


def _distances(net: Net, device: torch.device, pairs: Iterable[Iterable[Tensor]]) -> np.ndarray:
    model = _model(net, device)
    with torch.no_grad():
        return np.concatenate([model(*pair).cpu().double().numpy().reshape(-1) for pair in pairs])


def _chunks(frames: np.ndarray) -> list[slice]:
    size = max(1, min(CHUNK, PIXELS // (frames.shape[1] * frames.shape[2])))
    return [slice(start, start + size) for start in range(0, len(frames), size)]


@cache
def _model(net: Net, device: torch.device) -> Any:
    import lpips as published  # brings torchvision, a second of import

    weights = _shipped() if net == "bundled" else _downloaded(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by arguments that it renamed
        model = published.LPIPS(net="squeeze" if net == "bundled" else net, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for name, value in model.net.named_parameters():
            # lpips cuts torchvision's `features` into slices, each of which keeps its layers' numbers.
            value.copy_(weights[f"features.{name.partition('.')[2]}"])
    return model.eval().requires_grad_(False).to(device)


def _shipped() -> dict[str, Tensor]:
    with as_file(files("flowedit.metrics").joinpath("weights/squeezenet1_1_features.safetensors")) as path:
        return load_file(path)


def _downloaded(net: str) -> dict[str, Tensor]:
    from torchvision.models import get_weight

    from flowedit.pretrained import hub

    name, size = BACKBONES[net]
    weights = get_weight(name)

    def get() -> dict[str, Tensor]:
        with redirect_stdout(sys.stderr):  # torch.hub prints what it downloads; stdout is for results
            return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))

    advice = f"run once where it can be reached, or bring the file to {torch.hub.get_dir()}/checkpoints"
    return hub.download(f"LPIPS's backbone {net} ({size}) from {weights.url}", advice, get)


def _lpips(net: Net) -> Callable[[Part], np.ndarray]:
    return lambda part: lpips(part.edit, part.source, net, part.tools.device)


def _truth_lpips(part: Part) -> np.ndarray:
    return lpips(part.edit, part.require("truth"), "bundled", part.tools.device)


def _lpips_five(part: Part) -> np.ndarray:
    return background_lpips_five(part.edit, part.source, part.require("mask"), part.tools.device)


DOWNLOADS = {net: f"torchvision's {name.partition('_')[0]}, {size}" for net, (name, size) in BACKBONES.items()}
BUNDLED = "LPIPS with its published heads on a backbone that comes with flowedit; not comparable with published LPIPS."

METRICS.add(
    "truth_lpips",
    Metric(
        "truth LPIPS (bundled)",
        "truth",
        "lower",
        decimals=3,
        part=_truth_lpips,
        needs=TRUTH,
        default=True,
        about=BUNDLED,
    ),
)
METRICS.add(
    "background_lpips_five",
    Metric(
        "background LPIPS (FiVE)",
        "source",
        "lower",
        decimals=3,
        part=_lpips_five,
        needs=MASK,
        download=DOWNLOADS["squeeze"],
        five=True,
    ),
)
METRICS.add(
    "lpips_bundled",
    Metric("LPIPS (bundled)", "source", "lower", decimals=3, part=_lpips("bundled"), default=True, about=BUNDLED),
)
METRICS.add(
    "lpips_alex", Metric("LPIPS (alex)", "source", "lower", decimals=3, part=_lpips("alex"), download=DOWNLOADS["alex"])
)
METRICS.add(
    "lpips_vgg", Metric("LPIPS (vgg)", "source", "lower", decimals=3, part=_lpips("vgg"), download=DOWNLOADS["vgg"])
)
METRICS.add(
    "lpips_squeeze",
    Metric("LPIPS (squeeze)", "source", "lower", decimals=3, part=_lpips("squeeze"), download=DOWNLOADS["squeeze"]),
)
