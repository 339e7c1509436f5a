"""The autoencoder: training, and latents of unit variance folded into its weights."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSpatialNorm3D
from torch import Tensor

from flowedit.pocket import Vocabulary, scene
from flowedit.pocket.world import EVERYTHING
from pocket_training.common import (
    average_gradients,
    goes_on,
    log,
    minutes,
    picture,
    ranks,
    rate,
    render,
    resume,
    save,
    started,
    to_frames,
    to_model,
)
from pocket_training.models import new_vae

SHIPPED = Path(__file__).resolve().parents[2] / "flowedit/pocket/checkpoint"
"""Its autoencoder is there for a run that begins with the flow or the decoder."""


def train_vae(config: dict, args: argparse.Namespace) -> None:
    """Train on rendered clips: squared error of pixels and edges, and a small KL term.

    The stage `decoder` goes on with the decoder alone, so that latents which are already cached stay valid.
    """
    cfg, path, learned = config["vae"], args.work / f"{args.stage}.pt", Vocabulary(**config["vocabulary"])
    prefix = "" if args.stage == "vae" else "decoder_"
    steps, phases, peak = (cfg[prefix + key] for key in ("steps", "phases", "lr"))
    torch.manual_seed(config["seed"])
    vae = new_vae(config).to(args.device).train()
    if args.warm_start and args.stage == "vae":
        vae.load_state_dict(started(args.warm_start, "vae"))
    if args.stage == "decoder":
        vae.load_state_dict(trained_vae(args.work, config, "cpu", ("vae",)).state_dict())
        vae.encoder.requires_grad_(False)
    weights = [weight for weight in vae.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-3)
    state, saved = resume(path)
    if saved:
        vae.load_state_dict(saved["vae"])
        optimizer.load_state_dict(saved["optimizer"])
    saved_at, curve, (rank, world_size) = time.monotonic(), [], ranks()
    while goes_on(state, steps, args):
        fraction = state["step"] / steps
        phase = next(phase for phase in phases if fraction < phase["until"])
        rng = np.random.default_rng([config["seed"], state["step"], rank])
        jobs = []
        for _ in range(max(1, phase["batch"] // world_size)):
            seed = config["first_seed"] + int(rng.integers(2**40))
            world = EVERYTHING if rng.random() < cfg["whole_world"] else learned
            jobs.append((seed, config["size"], phase["frames"], world))
        videos, importance = [], []
        for clip in args.map(render, jobs):
            window = crop(clip.masks, phase["crop"], rng, cfg["on_object"])
            videos.append(clip.frames[window])
            importance.append(1 + cfg["object_weight"] * clip.masks.sum(0)[window])
        video = to_model(np.stack(videos), args.device)
        weight = torch.from_numpy(np.stack(importance)).to(args.device)[:, None]
        for group in optimizer.param_groups:
            group["lr"] = rate(fraction, peak)
        torch.manual_seed((config["seed"] + state["step"]) * world_size + rank)
        with torch.autocast(video.device.type, torch.bfloat16):
            posterior = vae.encode(video).latent_dist
            output = vae.decode(posterior.sample()).sample
        wrong = output.float() - video
        error = (weight * wrong.square()).mean() / weight.mean()
        sharp = wrong.diff(dim=-1).square().mean() + wrong.diff(dim=-2).square().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = error + cfg["edges"] * sharp + cfg["kl"] * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(vae)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        state["step"] += 1
        state["clips"] += len(videos) * world_size
        curve.append([wrong.detach().square().mean().item() / 4, sharp.item(), kl.item()])
        if state["step"] % 50 == 0:
            mse, sharp, kl = (float(value) for value in np.mean(curve, 0))
            row = {"psnr": round(-10 * math.log10(mse), 2), "edges": round(sharp, 4), "kl": round(kl, 3)}
            row["minutes"], curve = round(minutes(state), 2), []
            log(path.with_suffix(".jsonl"), step=state["step"], clips=state["clips"], **row)
        if rank == 0 and time.monotonic() - saved_at > 120:
            saved_at = time.monotonic()
            save(path, state, vae=vae.state_dict(), optimizer=optimizer.state_dict())
            both = [to_frames(v.detach())[:, -1] for v in (video, output)]
            picture(path.with_suffix(".png"), [rows[:8] for rows in both], 3)
    if args.stage == "vae" and state["step"] == steps and not state.get("standard"):
        standardise(vae, *measure(vae, config, args.device))
        state["standard"] = True  # called again, the stage must leave latents what they are
    save(path, state, vae=vae.state_dict(), optimizer=optimizer.state_dict())


def crop(masks: np.ndarray, side: int, rng: np.random.Generator, on_object: float) -> tuple[slice, slice, slice]:
    """Return a square window of a clip, with the given chance one that an object's pixel lies in.

    masks: (N, F, H, W), the visible share of each object.
    """
    corner = [int(rng.integers(length - side + 1)) for length in masks.shape[-2:]]
    seen = np.argwhere(masks.max((0, 1), initial=0) > 0.5)
    if len(seen) and rng.random() < on_object:
        middle = seen[rng.integers(len(seen))]
        low = middle - rng.integers(side, size=2)
        corner = [int(np.clip(a, 0, length - side)) for a, length in zip(low, masks.shape[-2:], strict=True)]
    y, x = corner
    return np.s_[:, y : y + side, x : x + side]


def trained_vae(
    work: Path, config: dict, device: str, stages: tuple[str, ...] = ("decoder", "vae")
) -> AutoencoderKLCogVideoX:
    """Return the trained autoencoder, frozen: of the last of the stages that `work` holds, or else the shipped one.

    Raises SystemExit for a stage that is not at its end.
    """
    vae = new_vae(config)
    for stage in stages:
        path, steps = work / f"{stage}.pt", config["vae"]["steps" if stage == "vae" else "decoder_steps"]
        state, saved = resume(path)
        if saved and state["step"] < steps:
            raise SystemExit(f"the stage {stage} is at step {state['step']} of {steps}: finish it first")
        if saved:
            vae.load_state_dict(saved["vae"])
            break
    else:
        vae.load_state_dict(started(SHIPPED, "vae"))
    return vae.to(device).eval().requires_grad_(False)


@torch.no_grad()
def standardise(vae: AutoencoderKLCogVideoX, mean: Tensor, std: Tensor) -> None:
    """Fold (z - mean) / std, each (16,), into the weights: every latent channel gets mean 0 and variance 1.

    Exact but for the decoder's zero padding at the frame's rim, which the stage `decoder` trains away.
    """
    last, inverse = vae.encoder.conv_out.conv, (1 / std).repeat(2)
    inverse[len(std) :] = 1
    shift = torch.cat([-mean / std, -2 * std.log()])
    last.weight.mul_(inverse[:, None, None, None, None])
    last.bias.mul_(inverse).add_(shift)
    readers = [vae.decoder.conv_in.conv]
    for module in vae.decoder.modules():
        if isinstance(module, CogVideoXSpatialNorm3D):
            readers += [module.conv_y.conv, module.conv_b.conv]
    for reader in readers:
        reader.bias.add_(torch.einsum("oidhw,i->o", reader.weight, mean))
        reader.weight.mul_(std[:, None, None, None])


def measure(vae: AutoencoderKLCogVideoX, config: dict, device: str) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (16,) of the latents of 256 clips of the learned vocabulary."""
    learned, latents = Vocabulary(**config["vocabulary"]), []
    for seed in range(config["first_seed"], config["first_seed"] + 256):
        frames = scene(seed, config["size"], config["frames"], learned).frames[None]
        with torch.no_grad():
            latents.append(vae.encode(to_model(frames, device)).latent_dist.mean)
    stacked = torch.cat(latents).transpose(0, 1).flatten(1)
    return stacked.mean(1), stacked.std(1)
