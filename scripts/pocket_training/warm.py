"""A flow that starts from a smaller checkpoint's: its blocks as they are, its ends by least squares."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from einops import rearrange
from torch import Tensor

from flowedit.pocket import Vocabulary, scene
from pocket_training.common import started, to_model

CLIPS = 96


@torch.no_grad()
def warm_start(model: torch.nn.ModuleDict, vae: AutoencoderKLCogVideoX, config: dict, folder: Path) -> None:
    """Take over a checkpoint of patch 1 that has half the width and height, hence the same tokens.

    With x the p p 16 values of a new token and y the 16 of the old one at its place, A = argmin |A x - y|^2 over clips
    that both render. The old embedding W y becomes W A x, and the old output y becomes pinv(A) y. What A does not see
    passes into the embedding by small random weights, and the output of it starts at 0. Blocks that the old one has
    not are put between its own, and start as the identity.
    """
    patch, old = config["flow"]["patch"], started(folder, "transformer")
    model["text_encoder"].load_state_dict(started(folder, "text_encoder"), strict=False)
    down = least_squares(vae, AutoencoderKLCogVideoX.from_pretrained(folder / "vae").eval(), config)
    new = model["transformer"].state_dict()
    depth = 1 + max(int(found[1]) for name in old if (found := re.match(r"transformer_blocks\.(\d+)\.", name)))
    places = np.linspace(0, len(model["transformer"].transformer_blocks) - 1, depth).round().astype(int)
    for name, weight in old.items():
        if found := re.match(r"transformer_blocks\.(\d+)\.(.*)", name):
            name = f"transformer_blocks.{places[int(found[1])]}.{found[2]}"
        if name not in ("patch_embed.proj.weight", "proj_out.weight", "proj_out.bias"):
            new[name] = weight
    into = old["patch_embed.proj.weight"].flatten(1) @ down
    into = into + 0.02 * torch.randn(into.shape, generator=torch.Generator().manual_seed(config["seed"]))
    new["patch_embed.proj.weight"] = rearrange(into, "d (p q c) -> d c p q", p=patch, q=patch)
    up = torch.linalg.pinv(down)
    # the last layer's values lie as unpatchify reads them: channel, row, column
    rows = rearrange(up, "(p q c) k -> (c p q) k", p=patch, q=patch)
    new["proj_out.weight"] = rows @ old["proj_out.weight"]
    new["proj_out.bias"] = rows @ old["proj_out.bias"]
    model["transformer"].load_state_dict(new)


def least_squares(vae: AutoencoderKLCogVideoX, former: AutoencoderKLCogVideoX, config: dict) -> Tensor:
    """Return A, (16, p p 16): old latents from new ones, without a constant, both of unit variance."""
    patch, (height, width) = config["flow"]["patch"], config["size"]
    learned, seen, told = Vocabulary(**config["vocabulary"]), [], []
    for seed in range(config["first_seed"], config["first_seed"] + CLIPS):
        large, small = (
            to_model(scene(seed, size, config["frames"], learned).frames[None], "cpu")
            for size in ((height, width), (height // patch, width // patch))
        )
        z = vae.to("cpu").encode(large).latent_dist.mean
        seen.append(rearrange(z, "b c f (h p) (w q) -> (b f h w) (p q c)", p=patch, q=patch))
        told.append(rearrange(former.encode(small).latent_dist.mean, "b c f h w -> (b f h w) c"))
    x, y = torch.cat(seen).double(), torch.cat(told).double()
    ridge = 1e-2 * len(x) * torch.eye(x.shape[1], dtype=torch.double)
    return torch.linalg.solve(x.T @ x + ridge, x.T @ y).T.float()
