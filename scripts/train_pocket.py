"""Train the pocket checkpoint in resumable stages: `vae`, then `flow`, then `decoder` (optional), `export`.

    python scripts/train_pocket.py vae --work DIR
    torchrun --standalone --nproc-per-node 2 scripts/train_pocket.py flow --work DIR --minutes 60
    python scripts/train_pocket.py export --work DIR --out DIR/checkpoint

A stage ends after the steps that its configuration names, or after `--minutes`; called again, it goes on where it
was. A DIR without an autoencoder takes the shipped one's, so that it may begin with `flow`. On a CPU, processes of one
thread (OMP_NUM_THREADS=1) under torchrun beat one process of many threads.
What the shipped checkpoint took stands in conf/pocket/train.yaml.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = {
    "vae": ("vae", "train_vae"),
    "decoder": ("vae", "train_vae"),
    "flow": ("flow", "train_flow"),
    "export": ("flow", "export"),
}
"""The module of pocket_training and the function in it; imported when run, so that --help need not wait for torch."""


def main() -> None:
    """Read the command line and run one stage."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, logs and pictures")
    parser.add_argument("--config", type=Path, default=ROOT / "conf/pocket/train.yaml")
    parser.add_argument("--warm-start", type=Path, help="vae, flow: the checkpoint whose weights a new run starts from")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after these")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the transformer")
    parser.add_argument("--workers", type=int, default=0, help="processes that render; 0: inline")
    parser.add_argument("--out", type=Path, help="export: the folder to write")
    args = parser.parse_args()
    import cv2
    import torch
    import torch.distributed as dist
    import yaml

    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    args.work.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    args.map = map
    if args.workers:
        args.map = multiprocessing.get_context("spawn").Pool(args.workers).map
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
        args.device = f"cuda:{os.environ['LOCAL_RANK']}" if args.device == "cuda" else "cpu"
    module, stage = STAGES[args.stage]
    getattr(import_module(f"pocket_training.{module}"), stage)(yaml.safe_load(args.config.read_text()), args)


if __name__ == "__main__":
    main()
