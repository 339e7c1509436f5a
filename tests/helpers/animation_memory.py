"""What an animation takes of memory until it is written, in bytes a pixel: `python tests/helpers/animation_memory.py`.

Each is written in a process of its own, of two lengths; the difference is what the frames take. Linux alone tells.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from flowedit.media.stills.write import AnimationWriter

SIZE, LENGTHS = (480, 640), (30, 90)


def peak(kind: str, frames: int) -> float:
    """The most memory in KiB of this process, once it has written so many frames of noise over a ramp."""
    rng, ramp = np.random.default_rng(0), np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3)
    with (
        tempfile.TemporaryDirectory() as folder,
        AnimationWriter(Path(folder) / f"a.{kind}", None, range(frames), [40] * frames) as writer,
    ):
        for number in range(frames):
            writer.write(((ramp + 7 * number + rng.integers(0, 30, ramp.shape)) % 256).astype(np.uint8)[None])
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM"))


HOW: dict = {"capture_output": True, "check": True}


def main() -> None:
    """A line for each kind."""
    if sys.argv[1:]:
        print(peak(sys.argv[1], int(sys.argv[2])))
        return
    for kind in ("gif", "webp"):
        few, many = (
            float(subprocess.run([sys.executable, __file__, kind, str(frames)], **HOW, timeout=300).stdout)
            for frames in LENGTHS
        )
        print(f"{kind}: {1024 * (many - few) / ((LENGTHS[1] - LENGTHS[0]) * SIZE[0] * SIZE[1]):.1f} bytes a pixel")


if __name__ == "__main__":
    main()
