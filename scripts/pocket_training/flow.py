"""Text encoder and transformer, trained together on cached latents; and the export of all parts."""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import CogVideoXPipeline
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from flowedit.pocket import Spec, Thing, Vocabulary
from pocket_training.cache import Cache
from pocket_training.common import average_gradients, goes_on, log, minutes, picture, ranks, rate, resume, save, started
from pocket_training.labels import LabelHead, kinds
from pocket_training.models import (
    generate,
    new_flow,
    new_scheduler,
    new_tokenizer,
    pipeline,
    rotary,
    tokenize,
)
from pocket_training.vae import trained_vae

VALIDATION = 128
"""Clips that no step sees; the first process looks at them when it saves."""


def train_flow(config: dict, args: argparse.Namespace) -> None:
    """Train text encoder and transformer together to predict v at logit-normal times.

    The loss is the squared error of v, where tokens that show an object count more, and with a small weight the
    cross-entropy of a head that names what each token shows.
    """
    cfg, path, device = config["flow"], args.work / "flow.pt", args.device
    torch.manual_seed(config["seed"])
    tokenizer, vae = new_tokenizer(), trained_vae(args.work, config, device)
    model = new_flow(config, tokenizer)
    state, saved = resume(path)
    if args.warm_start and not saved:
        for part in ("text_encoder", "transformer"):
            model[part].load_state_dict(started(args.warm_start, part), strict=part == "transformer")
        state["scale"] = json.loads((args.warm_start / "vae/config.json").read_text())["scaling_factor"]
    learned = Vocabulary(**config["vocabulary"])
    network = model["transformer"]
    model["labels"] = LabelHead(network, network.config.num_attention_heads * cfg["head_width"], kinds(learned))
    model.to(device)
    steps, ema = optimizers(model, cfg), copy.deepcopy(model).eval().requires_grad_(False)
    if saved:
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        for optimizer, values in zip(steps, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
    cache = Cache(config, args, vae, tokenizer, config["first_seed"])
    rank, world = ranks()
    cache.grow(cfg["warm"] // world)
    if "scale" not in state:
        variance = torch.tensor(np.var(np.stack(cache.rows[0]), dtype=np.float64), device=device)
        if world > 1:
            dist.all_reduce(variance)
        state["scale"] = (variance.item() / world) ** -0.5
    empty = tokenize(tokenizer, [""], config).to(device)
    alpha_bar, rope = new_scheduler().alphas_cumprod.float().to(device), rotary(config, device)
    held_out = Cache(config, args, vae, tokenizer, first_seed=config["first_seed"] // 2, name="held-out-")
    held_out.grow(VALIDATION if rank == 0 else 0)
    if args.compile:
        network = torch.compile(network)
    shown = kept = time.monotonic()
    losses, peaks = [], (cfg["muon_lr"], cfg["lr"])
    while goes_on(state, cfg["steps"], args):
        fraction = state["step"] / cfg["steps"]
        rng = np.random.default_rng([config["seed"], state["step"], rank])
        torch.manual_seed((config["seed"] + state["step"]) * world + rank)
        cache.grow((cfg["warm"] + int(fraction * cfg["clips"])) // world)
        x, tokens, shows = cache.batch(rng.integers(len(cache), size=cfg["batch"] // world))
        x = x * state["scale"]
        tokens = torch.where(torch.rand(len(x), 1, device=device) < config["text"]["drop"], empty, tokens)
        times = torch.sigmoid(torch.randn(len(x)) * cfg["time_spread"] + cfg["time_middle"])
        noise = torch.randn(x.shape).to(device)
        error = squared_error(model, network, alpha_bar, x, tokens, times, noise, rope)
        weight = 1 + cfg["object_weight"] * (shows >= len(learned.grounds))
        weight = weight.repeat_interleave(cfg["patch"], -1).repeat_interleave(cfg["patch"], -2)[:, :, None]
        named = model["labels"](shows.flatten(1))
        loss = (weight * error).mean() / weight.float().mean() + cfg["label_weight"] * named
        for optimizer, peak in zip(steps, peaks, strict=True):
            optimizer.zero_grad(set_to_none=True)
            optimizer.param_groups[0]["lr"] = rate(fraction, peak)
        loss.backward()
        average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in steps:
            optimizer.step()
        keep = min(cfg["ema"], (1 + state["step"]) / (10 + state["step"]))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - keep)
        state["step"] += 1
        state["clips"] += len(x) * world
        losses.append(torch.stack([error.mean(), named]).detach())
        if state["step"] % 20 == 0:
            row = {"step": state["step"], "clips": state["clips"], "encoded": len(cache) * world}
            row |= {"minutes": round(minutes(state), 2)}
            loss, named = torch.stack(losses).mean(0).tolist()
            log(path.with_suffix(".jsonl"), **row, loss=round(loss, 4), labels=round(named, 3))
            losses.clear()
        if rank == 0 and time.monotonic() - kept > 60 * cfg["save_minutes"]:
            kept = time.monotonic()
            save_flow(path, state, model, ema, steps)
            validate(path, state, ema, alpha_bar, held_out, rope)
        if rank == 0 and time.monotonic() - shown > 60 * cfg["sample_minutes"]:
            shown = time.monotonic()
            pipe = pipeline(vae, ema, tokenizer, state["scale"])
            samples(args.work, config, pipe, minutes(state))
    save_flow(path, state, model, ema, steps)
    if rank == 0:
        validate(path, state, ema, alpha_bar, held_out, rope)


def squared_error(
    model: torch.nn.ModuleDict,
    network: torch.nn.Module,
    alpha_bar: Tensor,
    x: Tensor,
    tokens: Tensor,
    times: Tensor,
    noise: Tensor,
    rope: tuple[Tensor, Tensor],
) -> Tensor:
    """Return (v_hat - v)^2 at the knots next to `times`, where v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x.

    x, noise: latents of unit variance (B, F, C, H, W); tokens: (B, L); times: 0 the clip, 1 noise, (B,); `network` is
    the model's transformer, compiled or not.
    """
    knots = ((1 - alpha_bar).sqrt() / (alpha_bar.sqrt() + (1 - alpha_bar).sqrt())).cpu()
    timestep = torch.searchsorted(knots, times).clamp(max=len(knots) - 1).to(x.device)
    a = alpha_bar[timestep].sqrt().view(-1, 1, 1, 1, 1)
    b = (1 - alpha_bar[timestep]).sqrt().view(-1, 1, 1, 1, 1)
    with torch.autocast(x.device.type, torch.bfloat16), attention_kernels(x.device.type):
        text = model["text_encoder"](tokens).last_hidden_state
        v = network(a * x + b * noise, text, timestep, image_rotary_emb=rope, return_dict=False)[0]
    return (v.float() - (a * noise - b * x)).square()


@torch.no_grad()
def validate(
    path: Path, state: dict, ema: torch.nn.ModuleDict, alpha_bar: Tensor, held_out: Cache, rope: tuple[Tensor, Tensor]
) -> None:
    """Log the error of the averaged weights on clips that no step sees, each time at the same times and noises."""
    generator, errors = torch.Generator().manual_seed(0), []
    for some in np.arange(len(held_out)).reshape(-1, 32):
        x, tokens, _ = held_out.batch(some)
        times = torch.linspace(0.05, 0.95, len(x))
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        x = x * state["scale"]
        errors.append(squared_error(ema, ema["transformer"], alpha_bar, x, tokens, times, noise, rope).mean())
    found = round(float(torch.stack(errors).mean()), 4)
    log(path.with_suffix(".jsonl"), step=state["step"], clips=state["clips"], validation=found)


def attention_kernels(device: str) -> AbstractContextManager:
    """Return the attention that is fastest here: at this length, on a CPU, plain products, backward above all."""
    if device.startswith("cuda"):
        return nullcontext()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # it speaks for the CPU too
    return sdpa_kernel(SDPBackend.MATH)


def optimizers(model: torch.nn.ModuleDict, cfg: dict) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices and AdamW for everything else."""
    inner = {
        id(weight)
        for name, weight in model["transformer"].transformer_blocks.named_parameters()
        if weight.ndim == 2 and ("attn1" in name or "ff" in name)
    }
    muon = [weight for weight in model.parameters() if id(weight) in inner]
    rest = [weight for weight in model.parameters() if id(weight) not in inner]
    return [
        torch.optim.Muon(muon, lr=cfg["muon_lr"], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=cfg["lr"], betas=(0.9, 0.99), weight_decay=0.01),
    ]


def save_flow(path: Path, state: dict, model: torch.nn.Module, ema: torch.nn.Module, steps: list) -> None:
    """Write the checkpoint of the flow stage."""
    values = {"model": model.state_dict(), "ema": ema.state_dict()}
    save(path, state, **values, optimizers=[optimizer.state_dict() for optimizer in steps])


def samples(work: Path, config: dict, pipe: CogVideoXPipeline, spent: float) -> None:
    """Write a picture of one clip for each class, in three frames."""
    grounds, motions = config["vocabulary"]["grounds"], config["vocabulary"]["motions"]
    rows = []
    for i, kind in enumerate(config["vocabulary"]["classes"]):
        thing = Thing(kind, motions[i % len(motions)])
        prompt = Spec((thing,), grounds[i // 2 % len(grounds)]).caption
        rows.append(generate(pipe, prompt, config, seed=i)[:: (config["frames"] - 1) // 2])
    pairs = [np.concatenate(rows[i : i + 2]) for i in range(0, len(rows) - 1, 2)]
    picture(work / f"flow_{spent:05.1f}.png", pairs)


def export(config: dict, args: argparse.Namespace) -> None:
    """Write the averaged weights, in half precision, as a diffusers directory with `flowedit.json`.

    Raises SystemExit where there is nothing to export, or where something else than a checkpoint would be replaced.
    """
    if args.out is None:
        raise SystemExit("export needs --out DIR, the folder to write")
    if args.out.exists() and not (args.out / "flowedit.json").is_file():
        raise SystemExit(f"--out {args.out} is there and holds no pocket checkpoint: name a new folder")
    if not (args.work / "flow.pt").exists():
        raise SystemExit(f"--work {args.work} holds no flow.pt: run the stage flow first")
    tokenizer, vae = new_tokenizer(), trained_vae(args.work, config, "cpu")
    state, saved = resume(args.work / "flow.pt")
    model = new_flow(config, tokenizer).eval()
    model.load_state_dict({name: weight for name, weight in saved["ema"].items() if not name.startswith("labels.")})
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline(vae.half(), model.half(), tokenizer, state["scale"]).save_pretrained(part)
    about = {"trained": True, **config["vocabulary"], "frames": config["frames"], "size": config["size"]}
    about |= {"clips_seen": state["clips"], "steps": state["step"], "minutes": round(state["spent"] / 60, 1)}
    (part / "flowedit.json").write_text(json.dumps(about, indent=2) + "\n")
    shutil.rmtree(args.out, ignore_errors=True)
    os.replace(part, args.out)
    print(sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file()) / 2**20, "MiB")
