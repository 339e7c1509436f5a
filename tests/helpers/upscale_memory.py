"""Memory of `flowedit upscale` for each pixel of a larger frame: measured, and as it is reckoned (Linux).

python tests/helpers/upscale_memory.py [FRAMES]
"""

import multiprocessing
import re
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from flowedit.config.compose import compose
from flowedit.machine import GIB
from flowedit.media.probe import probe
from flowedit.pipeline.upscaled import job
from flowedit.upscaling.catalogue import UPSCALERS, Upscaler
from flowedit.upscaling.networks import TiledNetwork

KINDS = {
    "8 bits": ("clip.mp4", "libx264", "yuv420p"),
    "10 bits": ("clip.mp4", "libx265", "yuv420p10le"),
    "transparent": ("clip.mov", "prores_ks", "yuva444p10le"),
}
CASES = (("lanczos", "8 bits"), ("repeats", "8 bits"), ("repeats", "10 bits"), ("repeats", "transparent"))
SIZE, TIMES = (240, 320), 4


def noise(path, codec, pixels, size, frames):
    """A clip of noise, for which encoders keep all that they may."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        quiet = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=10, options=quiet)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        for number in range(frames):
            picture = rng.integers(0, 256, (*size, 4), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgba").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def peak():
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])


def measured(name, kind, frames):
    """Bytes a pixel that a run takes more than one of small frames in the same process, and those that are reckoned."""
    repeats = torch.nn.Upsample(scale_factor=4)  # a network without weights, 4 times the size
    UPSCALERS.add("repeats", Upscaler("repeats pixels", lambda device: TiledNetwork(repeats, 4, device)))
    torch.set_num_threads(1)
    job.LARGE = 0  # one by one, as large frames are made
    with tempfile.TemporaryDirectory() as folder:
        file, codec, pixels = KINDS[kind]
        for number, size in enumerate(((64, 96), SIZE)):
            clip = noise(Path(folder) / f"{number}{file}", codec, pixels, size, frames)
            settings = compose({"clip": str(clip), "upscale": name, "out": f"{folder}/{number}"})
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = peak()
            job.upscale_clip(settings, TIMES)
        large = TIMES * SIZE[0], TIMES * SIZE[1]
        reckoned = job.memory_of(large, settings, probe(clip), UPSCALERS[name]) * GIB
        return (peak() - before) / (large[0] * large[1]), reckoned / (large[0] * large[1])


if __name__ == "__main__":
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    for case in CASES:
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            print(*case, "measured {:.0f}, reckoned {:.0f}".format(*alone.apply(measured, (*case, frames))), flush=True)
