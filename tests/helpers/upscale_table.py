"""How near upscalers come to the truth: python tests/helpers/upscale_table.py [--times 4,2] [--scenes 3] [CLIP ...].

Pocket scenes of 256x256 and the middle 256x256 of real clips are shrunk by area and made larger again. PSNR and LPIPS
(bundled) are to what was shrunk, the warp error is along its flow; each is a mean over scenes or clips.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from flowedit.media.pixels import resize
from flowedit.media.reader import probe, read
from flowedit.metrics.perceptual import lpips_bundled
from flowedit.metrics.pixels import psnr
from flowedit.metrics.temporal import flow, warp_error
from flowedit.pocket import draw, scene
from flowedit.upscaling.larger import Larger, Opened

SIDE = 256
CPU = torch.device("cpu")


def pocket(seed, frames):
    return scene(draw(seed, things=1 + seed % 2), (SIDE, SIDE), frames).frames


def clip(path, frames):
    video = probe(path)
    first = max(0, (video.frames - frames) // 2)
    found = np.concatenate(list(read(video, range(first, first + frames))))
    top, left = ((whole - SIDE) // 2 for whole in found.shape[1:3])
    return found[:, top : top + SIDE, left : left + SIDE]


def rows(true, times, opened):
    """(name, larger frames) of each way."""
    small, size = resize(true, (SIDE // times, SIDE // times)), (SIDE, SIDE)
    yield "cubic", resize(small, size)
    for name, each in opened.items():
        yield name, Larger(each)(small, size)
        if each.invents:
            raw = [each.enlarge(frame, size, None) for frame in small]
            yield f"{name}, bare", np.clip(np.rint(raw), 0, 255).astype(np.uint8)
    yield "(the truth)", true


def scored(made, true, fields):
    error = warp_error(made, *fields).sum(0)
    return psnr(made, true), lpips_bundled(made, true), 1e3 * error[0] / error[1]


def main(asked, opened):
    groups = {"pocket": [pocket(seed, asked.frames) for seed in range(asked.scenes)]}
    groups["clips"] = [clip(path, asked.frames) for path in asked.clips]
    print("| what | upscaler | PSNR, dB | LPIPS (bundled) | warp error ×10³ |\n|---|---|---|---|---|")
    for times in asked.times:
        for group, trues in groups.items():
            found = {}
            for true in trues:
                fields = [flow(a, b, "dis", CPU) for a, b in ((true[:-1], true[1:]), (true[1:], true[:-1]))]
                for name, made in rows(true, times, opened):
                    found.setdefault(name, []).append(scored(made, true, fields))
            for name, values in found.items():
                near, apart, error = np.mean(values, 0)
                what = f"{len(trues)} {group}, {SIDE // times} to {SIDE}"
                print(f"| {what} | {name} | {near:.2f} | {apart:.3f} | {error:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--times", type=lambda text: [int(part) for part in text.split(",")], default=[4, 2])
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--upscalers", default="lanczos,realesrgan_drawn,realesrgan")
    args = parser.parse_args()
    main(args, {name: Opened(name, CPU) for name in args.upscalers.split(",")})
