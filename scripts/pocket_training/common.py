"""What the stages share: processes, budget, checkpoints, logs, pictures, learning rate."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from flowedit.pocket import Scene, scene


def ranks() -> tuple[int, int]:
    """Return this process's rank and how many there are; `torchrun` starts several."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average_gradients(model: torch.nn.Module) -> None:
    """Average the gradients over the processes."""
    if dist.is_initialized():
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient) / dist.get_world_size())


def goes_on(state: dict, steps: int, args: argparse.Namespace) -> bool:
    """Return whether another step is due, and this run still has time by the first process's clock."""
    late = time.monotonic() - state["began"] > args.minutes * 60
    if dist.is_initialized():
        clock = torch.tensor(float(late), device=args.device)
        dist.broadcast(clock, 0)
        late = bool(clock.item())
    return state["step"] < steps and not late


def minutes(state: dict) -> float:
    """Return the minutes that the stage took so far, earlier runs counted in."""
    return (state["spent"] + time.monotonic() - state["began"]) / 60


def save(path: Path, state: dict, **tensors: dict) -> None:
    """Write a checkpoint by atomic rename."""
    if ranks()[0]:
        return
    spent = state["spent"] + time.monotonic() - state["began"]
    torch.save({"state": {**state, "spent": spent, "began": 0.0}, **tensors}, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def resume(path: Path) -> tuple[dict, dict]:
    """Return the state and the rest of a checkpoint, or a fresh state."""
    if not path.exists():
        return {"step": 0, "clips": 0, "spent": 0.0, "began": time.monotonic()}, {}
    saved = torch.load(path, weights_only=True)
    return {**saved.pop("state"), "began": time.monotonic()}, saved


def started(folder: Path, part: str) -> dict[str, Tensor]:
    """Return the weights of a part of a checkpoint to start from, float32."""
    files = sorted((folder / part).glob("*.safetensors"))
    if len(files) != 1:
        raise SystemExit(f"--warm-start {folder}: expected one safetensors file in {part}/, found {len(files)}")
    return {name: weight.float() for name, weight in load_file(files[0]).items()}


def log(path: Path, **row: float | str) -> None:
    """Append one JSON line, and print it."""
    if ranks()[0]:
        return
    with path.open("a") as file:
        print(json.dumps(row), file=file)
    print(row, flush=True)


def render(job: tuple) -> Scene:
    """Call `scene` with a tuple of its arguments, for `map` and process pools."""
    return scene(*job)


def to_model(frames: np.ndarray, device: str) -> Tensor:
    """uint8 (B, F, H, W, 3) → float32 (B, 3, F, H, W) in [-1, 1]."""
    return torch.from_numpy(frames).to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_frames(video: Tensor) -> np.ndarray:
    """(B, 3, F, H, W) in [-1, 1] → uint8 (B, F, H, W, 3)."""
    return ((video.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).cpu().numpy()


def picture(path: Path, rows: list[np.ndarray], scale: int = 2) -> None:
    """Write rows of frames uint8 (N, H, W, 3) as one PNG."""
    grid = np.vstack([np.hstack(list(row)) for row in rows])
    grid = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), grid[..., ::-1])


def rate(fraction: float, peak: float) -> float:
    """Learning rate at a fraction of the steps: a short linear start, constant, a linear end."""
    return peak * min(1.0, fraction / 0.01 + 0.02, max(1e-3, (1 - fraction) / 0.4))
