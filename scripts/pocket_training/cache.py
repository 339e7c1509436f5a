"""Latents, prompts and labels that grow on disk while the flow trains on them."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor
from transformers import T5Tokenizer

from flowedit.pocket import Vocabulary, draw
from pocket_training.common import ranks, render, to_model
from pocket_training.labels import labels
from pocket_training.models import latent_frames, tokenize


def check(path: Path, config: dict, vae: AutoencoderKLCogVideoX, processes: int) -> None:
    """Write down what cached clips depend on, or compare with what an earlier run wrote."""
    weights = b"".join(weight.detach().cpu().numpy().tobytes() for weight in vae.encoder.parameters())
    now = {key: config[key] for key in ("first_seed", "frames", "size", "vocabulary")}
    now |= {"text.length": config["text"]["length"]}
    now |= {f"flow.{key}": config["flow"][key] for key in ("patch", "things")}
    now |= {"encoder": hashlib.sha256(weights).hexdigest(), "processes": processes}
    if not path.exists():
        if ranks()[0] == 0:
            path.write_text(json.dumps(now, indent=2) + "\n")
        return
    then = json.loads(path.read_text())
    if other := [key for key in now if then.get(key) != now[key]]:
        raise SystemExit(f"the cached clips in {path.parent} were made with another {other[0]}: take a new --work DIR")


class Cache:
    """Latents (float16, unscaled), prompt tokens and labels of this process's share of the seeds, in three files.

    Raises SystemExit where the files were made for other clips, or by another encoder.
    """

    def __init__(
        self,
        config: dict,
        args: argparse.Namespace,
        vae: AutoencoderKLCogVideoX,
        tokenizer: T5Tokenizer,
        first_seed: int,
        name: str = "",
    ):
        height, width = config["size"]
        self.shape = (16, latent_frames(config), height // 8, width // 8)
        self.config, self.vae, self.tokenizer = config, vae, tokenizer
        self.device, self.map = args.device, args.map
        self.learned = Vocabulary(**config["vocabulary"])
        self.first_seed = first_seed
        self.rank, self.world = ranks()
        check(args.work / f"{name}cache.json", config, vae, self.world)
        self.side = 8 * config["flow"]["patch"]
        self.files = [args.work / f"{name}{part}{self.rank}" for part in ("latents", "tokens", "labels")]
        shapes = (self.shape, (config["text"]["length"],), (self.shape[1], height // self.side, width // self.side))
        self.rows: list[list[np.ndarray]] = []
        for file, kind, shape in zip(self.files, (np.float16, np.int16, np.uint8), shapes, strict=True):
            file.touch()
            values = np.fromfile(file, kind)
            self.rows.append(list(values[: len(values) // math.prod(shape) * math.prod(shape)].reshape(-1, *shape)))
        # a run that was cut off may have written one file and not the next
        for file, rows in zip(self.files, self.rows, strict=True):
            del rows[len(self) :]
            os.truncate(file, sum(row.nbytes for row in rows))

    def __len__(self) -> int:
        """Return the number of clips."""
        return min(len(rows) for rows in self.rows)

    def grow(self, length: int, batch: int = 32) -> None:
        """Render and encode until there are `length` clips."""
        while len(self) < length:
            first = self.first_seed + self.rank + self.world * len(self)
            seeds = range(first, first + self.world * batch, self.world)
            specs = [draw(seed, self.learned, self.things(seed)) for seed in seeds]
            jobs = [(spec, self.config["size"], self.config["frames"]) for spec in specs]
            shown = list(self.map(render, jobs))
            frames = to_model(np.stack([clip.frames for clip in shown]), self.device)
            with torch.no_grad(), torch.autocast(self.device.split(":")[0], torch.bfloat16):
                mean = self.vae.encode(frames).latent_dist.mean
            latents = mean.cpu().to(torch.float16).numpy()
            captions = [spec.caption for spec in specs]
            tokens = tokenize(self.tokenizer, captions, self.config).numpy().astype(np.int16)
            found = [labels(clip, self.learned, self.side, self.shape[1]) for clip in shown]
            for file, rows, new in zip(self.files, self.rows, (latents, tokens, np.stack(found)), strict=True):
                with file.open("ab") as out:
                    out.write(new.tobytes())
                rows.extend(new)

    def things(self, seed: int) -> int:
        """Return how many objects a seed's scene has."""
        return int(np.random.default_rng([seed, 7]).choice(3, p=self.config["flow"]["things"]))

    def batch(self, index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents float32 (B, F, C, H, W), token ids (B, L) and labels (B, F, H / patch, W / patch)."""
        latents, tokens, found = (torch.from_numpy(np.stack([rows[i] for i in index])) for rows in self.rows)
        latents = latents.to(self.device).float().transpose(1, 2)
        return latents, tokens.to(self.device).long(), found.to(self.device).long()
