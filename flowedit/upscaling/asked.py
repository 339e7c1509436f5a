"""Which upscaler an edit asks for, by its name or a file, and what can be refused of it before a model is loaded."""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowedit.messages import FileMissingError, InputError, nearest
from flowedit.pretrained import layout
from flowedit.upscaling.catalogue import UPSCALERS, Enlarge, Upscaler

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"

PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
"""Files of weights that hold code as well."""


def is_path(text: str) -> bool:
    """Whether a text that is no name means a file: it has the suffix of one, or a slash."""
    return Path(text).suffix.lower() in (SUFFIX, *PICKLES) or "/" in text or os.sep in text


def asked(text: str) -> Upscaler:
    """The upscaler of this name, or of this file.

    Raises InputError for an unknown name, a plug-in that cannot be loaded, a pickle and a package that is not
    installed, FileMissingError for a file that is not there.
    """
    if text in UPSCALERS or text in UPSCALERS.broken:
        found = UPSCALERS[text]  # names first: a folder of that name may lie anywhere
    elif is_path(text):
        found = _of_file(Path(text))
    else:
        known = f"one of {', '.join(UPSCALERS)}, or a {SUFFIX} file{nearest(text, UPSCALERS)}"
        raise InputError(f"upscale {text!r} is no upscaler: {known}")
    for package in found.packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"upscale {text!r} needs packages that are not installed: pip install 'flowedit[upscale]'")
    return found


def _of_file(path: Path) -> Upscaler:
    if path.suffix.lower() in PICKLES:
        raise InputError(f"upscale {str(path)!r} is a pickle, which can run code: give its weights as {SUFFIX}")
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"upscale {str(path)!r} is no {SUFFIX} file: no other kind is read")
    if not path.is_file():
        raise FileMissingError(f"upscale {str(path)!r} does not exist: check its path")
    layout.header(path)
    return Upscaler(f"the weights {str(path)!r}", partial(_open_file, path), packages=("spandrel",))


def _open_file(path: Path, device: torch.device) -> Enlarge:
    from safetensors.torch import load_file

    from flowedit.upscaling.networks import network_of

    return network_of(load_file(path), device, f"upscale {str(path)!r}")
