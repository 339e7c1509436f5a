"""Latents and prompts that grow on disk while the flow trains on them."""

from __future__ import annotations

import argparse
import math
import os

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor
from transformers import T5Tokenizer

from flowedit.pocket import Vocabulary, draw
from pocket_training.common import ranks, render, to_model
from pocket_training.models import latent_frames, tokenize


class Cache:
    """Latents (float16, unscaled) and prompt tokens of this process's share of the seeds, in two files."""

    def __init__(self, config: dict, args: argparse.Namespace, vae: AutoencoderKLCogVideoX, tokenizer: T5Tokenizer):
        height, width = config["size"]
        self.shape = (16, latent_frames(config), height // 8, width // 8)
        self.config, self.vae, self.tokenizer = config, vae, tokenizer
        self.device, self.map = args.device, args.map
        self.learned = Vocabulary(**config["vocabulary"])
        self.rank, self.world = ranks()
        self.files = (args.work / f"latents{self.rank}.f16", args.work / f"tokens{self.rank}.i16")
        for file in self.files:
            file.touch()
        self.latents = np.fromfile(self.files[0], np.float16)
        self.latents = self.latents[: len(self.latents) // math.prod(self.shape) * math.prod(self.shape)]
        self.latents = list(self.latents.reshape(-1, *self.shape))
        self.tokens = list(np.fromfile(self.files[1], np.int16).reshape(-1, config["text"]["length"]))
        del self.latents[min(len(self.latents), len(self.tokens)) :], self.tokens[len(self.latents) :]
        for file, rows in zip(self.files, (self.latents, self.tokens), strict=True):
            os.truncate(file, sum(row.nbytes for row in rows))

    def grow(self, length: int, batch: int = 64) -> None:
        """Render and encode until there are `length` clips."""
        while len(self.latents) < length:
            first = self.config["first_seed"] + self.rank + self.world * len(self.latents)
            seeds = range(first, first + self.world * batch, self.world)
            specs = [draw(seed, self.learned) for seed in seeds]
            jobs = [(spec, self.config["size"], self.config["frames"]) for spec in specs]
            clips = [shown.frames for shown in self.map(render, jobs)]
            with torch.no_grad(), torch.autocast(self.device.split(":")[0], torch.bfloat16):
                mean = self.vae.encode(to_model(np.stack(clips), self.device)).latent_dist.mean
            latents = mean.cpu().to(torch.float16).numpy()
            captions = [spec.caption for spec in specs]
            tokens = tokenize(self.tokenizer, captions, self.config).numpy().astype(np.int16)
            for file, rows in zip(self.files, (latents, tokens), strict=True):
                with file.open("ab") as out:
                    out.write(rows.tobytes())
            self.latents.extend(latents)
            self.tokens.extend(tokens)

    def batch(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return latents float32 (B, F, C, H, W) and token ids (B, L)."""
        latents = torch.from_numpy(np.stack([self.latents[i] for i in index]))
        tokens = torch.from_numpy(np.stack([self.tokens[i] for i in index]))
        return latents.to(self.device).float().transpose(1, 2), tokens.to(self.device).long()
