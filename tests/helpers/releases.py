"""The folder of a released checkpoint without its weights."""

import torch
from safetensors.torch import save_file

from flowedit.backbones.released import RELEASES, save_words


def write_words(folder, name):
    """All files of a release but its weights; in the place of each component's a tensor of their precision."""
    release = RELEASES[name]
    save_words(folder, release)
    for component, part in release.parts.items():
        stem = "model" if part.library == "transformers" else "diffusion_pytorch_model"
        save_file({"a": torch.zeros(2, dtype=part.dtype)}, folder / component / f"{stem}.safetensors")
    return folder
